package packager

import (
	"context"
	"errors"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"klive/infra/live"
	"klive/storage"
	"klive/storage/playlist"
	"klive/storage/timeline"
)

// testShelf is a spool in memory. While it is away every write to the store fails at once.
type testShelf struct {
	store storage.Store

	// mu guards the fields below.
	mu   sync.Mutex
	away bool
	list []spooled
}

type spooled struct {
	key     string
	data    [][]byte
	opt     storage.PutOptions
	settled []func(error)
}

var errAway = errors.New("the store is away")

// PutMedia implements [Shelf].
func (s *testShelf) PutMedia(ctx context.Context, key string, data [][]byte, opt storage.PutOptions, settled func(error)) (bool, error) {
	if s.hold(key, data, opt, settled) {
		return true, nil
	}
	_, err := s.store.Put(ctx, key, data, opt)
	return false, err
}

func (s *testShelf) hold(key string, data [][]byte, opt storage.PutOptions, settled func(error)) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	for i := range s.list {
		if s.list[i].key == key {
			s.list[i].settled = append(s.list[i].settled, settled)
			return true
		}
	}
	if s.away {
		s.list = append(s.list, spooled{key, data, opt, []func(error){settled}})
	}
	return s.away
}

// fails is a hook of the store.
func (s *testShelf) fails(string) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.away {
		return errAway
	}
	return nil
}

func (s *testShelf) leave() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.away = true
}

// back ends the store's absence and stores what waits, but for what giveUp names.
func (s *testShelf) back(t *testing.T, giveUp func(key string) bool) {
	s.mu.Lock()
	list := s.list
	s.list, s.away = nil, false
	s.mu.Unlock()
	for _, o := range list {
		var err error
		if giveUp != nil && giveUp(o.key) {
			err = errors.New("over the budget")
		} else if _, e := s.store.Put(t.Context(), o.key, o.data, o.opt); e != nil && !errors.Is(e, storage.ErrPrecondition) {
			t.Error(e)
		}
		for _, f := range o.settled {
			f(err)
		}
	}
}

func (g *rig) withShelf() *testShelf {
	s := &testShelf{store: g.store}
	g.shelf = s
	g.store.set(s.fails)
	return s
}

// TestStoreAway takes the store away for a minute, from before the first segment in one case.
// The live edge goes on from held media, and afterwards everything is stored.
func TestStoreAway(t *testing.T) {
	for name, from := range map[string]time.Duration{"within": 10 * time.Second, "from the beginning": time.Second} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				g := newRig(t)
				g.opt.LiveGrace = time.Hour
				shelf := g.withShelf()
				result, end := g.start()
				defer end()
				var wg sync.WaitGroup
				f := feedOf(live.Primary, 1, 1)
				wg.Go(func() {
					g.on(publish{feed: f, ladder: pass(32), rate: 30, video: small(t), audio: aac(t), duration: 100 * time.Second})
				})
				wg.Go(func() {
					if stall := g.watch(110 * time.Second); stall > time.Second {
						t.Errorf("the live edge stands still for %v", stall)
					}
				})
				time.Sleep(from)
				shelf.leave()
				time.Sleep(time.Minute)
				st := g.writer().State()
				b := st.Current()
				held := 0
				for _, it := range b.Items {
					if it.Media[0].Held {
						held++
					}
				}
				if held < 14 || !strings.Contains(playlist.Live(b, entry+"_32", 5), b.Items[len(b.Items)-1].Media[0].Name) {
					t.Errorf("%d items are held", held)
				}
				g.partsAreThere(f, b.Items)
				shelf.back(t, nil)
				back := time.Now()
				for g.state().LogSeq < g.writer().State().LogSeq {
					time.Sleep(20 * time.Millisecond)
				}
				if d := time.Since(back); d > time.Second {
					t.Errorf("the head is there %v after the store", d)
				}
				wg.Wait()
				done := ended(t, g, result)
				sameFrames(t, "video", g.samples(done, entry+"_32"), g.sent[0], videoTick)
				sameFrames(t, "audio", g.samples(done, entry+"_a1"), g.sent[1], audioTick)
				if v := done.Rendition(entry + "_32"); v.Inits != 1 {
					t.Errorf("%d initialization sections", v.Inits)
				}
				if !strings.HasSuffix(string(g.object(playlist.LiveKey(entry+"_32"))), "ENDLIST\n") {
					t.Error("the stored playlist has no end")
				}
			})
		})
	}
}

