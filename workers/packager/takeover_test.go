package packager

import (
	"context"
	"errors"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"pgregory.net/rapid"

	"klive/infra/bus"
	"klive/infra/check"
	"klive/infra/live"
	"klive/storage/playlist"
	"klive/storage/timeline"
)

// whole holds that the broadcast holds every frame that the first feed's encoder made, in
// one sequence without a gap or a number used twice.
func (g *rig) whole(t testing.TB, b *timeline.Broadcast, audio bool) {
	t.Helper()
	for i, it := range g.items(b) {
		if it.Seq != uint64(i+1) || slices.ContainsFunc(it.Media, func(m timeline.Media) bool { return !m.Stored }) {
			t.Errorf("item %d: %+v", i+1, it)
		}
	}
	sameFrames(t, "video", g.samples(b, entry+"_32"), g.sent[0], videoTick)
	if audio {
		sameFrames(t, "audio", g.samples(b, entry+"_a1"), g.sent[1], audioTick)
	}
}

// TestTakeOverRebuilds kills an owner that has adopted an item and stored nothing of it: the
// next one makes it again from the bus.
func TestTakeOverRebuilds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := newRig(t)
		_, end := g.start()
		var wg sync.WaitGroup
		wg.Go(func() {
			g.on(publish{feed: feedOf(live.Primary, 1, 1), ladder: pass(32), rate: 30, video: small(t), audio: aac(t), duration: 60 * time.Second})
		})
		time.Sleep(14 * time.Second)
		g.store.set(func(key string) error {
			if strings.HasSuffix(key, ".m4s") {
				return errors.New("no answer")
			}
			return nil
		})
		time.Sleep(3 * time.Second)
		if it := g.writer().State().Current().Items[3]; it.Settled() {
			t.Fatalf("the fourth item is settled: %+v", it)
		}
		end()
		g.store.set(nil)
		time.Sleep(2 * time.Second)
		result, end := g.start()
		defer end()
		stall := g.watch(3 * time.Second)
		if stall > 5*time.Second { // the item has been due for 3 s when the owner begins
			t.Errorf("the live edge stands still for %v", stall)
		}
		wg.Wait()
		b := ended(t, g, result)
		g.whole(t, b, true)
		for _, r := range b.Renditions {
			if r.Inits != 1 {
				t.Errorf("%d initialization sections of %s", r.Inits, r.Name)
			}
		}
		g.sameWhenRebuilt(b)
	})
}

// TestTakeOverKeepsWhatIsMeasured holds that a new owner describes renditions as the old one did.
func TestTakeOverKeepsWhatIsMeasured(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := newRig(t)
		_, end := g.start()
		var wg sync.WaitGroup
		wg.Go(func() {
			g.on(publish{feed: feedOf(live.Primary, 1, 1), ladder: pass(32), rate: 30, video: small(t), audio: aac(t), duration: 40 * time.Second})
		})
		time.Sleep(22 * time.Second)
		end()
		before := slices.Clone(g.writer().State().Current().Renditions)
		n := g.log.Count()
		_, end = g.start()
		defer end()
		time.Sleep(10 * time.Second)
		for i, r := range g.writer().State().Current().Renditions {
			if old := before[i]; r.Inits != old.Inits || r.InitSum != old.InitSum || r.InitSum == "" || r.FrameRate != old.FrameRate || r.Codecs != old.Codecs {
				t.Errorf("%+v, before %+v", r, old)
			}
		}
		// A claim, and two records for each of the items.
		if got := g.log.Count() - n; got > 1+2*3 {
			t.Errorf("the new owner wrote %d records", got)
		}
		wg.Wait()
	})
}

