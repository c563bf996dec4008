package packager

import (
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"klive/infra/bus"
	"klive/infra/live"
	"klive/infra/media"
)

// publishNow puts parts on the bus at once.
func (g *rig) publishNow(parts []*live.Part) {
	g.t.Helper()
	for _, part := range parts {
		if _, err := g.ring.Publish(g.t.Context(), part.Feed.Subject(), part.ID(), part); err != nil {
			g.t.Fatal(err)
		}
	}
}

// TestOldPublishIsReadFirst has a publish whose last parts come to the bus when its
// successor's are there already, as after an outage of the bus.
func TestOldPublishIsReadFirst(t *testing.T) {
	for name, c := range map[string]struct {
		late time.Duration // of the first publish's last parts
		cut  bool          // they never say that they are the last
		want int           // items of the first publish
	}{
		"in time":           {300 * time.Millisecond, false, 3},
		"in time and cut":   {300 * time.Millisecond, true, 3},
		"too late":          {5 * time.Second, false, 2},
		"too late, and cut": {5 * time.Second, true, 2},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				g := newRig(t)
				result, end := g.start()
				defer end()
				p := publish{feed: feedOf(live.Primary, 1, 1), ladder: pass(32), rate: 30, video: small(t), duration: 11 * time.Second}
				p.segment = 4 * time.Second
				p.target = p.segment
				p.start = 1e18
				first := p.parts(p.frames())
				if c.cut {
					first[len(first)-1].Last, first[len(first)-1].Final = false, false
				}
				i := slices.IndexFunc(first, func(part *live.Part) bool { return part.Segment.Number == 3 })
				record := live.FeedRecord{Feed: p.feed, Opened: time.Now(), Beat: time.Now(), Grant: live.Grant{Ladder: p.ladder}}
				g.feed(record)
				g.publishNow(first[:i+1])
				time.Sleep(time.Second)

				p.feed.Epoch, p.start = 2, p.start.Add(p.duration+time.Second)
				second := p.parts(p.frames())
				record.Feed, record.Opened, record.Beat = p.feed, time.Now(), time.Now()
				g.feed(record)
				g.publishNow(second)
				time.Sleep(c.late)
				g.publishNow(first[i+1:])
				time.Sleep(5 * time.Second)
				record.Closed = time.Now()
				g.feed(record)

				b := ended(t, g, result)
				var epochs []uint64
				for i, it := range b.Items {
					epochs = append(epochs, it.Media[0].Feed.Epoch)
					if i > 0 && it.Start < b.Items[i-1].End() {
						t.Errorf("item %d begins before the one before it ends", it.Seq)
					}
				}
				if !slices.IsSorted(epochs) {
					t.Errorf("the items are of %v", epochs)
				}
				whole := 0
				for _, it := range b.Items {
					if it.Media[0].Feed.Epoch == 1 && it.Duration > time.Second {
						whole++
					}
				}
				if whole != c.want {
					t.Errorf("%d items of the first publish, want %d: %v", whole, c.want, epochs)
				}
				if n := len(epochs) - slices.Index(epochs, 2); n != 3 {
					t.Errorf("%d items of the second publish, want 3", n)
				}
			})
		})
	}
}

// TestManyPublishes holds that readers of publishes that are over don't linger.
func TestManyPublishes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := newRig(t)
		result, end := g.start()
		defer end()
		p := publish{ladder: pass(32), rate: 30, video: small(t), segment: 2 * time.Second, duration: 5 * time.Second}
		const n = 8
		for i := range n {
			p.feed, p.cut = feedOf(live.Primary, 1, uint64(i+1)), i%2 == 0
			g.on(p)
			time.Sleep(time.Second)
		}
		b := ended(t, g, result)
		seen := map[uint64]bool{}
		for _, it := range g.items(b) {
			seen[it.Media[0].Feed.Epoch] = true
		}
		if len(seen) != n {
			t.Errorf("items of %d publishes, want %d", len(seen), n)
		}
		f := g.p.feeds[p.feed.FeedID]
		if len(f.sources) != 1 || f.sources[0].feed.Epoch != n {
			t.Errorf("%d publishes are being read", len(f.sources))
		}
	})
}