// partsAreThere holds that the parts of held items are still on the media plane.
func (g *rig) partsAreThere(f live.Feed, items []timeline.Item) {
	g.t.Helper()
	i := slices.IndexFunc(items, func(it timeline.Item) bool {
		// The ring keeps them for 30 s.
		return it.Media[0].Held && time.Since(it.End().Std()) < 20*time.Second
	})
	if i < 0 {
		g.t.Error("no item is held")
		return
	}
	r, err := g.ring.Follow(g.t.Context(), f.Subject(), items[i].Media[0].FirstPart)
	if err != nil {
		g.t.Fatal(err)
	}
	defer r.Close()
	if m, err := r.Next(g.t.Context()); err != nil || m.Seq != items[i].Media[0].FirstPart {
		g.t.Errorf("the first part of a held item: %v, %v", m.Seq, err)
	}
}

// TestGivenUp holds that held media that never come to the store become gaps.
func TestGivenUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := newRig(t)
		shelf := g.withShelf()
		result, end := g.start()
		defer end()
		var wg sync.WaitGroup
		wg.Go(func() {
			g.on(publish{feed: feedOf(live.Primary, 1, 1), ladder: pass(32), rate: 30, video: small(t), duration: 40 * time.Second})
		})
		time.Sleep(10 * time.Second)
		shelf.leave()
		time.Sleep(12 * time.Second)
		n := 0
		shelf.back(t, func(key string) bool { n++; return n == 2 })
		wg.Wait()
		gaps := 0
		for _, it := range ended(t, g, result).Items {
			if m := it.Media[0]; m.Gap {
				gaps++
			} else if !m.Stored {
				t.Errorf("item %d: %+v", it.Seq, m)
			}
		}
		if gaps != 1 {
			t.Errorf("%d gaps, want 1", gaps)
		}
	})
}

// TestEndWhileAway ends the broadcast while the store is away: the packager stays until
// everything is stored.
func TestEndWhileAway(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := newRig(t)
		g.opt.Resume = 10 * time.Second
		shelf := g.withShelf()
		result, end := g.start()
		defer end()
		var wg sync.WaitGroup
		wg.Go(func() {
			g.on(publish{feed: feedOf(live.Primary, 1, 1), ladder: pass(32), rate: 30, video: small(t), duration: 20 * time.Second})
		})
		time.Sleep(15 * time.Second)
		shelf.leave()
		wg.Wait()
		time.Sleep(5 * time.Minute)
		select {
		case err := <-result:
			t.Fatalf("Run returned %v while media are held", err)
		default:
		}
		shelf.back(t, nil)
		b := ended(t, g, result)
		sameFrames(t, "video", g.samples(b, entry+"_32"), g.sent[0], videoTick)
		if text := string(g.object(playlist.LiveKey(entry + "_32"))); !strings.HasSuffix(text, "ENDLIST\n") {
			t.Errorf("the stored playlist has no end:\n%s", text)
		}
	})
}

// TestSlowPlaylists holds that a store that takes long for heads and playlists does not hold
// up the live edge.
func TestSlowPlaylists(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := newRig(t)
		g.store.put = func(key string) error {
			if !strings.HasSuffix(key, ".m4s") && !strings.HasSuffix(key, ".mp4") {
				time.Sleep(3 * time.Second)
			}
			return nil
		}
		result, end := g.start()
		defer end()
		var wg sync.WaitGroup
		wg.Go(func() {
			g.on(publish{feed: feedOf(live.Primary, 1, 1), ladder: pass(32), rate: 30, video: small(t), duration: 40 * time.Second})
		})
		if stall := g.watch(45 * time.Second); stall > time.Second {
			t.Errorf("the live edge stands still for %v", stall)
		}
		wg.Wait()
		ended(t, g, result)
	})
}
