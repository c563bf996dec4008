package storagetest

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"sync"
	"testing"

	"klive/storage"
)

// UploadStore is a store with uploads.
type UploadStore interface {
	storage.Store
	storage.Uploader
}

// RunUploads holds the uploads of the store that open returns against the contract, as [Run]
// does its other calls.
func RunUploads(t *testing.T, open func(t *testing.T) UploadStore) {
	tests := []struct {
		name string
		run  func(t *testing.T, s UploadStore)
	}{
		{"Sizes", testUploadSizes},
		{"Unseen", testUploadUnseen},
		{"Conditions", testUploadConditions},
		{"Race", testUploadRace},
		{"Over", testUploadOver},
		{"Cancelled", testUploadCancelled},
		{"Refused", testUploadRefused},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) { tt.run(t, open(t)) })
	}
}

func begin(t *testing.T, s UploadStore, key string, opt storage.PutOptions) storage.Upload {
	t.Helper()
	u, err := s.Upload(t.Context(), key, opt)
	if err != nil {
		t.Fatalf("Upload(%s): %v", key, err)
	}
	t.Cleanup(u.Abort)
	return u
}

func write(t *testing.T, u storage.Upload, data []byte) {
	t.Helper()
	if n, err := u.Write(data); err != nil || n != len(data) {
		t.Fatalf("Write of %d bytes = %d, %v", len(data), n, err)
	}
}

// noise returns n bytes that differ from any others.
func noise(n int, seed uint64) []byte {
	b := make([]byte, n)
	r := rand.NewChaCha8([32]byte{byte(seed), byte(n), byte(n >> 8), byte(n >> 16)})
	r.Read(b)
	return b
}

// testUploadSizes uploads nothing, little, and what needs several parts, in writes of uneven
// lengths from a buffer that is used again.
func testUploadSizes(t *testing.T, s UploadStore) {
	for _, size := range []int{0, 1, 100_000, 8 << 20, 16<<20 + 7} {
		key := fmt.Sprintf("recordings/%d.mp4", size)
		want := noise(size, 1)
		u := begin(t, s, key, storage.PutOptions{ContentType: "video/mp4"})
		buffer := make([]byte, 300_001)
		for rest := want; len(rest) > 0; {
			n := copy(buffer, rest)
			write(t, u, buffer[:n])
			rest = rest[n:]
		}
		info, err := u.Commit(t.Context())
		if err != nil {
			t.Fatalf("Commit of %d bytes: %v", size, err)
		}
		body, got, err := s.Get(t.Context(), key, nil)
		if err != nil {
			t.Fatal(err)
		}
		b, err := io.ReadAll(body)
		body.Close()
		if err != nil || !bytes.Equal(b, want) {
			t.Errorf("%d bytes came back, want %d as they were; %v", len(b), size, err)
		}
		if info.Size != int64(size) || info.ETag != got.ETag || got.Size != info.Size || got.ContentType != "video/mp4" {
			t.Errorf("Commit says %+v, Get says %+v", info, got)
		}
	}
}

// testUploadUnseen shows that nothing is seen before Commit, and nothing is left by Abort.
func testUploadUnseen(t *testing.T, s UploadStore) {
	for name, size := range map[string]int{"small": 10, "large": 17 << 20} {
		for _, old := range []string{"", "old"} {
			key := "recordings/" + name + old
			if old != "" {
				mustPut(t, s, key, old)
			}
			u := begin(t, s, key, storage.PutOptions{})
			write(t, u, noise(size, 2))
			body, _, err := s.Get(t.Context(), key, nil)
			if old == "" && !errors.Is(err, storage.ErrNotFound) {
				t.Errorf("%s: before Commit Get = %v, want ErrNotFound", key, err)
			}
			if err == nil {
				body.Close()
			}
			u.Abort()
			list, err := s.List(t.Context(), "", "", 10)
			if want := min(len(old), 1); err != nil || len(list) != want {
				t.Errorf("%s: after Abort %d objects, want %d, %v", key, len(list), want, err)
			}
			if old != "" {
				if text, _ := get(t, s, key, nil); text != old {
					t.Errorf("%s: after Abort %q, want the old object", key, text)
				}
				if err := s.Delete(t.Context(), key); err != nil {
					t.Fatal(err)
				}
			}
		}
	}
}