// TestTakeOverAcrossReconnect kills the owner before the encoder connects again: what the
// first publish still sent is on the bus under another subject.
func TestTakeOverAcrossReconnect(t *testing.T) {
	for name, cut := range map[string]bool{"in order": false, "cut off": true} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				g := newRig(t)
				_, end := g.start()
				p := publish{feed: feedOf(live.Primary, 1, 1), ladder: pass(32), rate: 30, video: small(t), audio: aac(t), duration: 18 * time.Second, cut: cut}
				var wg sync.WaitGroup
				wg.Go(func() {
					g.on(p)
					time.Sleep(100 * time.Millisecond)
					p.feed.Epoch, p.cut = 2, false
					g.on(p)
				})
				time.Sleep(15 * time.Second)
				end()
				time.Sleep(6 * time.Second)
				result, end := g.start()
				defer end()
				wg.Wait()
				b := ended(t, g, result)
				if got, want := len(g.samples(b, entry+"_32")), len(g.sent[0]); got < want-30 || !cut && got != want {
					t.Errorf("%d frames of %d", got, want)
				}
				var marks []uint64
				for i, it := range b.Items {
					if it.Discontinuity {
						marks = append(marks, it.Seq)
					}
					if i > 0 && it.Start < b.Items[i-1].End() {
						t.Errorf("item %d begins %v before the one before it ends", it.Seq, b.Items[i-1].End().Sub(it.Start))
					}
				}
				if len(marks) != 1 {
					t.Errorf("discontinuities at %v", marks)
				}
			})
		})
	}
}

// TestTakeOverOfHeld kills an owner whose spool holds media, and with it the spool.
func TestTakeOverOfHeld(t *testing.T) {
	for name, gone := range map[string]bool{"parts on the bus": false, "parts gone": true} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				g := newRig(t)
				g.opt.LiveGrace = time.Hour
				shelf := g.withShelf()
				_, end := g.start()
				var wg sync.WaitGroup
				wg.Go(func() {
					g.on(publish{feed: feedOf(live.Primary, 1, 1), ladder: pass(32), rate: 30, video: small(t), audio: aac(t), duration: 60 * time.Second})
				})
				time.Sleep(13 * time.Second)
				shelf.leave()
				time.Sleep(13 * time.Second)
				end()
				held := g.writer().State().Current().Items
				if !held[len(held)-1].Media[0].Held {
					t.Fatal("nothing is held")
				}
				g.withShelf() // the other spool is gone, and the store is back
				if gone {
					g.ring.Release(feedOf(live.Primary, 1, 1).Subject(), held[len(held)-1].Media[0].LastPart)
				}
				result, end := g.start()
				defer end()
				wg.Wait()
				b := ended(t, g, result)
				if !gone {
					g.whole(t, b, true)
					return
				}
				gaps := 0
				for _, it := range b.Items {
					if !it.Settled() {
						t.Errorf("item %d: %+v", it.Seq, it)
					}
					if it.Media[0].Gap {
						gaps++
					}
				}
				if gaps != 3 {
					t.Errorf("%d gaps, want 3", gaps)
				}
			})
		})
	}
}

// TestTakeOverWhileAway kills an owner that has stored an item and not said so; then the store
// is away. The live edge goes on, and the item is found when the store is back.
func TestTakeOverWhileAway(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := newRig(t)
		g.opt.LiveGrace = time.Hour
		shelf := g.withShelf()
		var mute atomic.Bool
		g.log.Before = func(_ context.Context, _ string, data []byte) error {
			if mute.Load() && strings.Contains(string(data), `"stored":true`) {
				return errors.New("no answer")
			}
			return nil
		}
		_, end := g.start()
		var wg sync.WaitGroup
		wg.Go(func() {
			g.on(publish{feed: feedOf(live.Primary, 1, 1), ladder: pass(32), rate: 30, video: small(t), audio: aac(t), duration: 90 * time.Second})
		})
		time.Sleep(14 * time.Second)
		mute.Store(true)
		time.Sleep(3 * time.Second)
		items := g.writer().State().Current().Items
		last := items[len(items)-1]
		if last.Settled() {
			t.Fatalf("item %d is settled", last.Seq)
		}
		end()
		mute.Store(false)
		g.ring.Release(feedOf(live.Primary, 1, 1).Subject(), last.Media[0].LastPart)
		shelf.leave()
		g.store.setGet(errAway)
		result, end := g.start()
		defer end()
		time.Sleep(lookMost + 10*time.Second)
		b := g.writer().State().Current()
		if m := b.Items[last.Seq-1].Media[0]; !m.Held {
			t.Errorf("while the store is away: %+v", m)
		}
		if text := playlist.Live(b, entry+"_32", 5); !strings.Contains(text, b.Items[len(b.Items)-2].Media[0].Name) {
			t.Errorf("the live edge stands still behind %s:\n%s", last.Media[0].Name, text)
		}
		g.store.setGet(nil)
		shelf.back(t, nil)
		wg.Wait()
		g.whole(t, ended(t, g, result), true)
	})
}

