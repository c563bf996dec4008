package fault

import (
	"encoding/json"
	"go/ast"
	"go/parser"
	"go/token"
	"os"
	"path/filepath"
	"testing"
)

// TestClockOverlay holds that the Go in use has the line that the overlay changes, and that what
// comes of it is Go: building all of a program anew is left to the tests that step clocks.
func TestClockOverlay(t *testing.T) {
	b, err := os.ReadFile(ClockOverlay(t))
	if err != nil {
		t.Fatal(err)
	}
	var overlay struct{ Replace map[string]string }
	if err := json.Unmarshal(b, &overlay); err != nil || len(overlay.Replace) != 2 {
		t.Fatalf("%v: %s", err, b)
	}
	uses := 0
	for of, by := range overlay.Replace {
		f, err := parser.ParseFile(token.NewFileSet(), by, nil, 0)
		if err != nil || f.Name.Name != "time" {
			t.Errorf("%s: %v", of, err)
			continue
		}
		if filepath.Base(of) != "time.go" {
			continue
		}
		ast.Inspect(f, func(n ast.Node) bool {
			if id, ok := n.(*ast.Ident); ok && id.Name == "testOffset" {
				uses++
			}
			return true
		})
	}
	if uses != 1 {
		t.Errorf("package time adds the offset %d times, want once", uses)
	}
}
