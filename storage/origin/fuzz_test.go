package origin_test

import (
	"context"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"sync"
	"testing"
	"time"

	"klive/storage"
	"klive/storage/origin"
	"klive/storage/storagetest"
	"klive/storage/timeline"
	tt "klive/storage/timeline/timelinetest"
)

// publicStore fails the test when something is read that is not public.
type publicStore struct {
	storage.Store
	mu sync.Mutex // guards the field below
	// bad is a key that must not have been asked for.
	bad string
}

func (s *publicStore) Get(ctx context.Context, key string, r *storage.Range) (io.ReadCloser, storage.Info, error) {
	if !strings.HasPrefix(key, "kLive/") || strings.Contains(key, "..") {
		s.mu.Lock()
		s.bad = key
		s.mu.Unlock()
	}
	return s.Store.Get(ctx, key, r)
}

// timelines is a state that stays as it is.
type timelines struct{ state *timeline.State }

func (t timelines) State(_ context.Context, entry string) (*timeline.State, error) {
	if entry != t.state.Entry {
		return nil, timeline.ErrNoTimeline
	}
	return t.state, nil
}

func (timelines) Items(context.Context, string, timeline.Chapter) ([]timeline.Item, error) {
	return nil, storage.ErrNotFound
}

// FuzzAddress asks for anything: the answer is one of those that the origin means to give, and
// nothing is read outside of what is public.
func FuzzAddress(f *testing.F) {
	for _, a := range answers() {
		f.Add(a.target, "bytes=0-1", "")
	}
	key := origin.Key{ID: "k1", Secret: "first-secret-of-viewers"}
	f.Add(origin.SignedPath(origin.Sign(key, tt.Entry, time.Unix(1<<40, 0)), multi), "bytes=-", `"x"`)
	f.Add("/kLive/"+tt.Video+"/"+tt.Broadcast+"/1-1.ts", "bytes=9-1", "*")
	sc := tt.NewScript()
	state, err := tt.Fold(append(sc.Open(tt.Broadcast, time.Hour), sc.Adopt(4*sec, false), sc.Store())...)
	if err != nil {
		f.Fatal(err)
	}
	store := &publicStore{Store: storagetest.NewMemory()}
	open := origin.New(origin.Config{Timelines: timelines{state}, Store: store, TS: true})
	closed := origin.New(origin.Config{Timelines: timelines{state}, Store: store, Access: origin.Access{Keys: []origin.Key{key}}})
	f.Fuzz(func(t *testing.T, target, ranges, etag string) {
		u, err := url.ParseRequestURI(target)
		if err != nil {
			return
		}
		for _, o := range []*origin.Origin{open, closed} {
			r := &http.Request{Method: http.MethodGet, URL: u, Header: http.Header{}}
			r.Header.Set("Range", ranges)
			r.Header.Set("If-None-Match", etag)
			r.Header.Set("X-Original-URI", target)
			w := httptest.NewRecorder()
			o.ServeHTTP(w, r.WithContext(t.Context()))
			switch w.Code {
			case 200, 204, 206, 302, 304, 403, 404, 416:
			default:
				t.Errorf("%q: %d %s", target, w.Code, w.Body)
			}
			if w.Code >= 400 && w.Header().Get("Cache-Control") != "max-age=1" && w.Header().Get("Cache-Control") != "no-store" {
				t.Errorf("%q: a %d is cached for %q", target, w.Code, w.Header().Get("Cache-Control"))
			}
		}
		store.mu.Lock()
		defer store.mu.Unlock()
		if store.bad != "" {
			t.Fatalf("%q reads %q", target, store.bad)
		}
	})
}
