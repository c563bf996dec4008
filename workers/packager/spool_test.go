package packager

import (
	"context"
	"io"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"klive/infra/live"
	"klive/storage"
	"klive/storage/playlist"
	"klive/storage/spool"
)

// hangingStore answers nothing at all for a while.
type hangingStore struct {
	storage.Store
	// mu guards the fields below.
	mu    sync.Mutex
	until chan struct{} // closed when it answers again; nil while it does
}

func (s *hangingStore) hang(d time.Duration) {
	c := make(chan struct{})
	s.mu.Lock()
	s.until = c
	s.mu.Unlock()
	time.Sleep(d)
	s.mu.Lock()
	s.until = nil
	s.mu.Unlock()
	close(c)
}

func (s *hangingStore) wait(ctx context.Context) error {
	s.mu.Lock()
	until := s.until
	s.mu.Unlock()
	if until == nil {
		return nil
	}
	select {
	case <-until:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

func (s *hangingStore) Put(ctx context.Context, key string, data [][]byte, opt storage.PutOptions) (storage.Info, error) {
	if err := s.wait(ctx); err != nil {
		return storage.Info{}, err
	}
	return s.Store.Put(ctx, key, data, opt)
}

func (s *hangingStore) Get(ctx context.Context, key string, r *storage.Range) (io.ReadCloser, storage.Info, error) {
	if err := s.wait(ctx); err != nil {
		return nil, storage.Info{}, err
	}
	return s.Store.Get(ctx, key, r)
}

// TestSpool packages over the real spool and a store that hangs for a minute.
func TestSpool(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := newRig(t)
		g.opt.LiveGrace = time.Hour
		hanging := &hangingStore{Store: g.store.Store}
		sp, err := spool.Open(spool.Config{Store: hanging, Dir: t.TempDir(), MaxBytes: 1 << 30, After: time.Second})
		if err != nil {
			t.Fatal(err)
		}
		defer sp.Close()
		g.shelf, g.store.Store = sp, sp
		result, end := g.start()
		defer end()
		var wg sync.WaitGroup
		wg.Go(func() {
			g.on(publish{feed: feedOf(live.Primary, 1, 1), ladder: pass(32), rate: 30, video: small(t), audio: aac(t), duration: 100 * time.Second})
		})
		wg.Go(func() {
			time.Sleep(10 * time.Second)
			hanging.hang(time.Minute)
		})
		if stall := g.watch(105 * time.Second); stall > 1500*time.Millisecond {
			t.Errorf("the live edge stands still for %v", stall)
		}
		wg.Wait()
		b := ended(t, g, result)
		g.whole(t, b, true)
		if text := string(g.object(playlist.LiveKey(entry + "_32"))); !strings.HasSuffix(text, "ENDLIST\n") {
			t.Error("the stored playlist has no end")
		}
		if n := sp.Stats().Objects; n != 0 {
			t.Errorf("%d objects are still spooled", n)
		}
	})
}
