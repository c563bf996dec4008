package main

import (
	"bytes"
	"os"
	"path/filepath"
	"testing"
)

func TestREADMEHasTheTables(t *testing.T) {
	old, err := os.ReadFile("../README.md")
	if err != nil {
		t.Fatal(err)
	}
	want, err := render("..", old)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(old, want) {
		t.Error("terraform/README.md is not what the files say; run in terraform: go run ./tables")
	}
}

// Every variable has a type and a description, every output a description, in modules too.
func TestModulesAreDescribed(t *testing.T) {
	files, err := filepath.Glob("../modules/*/variables.tf")
	if err != nil || len(files) < 8 {
		t.Fatalf("%d modules, %v", len(files), err)
	}
	for _, path := range files {
		if v, err := blocks(path, "variable"); err != nil || len(v) == 0 {
			t.Errorf("%s: %d variables, %v", path, len(v), err)
		}
		if _, err := blocks(filepath.Join(filepath.Dir(path), "outputs.tf"), "output"); err != nil {
			t.Error(err)
		}
	}
}
