package gateway

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"strings"
	"sync"
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
	facts  EntryFacts
	auth   error
	ladder error
	empty  bool
	calls  []string
}

func (f *fakeAPI) Authenticate(_ context.Context, r AuthRequest) (EntryFacts, error) {
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

func (w *world) parts(id live.FeedID) []*live.Part {
	w.t.Helper()
	f, err := w.ring.Follow(w.t.Context(), id.Subject(), 0)
	if err != nil {
		w.t.Fatal(err)
	}
	defer f.Close()
	var parts []*live.Part
	for {
		ctx, cancel := context.WithTimeout(w.t.Context(), time.Second)
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
		w.api.facts = EntryFacts{DVR: true, DVRWindow: 30 * 24 * time.Hour, SegmentDuration: 2 * time.Second}
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
		if on.Clock.LastArrival == 0 || time.Since(on.Clock.LastArrival.Std()) > 2*time.Second {
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

func TestRefusals(t *testing.T) {
	down := errors.New("no route to host")
	api := func(code string) error { return &APIError{Code: code, Message: "no"} }
	for _, tt := range []struct {
		name         string
		auth, ladder error
		publish      string
		want         Reason
		text         string
	}{
		{"unknown entry", api("ENTRY_ID_NOT_FOUND"), nil, "", ReasonAuth, "no live entry 0_rkij47dr"},
		{"wrong token", api("LIVE_STREAM_INVALID_TOKEN"), nil, "", ReasonAuth, "token of entry 0_rkij47dr is wrong"},
		{"limit", api("LIVE_STREAM_EXCEEDED_MAX_PASSTHRU"), nil, "", ReasonLimit, "as many live streams as its account allows"},
		{"transcoded limit", api("LIVE_STREAM_EXCEEDED_MAX_TRANSCODED"), nil, "", ReasonLimit, "transcoded"},
		{"tag limit", api("LIVE_STREAM_EXCEEDED_MAX_CONCURRENT_BY_ADMIN_TAG"), nil, "", ReasonLimit, "BY_ADMIN_TAG"},
		{"elsewhere", api("LIVE_STREAM_ALREADY_BROADCASTING"), nil, "", ReasonBusy, "another server"},
		{"forbidden", api("SERVICE_FORBIDDEN"), nil, "", ReasonAuth, "may not broadcast"},
		{"blocked", api("SERVICE_FORBIDDEN_CONTENT_BLOCKED"), nil, "", ReasonAuth, "blocked"},
		{"session", api("INVALID_KS"), nil, "", ReasonAPI, "not accepted by Kaltura"},
		{"node", api("MEDIA_SERVER_NOT_FOUND"), nil, "", ReasonAPI, "host name"},
		{"new code", api("SOMETHING_NEW"), nil, "", ReasonAuth, "SOMETHING_NEW"},
		{"down", down, nil, "", ReasonAPI, "does not answer"},
		{"broken", api("INTERNAL_SERVERL_ERROR"), nil, "", ReasonAPI, "does not answer"},
		{"ladder down", nil, down, "_1", ReasonAPI, "does not answer"},
		{"no outputs", nil, ErrNoOutputs, "_1", ReasonMedia, "makes no outputs"},
		{"no stream", nil, ErrUnknownStream, "_7", ReasonParams, "no stream with suffix 7"},
		{"no stream by code", nil, api("INGEST_NOT_FOUND_IN_CONVERSION_PROFILE"), "_7", ReasonParams, "suffix 7"},
		{"name of another entry", nil, nil, "=0_aaaaaaaa_1", ReasonParams, "the connection is for entry 0_rkij47dr"},
		{"no name", nil, nil, "=camera", ReasonParams, "a stream name is"},
		{"suffix in letters", nil, nil, "_x", ReasonParams, "a stream name is"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			inWorld(t, func(w *world) {
				w.api.answer(tt.auth, tt.ladder)
				g := w.gateway()
				p, err := g.Connect(w.t.Context(), testConnect(live.Primary))
				if tt.auth == nil {
					if err != nil {
						t.Fatal(err)
					}
					pub := testPublish(tt.publish)
					if name, ok := strings.CutPrefix(tt.publish, "="); ok {
						pub.Name = name
					}
					_, err = g.Publish(w.t.Context(), p, pub)
				}
				if reason(err) != tt.want || !strings.Contains(errText(err), tt.text) || strings.Contains(errText(err), "secret-token") {
					t.Errorf("%s: %v; want %s with %q", reason(err), err, tt.want, tt.text)
				}
				if log := w.log.String(); !strings.Contains(log, "0_rkij47dr") || !strings.Contains(log, "192.0.2.7") || !strings.Contains(log, string(tt.want)) {
					t.Errorf("the log lacks entry, peer or reason: %s", log)
				}
			})
		})
	}
}

func TestMissingToken(t *testing.T) {
	inWorld(t, func(w *world) {
		w.api.answer(&APIError{Code: "MISSING_MANDATORY_PARAMETER"}, nil)
		c := testConnect(live.Primary)
		c.Params.Token = nil
		_, err := w.gateway().Connect(w.t.Context(), c)
		if reason(err) != ReasonParams || !strings.Contains(err.Error(), "lacks t=") {
			t.Errorf("%v", err)
		}
	})
}

func TestLadderWithoutRungs(t *testing.T) {
	inWorld(t, func(w *world) {
		w.api.empty = true
		g := w.gateway()
		p, err := g.Connect(w.t.Context(), testConnect(live.Primary))
		if err != nil {
			t.Fatal(err)
		}
		if _, err = g.Publish(w.t.Context(), p, testPublish("_1")); reason(err) != ReasonMedia {
			t.Errorf("%v", err)
		}
		if got := strings.Join(w.api.calls, ", "); got != "authenticate 0_rkij47dr primary, ladder 0_rkij47dr_1" {
			t.Errorf("calls: %s", got)
		}
	})
}

func TestStoredGrant(t *testing.T) {
	down := errors.New("no route to host")
	busyThere := &APIError{Code: "LIVE_STREAM_ALREADY_BROADCASTING"}
	for _, tt := range []struct {
		name   string
		auth   error
		token  string
		after  time.Duration
		suffix string
		ok     bool
	}{
		{"no answer", down, "secret-token", time.Minute, "_1", true},
		{"already broadcasting", busyThere, "secret-token", time.Minute, "_1", true},
		{"another token", down, "secret-token2", time.Minute, "_1", false},
		{"beyond resume", down, "secret-token", 4 * time.Minute, "_1", false},
		{"a clear no", &APIError{Code: "LIVE_STREAM_INVALID_TOKEN"}, "secret-token", time.Minute, "_1", false},
		{"a stream never granted", down, "secret-token", time.Minute, "_2", false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			inWorld(t, func(w *world) {
				g := w.gateway()
				s := w.publish(g, live.Primary, "_1")
				s.Close(nil)
				time.Sleep(tt.after)
				w.api.answer(tt.auth, tt.auth)
				c := testConnect(live.Primary)
				c.Params.Token = &tt.token
				p, err := g.Connect(w.t.Context(), c)
				if err == nil {
					var pub Publication
					if pub, err = g.Publish(w.t.Context(), p, testPublish(tt.suffix)); err == nil {
						pub.Close(nil)
					}
				}
				if (err == nil) != tt.ok {
					t.Errorf("error %v", err)
				}
				if tt.ok && len(w.record(testID).Grant.Ladder.Rungs) != 1 {
					t.Error("the ladder got lost")
				}
			})
		})
	}
}

func TestDuplicateAndTakeover(t *testing.T) {
	for _, gateways := range []string{"one gateway", "two gateways"} {
		t.Run(gateways, func(t *testing.T) {
			inWorld(t, func(w *world) {
				g := w.gateway()
				other := g
				if gateways == "two gateways" {
					other = w.gateway()
				}
				s := w.publish(g, live.Primary, "_1")
				var wg sync.WaitGroup
				wg.Go(func() { w.play(s, source{fps: 25, gop: 50, length: 10 * time.Second}) })
				time.Sleep(4 * time.Second)
				p, err := other.Connect(w.t.Context(), testConnect(live.Primary))
				if err != nil {
					t.Fatal(err)
				}
				start := time.Now()
				_, err = other.Publish(w.t.Context(), p, testPublish("_1"))
				if took := time.Since(start); reason(err) != ReasonBusy || took < 2*time.Second || took > 4*time.Second {
					t.Errorf("after %v: %v", took, err)
				}
				wg.Wait() // the encoder hangs now, its connection stays
				start = time.Now()
				pub, err := other.Publish(w.t.Context(), p, testPublish("_1"))
				if err != nil {
					t.Fatalf("no take-over: %v", err)
				}
				if took := time.Since(start); took > 3500*time.Millisecond {
					t.Errorf("the take-over took %v", took)
				}
				time.Sleep(2 * time.Second)
				select {
				case <-s.Done():
				default:
					t.Fatal("the old publication goes on")
				}
				if reason(s.Err()) != ReasonTakenOver {
					t.Errorf("old publication: %v", s.Err())
				}
				if err := s.Write(AccessUnit{Track: 0, Payload: []byte{1}}); reason(err) != ReasonTakenOver {
					t.Errorf("write to the old publication: %v", err)
				}
				s.Close(nil)
				w.play(pub.(*Session), source{fps: 25, gop: 50, length: 3 * time.Second})
				pub.Close(nil)
				if r := w.record(testID); r.Feed.Epoch <= s.feed.Epoch || r.Closed.IsZero() {
					t.Errorf("record: %+v", r)
				}
			})
		})
	}
}

func TestDeadGatewaysFeedIsFree(t *testing.T) {
	inWorld(t, func(w *world) {
		old := live.FeedRecord{Feed: live.Feed{FeedID: testID, Epoch: 1}, Opened: time.Now(), Beat: time.Now()}
		b, err := old.Marshal()
		if err != nil {
			t.Fatal(err)
		}
		if _, err := w.cfg.Feeds.Create(w.t.Context(), testID.String(), b, 0); err != nil {
			t.Fatal(err)
		}
		if _, err := w.cfg.Epochs.Next(w.t.Context(), testID.Entry); err != nil {
			t.Fatal(err)
		}
		start := time.Now()
		s := w.publish(w.gateway(), live.Primary, "_1")
		if took := time.Since(start); took > 4*time.Second {
			t.Errorf("took %v", took)
		}
		if s.feed.Epoch != 2 {
			t.Errorf("epoch %d", s.feed.Epoch)
		}
		s.Close(nil)
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

// stuckMedia is a media plane that is away for a while.
type stuckMedia struct {
	Publisher
	mu   sync.Mutex
	away bool
}

func (m *stuckMedia) set(away bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.away = away
}

func (m *stuckMedia) Publish(ctx context.Context, subject, id string, body bus.Body) (uint64, error) {
	m.mu.Lock()
	away := m.away
	m.mu.Unlock()
	if away {
		return 0, errors.New("no leader")
	}
	return m.Publisher.Publish(ctx, subject, id, body)
}

func TestBusAway(t *testing.T) {
	for _, tt := range []struct {
		away time.Duration
		lost bool
	}{{10 * time.Second, false}, {40 * time.Second, true}} {
		t.Run(tt.away.String(), func(t *testing.T) {
			inWorld(t, func(w *world) {
				m := &stuckMedia{Publisher: w.ring}
				w.cfg.Media = m
				s := w.publish(w.gateway(), live.Primary, "_1")
				time.AfterFunc(5*time.Second, func() { m.set(true) })
				time.AfterFunc(5*time.Second+tt.away, func() { m.set(false) })
				w.play(s, source{fps: 25, gop: 50, length: 60 * time.Second})
				s.Close(nil)
				parts := w.parts(testID)
				holes := 0
				for i := 1; i < len(parts); i++ {
					if parts[i].Seq != parts[i-1].Seq+1 {
						holes++
						if parts[i].Number != 0 {
							t.Errorf("parts go on in the middle of segment %d", parts[i].Segment.Number)
						}
					}
				}
				if lost := holes > 0; lost != tt.lost || !parts[len(parts)-1].Final {
					t.Errorf("%d holes, %d parts", holes, len(parts))
				}
				if got := strings.Contains(w.log.String(), "the oldest were dropped"); got != tt.lost {
					t.Errorf("the log says lost: %v", got)
				}
			})
		})
	}
}
