package config

import (
	"os"
	"strings"
	"testing"

	"github.com/goccy/go-yaml/ast"
	"github.com/goccy/go-yaml/parser"
	"github.com/google/go-cmp/cmp"
)

const exampleFile = "../../klive.example.yaml"

// The example is the documentation of the keys: it must name each, say something about
// it and give the true default.
func TestExampleEqualsDefaults(t *testing.T) {
	got, warnings, err := Load(exampleFile, nil)
	if err != nil || len(warnings) > 0 {
		t.Fatalf("Load(%s): %v, warnings %v", exampleFile, err, warnings)
	}
	if diff := cmp.Diff(Default(), got); diff != "" {
		t.Errorf("the example differs from the defaults (-default +example):\n%s", diff)
	}
}

func TestExampleHasEveryKeyInOrder(t *testing.T) {
	text, err := os.ReadFile(exampleFile)
	if err != nil {
		t.Fatal(err)
	}
	file, err := parser.ParseBytes(text, 0)
	if err != nil {
		t.Fatal(err)
	}
	var want []string
	for _, k := range Keys() {
		want = append(want, k.Path)
	}
	if diff := cmp.Diff(want, leaves(file.Docs[0].Body, "")); diff != "" {
		t.Errorf("keys of the example (-want +got):\n%s", diff)
	}
	for _, k := range Keys() {
		name := k.Path[strings.LastIndexByte(k.Path, '.')+1:]
		if !strings.Contains(string(text), name+":") {
			t.Errorf("%s is missing", k.Path)
		}
		if k.Reloadable && !strings.Contains(string(text), "(reload)\n  "+name+":") {
			t.Errorf("%s is not marked (reload)", k.Path)
		}
	}
	if marks := strings.Count(string(text), "(reload)\n  "); marks != reloadable() {
		t.Errorf("%d keys are marked (reload), %d are", marks, reloadable())
	}
}

func reloadable() (n int) {
	for _, k := range Keys() {
		if k.Reloadable {
			n++
		}
	}
	return n
}

func leaves(n ast.Node, path string) []string {
	m, ok := n.(*ast.MappingNode)
	if !ok {
		return []string{path}
	}
	var all []string
	for _, v := range m.Values {
		all = append(all, leaves(v.Value, join(path, v.Key.GetToken().Value))...)
	}
	return all
}
