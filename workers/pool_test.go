package workers

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"go.uber.org/goleak"

	"klive/infra/bus"
	"klive/infra/bus/bustest"
	"klive/infra/live"
	"klive/infra/media"
	"klive/storage"
	"klive/storage/disk"
	"klive/storage/timeline"
	"klive/storage/timeline/buslog"
	"klive/workers/registrar"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// bubble runs a test in virtual time, the bus included.
func bubble(t *testing.T, run func(t *testing.T)) {
	t.Helper()
	bustest.Prepare(t)
	synctest.Test(t, run)
}

const entry = "0_demolive"

// house is a deployment: the real bus, ring, store and timeline, and a Kaltura that writes
// down its calls.
type house struct {
	t                 *testing.T
	node              *bus.Node
	ring              *bus.Ring
	store             storage.Store
	log               timeline.Log
	feeds, broadcasts *bus.Bucket
	start             time.Time

	// mu guards the fields below.
	mu      sync.Mutex
	calls   []string
	blocked bool
	facts   live.EntryFacts
	// awayTill is how long after the start Kaltura does not answer.
	awayTill time.Duration
}

func newHouse(t *testing.T) *house {
	t.Helper()
	h := &house{t: t, node: bustest.StartNode(t), ring: bus.NewRing(bus.RingConfig{}), start: time.Now()}
	store, err := disk.Open(disk.Config{Dir: t.TempDir()})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(store.Close)
	h.store = store
	if h.log, err = buslog.Open(t.Context(), h.node.Control()); err != nil {
		t.Fatal(err)
	}
	for name, b := range map[string]**bus.Bucket{live.FeedsBucket: &h.feeds, live.BroadcastsBucket: &h.broadcasts} {
		if *b, err = h.node.Control().Bucket(t.Context(), bus.BucketConfig{Name: name}); err != nil {
			t.Fatal(err)
		}
	}
	return h
}

func (h *house) note(name string, c registrar.Call) error {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.calls = append(h.calls, fmt.Sprintf("%v %s %s %d status=%d", time.Since(h.start).Round(time.Second), name, c.Entry, c.Index, c.Status))
	if h.blocked {
		return registrar.ErrBlocked
	}
	if time.Since(h.start) < h.awayTill {
		return errors.New("no route to host")
	}
	return nil
}

func (h *house) RegisterMediaServer(_ context.Context, c registrar.Call) (live.EntryFacts, error) {
	err := h.note("register", c)
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.facts, err
}
func (h *house) SetBroadcastStart(context.Context, int, string, time.Time) error { return nil }
func (h *house) UnregisterMediaServer(_ context.Context, c registrar.Call) error {
	return h.note("unregister", c)
}

// away lets no call through until so long after the start.
func (h *house) away(till time.Duration) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.awayTill = till
}

func (h *house) expect(want ...string) {
	h.t.Helper()
	h.mu.Lock()
	defer h.mu.Unlock()
	if d := cmp.Diff(want, h.calls); d != "" {
		h.t.Errorf("calls (-want +got):\n%s", d)
	}
}

