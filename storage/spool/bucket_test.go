package spool_test

import (
	"context"
	"errors"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/credentials"

	"klive/storage"
	"klive/storage/s3"
	"klive/storage/spool"
	"klive/storage/storagetest"
)

// gate is a way to a server that can be closed: requests then get no answer.
type gate struct {
	base http.RoundTripper
	open chan struct{} // closed while requests pass; a test changes it between calls only
}

func (g *gate) RoundTrip(r *http.Request) (*http.Response, error) {
	select {
	case <-g.open:
		return g.base.RoundTrip(r)
	case <-r.Context().Done():
		return nil, r.Context().Err()
	}
}

// TestBucketAway takes a real bucket away, in both ways, and brings it back. It runs in real
// time, with patience to match.
func TestBucketAway(t *testing.T) {
	g := storagetest.StartGateway(t, "live")
	way := &gate{base: &http.Transport{}, open: make(chan struct{})}
	close(way.open)
	defer way.base.(*http.Transport).CloseIdleConnections()
	store, err := s3.Open(t.Context(), s3.Config{
		URL: g.URL("live"), HTTPClient: &http.Client{Transport: way},
		Credentials: credentials.NewStaticCredentialsProvider(storagetest.GatewayKey, storagetest.GatewaySecret, ""),
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(store.Close)
	s, err := spool.Open(spool.Config{Store: store, Dir: t.TempDir(), MaxBytes: 1 << 30, After: time.Second})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.Close)
	n := 0
	settled := make(chan error, 100)
	segment := strings.Repeat("segment ", 1<<16)
	put := func(want bool) {
		t.Helper()
		n++
		began := time.Now()
		held, err := s.PutMedia(t.Context(), key(n), [][]byte{[]byte(segment)}, mediaOptions, func(err error) { settled <- err })
		if held != want || err != nil || time.Since(began) > 5*time.Second {
			t.Errorf("object %d: held is %v after %v, %v", n, held, time.Since(began), err)
		}
	}
	outage := func(away, back func()) {
		put(false)
		away()
		for range 5 {
			put(true)
			time.Sleep(200 * time.Millisecond)
		}
		if _, err := s.Put(t.Context(), "state/head.json", [][]byte{[]byte("x")}, storage.PutOptions{}); !errors.Is(err, spool.ErrAway) {
			t.Errorf("another write: %v, want ErrAway", err)
		}
		began := time.Now()
		back()
		for range 5 {
			select {
			case err := <-settled:
				if err != nil {
					t.Error(err)
				}
			case <-time.After(20 * time.Second):
				t.Fatalf("not stored 20 s after the store is back: %+v", s.Stats())
			}
		}
		t.Logf("all stored %v after the bucket was back", time.Since(began).Round(time.Millisecond))
		if _, err := s.Put(t.Context(), "state/head.json", [][]byte{[]byte("x")}, storage.PutOptions{}); err != nil {
			t.Error(err)
		}
	}
	outage(g.Stop, g.Start)
	outage(func() { way.open = make(chan struct{}) }, func() { close(way.open) })
	list, err := store.List(context.Background(), "kLive/", "", 100)
	if err != nil || len(list) != 12 || slices.ContainsFunc(list, func(o storage.Info) bool { return o.Size != int64(len(segment)) }) {
		t.Errorf("%d objects, %v", len(list), err)
	}
}
