package gateway

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"

	"klive/infra/bus"
	"klive/infra/bus/bustest"
	"klive/infra/live"
	"klive/infra/media"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// fakeAPI answers as it is told.
type fakeAPI struct {
	mu     sync.Mutex
	facts  live.EntryFacts
	auth   error
	ladder error
	empty  bool
	// hang keeps callers waiting for as long as they will.
	hang  bool
	calls []string
}

func (f *fakeAPI) Authenticate(ctx context.Context, r AuthRequest) (live.EntryFacts, error) {
	if f.hang {
		<-ctx.Done()
		return live.EntryFacts{}, ctx.Err()
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	f.calls = append(f.calls, "authenticate "+r.Entry+" "+r.Index.String())
	return f.facts, f.auth
}

func (f *fakeAPI) Ladder(_ context.Context, r LadderRequest) (live.Ladder, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.calls = append(f.calls, "ladder "+r.StreamName)
	if f.empty || f.ladder != nil {
		return live.Ladder{}, f.ladder
	}
	return live.Ladder{Rungs: []live.Rung{{ParamsID: 32, Name: "Source"}}}, nil
}

func (f *fakeAPI) answer(auth, ladder error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.auth, f.ladder = auth, ladder
}

// world is a control plane, a media plane and gateways in virtual time.
type world struct {
	t       *testing.T
	control *bus.Control
	ring    *bus.Ring
	api     *fakeAPI
	log     *bytes.Buffer
	logMu   sync.Mutex
	cfg     Config
}

func (w *world) Write(b []byte) (int, error) {
	w.logMu.Lock()
	defer w.logMu.Unlock()
	return w.log.Write(b)
}

func inWorld(t *testing.T, test func(w *world)) {
	t.Helper()
	bustest.Prepare(t)
	synctest.Test(t, func(t *testing.T) {
		w := &world{t: t, control: bustest.Start(t), ring: bus.NewRing(bus.RingConfig{MaxAge: time.Hour}), api: &fakeAPI{}, log: &bytes.Buffer{}}
		t.Cleanup(w.ring.Close)
		bucket := func(name string, ttl time.Duration) *bus.Bucket {
			b, err := w.control.Bucket(w.t.Context(), bus.BucketConfig{Name: name, TTL: ttl})
			if err != nil {
				t.Fatal(err)
			}
			return b
		}
		w.cfg = Config{
			Log: slog.New(slog.NewTextHandler(w, nil)), API: w.api, Media: w.ring,
			Feeds: bucket(live.FeedsBucket, 10*time.Minute), Clocks: bucket(live.ClocksBucket, 10*time.Minute),
			Broadcasts: bucket(live.BroadcastsBucket, 0), Epochs: bucket(live.EpochsBucket, 0),
			Subscribe: func(pattern string, f func(string, []byte)) (func(), error) {
				s, err := w.control.Subscribe(pattern, func(n bus.Notice) { f(n.Subject, n.Data) })
				if err != nil {
					return nil, err
				}
				return s.Close, nil
			},
			Address: "gw1:8082",
		}
		test(w)
		if strings.Contains(w.log.String(), "secret-token") {
			t.Error("the log holds the token")
		}
	})
}

func (w *world) gateway() *Gateway {
	w.t.Helper()
	g, err := New(w.cfg)
	if err != nil {
		w.t.Fatal(err)
	}
	w.t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
		defer cancel()
		if err := g.Close(ctx); err != nil {
			w.t.Error(err)
		}
	})
	return g
}

func testConnect(index live.Index) Connect {
	token := "secret-token"
	return Connect{Protocol: "rtmp", Peer: "192.0.2.7:5000", Params: Params{Partner: 102, Entry: "0_rkij47dr", Index: index, Token: &token}}
}

func testPublish(suffix string) Publish {
	return Publish{Name: "0_rkij47dr" + suffix, Encoder: "test", Clock: SourceClock{Rate: 1000, Bits: 32}}
}

func (w *world) publish(g *Gateway, index live.Index, suffix string) *Session {
	w.t.Helper()
	p, err := g.Connect(w.t.Context(), testConnect(index))
	if err != nil {
		w.t.Fatal(err)
	}
	pub, err := g.Publish(w.t.Context(), p, testPublish(suffix))
	if err != nil {
		w.t.Fatal(err)
	}
	return pub.(*Session)
}