// testUploadConditions holds the condition at Commit, whatever was true before.
func testUploadConditions(t *testing.T, s UploadStore) {
	for name, size := range map[string]int{"small": 10, "large": 9 << 20} {
		late := begin(t, s, name, storage.PutOptions{IfAbsent: true})
		write(t, late, noise(size, 3))
		first := begin(t, s, name, storage.PutOptions{IfAbsent: true})
		write(t, first, noise(size, 4))
		info, err := first.Commit(t.Context())
		if err != nil {
			t.Fatalf("%s: first Commit: %v", name, err)
		}
		if _, err := late.Commit(t.Context()); !errors.Is(err, storage.ErrPrecondition) {
			t.Errorf("%s: second Commit on IfAbsent = %v, want ErrPrecondition", name, err)
		}
		late.Abort()
		next := begin(t, s, name, storage.PutOptions{IfMatch: info.ETag})
		write(t, next, noise(size, 5))
		if _, err := next.Commit(t.Context()); err != nil {
			t.Errorf("%s: Commit on IfMatch: %v", name, err)
		}
		stale := begin(t, s, name, storage.PutOptions{IfMatch: info.ETag})
		write(t, stale, noise(size, 6))
		if _, err := stale.Commit(t.Context()); !errors.Is(err, storage.ErrPrecondition) {
			t.Errorf("%s: Commit on an old ETag = %v, want ErrPrecondition", name, err)
		}
		if text, _ := get(t, s, name, nil); text != string(noise(size, 5)) {
			t.Errorf("%s: the object is not the one of the last Commit that succeeded", name)
		}
	}
}

// testUploadRace lets uploads and a put create one object: exactly one may win.
func testUploadRace(t *testing.T, s UploadStore) {
	errs := make([]error, 5)
	uploads := make([]storage.Upload, 4)
	for i := range uploads {
		uploads[i] = begin(t, s, "race", storage.PutOptions{IfAbsent: true})
		write(t, uploads[i], noise(9<<20, uint64(i)))
	}
	var wg sync.WaitGroup
	for i, u := range uploads {
		wg.Go(func() { _, errs[i] = u.Commit(t.Context()) })
	}
	wg.Go(func() { _, errs[4] = s.Put(t.Context(), "race", pieces("x"), storage.PutOptions{IfAbsent: true}) })
	wg.Wait()
	wins := 0
	for i, err := range errs {
		if err == nil {
			wins++
		} else if !errors.Is(err, storage.ErrPrecondition) {
			t.Errorf("loser %d got %v, want ErrPrecondition", i, err)
		}
	}
	if wins != 1 {
		t.Errorf("%d winners", wins)
	}
}

// testUploadOver uses an upload that has ended.
func testUploadOver(t *testing.T, s UploadStore) {
	for name, end := range map[string]func(u storage.Upload){
		"committed": func(u storage.Upload) {
			if _, err := u.Commit(t.Context()); err != nil {
				t.Error(err)
			}
			u.Abort()
		},
		"aborted": func(u storage.Upload) { u.Abort() },
	} {
		u := begin(t, s, name, storage.PutOptions{})
		write(t, u, []byte("x"))
		end(u)
		if _, err := u.Write([]byte("y")); !errors.Is(err, storage.ErrUploadOver) {
			t.Errorf("%s: Write = %v, want ErrUploadOver", name, err)
		}
		if _, err := u.Commit(t.Context()); !errors.Is(err, storage.ErrUploadOver) {
			t.Errorf("%s: Commit = %v, want ErrUploadOver", name, err)
		}
		u.Abort()
	}
	if text, _ := get(t, s, "committed", nil); text != "x" {
		t.Errorf("Abort after Commit left %q", text)
	}
	if _, _, err := s.Get(t.Context(), "aborted", nil); !errors.Is(err, storage.ErrNotFound) {
		t.Errorf("Get of what was aborted = %v, want ErrNotFound", err)
	}
}

// testUploadCancelled ends the context on the way.
func testUploadCancelled(t *testing.T, s UploadStore) {
	for name, size := range map[string]int{"small": 10, "large": 17 << 20} {
		ctx, cancel := context.WithCancel(t.Context())
		u, err := s.Upload(ctx, name, storage.PutOptions{})
		if err != nil {
			t.Fatal(err)
		}
		write(t, u, noise(size, 7))
		cancel()
		if _, err := u.Write([]byte("x")); !errors.Is(err, context.Canceled) {
			t.Errorf("%s: Write = %v, want Canceled", name, err)
		}
		if _, err := u.Commit(t.Context()); !errors.Is(err, context.Canceled) {
			t.Errorf("%s: Commit = %v, want Canceled", name, err)
		}
		u.Abort()
		if _, _, err := s.Get(t.Context(), name, nil); !errors.Is(err, storage.ErrNotFound) {
			t.Errorf("%s: Get = %v, want ErrNotFound", name, err)
		}
		if _, err := s.Upload(ctx, name, storage.PutOptions{}); !errors.Is(err, context.Canceled) {
			t.Errorf("%s: Upload with a context that has ended = %v, want Canceled", name, err)
		}
	}
}

func testUploadRefused(t *testing.T, s UploadStore) {
	if _, err := s.Upload(t.Context(), "a//b", storage.PutOptions{}); !errors.Is(err, storage.ErrKey) {
		t.Errorf("Upload = %v, want ErrKey", err)
	}
}
