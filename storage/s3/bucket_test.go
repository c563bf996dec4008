package s3_test

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"net/http"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"klive/storage"
	"klive/storage/s3"
	"klive/storage/storagetest"
)

// Objects that are not ours do no harm: they are left out of lists, told of once, and left alone.
func TestForeignObjects(t *testing.T) {
	g := storagetest.StartGateway(t, "live")
	dir := filepath.Join(g.Dir, "live", "p", "kLive")
	if err := os.MkdirAll(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"a b", "b\x01c", "ümlaut", "c"} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte("x"), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	var log bytes.Buffer
	s := open(t, g, "live/p", func(c *s3.Config) { c.Logger = slog.New(slog.NewTextHandler(&log, nil)) })
	if _, err := s.Put(t.Context(), "kLive/z", text("x"), storage.PutOptions{}); err != nil {
		t.Fatal(err)
	}
	for range 2 {
		// Pages of one, so that pages without a key of ours come up.
		var got []string
		for after := ""; ; {
			list, err := s.List(t.Context(), "kLive/", after, 1)
			if err != nil {
				t.Fatal(err)
			}
			if len(list) == 0 {
				break
			}
			after = list[0].Key
			got = append(got, after)
		}
		if want := []string{"kLive/c", "kLive/z"}; !slices.Equal(got, want) {
			t.Errorf("List = %q, want %q", got, want)
		}
	}
	if n := strings.Count(log.String(), "left alone"); n != 1 {
		t.Errorf("told %d times:\n%s", n, log.String())
	}
}

// Deletes go in batches of 1000.
func TestDeleteBatches(t *testing.T) {
	g := storagetest.StartGateway(t, "live")
	w := &wire{}
	s := through(t, g, "live", w, nil)
	var keys []string
	for i := range 2300 {
		keys = append(keys, fmt.Sprintf("a/%d", i))
	}
	for _, i := range []int{0, 999, 1000, 2299} {
		if _, err := s.Put(t.Context(), keys[i], text("x"), storage.PutOptions{}); err != nil {
			t.Fatal(err)
		}
	}
	if err := s.Delete(t.Context(), keys...); err != nil {
		t.Fatal(err)
	}
	if list, err := s.List(t.Context(), "", "", 10); err != nil || len(list) != 0 || w.counted("POST delete") != 3 {
		t.Errorf("left over %+v, %v, %d requests", list, err, w.counted("POST delete"))
	}
}

// Of a batch that fails in part, what may still go is tried again, and the rest is reported.
func TestDeleteInPart(t *testing.T) {
	result := func(errs ...string) fate {
		body := "<DeleteResult>"
		for i := 0; i < len(errs); i += 2 {
			body += "<Error><Key>p/" + errs[i] + "</Key><Code>" + errs[i+1] + "</Code><Message>no</Message></Error>"
		}
		a := answer(200, "", "")
		a.Body = io.NopCloser(strings.NewReader(body + "</DeleteResult>"))
		return fate{answer: a}
	}
	prefix := func(c *s3.Config) { c.URL = "s3://live/p?region=r" }
	var second string
	s, w := alone(t, func(_ string, n int, r *http.Request) fate {
		if n == 1 {
			return result("b", "InternalError", "c", "NoSuchKey")
		}
		b, _ := io.ReadAll(r.Body)
		second = string(b)
		return result()
	}, prefix)
	if err := s.Delete(t.Context(), "a", "b", "c"); err != nil || w.counted("POST delete") != 2 {
		t.Errorf("Delete = %v after %d requests", err, w.counted("POST delete"))
	}
	if !strings.Contains(second, "<Key>p/b</Key>") || strings.Contains(second, "p/a") || strings.Contains(second, "p/c") {
		t.Errorf("the second request was for %s", second)
	}
	s, w = alone(t, func(string, int, *http.Request) fate { return result("a", "AccessDenied", "b", "InternalError") }, prefix)
	err := s.Delete(t.Context(), "a", "b", "c")
	if err == nil || w.counted("POST delete") != 1 {
		t.Fatalf("Delete = %v after %d requests", err, w.counted("POST delete"))
	}
	for _, word := range []string{"p/a", "s3:DeleteObject", "2 of 3 objects are left"} {
		if !strings.Contains(err.Error(), word) {
			t.Errorf("%q does not say %q", err, word)
		}
	}
}

// Each way of writing asks for the encryption, the type and the caching that are configured.
func TestHeaders(t *testing.T) {
	opt := storage.PutOptions{ContentType: "video/mp4", CacheControl: "public, max-age=31536000, immutable"}
	for _, encryption := range []string{"none", "AES256", "aws:kms"} {
		seen := 0
		s, _ := alone(t, func(kind string, _ int, r *http.Request) fate {
			key := r.Header.Get("X-Amz-Server-Side-Encryption-Aws-Kms-Key-Id")
			if got := r.Header.Get("X-Amz-Server-Side-Encryption"); got != strings.TrimPrefix(encryption, "none") || (encryption == "aws:kms") != (key == "key/1") {
				t.Errorf("%s: %s has the encryption %q and the key %q", encryption, kind, got, key)
			}
			if r.Header.Get("Content-Type") != opt.ContentType || r.Header.Get("Cache-Control") != opt.CacheControl {
				t.Errorf("%s has the headers %v", kind, r.Header)
			}
			seen++
			return fate{answer: answer(400, "InvalidRequest", "enough")}
		}, func(c *s3.Config) {
			if c.Encryption = encryption; encryption == "aws:kms" {
				c.KMSKey = "key/1"
			}
		})
		s.Put(t.Context(), "a", text("x"), opt)
		u, err := s.Upload(t.Context(), "a", opt)
		if err != nil {
			t.Fatal(err)
		}
		u.Write(make([]byte, 9<<20))
		u.Abort()
		if seen != 2 {
			t.Errorf("%d requests", seen)
		}
	}
}

