package spool

import (
	"context"
	"errors"
	"testing"

	"klive/storage"
	"klive/storage/storagetest"
)

// TestAgeIsTimeThatRan: an object's age does not follow the wall clock. A clock that is set forth by more
// than spool.age, as at the end of an outage, would have all given up that rests here alone.
func TestAgeIsTimeThatRan(t *testing.T) {
	store := storagetest.NewMemory()
	store.Before = func(context.Context, string, string) error { return errors.New("503 slow down") }
	s, err := Open(Config{Store: store, Dir: t.TempDir(), MaxBytes: 1 << 20})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	if held, err := s.PutMedia(t.Context(), "a.m4s", [][]byte{[]byte("media")}, storage.PutOptions{IfAbsent: true}, nil); !held || err != nil {
		t.Fatalf("held %v, %v", held, err)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if at := s.shelf.oldest().at; at == at.Round(0) { // which has no monotonic reading
		t.Errorf("%v is wall time alone", at)
	}
}
