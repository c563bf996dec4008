package storage_test

import (
	"context"
	"errors"
	"fmt"
	"testing"

	"klive/storage"
	"klive/storage/storagetest"
)

// TestAll yields each object under a prefix once and in order, over pages, and what is deleted on the way does no harm.
func TestAll(t *testing.T) {
	s := storagetest.NewMemory()
	lists := 0
	s.Before = func(_ context.Context, op, _ string) error {
		if op == "list" {
			lists++
		}
		return nil
	}
	for i := range 2000 {
		for _, prefix := range []string{"a/", "b/"} {
			if _, err := s.Put(t.Context(), fmt.Sprintf("%s%04d", prefix, i), [][]byte{{1}}, storage.PutOptions{}); err != nil {
				t.Fatal(err)
			}
		}
	}
	n := 0
	for o, err := range storage.All(t.Context(), s, "b/") {
		if err != nil {
			t.Fatal(err)
		}
		if want := fmt.Sprintf("b/%04d", n); o.Key != want {
			t.Fatalf("%s, want %s", o.Key, want)
		}
		if err := s.Delete(t.Context(), o.Key); err != nil {
			t.Fatal(err)
		}
		n++
	}
	if n != 2000 || lists != 3 {
		t.Errorf("%d objects in %d lists", n, lists)
	}
	for range storage.All(t.Context(), s, "a/") {
		break
	}
	if lists != 4 {
		t.Errorf("%d lists for one object", lists-3)
	}
	broken := errors.New("503")
	s.Before = func(context.Context, string, string) error { return broken }
	n = 0
	for _, err := range storage.All(t.Context(), s, "a/") {
		if n++; !errors.Is(err, broken) {
			t.Errorf("a store that fails gives %v", err)
		}
	}
	if n != 1 {
		t.Errorf("it goes on %d times after an error", n-1)
	}
}