// play sends a stream in real (virtual) time.
func (w *world) play(s *Session, src source, changes ...change) {
	w.t.Helper()
	if err := s.SetTrack(testH264("")); err != nil {
		w.t.Fatal(err)
	}
	if src.audio > 0 {
		if err := s.SetTrack(testAAC(src.audio)); err != nil {
			w.t.Fatal(err)
		}
	}
	start, units := time.Now(), src.units()
	for _, c := range changes {
		units = c(units)
	}
	for _, u := range units {
		time.Sleep(time.Until(start.Add(u.sent)))
		if err := s.Write(u.au); err != nil {
			w.t.Fatal(err)
		}
	}
}

// epochs is more than any test opens.
const epochs = 10

// parts returns all parts of a place to publish, those of its first publish first.
func (w *world) parts(id live.FeedID) []*live.Part {
	w.t.Helper()
	var parts []*live.Part
	for epoch := uint64(1); epoch <= epochs; epoch++ {
		parts = append(parts, w.epoch(live.Feed{FeedID: id, Epoch: epoch})...)
	}
	return parts
}

func (w *world) epoch(feed live.Feed) []*live.Part {
	w.t.Helper()
	f, err := w.ring.Follow(w.t.Context(), feed.Subject(), 0)
	if err != nil {
		w.t.Fatal(err)
	}
	defer f.Close()
	var parts []*live.Part
	for {
		ctx, cancel := context.WithTimeout(w.t.Context(), time.Second/epochs)
		m, err := f.Next(ctx)
		cancel()
		if err != nil {
			return parts
		}
		p := m.Body.(*live.Part)
		if m.ID != p.ID() {
			w.t.Errorf("message %s holds part %s", m.ID, p.ID())
		}
		parts = append(parts, p)
	}
}

func (w *world) record(id live.FeedID) live.FeedRecord {
	w.t.Helper()
	kv, err := w.cfg.Feeds.Get(w.t.Context(), id.String())
	if err != nil {
		w.t.Fatal(err)
	}
	r, err := live.UnmarshalFeedRecord(kv.Value)
	if err != nil {
		w.t.Fatal(err)
	}
	return r
}

var testID = live.FeedID{Entry: "0_rkij47dr", Suffix: 1}

func reason(err error) Reason {
	var r *Refusal
	if errors.As(err, &r) {
		return r.Reason
	}
	return Reason("no refusal: " + errText(err))
}

func errText(err error) string {
	if err == nil {
		return "nil"
	}
	return err.Error()
}

func TestPublishOnAir(t *testing.T) {
	inWorld(t, func(w *world) {
		w.api.facts = live.EntryFacts{DVR: true, DVRWindow: 30 * 24 * time.Hour, SegmentDuration: 2 * time.Second}
		g := w.gateway()
		s := w.publish(g, live.Primary, "")
		if open := w.record(testID); open.Feed.Epoch != 1 || !open.Closed.IsZero() || !open.Alive(time.Now()) {
			t.Errorf("record at open: %+v", open)
		}
		w.play(s, source{fps: 25, gop: 25, audio: 48000, length: 10 * time.Second})
		time.Sleep(time.Second)
		on := w.record(testID)
		if on.FirstSeq != 1 || on.Target != 2*time.Second || on.Protocol != "rtmp" || on.Gateway != "gw1:8082" {
			t.Errorf("record on air: %+v", on)
		}
		if !on.Grant.Accepts("0_rkij47dr", "secret-token") || on.Grant.DVRWindow != 2*time.Hour || len(on.Grant.Ladder.Rungs) != 1 {
			t.Errorf("grant: %+v", on.Grant)
		}
		if st := on.Stats; st.Video != "H264" || st.Audio != "AAC" || st.Width != 640 || st.FrameRate < 19 || st.FrameRate > 26 || st.Bitrate < 5000 {
			t.Errorf("stats: %+v", st)
		}
		if on.Clock.LastArrival == 0 || time.Since(on.Clock.LastArrival.Std()) > live.FeedBeat+live.FeedLook {
			t.Errorf("clock: %+v", on.Clock)
		}
		if list := g.Sessions(); len(list) != 1 || list[0].Feed != s.feed {
			t.Errorf("sessions: %+v", list)
		}
		s.Close(nil)
		if r := w.record(testID); r.Closed.IsZero() || r.Alive(time.Now()) || !r.Recent(time.Now(), time.Minute) {
			t.Errorf("record after close: %+v", r)
		}
		parts := w.parts(testID)
		checkParts(t, parts, testPart)
		if n := len(frames(parts, media.VideoTrack)); n != 250 {
			t.Errorf("%d of 250 pictures are on the bus", n)
		}
		if len(g.Sessions()) != 0 {
			t.Error("the session is still listed")
		}
		if err := s.Write(AccessUnit{Track: 0, Payload: []byte{1}}); err == nil {
			t.Error("a closed session takes frames")
		}
	})
}

