package config

import (
	"errors"
	"os"
	"path/filepath"
	"testing"
)

// Whatever the file holds, reading it ends in a configuration within its bounds or in
// mistakes that each have a text.
func FuzzParse(f *testing.F) {
	files, err := filepath.Glob("testdata/bad/*.yaml")
	if err != nil {
		f.Fatal(err)
	}
	for _, path := range append(files, exampleFile) {
		text, err := os.ReadFile(path)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		if len(text) > 16<<10 {
			t.Skip("long files only make the fuzzer slow")
		}
		c, _, err := Parse("klive.yaml", text, nil)
		if err != nil {
			var mistakes *Error
			if !errors.As(err, &mistakes) || c != nil {
				t.Fatalf("got config %v, error %T %v", c, err, err)
			}
			for _, p := range mistakes.Problems {
				if p.Text == "" || p.String() == "" {
					t.Fatalf("a mistake without words: %#v", p)
				}
			}
			return
		}
		for _, k := range Keys() {
			v := k.field(c)
			if !v.CanInt() {
				continue
			}
			if lo, hi := limits(v, k); v.Int() < lo || v.Int() > hi {
				t.Fatalf("%s = %v is out of bounds", k.Path, v.Interface())
			}
		}
	})
}