// TestDeaf has a process that does not hear the bus for a while: neither parts nor records.
// The feed has not broken off, and the broadcast goes on whole.
func TestDeaf(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := newRig(t)
		g.opt.Resume = 5 * time.Second
		var cut, back atomic.Int64 // when, ns since the Unix epoch
		g.hearing = func() time.Duration {
			if at := back.Load(); at != 0 {
				return time.Since(time.Unix(0, at))
			} else if cut.Load() != 0 {
				return 0
			}
			return time.Hour
		}
		result, end := g.start()
		defer end()
		g.on(publish{feed: feedOf(live.Primary, 1, 1), ladder: pass(32), rate: 30, video: small(t), audio: aac(t), duration: 60 * time.Second,
			late: func(seq uint64) time.Duration {
				if seq != 40 {
					return 0
				}
				cut.Store(time.Now().UnixNano())
				time.Sleep(9 * time.Second)
				back.Store(time.Now().UnixNano())
				return 0
			}})
		b := ended(t, g, result)
		g.whole(t, b, true)
		for _, it := range b.Items {
			if it.Discontinuity {
				t.Errorf("item %d is a discontinuity", it.Seq)
			}
		}
	})
}

// TestReleaseInOrder holds that parts stay while what came before them is not settled.
func TestReleaseInOrder(t *testing.T) {
	m := &releases{}
	r := newReleaser(m)
	a, b := feedOf(live.Primary, 1, 1), feedOf(live.Backup, 1, 2)
	first, second, third, other := r.claim(a, 10), r.claim(a, 20), r.claim(a, 30), r.claim(b, 7)
	r.release(second)
	r.release(other)
	if want := []uint64{7}; !slices.Equal(m.list, want) {
		t.Errorf("released %v, want %v", m.list, want)
	}
	r.release(first)
	r.release(third)
	if want := []uint64{7, 20, 30}; !slices.Equal(m.list, want) {
		t.Errorf("released %v, want %v", m.list, want)
	}
	if len(r.claims) != 0 {
		t.Errorf("%d publishes are remembered", len(r.claims))
	}
}

// releases is a media plane that remembers what was released.
type releases struct {
	bus.Media
	list []uint64
}

// Release implements [bus.Media].
func (m *releases) Release(_ string, seq uint64) { m.list = append(m.list, seq) }

// An encoder that only connects, again and again, does not leave a follower each time: publishes
// that sent nothing are forgotten when nothing of them can lie on the bus any more.
func TestSilentPublishesAreForgotten(t *testing.T) {
	now := time.Now()
	canceled := 0
	publish := func(epoch uint64, last time.Time) *source {
		return &source{feed: live.Feed{Epoch: epoch}, cancel: func() { canceled++ }, turn: make(chan struct{}), last: last}
	}
	f := &feed{sources: []*source{publish(1, now.Add(-time.Hour)), publish(2, now.Add(-onBus)), publish(3, now.Add(-2*onBus)),
		publish(4, now.Add(-onBus+time.Second)), publish(5, now.Add(-2*onBus)), publish(6, now.Add(-2*onBus))}}
	f.sources[4].first = &event{}
	f.sources[4].came = now
	p := &Packager{deaf: true, feeds: map[live.FeedID]*feed{{}: f}}
	if p.turn(now); canceled != 0 {
		t.Errorf("who is deaf forgets %d", canceled)
	}
	p.deaf = false
	p.turn(now)
	var left []uint64
	for _, s := range f.sources {
		left = append(left, s.feed.Epoch)
	}
	if canceled != 2 || !slices.Equal(left, []uint64{1, 4, 5, 6}) {
		t.Errorf("%d forgotten; left are %v", canceled, left)
	}
}