// pool runs a worker of the given name; stop ends it as SIGTERM does.
func (h *house) pool(name string) (stop func()) {
	h.t.Helper()
	var out io.Writer = io.Discard
	if testing.Verbose() {
		out = os.Stderr
	}
	p, err := New(h.t.Context(), Config{
		Name: name, Control: h.node.Control(), Feeds: h.feeds, Broadcasts: h.broadcasts, Media: h.ring, Store: h.store, Timeline: h.log, API: h,
		Chapters: func(ctx context.Context, b string, c timeline.Chapter) ([]timeline.Item, error) {
			return timeline.LoadChapter(ctx, h.store, b, c)
		},
		Log: slog.New(slog.NewTextHandler(out, nil)).With("worker", name),
	})
	if err != nil {
		h.t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(h.t.Context())
	done := make(chan struct{})
	go func() {
		defer close(done)
		if err := p.Run(ctx); err != nil {
			h.t.Errorf("Run: %v", err)
		}
	}()
	return func() { cancel(); <-done }
}

// publish is on the air with audio for d, as a gateway puts it on the bus.
func (h *house) publish(epoch uint64, d time.Duration) {
	h.t.Helper()
	aac, err := media.NewAAC([]byte{0x12, 0x10})
	if err != nil {
		h.t.Error(err)
		return
	}
	f := live.Feed{FeedID: live.FeedID{Entry: entry, Suffix: 1}, Epoch: epoch}
	r := live.FeedRecord{Feed: f, Opened: time.Now(), Grant: live.Grant{Entry: entry, PartnerID: 102, Ladder: live.Ladder{Rungs: []live.Rung{
		{ParamsID: 32, Name: "source", Video: live.VideoRung{Mode: live.ModePassThrough}, Audio: live.AudioRung{Mode: live.ModePassThrough}}}}}}
	base := media.At(time.Now())
	at := func(i int64) media.Time { return base.Add(media.FromTicks(i*1024, 44100)) }
	const perPart, parts = 14, 12 // frames of a part, parts of a segment: 3.9 s
	for n := int64(0); at(n*perPart) < base.Add(d); n++ {
		if n%3 == 0 {
			r.Beat = time.Now()
			r.Clock.LastArrival = media.At(r.Beat)
			h.record(r)
		}
		seg := n / parts
		first := seg * parts * perPart
		p := &live.Part{Feed: f, Seq: uint64(n + 1), Number: int(n % parts), Segment: live.Segment{Start: at(first), Number: uint64(seg + 1),
			Tracks: []media.Track{{ID: 1, Params: aac}}, Discontinuity: seg == 0, Independent: true, Target: 4 * time.Second}}
		for i := n * perPart; i < (n+1)*perPart; i++ {
			p.Frames = append(p.Frames, media.Frame{Track: 1, DTS: at(i), PTS: at(i), Duration: at(i + 1).Sub(at(i)), Key: true, Payload: fmt.Appendf(nil, "%d-%d", epoch, i)})
		}
		p.Final = at((n+1)*perPart) >= base.Add(d)
		if p.Last = p.Final || p.Number == parts-1; p.Last {
			p.End = at((n + 1) * perPart)
		}
		time.Sleep(time.Until(at((n + 1) * perPart).Std()))
		if _, err := h.ring.Publish(h.t.Context(), f.Subject(), p.ID(), p); err != nil {
			h.t.Error(err)
		}
	}
	r.Beat, r.Closed = time.Now(), time.Now()
	h.record(r)
}

func (h *house) record(r live.FeedRecord) {
	b, err := r.Marshal()
	if err == nil {
		_, err = h.feeds.Put(h.t.Context(), r.Feed.FeedID.String(), b)
	}
	if err != nil {
		h.t.Error(err)
	}
}

func (h *house) state() *timeline.State {
	h.t.Helper()
	s, err := timeline.LoadHead(h.t.Context(), h.store, entry)
	if err != nil {
		h.t.Fatal(err)
	}
	return s
}

func (h *house) holder() string {
	h.t.Helper()
	b, err := h.node.Control().Bucket(h.t.Context(), bus.BucketConfig{Name: OwnersBucket})
	if err != nil {
		h.t.Fatal(err)
	}
	kv, err := b.Get(h.t.Context(), entry)
	if err != nil {
		return ""
	}
	name, err := bus.LeaseHolder(kv)
	if err != nil {
		h.t.Fatal(err)
	}
	return name
}

// continuous checks that the broadcast's items follow each other without a hole and a mark.
func (h *house) continuous(b *timeline.Broadcast, items int) {
	h.t.Helper()
	if len(b.Items) != items {
		h.t.Errorf("%d items, want %d", len(b.Items), items)
	}
	for i, it := range b.Items {
		if !it.Media[0].Stored || it.Discontinuity || i > 0 && it.Start != b.Items[i-1].End() {
			h.t.Errorf("item %d: %+v", it.Seq, it)
		}
	}
}

func TestPoolOwnsEntry(t *testing.T) {
	bubble(t, func(t *testing.T) {
		h := newHouse(t)
		defer h.ring.Close()
		defer h.pool("a")()
		defer h.pool("b")()
		h.publish(1, 30*time.Second)
		if h.holder() == "" {
			t.Error("nobody holds the lease")
		}
		epoch := h.state().Epoch
		time.Sleep(4 * time.Minute)
		s := h.state()
		if !s.Current().Ended || s.Epoch != epoch {
			t.Errorf("ended %v under epoch %d", s.Current().Ended, s.Epoch)
		}
		h.continuous(s.Current(), 8)
		if name := h.holder(); name != "" {
			t.Errorf("%s still holds the lease", name)
		}
		h.expect("5s register 0_demolive 0 status=2", "16s register 0_demolive 0 status=1", "35s unregister 0_demolive 0 status=0")
		h.publish(2, 10*time.Second)
		// The first one's window is over, so it has gone.
		if b := h.state().Current(); b.ID == s.Current().ID || len(h.state().Broadcasts) != 1 || b.Items[0].Seq != 9 {
			t.Errorf("the second broadcast begins with %+v", b.Items[0])
		}
	})
}

func TestPoolStopsInOrderAndAnotherGoesOn(t *testing.T) {
	bubble(t, func(t *testing.T) {
		h := newHouse(t)
		defer h.ring.Close()
		stop := h.pool("a")
		done := make(chan struct{})
		go func() { defer close(done); h.publish(1, time.Minute) }()
		time.Sleep(21 * time.Second)
		began := time.Now()
		stop()
		if d := time.Since(began); d > time.Second || h.holder() != "" {
			t.Errorf("stopped in %v, the lease is held by %q", d, h.holder())
		}
		epoch := h.state().Epoch
		defer h.pool("b")()
		time.Sleep(time.Second)
		if h.holder() != "b" {
			t.Errorf("the lease is held by %q", h.holder())
		}
		<-done
		time.Sleep(4 * time.Minute)
		s := h.state()
		h.continuous(s.Current(), 16)
		if s.Epoch != epoch+1 || !s.Current().Ended {
			t.Errorf("epoch %d, ended %v", s.Epoch, s.Current().Ended)
		}
		h.expect("5s register 0_demolive 0 status=2", "16s register 0_demolive 0 status=1", "21s unregister 0_demolive 0 status=0",
			"21s register 0_demolive 0 status=1", "1m5s unregister 0_demolive 0 status=0")
	})
}

func TestLostLeaseStopsAtOnce(t *testing.T) {
	bubble(t, func(t *testing.T) {
		h := newHouse(t)
		defer h.ring.Close()
		defer h.pool("a")()
		go h.publish(1, time.Minute)
		time.Sleep(13 * time.Second)
		b, err := h.node.Control().Bucket(t.Context(), bus.BucketConfig{Name: OwnersBucket})
		if err != nil {
			t.Fatal(err)
		}
		kv, err := b.Get(t.Context(), entry)
		if err != nil {
			t.Fatal(err)
		}
		stolen, err := bus.StealLease(t.Context(), b, entry, "thief", 15*time.Second, kv.Revision)
		if err != nil {
			t.Fatal(err)
		}
		time.Sleep(4 * time.Second)
		before, epoch := h.state().LogSeq, h.state().Epoch
		time.Sleep(20 * time.Second)
		if now := h.state().LogSeq; now != before {
			t.Errorf("the timeline went from %d to %d without its owner", before, now)
		}
		h.expect("5s register 0_demolive 0 status=2") // and no unregister: the entry is the thief's
		if err := stolen.Release(t.Context()); err != nil {
			t.Fatal(err)
		}
		time.Sleep(4 * time.Minute)
		if s := h.state(); !s.Current().Ended || s.Epoch != epoch+1 {
			t.Errorf("after the thief: ended %v, epoch %d", s.Current().Ended, s.Epoch)
		}
	})
}

func TestDeadProcessComesBack(t *testing.T) {
	bubble(t, func(t *testing.T) {
		h := newHouse(t)
		h.crash("a", 18*time.Second)
		// The process starts again under the same name, with an empty ring.
		h.ring = bus.NewRing(bus.RingConfig{})
		defer h.ring.Close()
		defer h.pool("a")()
		time.Sleep(5 * time.Second)
		if h.holder() != "a" {
			t.Errorf("the lease is held by %q", h.holder())
		}
		h.publish(2, 20*time.Second)
		time.Sleep(4 * time.Minute)
		s := h.state()
		marks := 0
		for _, it := range s.Current().Items {
			if it.Discontinuity {
				marks++
			}
		}
		if len(s.Broadcasts) != 1 || !s.Current().Ended || marks != 1 {
			t.Errorf("%d broadcasts, ended %v, %d discontinuities; want one, ended, with one", len(s.Broadcasts), s.Current().Ended, marks)
		}
	})
}

func TestDeadProcessIsEnded(t *testing.T) {
	bubble(t, func(t *testing.T) {
		h := newHouse(t)
		h.crash("a", 18*time.Second)
		h.ring = bus.NewRing(bus.RingConfig{})
		defer h.ring.Close()
		time.Sleep(10 * time.Minute)
		defer h.pool("a")()
		time.Sleep(5 * time.Second)
		if !h.state().Current().Ended {
			t.Error("the broadcast is still open")
		}
		if name := h.holder(); name != "" {
			t.Errorf("%s still holds the lease", name)
		}
	})
}

// crash runs a worker and a publish that vanish after d: no call, no record, no release.
func (h *house) crash(name string, d time.Duration) {
	h.t.Helper()
	feeds := h.feeds
	ring := h.ring
	stop := h.pool(name)
	done := make(chan struct{})
	go func() { defer close(done); h.publish(1, d+time.Second) }()
	time.Sleep(d)
	stop()
	<-done
	ring.Close()
	// What a clean end has written is taken back.
	r := live.FeedRecord{Feed: live.Feed{FeedID: live.FeedID{Entry: entry, Suffix: 1}, Epoch: 1}, Opened: h.start, Beat: time.Now().Add(-time.Second)}
	h.record(r)
	b, err := h.node.Control().Bucket(h.t.Context(), bus.BucketConfig{Name: OwnersBucket})
	if err == nil {
		_, err = b.Create(h.t.Context(), entry, fmt.Appendf(nil, `{"version":1,"holder":%q,"grip":"old"}`, name), 15*time.Second)
	}
	if err != nil {
		h.t.Fatal(err)
	}
	h.feeds = feeds
}

func TestBlockedPartnerIsKicked(t *testing.T) {
	bubble(t, func(t *testing.T) {
		h := newHouse(t)
		defer h.ring.Close()
		h.blocked = true
		kicked := make(chan live.Kick, 10)
		sub, err := h.node.Control().Subscribe(live.KickSubject(entry), func(n bus.Notice) {
			var k live.Kick
			if err := json.Unmarshal(n.Data, &k); err != nil {
				t.Error(err)
			}
			kicked <- k
		})
		if err != nil {
			t.Fatal(err)
		}
		defer sub.Close()
		defer h.pool("a")()
		h.publish(1, 10*time.Second)
		if len(kicked) != 1 || (<-kicked).Reason == "" {
			t.Errorf("%d kicks, want one with a reason", len(kicked))
		}
		h.expect("5s register 0_demolive 0 status=2")
	})
}

func TestLostCounterGoesOnFromHead(t *testing.T) {
	bubble(t, func(t *testing.T) {
		h := newHouse(t)
		defer h.ring.Close()
		const high = 1 << 40 // above the present second
		w, err := timeline.OpenWriter(t.Context(), timeline.WriterConfig{Store: h.store, Log: h.log, Entry: entry, Epoch: high, Owner: "before"})
		if err != nil || w.State().Epoch != high {
			t.Fatal(err)
		}
		defer h.pool("a")()
		h.publish(1, 10*time.Second)
		if s := h.state(); s.Epoch != high+1 || len(s.Broadcasts) != 1 {
			t.Errorf("epoch %d, %d broadcasts", s.Epoch, len(s.Broadcasts))
		}
	})
}

func TestConfigIsChecked(t *testing.T) {
	if _, err := New(t.Context(), Config{}); err == nil {
		t.Error("an empty config makes a pool")
	}
}
