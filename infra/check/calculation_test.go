package check_test

import (
	"bytes"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// A test that is skipped under the race detector would never run if the Makefile did not name it.
func TestCalculationsAreRunByMake(t *testing.T) {
	const root = "../.."
	b, err := os.ReadFile(filepath.Join(root, "Makefile"))
	if err != nil {
		t.Fatal(err)
	}
	names := regexp.MustCompile(`(?m)^CALCULATIONS := (.+)$`).FindSubmatch(b)
	folders := regexp.MustCompile(`\$\(CALCULATIONS\)' (.+)`).FindSubmatch(b)
	if names == nil || folders == nil {
		t.Fatal("the Makefile names no calculations")
	}
	listed, in := strings.Split(string(names[1]), "|"), strings.Fields(string(folders[1]))
	slices.Sort(listed)
	var found []string
	calls := 0
	function := regexp.MustCompile(`(?m)^func (Test\w+)\(t \*testing\.T\) \{\n\tcheck\.Calculation\(t\)$`)
	err = filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		if name := d.Name(); err == nil && d.IsDir() && path != root && (name == "node_modules" || name[0] == '.') {
			return fs.SkipDir
		}
		if err != nil || !strings.HasSuffix(path, "_test.go") {
			return err
		}
		text, err := os.ReadFile(path)
		calls += bytes.Count(text, []byte("check."+"Calculation(t)"))
		for _, m := range function.FindAllSubmatch(text, -1) {
			found = append(found, string(m[1]))
			if folder := "./" + filepath.ToSlash(strings.TrimPrefix(filepath.Dir(path), root+"/")); !slices.Contains(in, folder) {
				t.Errorf("%s: the Makefile runs no calculations in %s", m[1], folder)
			}
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	slices.Sort(found)
	if calls != len(found) {
		t.Errorf("of %d calls of check.Calculation %d stand first in a test", calls, len(found))
	}
	if !slices.Equal(found, listed) {
		t.Errorf("calculations are\n%s\nand the Makefile runs\n%s", strings.Join(found, "|"), strings.Join(listed, "|"))
	}
}