// TestRecordOvertakesTheLastPart ends a feed in order, as a packager's is that brings its segments in
// one piece: some time after the last one. The record that says so comes before the last part, which
// may never come: then a backup is used no later than after any other silence.
func TestRecordOvertakesTheLastPart(t *testing.T) {
	for _, c := range []struct {
		name         string
		backup, lost bool
	}{{"alone", false, false}, {"with a backup", true, false}, {"lost", true, true}} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				g := newRig(t)
				result, end := g.start()
				defer end()
				p := publish{ladder: pass(32), rate: 30, video: small(t), segment: 4 * time.Second, target: 4 * time.Second, start: media.At(time.Now())}
				var encoder sync.WaitGroup
				if c.backup {
					b := p
					b.feed, b.start, b.duration, b.segment = feedOf(live.Backup, 1, 2), p.start.Add(5*time.Second), 25*time.Second, time.Second
					encoder.Go(func() { time.Sleep(5 * time.Second); g.on(b) })
				}
				p.feed, p.duration = feedOf(live.Primary, 1, 1), 11*time.Second
				record := live.FeedRecord{Feed: p.feed, Opened: time.Now(), Beat: time.Now(), FirstSeq: 1, Grant: live.Grant{Ladder: p.ladder}}
				g.feed(record)
				parts := p.parts(p.frames())
				last := parts[len(parts)-1]
				for _, part := range parts[:len(parts)-1] {
					time.Sleep(time.Until(p.start.Add(min(time.Duration(part.Segment.Number)*p.segment, p.duration)).Std()))
					record.Beat = time.Now()
					g.feed(record)
					g.publishNow([]*live.Part{part})
				}
				time.Sleep(2 * time.Second)
				record.Closed = time.Now()
				g.feed(record)
				time.Sleep(150 * time.Millisecond)
				if !c.lost {
					g.publishNow([]*live.Part{last})
				}
				if c.backup {
					const silence = 1500 * time.Millisecond // [Options.FailoverAfter]
					time.Sleep(time.Until(record.Closed.Add(silence + 3*tick)))
					if items := g.writer().State().Current().Items; items[len(items)-1].Media[0].Feed.Index != live.Backup {
						t.Errorf("the backup is not used %v after the record", time.Since(record.Closed))
					}
				}
				encoder.Wait()

				b := ended(t, g, result)
				var whole time.Duration
				for _, it := range b.Items {
					if it.Media[0].Feed.Index == live.Primary {
						whole += it.Duration
					}
				}
				want := last.End.Sub(p.start)
				if c.lost {
					want = last.Frames[0].DTS.Sub(p.start)
				}
				if whole < want-50*time.Millisecond {
					t.Errorf("%v of %v are on the timeline", whole, want)
				}
			})
		})
	}
}

// TestRecordOvertakesABitratesLastSegment ends two bitrates in order with a segment of one part. Of one
// it comes behind both records.
func TestRecordOvertakesABitratesLastSegment(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := newRig(t)
		result, end := g.start()
		defer end()
		p := publish{feed: feedOf(live.Primary, 1, 1), ladder: pass(32), rate: 30, video: hd(t), segment: 4 * time.Second, target: 4 * time.Second, duration: 8200 * time.Millisecond, start: media.At(time.Now())}
		q := p
		q.feed, q.ladder, q.video, q.cut = feedOf(live.Primary, 2, 2), pass(33), small(t), true
		var encoders sync.WaitGroup
		encoders.Go(func() { g.on(p) })
		encoders.Go(func() { g.on(q) })
		encoders.Wait()
		g.mu.Lock()
		record := g.records[q.feed.FeedID]
		g.mu.Unlock()
		record.Beat, record.Closed = time.Now(), time.Now()
		g.feed(record)
		time.Sleep(150 * time.Millisecond)
		parts := q.parts(q.frames())
		g.publishNow(parts[len(parts)-1:])

		b := ended(t, g, result)
		if n := len(b.Items); n != 3 || b.Items[2].Of(entry+"_32") == nil || b.Items[2].Of(entry+"_33") == nil {
			t.Errorf("want 3 items, each with both bitrates: %+v", b.Items)
		}
	})
}
