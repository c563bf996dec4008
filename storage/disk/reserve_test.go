package disk

import (
	"errors"
	"math"
	"testing"

	"klive/storage"
)

// TestReserve: media are refused in words before they take the last of the disk, small objects
// are not, and nothing is left of what was refused.
func TestReserve(t *testing.T) {
	s, err := Open(Config{Dir: t.TempDir(), Reserve: math.MaxInt64 / 2})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	media := [][]byte{make([]byte, smallObject/2), make([]byte, smallObject/2)}
	if _, err := s.Put(t.Context(), "kLive/a/1.m4s", media, storage.PutOptions{}); !errors.Is(err, storage.ErrFull) {
		t.Errorf("media: %v", err)
	}
	if _, err := s.Upload(t.Context(), "recordings/a.mp4", storage.PutOptions{}); !errors.Is(err, storage.ErrFull) {
		t.Errorf("a recording: %v", err)
	}
	if _, err := s.Put(t.Context(), "kLive/a/v.m3u8", [][]byte{[]byte("#EXTM3U\n")}, storage.PutOptions{}); err != nil {
		t.Errorf("a playlist: %v", err)
	}
	if list, err := s.List(t.Context(), "", "", 10); err != nil || len(list) != 1 {
		t.Errorf("%v, %v", list, err)
	}
}
