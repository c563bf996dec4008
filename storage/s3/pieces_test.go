package s3

import (
	"bytes"
	"errors"
	"io"
	"testing"
	"testing/iotest"

	"pgregory.net/rapid"
)

// TestPieces holds the reader against one over the joined bytes.
func TestPieces(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		data := rapid.SliceOfN(rapid.SliceOfN(rapid.Byte(), 0, 9), 0, 9).Draw(t, "data")
		want := bytes.NewReader(bytes.Join(data, nil))
		got := newPieces(data)
		for range rapid.IntRange(1, 20).Draw(t, "steps") {
			if rapid.Bool().Draw(t, "seek") {
				to := rapid.Int64Range(0, got.size).Draw(t, "to")
				pos, err := got.Seek(to-got.size, io.SeekEnd)
				if err != nil || pos != to {
					t.Fatalf("Seek(%d) = %d, %v", to, pos, err)
				}
				want.Seek(to, io.SeekStart)
				continue
			}
			a, b := make([]byte, rapid.IntRange(0, 12).Draw(t, "n")), make([]byte, 12)
			b = b[:len(a)]
			n, err := got.Read(a)
			wn, werr := want.Read(b)
			if n != wn || !bytes.Equal(a, b) || (err != werr && len(a) > 0) {
				t.Fatalf("Read = %d %v %v, want %d %v %v", n, a, err, wn, b, werr)
			}
		}
	})
}

func TestPiecesAsReader(t *testing.T) {
	data := [][]byte{nil, []byte("one "), []byte("two"), {}, []byte(" three"), nil}
	if err := iotest.TestReader(newPieces(data), bytes.Join(data, nil)); err != nil {
		t.Error(err)
	}
}

func TestDetachedPiecesFail(t *testing.T) {
	p := newPieces([][]byte{[]byte("abc")})
	p.detach()
	if n, err := p.Read(make([]byte, 3)); n != 0 || !errors.Is(err, errDetached) {
		t.Errorf("Read = %d, %v", n, err)
	}
}
