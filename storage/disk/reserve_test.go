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

// TestReserveOutlastsUploads: an upload that began when there was room is refused as it comes to the last of
// the disk.
func TestReserveOutlastsUploads(t *testing.T) {
	s, err := Open(Config{Dir: t.TempDir(), Reserve: 1})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	u, err := s.Upload(t.Context(), "recordings/a.mp4", storage.PutOptions{})
	if err != nil {
		t.Fatal(err)
	}
	piece := make([]byte, smallObject/2)
	if _, err := u.Write(piece); err != nil {
		t.Fatal(err)
	}
	s.reserve = math.MaxInt64 / 2
	for written := len(piece); err == nil && written <= uploadStep; written += len(piece) {
		_, err = u.Write(piece)
	}
	if !errors.Is(err, storage.ErrFull) {
		t.Errorf("beyond a step: %v", err)
	}
	if _, err := u.Commit(t.Context()); !errors.Is(err, storage.ErrFull) {
		t.Errorf("its end: %v", err)
	}
}