// TestTakeOverWhileTheBusElects: an owner that begins while the bus gives no parts, because it elects a
// leader, waits for them and leaves no gap.
func TestTakeOverWhileTheBusElects(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := newRig(t)
		plane := &mute{Media: g.ring}
		g.ring = plane
		_, end := g.start()
		var wg sync.WaitGroup
		wg.Go(func() {
			g.on(publish{feed: feedOf(live.Primary, 1, 1), ladder: pass(32), rate: 30, video: small(t), audio: aac(t), duration: 60 * time.Second})
		})
		time.Sleep(14 * time.Second)
		g.store.set(func(key string) error {
			if strings.HasSuffix(key, ".m4s") {
				return errors.New("no answer")
			}
			return nil
		})
		time.Sleep(3 * time.Second)
		end()
		g.store.set(nil)
		plane.until.Store(time.Now().Add(8 * time.Second).UnixNano())
		result, end := g.start()
		defer end()
		wg.Wait()
		g.whole(t, ended(t, g, result), true)
	})
}

// mute is a media plane that gives nothing until a moment.
type mute struct {
	bus.Media
	until atomic.Int64 // Unix time, ns
}

func (m *mute) Follow(ctx context.Context, subject string, from uint64) (bus.Follower, error) {
	f, err := m.Media.Follow(ctx, subject, from)
	return &muteFollower{f, time.Unix(0, m.until.Load())}, err
}

type muteFollower struct {
	bus.Follower
	until time.Time
}

func (f *muteFollower) Next(ctx context.Context) (bus.Message, error) {
	select {
	case <-time.After(time.Until(f.until)):
		return f.Follower.Next(ctx)
	case <-ctx.Done():
		return bus.Message{}, ctx.Err()
	}
}

// TestHeldSurvivesRestart restarts an owner whose spool keeps what it holds.
func TestHeldSurvivesRestart(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := newRig(t)
		g.opt.LiveGrace = time.Hour
		shelf := g.withShelf()
		_, end := g.start()
		var wg sync.WaitGroup
		wg.Go(func() {
			g.on(publish{feed: feedOf(live.Primary, 1, 1), ladder: pass(32), rate: 30, video: small(t), duration: 60 * time.Second})
		})
		time.Sleep(13 * time.Second)
		shelf.leave()
		time.Sleep(10 * time.Second)
		end()
		g.store.set(nil) // heads can be written, media can't
		result, end := g.start()
		defer end()
		time.Sleep(5 * time.Second)
		for _, it := range g.writer().State().Current().Items[3:5] {
			if m := it.Media[0]; !m.Held {
				t.Errorf("item %d is no longer held: %+v", it.Seq, m)
			}
		}
		shelf.back(t, nil)
		wg.Wait()
		g.whole(t, ended(t, g, result), false)
	})
}

// TestHandOver passes an entry on, again and again: each time Run returns behind an item, in
// time, and nothing is missing or doubled after.
func TestHandOver(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := newRig(t)
		result, end := g.start()
		var wg sync.WaitGroup
		wg.Go(func() {
			g.on(publish{feed: feedOf(live.Primary, 1, 1), ladder: pass(32), rate: 30, video: small(t), audio: aac(t), duration: 70 * time.Second})
		})
		for range 4 {
			time.Sleep(13 * time.Second)
			asked := time.Now()
			items := len(g.writer().State().Current().Items)
			g.p.HandOver()
			if err := <-result; !errors.Is(err, ErrStopped) {
				t.Fatalf("Run: %v", err)
			}
			if d := time.Since(asked); d > 4200*time.Millisecond {
				t.Errorf("handed over after %v", d)
			}
			st := g.state()
			b := st.Current()
			if len(b.Items) != items+1 || !b.Items[items].Settled() || st.LogSeq != g.writer().State().LogSeq {
				t.Errorf("handed over with %d items, want %d", len(b.Items), items+1)
			}
			if text := string(g.object(playlist.LiveKey(entry + "_32"))); !strings.Contains(text, b.Items[items].Media[0].Name) {
				t.Errorf("the playlist does not name the last item:\n%s", text)
			}
			end()
			result, end = g.start()
		}
		defer end()
		wg.Wait()
		g.whole(t, ended(t, g, result), true)
	})
}