// countedBucket counts what is written.
type countedBucket struct {
	Bucket
	writes atomic.Int64
}

func (b *countedBucket) Update(ctx context.Context, key string, value []byte, revision uint64) (uint64, error) {
	b.writes.Add(1)
	return b.Bucket.Update(ctx, key, value, revision)
}

// TestRecordIsWrittenWhenItTells holds that the record of a feed that goes on as it did is written each beat,
// and that a look tells when media come no more, and when they come again.
func TestRecordIsWrittenWhenItTells(t *testing.T) {
	inWorld(t, func(w *world) {
		counted := &countedBucket{Bucket: w.cfg.Feeds}
		w.cfg.Feeds = counted
		s := w.publish(w.gateway(), live.Primary, "")
		play := func(length time.Duration) { w.play(s, source{fps: 25, gop: 25, audio: 48000, length: length}) }
		play(10 * time.Second)
		from, begin := counted.writes.Load(), time.Now()
		play(20 * time.Second)
		if n := counted.writes.Load() - from; n < 9 || n > 11 {
			t.Errorf("%d writes in %v", n, time.Since(begin))
		}
		stopped := time.Now()
		time.Sleep(live.FeedBeat + 50*time.Millisecond) // a look finds nothing new for up to a second, the next one a whole second without media
		if r := w.record(testID); !r.Quiet() || r.Clock.LastArrival.Std().After(stopped) {
			t.Errorf("%v after the last media: %+v", time.Since(stopped), r.Clock)
		}
		time.Sleep(5 * time.Second)
		play(live.FeedLook + 50*time.Millisecond)
		if r := w.record(testID); r.Quiet() {
			t.Errorf("media come again: %+v", r.Clock)
		}
		s.Close(nil)
	})
}

func TestReconnectContinues(t *testing.T) {
	inWorld(t, func(w *world) {
		g := w.gateway()
		first := w.publish(g, live.Primary, "_1")
		w.play(first, source{fps: 25, gop: 50, audio: 48000, length: 9 * time.Second})
		first.Close(nil)
		time.Sleep(3 * time.Second)
		second := w.publish(g, live.Primary, "_1")
		w.play(second, source{fps: 25, gop: 50, audio: 48000, length: 9 * time.Second})
		second.Close(nil)
		parts := w.parts(testID)
		var again []*live.Part
		var lastEnd media.Time
		for _, p := range parts {
			if p.Feed.Epoch == 2 {
				again = append(again, p)
			} else {
				lastEnd = max(lastEnd, p.End)
			}
		}
		checkParts(t, again, testPart)
		start := again[0].Segment
		if start.Start < lastEnd || !start.Discontinuity || start.Target != 4*time.Second {
			t.Errorf("second connect starts with %+v after %d", start, lastEnd)
		}
		segs := segments(again)
		if cut := segs[1][0].Segment.Start; cut < boundary(start.Start, 4*time.Second) {
			t.Errorf("the first segment after a reconnect was cut early: %d after %d", cut, start.Start)
		}
	})
}

