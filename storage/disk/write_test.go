package disk

import (
	"bytes"
	"math/rand/v2"
	"os"
	"path/filepath"
	"testing"
)

// TestWriteAll writes pieces of all lengths, more and larger than one system call takes.
func TestWriteAll(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 2))
	random := func(n int) []byte {
		b := make([]byte, n)
		for i := range b {
			b[i] = byte(rng.Uint32())
		}
		return b
	}
	many := make([][]byte, 3000)
	for i := range many {
		many[i] = random(i % 700)
	}
	for name, pieces := range map[string][][]byte{
		"nothing":     nil,
		"empty":       {nil, {}},
		"one":         {random(10)},
		"many":        many,
		"large":       {random(1300 << 10), {}, random(512 << 10), random(1), random(700 << 10)},
		"just enough": {random(512 << 10)},
	} {
		t.Run(name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "f")
			f, err := os.Create(path)
			if err != nil {
				t.Fatal(err)
			}
			n, err := writeAll(f, pieces)
			if err != nil {
				t.Fatal(err)
			}
			if err := f.Close(); err != nil {
				t.Fatal(err)
			}
			got, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			if want := bytes.Join(pieces, nil); !bytes.Equal(got, want) || n != int64(len(want)) {
				t.Errorf("%d bytes said, %d in the file, %d given", n, len(got), len(want))
			}
		})
	}
}
