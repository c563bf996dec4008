package main

import (
	"bytes"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"
)

// The rows of the contract's acceptance table (§8) that other parts of the service will bring:
// local files, aliases, RTMP playback, cue points and captions.
var laterRows = [][2]int{{90, 91}, {97, 97}, {116, 116}, {123, 131}}

// TestAcceptance holds the table "Acceptance" of ARCHITECTURE.md against the contract's: each
// row that klive accepts has a proof, and each proof exists. A proof is "<package> <Test>",
// "<package> <Test>/<subtest>", or `README "words"` for what is only said.
func TestAcceptance(t *testing.T) {
	proofs := readProofs(t)
	checked := map[string]error{} // most proofs stand for several rows
	for row, class := range acceptedRows(t) {
		if len(proofs[row]) == 0 {
			t.Errorf("row %d (class %s) has no proof in ARCHITECTURE.md", row, class)
		}
	}
	for row, list := range proofs {
		for _, proof := range list {
			err, known := checked[proof]
			if !known {
				err = checkProof(proof)
				checked[proof] = err
			}
			if err != nil {
				t.Errorf("row %d: %v", row, err)
			}
		}
	}
}

var (
	contractRow = regexp.MustCompile(`(?m)^\| (\d+) \| ([SCDO]) \| (.*)$`)
	proofRow    = regexp.MustCompile(`(?m)^\| ([\d–, ]+) \| [^|]* \| ([^|]+) \|$`)
	readmeProof = regexp.MustCompile(`^README "(.+)"$`)
	testProof   = regexp.MustCompile(`^(\S+) (Test\w+|Fuzz\w+)(?:/(.+))?$`)
)

// acceptedRows are the rows of class S, C and D and those of the control plane, with their class.
func acceptedRows(t *testing.T) map[int]string {
	rows := map[int]string{}
	for _, m := range contractRow.FindAllStringSubmatch(section(t, "infra/kaltura/CONTRACT.md", "## 8."), -1) {
		row, err := strconv.Atoi(m[1])
		if err != nil {
			t.Fatal(err)
		}
		optional := m[2] == "O" && !strings.Contains(m[3], "CP")
		if !optional && !isLater(row) {
			rows[row] = m[2]
		}
	}
	if len(rows) < 90 {
		t.Fatalf("only %d rows found in the contract's table", len(rows))
	}
	return rows
}

func isLater(row int) bool {
	for _, r := range laterRows {
		if r[0] <= row && row <= r[1] {
			return true
		}
	}
	return false
}

// readProofs returns the proofs of each row.
func readProofs(t *testing.T) map[int][]string {
	proofs := map[int][]string{}
	for _, m := range proofRow.FindAllStringSubmatch(section(t, "ARCHITECTURE.md", "## Acceptance"), -1) {
		rows, err := parseRows(m[1])
		if err != nil {
			t.Fatal(err)
		}
		for _, proof := range strings.Split(m[2], ";") {
			for _, row := range rows {
				proofs[row] = append(proofs[row], strings.Trim(strings.TrimSpace(proof), "`"))
			}
		}
	}
	return proofs
}

// parseRows reads "9–13, 15".
func parseRows(cell string) (rows []int, err error) {
	for _, piece := range strings.Split(cell, ",") {
		first, last, isRange := strings.Cut(strings.TrimSpace(piece), "–")
		if !isRange {
			last = first
		}
		from, err := strconv.Atoi(first)
		if err != nil {
			return nil, fmt.Errorf("row numbers %q: %w", cell, err)
		}
		to, err := strconv.Atoi(last)
		if err != nil {
			return nil, fmt.Errorf("row numbers %q: %w", cell, err)
		}
		for row := from; row <= to; row++ {
			rows = append(rows, row)
		}
	}
	return rows, nil
}

// section returns a document's text from a heading to the next one of its level.
func section(t *testing.T, path, heading string) string {
	t.Helper()
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	_, rest, ok := strings.Cut(string(text), "\n"+heading)
	if !ok {
		t.Fatalf("%s has no heading %q", path, heading)
	}
	body, _, _ := strings.Cut(rest, "\n## ")
	return body
}

func checkProof(proof string) error {
	if m := readmeProof.FindStringSubmatch(proof); m != nil {
		text, err := os.ReadFile("README.md")
		if err != nil {
			return err
		}
		if !strings.Contains(strings.Join(strings.Fields(string(text)), " "), m[1]) {
			return fmt.Errorf("README.md does not say %q", m[1])
		}
		return nil
	}
	m := testProof.FindStringSubmatch(proof)
	if m == nil {
		return fmt.Errorf("%q is no proof: write `package TestName`, `package TestName/subtest` or `README \"words\"`", proof)
	}
	room := m[1]
	if room == "main" {
		room = "."
	}
	return checkTest(room, m[2], m[3])
}

// checkTest finds a test function in a package's folder, and what a subtest is called in its
// tests or their data.
func checkTest(room, name, sub string) error {
	files, err := filepath.Glob(filepath.Join(filepath.FromSlash(room), "*_test.go"))
	if err != nil {
		return err
	}
	begin := []byte("\nfunc " + name + "(") // as gofmt writes it; searched as bytes, for there are hundreds of proofs
	found := false
	for _, path := range files {
		text, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		if found = bytes.Contains(text, begin); found {
			break
		}
	}
	if !found {
		return fmt.Errorf("there is no test %s in %s", name, room)
	}
	if sub == "" || isSubtest(room, sub) {
		return nil
	}
	return fmt.Errorf("test %s in %s has no subtest %q", name, room, sub)
}

// isSubtest reports whether a room's tests or their data hold a name: in quotes, or as a file.
func isSubtest(room, sub string) bool {
	found := false
	_ = filepath.WalkDir(filepath.FromSlash(room), func(path string, d fs.DirEntry, err error) error {
		if err != nil || found || d.IsDir() {
			return err
		}
		base := strings.TrimSuffix(filepath.Base(path), filepath.Ext(path))
		found = base == sub && strings.Contains(path, "testdata")
		if !found && strings.HasSuffix(path, "_test.go") {
			text, err := os.ReadFile(path)
			if err != nil {
				return err
			}
			found = bytes.Contains(text, []byte(strconv.Quote(sub)))
		}
		return nil
	})
	return found
}