// TestHandOverInTime holds that a hand-over ends although the store does not answer, and
// loses nothing.
func TestHandOverInTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := newRig(t)
		result, end := g.start()
		var wg sync.WaitGroup
		wg.Go(func() {
			g.on(publish{feed: feedOf(live.Primary, 1, 1), ladder: pass(32), rate: 30, video: small(t), audio: aac(t), duration: 60 * time.Second})
		})
		time.Sleep(13 * time.Second)
		g.store.set(func(string) error { return errAway })
		asked := time.Now()
		g.p.HandOver()
		if err := <-result; !errors.Is(err, ErrStopped) {
			t.Fatalf("Run: %v", err)
		}
		if d := time.Since(asked); d > 6100*time.Millisecond {
			t.Errorf("handed over after %v", d)
		}
		end()
		g.store.set(nil)
		result, end = g.start()
		defer end()
		wg.Wait()
		g.whole(t, ended(t, g, result), true)
	})
}

// TestHandOverOfNothing holds that an entry whose feeds are gone is handed over at once.
func TestHandOverOfNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := newRig(t)
		result, end := g.start()
		defer end()
		g.on(publish{feed: feedOf(live.Primary, 1, 1), ladder: pass(32), rate: 30, video: small(t), duration: 10 * time.Second})
		time.Sleep(20 * time.Second)
		asked := time.Now()
		g.p.HandOver()
		if err := <-result; !errors.Is(err, ErrStopped) {
			t.Fatalf("Run: %v", err)
		}
		if d := time.Since(asked); d > time.Second {
			t.Errorf("handed over after %v", d)
		}
	})
}

// TestKilledAgainAndAgain ends owners at random moments, with a store that fails at random:
// every frame is stored once, whatever was under way.
func TestKilledAgainAndAgain(t *testing.T) {
	check.Checks(t, 20, 300)
	rapid.Check(t, func(r *rapid.T) {
		kills := rapid.SliceOfN(rapid.IntRange(200, 12_000), 1, 4).Draw(r, "milliseconds between kills")
		leaves := rapid.SliceOfN(rapid.Bool(), len(kills), len(kills)).Draw(r, "handed over instead")
		pauses := rapid.SliceOfN(rapid.IntRange(0, 5000), len(kills), len(kills)).Draw(r, "milliseconds without an owner")
		fails := rapid.SliceOfN(rapid.IntRange(0, 9), 20, 20).Draw(r, "failing writes")
		synctest.Test(t, func(t *testing.T) {
			g := newRig(t)
			g.opt.LiveGrace = time.Hour
			var mu sync.Mutex
			n := 0
			g.store.put = func(key string) error {
				mu.Lock()
				defer mu.Unlock()
				if n++; strings.HasSuffix(key, ".m4s") && fails[n%len(fails)] == 0 {
					return errors.New("503")
				}
				return nil
			}
			var wg sync.WaitGroup
			result, end := g.start()
			wg.Go(func() {
				g.on(publish{feed: feedOf(live.Primary, 1, 1), ladder: pass(32), rate: 10, video: small(t), audio: aac(t), duration: 40 * time.Second})
			})
			for i, ms := range kills {
				time.Sleep(time.Duration(ms) * time.Millisecond)
				if leaves[i] {
					g.p.HandOver()
					<-result
				}
				end()
				time.Sleep(time.Duration(pauses[i]) * time.Millisecond)
				result, end = g.start()
			}
			wg.Wait()
			end()
			result, end = g.start()
			defer end()
			g.whole(t, ended(t, g, result), true)
		})
		if t.Failed() {
			r.Fatal("see above")
		}
	})
}
