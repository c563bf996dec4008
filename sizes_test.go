package main

import (
	"bytes"
	"go/ast"
	"go/parser"
	"go/token"
	"os"
	"path/filepath"
	"testing"
)

// The limits beyond which a file or a function is two.
const (
	maxFileLines     = 600
	maxFunctionLines = 80
)

// TestSizes keeps files and functions short enough to be read in one go.
func TestSizes(t *testing.T) {
	for _, p := range listPackages(t) {
		files, err := filepath.Glob(filepath.Join(p.Dir, "*.go"))
		if err != nil {
			t.Fatal(err)
		}
		for _, path := range files {
			checkSize(t, path)
		}
	}
}

func checkSize(t *testing.T, path string) {
	t.Helper()
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if n := bytes.Count(text, []byte("\n")); n > maxFileLines {
		t.Errorf("%s has %d lines; the limit is %d", path, n, maxFileLines)
	}
	set := token.NewFileSet()
	file, err := parser.ParseFile(set, path, text, parser.SkipObjectResolution)
	if err != nil {
		t.Fatal(err)
	}
	for _, d := range file.Decls {
		f, ok := d.(*ast.FuncDecl)
		if !ok {
			continue
		}
		from, to := set.Position(f.Pos()), set.Position(f.End())
		if n := to.Line - from.Line + 1; n > maxFunctionLines {
			t.Errorf("%s: %s has %d lines; the limit is %d", from, f.Name.Name, n, maxFunctionLines)
		}
	}
}