// Headers come back with the object, as a CDN that reads the bucket sees them.
func TestHeadersComeBack(t *testing.T) {
	g := storagetest.StartGateway(t, "live")
	s := open(t, g, "live", nil)
	opt := storage.PutOptions{ContentType: "video/mp4", CacheControl: "public, max-age=31536000, immutable", IfAbsent: true}
	for name, size := range map[string]int{"small": 1, "large": 9 << 20} {
		u, err := s.Upload(t.Context(), name, opt)
		if err != nil {
			t.Fatal(err)
		}
		u.Write(make([]byte, size))
		if _, err := u.Commit(t.Context()); err != nil {
			t.Fatal(err)
		}
		if _, info := read(t, s, name); info.ContentType != opt.ContentType || info.CacheControl != opt.CacheControl {
			t.Errorf("%s: %+v", name, info)
		}
	}
}

// An upload waits for a slow store with bounded memory, and Abort leaves nothing behind.
func TestUploadIsBounded(t *testing.T) {
	g := storagetest.StartGateway(t, "live")
	var under, most atomic.Int64
	var heap atomic.Uint64
	s := through(t, g, "live", &wire{on: func(kind string, _ int, r *http.Request) fate {
		if kind == "PUT uploadId" {
			most.Store(max(most.Load(), under.Add(1)))
			defer under.Add(-1)
			var m runtime.MemStats
			runtime.GC()
			runtime.ReadMemStats(&m)
			heap.Store(max(heap.Load(), m.HeapAlloc))
		}
		return fate{}
	}}, nil)
	var m runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&m)
	u, err := s.Upload(t.Context(), "recordings/a.mp4", storage.PutOptions{})
	if err != nil {
		t.Fatal(err)
	}
	piece := make([]byte, 1<<20)
	for i := range 100 {
		if _, err := u.Write(piece); err != nil {
			t.Fatalf("Write %d: %v", i, err)
		}
	}
	grown := int64(heap.Load()) - int64(m.HeapAlloc)
	t.Logf("100 MiB: the heap grew by %.1f MiB, at most %d parts on their way", float64(grown)/(1<<20), most.Load())
	if grown > storage.MaxUploadMemory {
		t.Errorf("the heap grew by %d bytes", grown)
	}
	if parts := partsIn(t, g); len(parts) == 0 {
		t.Error("no part is in the bucket; where does the gateway keep them?")
	}
	u.Abort()
	if parts := partsIn(t, g); len(parts) != 0 {
		t.Errorf("Abort left %q", parts)
	}
	if _, _, err := s.Get(t.Context(), "recordings/a.mp4", nil); !errors.Is(err, storage.ErrNotFound) {
		t.Errorf("Get = %v", err)
	}
}

// partsIn lists the files in the bucket's folder.
func partsIn(t *testing.T, g *storagetest.Gateway) []string {
	t.Helper()
	var out []string
	err := filepath.WalkDir(filepath.Join(g.Dir, "live"), func(path string, d fs.DirEntry, err error) error {
		if err == nil && d.Type().IsRegular() {
			out = append(out, path)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return out
}

// A store that was away is used again as soon as it is back.
func TestRestart(t *testing.T) {
	g := storagetest.StartGateway(t, "live")
	s := through(t, g, "live", &wire{on: func(kind string, n int, _ *http.Request) fate {
		switch {
		case kind == "PUT" && n == 2:
			g.Stop()
		case kind == "PUT" && n == 4:
			g.Start()
		}
		return fate{}
	}}, nil)
	for _, key := range []string{"before", "across"} {
		if _, err := s.Put(t.Context(), key, text("x"), storage.PutOptions{IfAbsent: true}); err != nil {
			t.Errorf("Put %s a restart: %v", key, err)
		}
	}
	if list, err := s.List(t.Context(), "", "", 10); err != nil || len(list) != 2 {
		t.Errorf("List = %+v, %v", list, err)
	}
}

// TestMeasure prints what puts cost on this machine.
func TestMeasure(t *testing.T) {
	if testing.Short() {
		t.Skip("SKIP: measures, -short")
	}
	g := storagetest.StartGateway(t, "live")
	s := open(t, g, "live", func(c *s3.Config) { c.Logger = nil })
	for _, size := range []int{1 << 10, 4 << 20} {
		data := [][]byte{make([]byte, size/2), make([]byte, size/2)}
		var took []time.Duration
		for i := range 20 {
			begin := time.Now()
			if _, err := s.Put(t.Context(), fmt.Sprintf("m/%d/%d", size, i), data, storage.PutOptions{IfAbsent: true}); err != nil {
				t.Fatal(err)
			}
			took = append(took, time.Since(begin))
		}
		slices.Sort(took)
		t.Logf("put of %d KiB: median %v, slowest %v", size>>10, took[10].Round(10*time.Microsecond), took[19].Round(10*time.Microsecond))
	}
}
