package storage_test

import (
	"context"
	"errors"
	"io"
	"testing"
	"testing/synctest"
	"time"

	"klive/storage"
	"klive/storage/storagetest"
)

func TestGetWithin(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := storagetest.NewMemory()
		if _, err := s.Put(t.Context(), "a/b", [][]byte{[]byte("text")}, storage.PutOptions{}); err != nil {
			t.Fatal(err)
		}
		var takes time.Duration
		deaf := false // to its context
		s.Before = func(ctx context.Context, _, _ string) error {
			late := time.After(takes)
			if deaf {
				<-late
				return nil
			}
			select {
			case <-late:
				return nil
			case <-ctx.Done():
				return ctx.Err()
			}
		}
		takes = 900 * time.Millisecond
		body, info, err := storage.GetWithin(t.Context(), s, "a/b", nil, time.Second)
		if err != nil || info.Size != 4 {
			t.Fatalf("in time: %+v, %v", info, err)
		}
		time.Sleep(time.Hour) // the body is not bounded
		if b, err := io.ReadAll(body); err != nil || string(b) != "text" {
			t.Errorf("read %q, %v", b, err)
		}
		if err := body.Close(); err != nil {
			t.Error(err)
		}
		if _, _, err := storage.GetWithin(t.Context(), s, "a/c", nil, time.Second); !errors.Is(err, storage.ErrNotFound) {
			t.Errorf("no object: %v", err)
		}
		takes = 2 * time.Second
		for _, deaf = range []bool{false, true} {
			if _, _, err := storage.GetWithin(t.Context(), s, "a/b", nil, time.Second); !errors.Is(err, storage.ErrSlow) {
				t.Errorf("late: %v", err)
			}
			ctx, cancel := context.WithTimeout(t.Context(), time.Second/2)
			if body, _, err := storage.GetWithin(ctx, s, "a/b", nil, time.Second); body != nil || !errors.Is(err, context.DeadlineExceeded) {
				t.Errorf("a caller without patience: %v", err)
			}
			cancel()
		}
	})
}
