package s3_test

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/prometheus/client_golang/prometheus"
	"pgregory.net/rapid"

	"klive/storage"
	"klive/storage/s3"
	"klive/storage/storagetest"
)

func text(s string) [][]byte { return [][]byte{[]byte(s)} }

// read returns an object's content and description.
func read(t *testing.T, s storage.Store, key string) (string, storage.Info) {
	t.Helper()
	body, info, err := s.Get(t.Context(), key, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer body.Close()
	b, err := io.ReadAll(body)
	if err != nil {
		t.Fatal(err)
	}
	return string(b), info
}

// loseFirst loses the answers to the first n requests of a kind.
func loseFirst(n int, kinds ...string) func(string, int, *http.Request) fate {
	return func(kind string, i int, _ *http.Request) fate {
		for _, k := range kinds {
			if k == kind && i <= n {
				return fate{lost: true}
			}
		}
		return fate{}
	}
}

// A conditional write that runs into itself has succeeded; one that runs into another has not.
func TestLostAnswers(t *testing.T) {
	t.Parallel() // it waits most of the time
	g := storagetest.StartGateway(t, "live")
	plain := open(t, g, "live", nil)
	for _, lost := range []int{1, 2} {
		w := &wire{on: loseFirst(lost, "PUT", "HEAD")}
		s := through(t, g, "live", w, nil)
		key := fmt.Sprintf("create/%d", lost)
		info, err := s.Put(t.Context(), key, text("mine"), storage.PutOptions{IfAbsent: true})
		if err != nil {
			t.Fatalf("create with %d lost answers: %v", lost, err)
		}
		if _, got := read(t, plain, key); info.ETag != got.ETag || info.Size != 4 {
			t.Errorf("Put says %+v, Get says %+v", info, got)
		}

		w.mu.Lock()
		w.count = nil
		w.mu.Unlock()
		if _, err := s.Put(t.Context(), key, text("again"), storage.PutOptions{IfMatch: info.ETag}); err != nil {
			t.Errorf("replace with %d lost answers: %v", lost, err)
		}
		w.mu.Lock()
		w.count = nil
		w.mu.Unlock()
		// The same bytes as those that are there, but not this write's.
		if _, err := s.Put(t.Context(), key, text("again"), storage.PutOptions{IfAbsent: true}); !errors.Is(err, storage.ErrPrecondition) {
			t.Errorf("create over another's object with %d lost answers = %v, want ErrPrecondition", lost, err)
		}
	}
}

// Who may write but not read can't tell a lost answer from another's object, and is told so.
func TestReadBackForbidden(t *testing.T) {
	s, _ := alone(t, func(kind string, _ int, _ *http.Request) fate {
		if kind == "HEAD" {
			return fate{answer: answer(403, "", "")}
		}
		return fate{answer: answer(412, "PreconditionFailed", "At least one of the pre-conditions you specified did not hold")}
	}, nil)
	_, err := s.Put(t.Context(), "a", text("x"), storage.PutOptions{IfAbsent: true})
	if err == nil || errors.Is(err, storage.ErrPrecondition) || !strings.Contains(err.Error(), "s3:GetObject") {
		t.Errorf("Put = %v", err)
	}
}

// A conflict (409) with a write or a delete under way is tried again.
func TestConflict(t *testing.T) {
	g := storagetest.StartGateway(t, "live")
	w := &wire{on: func(kind string, n int, _ *http.Request) fate {
		if kind == "PUT" && n%2 == 1 {
			return fate{answer: answer(409, "ConditionalRequestConflict", "A conflicting operation is in progress")}
		}
		return fate{}
	}}
	s := through(t, g, "live", w, nil)
	info, err := s.Put(t.Context(), "a", text("one"), storage.PutOptions{IfAbsent: true})
	if err != nil {
		t.Fatalf("create: %v", err)
	}
	if _, err := s.Put(t.Context(), "a", text("two"), storage.PutOptions{IfMatch: info.ETag}); err != nil {
		t.Errorf("replace: %v", err)
	}
	for _, opt := range []storage.PutOptions{{IfAbsent: true}, {IfMatch: info.ETag}} {
		if _, err := s.Put(t.Context(), "a", text("three"), opt); !errors.Is(err, storage.ErrPrecondition) {
			t.Errorf("%+v = %v, want ErrPrecondition", opt, err)
		}
	}
	if n := w.counted("PUT"); n != 6 {
		t.Errorf("%d attempts, want 6", n)
	}
}

// TestOneWinner lets writers create an object while answers get lost and the store is busy.
// Exactly one of them knows that it has won, and it is the one that did.
func TestOneWinner(t *testing.T) {
	t.Parallel() // it waits most of the time
	g := storagetest.StartGateway(t, "live")
	var stores [6]*s3.Store
	var fates [6]chan string // what happens to each writer's next requests; later ones pass
	for i := range stores {
		fates[i] = make(chan string, 2)
		stores[i] = through(t, g, "live", &wire{on: func(string, int, *http.Request) fate {
			select {
			case f := <-fates[i]:
				return map[string]fate{
					"lost": {lost: true}, "unsent": {before: errLost},
					"busy": {answer: answer(503, "SlowDown", "Please reduce your request rate.")},
				}[f]
			default:
				return fate{}
			}
		}}, nil)
	}
	var round atomic.Int64
	rapid.Check(t, func(rt *rapid.T) {
		key := fmt.Sprintf("race/%d", round.Add(1))
		writers := rapid.IntRange(1, len(stores)).Draw(rt, "writers")
		for i := range writers {
			for len(fates[i]) > 0 {
				<-fates[i] // what the round before did not come to
			}
			for _, f := range rapid.SliceOfN(rapid.SampledFrom([]string{"ok", "lost", "busy", "unsent"}), 0, 2).Draw(rt, "fates") {
				fates[i] <- f
			}
		}
		errs := make([]error, writers)
		var wg sync.WaitGroup
		for i, s := range stores[:writers] {
			wg.Go(func() {
				_, errs[i] = s.Put(t.Context(), key, text(fmt.Sprint(i)), storage.PutOptions{IfAbsent: true})
			})
		}
		wg.Wait()
		winner := -1
		for i, err := range errs {
			switch {
			case err == nil && winner >= 0:
				rt.Fatalf("writers %d and %d both think that they won", winner, i)
			case err == nil:
				winner = i
			case !errors.Is(err, storage.ErrPrecondition):
				rt.Fatalf("writer %d got %v", i, err)
			}
		}
		if winner < 0 {
			rt.Fatal("nobody won")
		}
		if got, _ := read(t, stores[winner], key); got != fmt.Sprint(winner) {
			rt.Fatalf("writer %d thinks that it won, but the object is by %s", winner, got)
		}
	})
}

// Uploads get through lost answers of each kind.
func TestUploadWithLostAnswers(t *testing.T) {
	t.Parallel() // it waits most of the time
	g := storagetest.StartGateway(t, "live")
	want := bytes.Repeat([]byte("recording"), 1<<20)
	for i, lost := range []string{"POST uploads", "PUT uploadId", "POST uploadId", "HEAD"} {
		for _, opt := range []storage.PutOptions{{}, {IfAbsent: true}} {
			key := fmt.Sprintf("recordings/%d/%v", i, opt.IfAbsent)
			s := through(t, g, "live", &wire{on: loseFirst(1, lost, "POST uploadId")}, nil)
			u, err := s.Upload(t.Context(), key, opt)
			if err != nil {
				t.Fatal(err)
			}
			if _, err := u.Write(want); err != nil {
				t.Fatalf("lost %s: Write: %v", lost, err)
			}
			info, err := u.Commit(t.Context())
			u.Abort()
			if err != nil {
				t.Errorf("lost %s, %+v: Commit: %v", lost, opt, err)
				continue
			}
			if got, have := read(t, s, key); got != string(want) || info.ETag != have.ETag || info.Size != have.Size {
				t.Errorf("lost %s: Commit says %+v, Get says %+v", lost, info, have)
			}
		}
	}
}

// A body that breaks off goes on where it ended, unless the object is another by then.
func TestBodyBreaksOff(t *testing.T) {
	g := storagetest.StartGateway(t, "live")
	content := make([]byte, 300_000)
	for i := range content {
		content[i] = byte(i * i >> 8)
	}
	plain := open(t, g, "live", nil)
	if _, err := plain.Put(t.Context(), "a", [][]byte{content}, storage.PutOptions{}); err != nil {
		t.Fatal(err)
	}
	var replace atomic.Bool
	w := &wire{on: func(kind string, n int, r *http.Request) fate {
		return fate{response: func(resp *http.Response) {
			body := resp.Body
			resp.Body = &cut{ReadCloser: body, left: 100_000, then: func() {
				if replace.Load() {
					if _, err := plain.Put(t.Context(), "a", text("other"), storage.PutOptions{}); err != nil {
						t.Error(err)
					}
				}
			}}
		}}
	}}
	metrics := prometheus.NewRegistry()
	s := through(t, g, "live", w, func(c *s3.Config) { c.Registerer = metrics })
	if got, _ := read(t, s, "a"); got != string(content) {
		t.Errorf("%d bytes came, not as they were", len(got))
	}
	if n := w.counted("GET"); n != 3 {
		t.Errorf("%d requests for 300 KB with a cut each 100 KB, want 3", n)
	}
	body, info, err := s.Get(t.Context(), "a", &storage.Range{Offset: 1000, Length: 250_000})
	if err != nil {
		t.Fatal(err)
	}
	if b, err := io.ReadAll(body); err != nil || !bytes.Equal(b, content[1000:251_000]) || info.Size != 300_000 {
		t.Errorf("a range of %d bytes, %v, %+v", len(b), err, info)
	}
	body.Close()
	if n := counter(t, metrics, "klive_s3_repeats_total", map[string]string{"op": "get", "reason": "body"}); n != 4 {
		t.Errorf("the metrics tell of %v repeats, want 4", n)
	}

	replace.Store(true)
	body, _, err = s.Get(t.Context(), "a", nil)
	if err != nil {
		t.Fatal(err)
	}
	defer body.Close()
	if b, err := io.ReadAll(body); !errors.Is(err, storage.ErrPrecondition) {
		t.Errorf("%d bytes of two objects came, %v", len(b), err)
	}
}

// The rest of a body that broke off is nothing else, though something between klive and the
// store may not know ranges.
func TestBodyGoesOnWhereItEnded(t *testing.T) {
	g := storagetest.StartGateway(t, "live")
	content := bytes.Repeat([]byte("0123456789"), 30_000)
	if _, err := open(t, g, "live", nil).Put(t.Context(), "a", [][]byte{content}, storage.PutOptions{}); err != nil {
		t.Fatal(err)
	}
	w := &wire{on: func(_ string, n int, _ *http.Request) fate {
		return fate{response: func(resp *http.Response) {
			if n == 1 {
				resp.Body = &cut{ReadCloser: resp.Body, left: 100_003, then: func() {}}
				return
			}
			resp.Body.Close()
			resp.StatusCode, resp.ContentLength, resp.Body = http.StatusOK, int64(len(content)), io.NopCloser(bytes.NewReader(content))
			resp.Header.Del("Content-Range")
		}}
	}}
	s := through(t, g, "live", w, nil)
	body, _, err := s.Get(t.Context(), "a", nil)
	if err != nil {
		t.Fatal(err)
	}
	defer body.Close()
	if b, err := io.ReadAll(body); err == nil || !bytes.Equal(b, content[:100_003]) || !strings.Contains(err.Error(), "ranges") {
		t.Errorf("%d bytes, %v", len(b), err)
	}
	if _, _, err := s.Get(t.Context(), "a", &storage.Range{Offset: 7, Length: 5}); err == nil || !strings.Contains(err.Error(), "ranges") {
		t.Errorf("a range of a whole answer: %v", err)
	}
}

// cut is a body that breaks off.
type cut struct {
	io.ReadCloser
	left int
	then func()
}

func (c *cut) Read(p []byte) (int, error) {
	if c.left == 0 {
		c.then()
		return 0, errLost
	}
	n, err := c.ReadCloser.Read(p[:min(len(p), c.left)])
	c.left -= n
	return n, err
}