func TestKickAndShutdown(t *testing.T) {
	inWorld(t, func(w *world) {
		g := w.gateway()
		one, two := w.publish(g, live.Primary, "_1"), w.publish(g, live.Backup, "_1")
		if err := w.control.Notify(live.KickSubject("0_rkij47dr"), []byte(`{"reason":"content blocked"}`)); err != nil {
			t.Fatal(err)
		}
		for _, s := range []*Session{one, two} {
			<-s.Done()
			if reason(s.Err()) != ReasonKicked || !strings.Contains(s.Err().Error(), "content blocked") {
				t.Errorf("%v", s.Err())
			}
			s.Close(nil)
		}
		three := w.publish(g, live.Primary, "_1")
		w.play(three, source{fps: 25, gop: 50, length: 3 * time.Second})
		if err := g.Close(w.t.Context()); err != nil {
			t.Fatal(err)
		}
		<-three.Done()
		if reason(three.Err()) != ReasonShutdown {
			t.Errorf("%v", three.Err())
		}
		parts := w.parts(testID)
		if n := len(parts); n == 0 || !parts[n-1].Final {
			t.Error("the last part is not on the bus")
		}
		if _, err := g.Connect(w.t.Context(), testConnect(live.Primary)); reason(err) != ReasonShutdown {
			t.Errorf("connect after close: %v", err)
		}
	})
}

func TestNotReady(t *testing.T) {
	inWorld(t, func(w *world) {
		w.cfg.Ready = func() error { return errors.New("bus not there") }
		_, err := w.gateway().Connect(w.t.Context(), testConnect(live.Primary))
		if reason(err) != ReasonNotReady || !strings.Contains(err.Error(), "yet") || len(w.api.calls) != 0 {
			t.Errorf("%v, calls %v", err, w.api.calls)
		}
	})
}

func TestFeedsShareAClock(t *testing.T) {
	for _, gateways := range []string{"one gateway", "two gateways"} {
		t.Run(gateways, func(t *testing.T) {
			inWorld(t, func(w *world) {
				g := w.gateway()
				other := g
				if gateways == "two gateways" {
					other = w.gateway()
				}
				sessions := []*Session{w.publish(g, live.Primary, "_1"), w.publish(other, live.Primary, "_2"), w.publish(g, live.Primary, "_3")}
				var wg sync.WaitGroup
				for i, s := range sessions {
					wg.Go(func() {
						time.Sleep(time.Duration(i) * 7 * time.Millisecond)
						w.play(s, source{fps: 25, gop: 50, audio: 48000, length: 12 * time.Second, start: 1<<32 - 3000}, from(7*time.Second, 3600_000))
					})
				}
				wg.Wait()
				var starts [][]media.Time
				for i, s := range sessions {
					s.Close(nil)
					parts := w.parts(live.FeedID{Entry: "0_rkij47dr", Suffix: i + 1})
					checkParts(t, parts, testPart)
					var list []media.Time
					for _, seg := range segments(parts) {
						list = append(list, seg[0].Segment.Start)
					}
					starts = append(starts, list)
				}
				if n := len(starts[0]); n < 4 {
					t.Fatalf("%d segments", n)
				}
				for i := range starts {
					if len(starts[i]) != len(starts[0]) {
						t.Fatalf("feed %d: %v, feed 1: %v", i+1, starts[i], starts[0])
					}
					for j := range starts[i] {
						if starts[i][j] != starts[0][j] {
							t.Errorf("segment %d: feed %d starts at %d, feed 1 at %d", j, i+1, starts[i][j], starts[0][j])
						}
					}
				}
			})
		})
	}
}

func TestBroadcastRecordSetsTheTarget(t *testing.T) {
	inWorld(t, func(w *world) {
		ahead := media.At(time.Now().Add(time.Minute))
		b, err := live.BroadcastRecord{ID: "b", Target: 9 * time.Second, LastEnd: ahead}.Marshal()
		if err != nil {
			t.Fatal(err)
		}
		if _, err := w.cfg.Broadcasts.Create(w.t.Context(), "0_rkij47dr", b, 0); err != nil {
			t.Fatal(err)
		}
		s := w.publish(w.gateway(), live.Primary, "_1")
		w.play(s, source{fps: 25, gop: 50, length: 3 * time.Second})
		s.Close(nil)
		parts := w.parts(testID)
		if p := parts[0]; p.Segment.Target != 9*time.Second || p.Segment.Start < ahead {
			t.Errorf("first part: target %v, start %d; want 9s, not before %d", p.Segment.Target, p.Segment.Start, ahead)
		}
		checkParts(t, parts, testPart)
	})
}
