package packager

import (
	"bytes"
	"cmp"
	"context"
	"encoding/hex"
	"fmt"
	"io"
	"log/slog"
	"os"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"go.uber.org/goleak"

	"klive/infra/bus"
	"klive/infra/live"
	"klive/infra/media"
	"klive/infra/media/mp4"
	"klive/storage"
	"klive/storage/playlist"
	"klive/storage/storagetest"
	"klive/storage/timeline"
	"klive/storage/timeline/timelinetest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const entry = "0_demolive"

// rig is a packager over the real ring (or the streams), a store in memory and the timeline.
type rig struct {
	t     testing.TB
	ring  bus.Media
	log   *timelinetest.Log
	store *hookStore
	shelf Shelf
	// hearing becomes the packager's hook.
	hearing func() time.Duration
	opt     Options
	// stored becomes the packager's hook.
	stored func(int)
	// jobs and ends reach transcode workers; nil when there are none.
	jobs Jobs
	ends Ends
	logs io.Writer // of the packager; nil for none

	// mu guards the fields below.
	mu      sync.Mutex
	p       *Packager
	sent    map[media.TrackID][]media.Frame // what the first feed's encoder made
	notes   []live.BroadcastRecord
	epoch   uint64
	parts   map[live.Feed][]*live.Part      // as they lie on the bus
	records map[live.FeedID]live.FeedRecord // the newest of each place
}

// hookStore is a store with faults.
type hookStore struct {
	storage.Store
	// put fails a write when it returns an error; once a packager runs, set changes it.
	put func(key string) error
	get error      // of all reads
	mu  sync.Mutex // guards put and get
	// puts counts the writes.
	puts atomic.Int64
}

func (s *hookStore) Put(ctx context.Context, key string, data [][]byte, opt storage.PutOptions) (storage.Info, error) {
	s.puts.Add(1)
	s.mu.Lock()
	put := s.put
	s.mu.Unlock()
	if put != nil {
		if err := put(key); err != nil {
			return storage.Info{}, err
		}
	}
	return s.Store.Put(ctx, key, data, opt)
}

func (s *hookStore) Get(ctx context.Context, key string, r *storage.Range) (io.ReadCloser, storage.Info, error) {
	s.mu.Lock()
	err := s.get
	s.mu.Unlock()
	if err != nil {
		return nil, storage.Info{}, err
	}
	return s.Store.Get(ctx, key, r)
}

// setGet makes all reads fail, or work again.
func (s *hookStore) setGet(err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.get = err
}

func (s *hookStore) set(put func(key string) error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.put = put
}

func newRig(t testing.TB) *rig {
	t.Helper()
	g := &rig{t: t, ring: bus.NewRing(bus.RingConfig{}), log: timelinetest.NewLog(), store: &hookStore{Store: storagetest.NewMemory()}, sent: map[media.TrackID][]media.Frame{}, parts: map[live.Feed][]*live.Part{}, records: map[live.FeedID]live.FeedRecord{}}
	return g
}

func (g *rig) Put(_ context.Context, _ string, value []byte) (uint64, error) {
	r, err := live.UnmarshalBroadcastRecord(value)
	g.mu.Lock()
	defer g.mu.Unlock()
	g.notes = append(g.notes, r)
	return uint64(len(g.notes)), err
}

// start opens the timeline under the next epoch and runs a packager; end stops it hard.
func (g *rig) start() (result <-chan error, end func()) {
	g.t.Helper()
	g.epoch++
	w, err := timeline.OpenWriter(g.t.Context(), timeline.WriterConfig{Store: g.store, Log: g.log, Entry: entry, Epoch: g.epoch, Owner: "test"})
	if err != nil {
		g.t.Fatal(err)
	}
	var out io.Writer = io.Discard
	if testing.Verbose() {
		out = os.Stderr
	}
	if g.logs != nil {
		out = g.logs
	}
	g.mu.Lock()
	g.p = New(Config{Entry: entry, Media: g.ring, Timeline: w, Store: g.store, Shelf: g.shelf, Broadcasts: g, Options: g.opt, Stored: g.stored, Hearing: g.hearing, Jobs: g.jobs, Ends: g.ends,
		Chapters: func(ctx context.Context, b string, c timeline.Chapter) ([]timeline.Item, error) {
			return timeline.LoadChapter(ctx, g.store, b, c)
		},
		Log: slog.New(slog.NewTextHandler(out, nil))})
	p := g.p
	for _, r := range g.records {
		p.Feed(r)
	}
	g.mu.Unlock()
	ctx, cancel := context.WithCancel(g.t.Context())
	ch := make(chan error, 1)
	done := make(chan struct{})
	go func() { defer close(done); ch <- p.Run(ctx) }()
	return ch, func() { cancel(); <-done }
}

func (g *rig) feed(r live.FeedRecord) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.records[r.Feed.FeedID] = r
	g.p.Feed(r)
}

func (g *rig) state() *timeline.State {
	g.t.Helper()
	st, err := timeline.LoadHead(g.t.Context(), g.store, entry)
	if err != nil {
		g.t.Fatal(err)
	}
	return st
}

// watch looks at the timeline each 50 ms for a time, and returns the most by which an item
// that is not there at first is there later than its media end.
func (g *rig) watch(d time.Duration) (stall time.Duration) {
	g.t.Helper()
	seen := uint64(0)
	if b := g.writer().State().Current(); b != nil {
		for _, it := range b.Items {
			if it.Settled() {
				seen = it.Seq
			}
		}
	}
	for until := time.Now().Add(d); time.Now().Before(until); time.Sleep(50 * time.Millisecond) {
		b := g.writer().State().Current()
		if b == nil {
			continue
		}
		for _, it := range b.Items {
			listed := !slices.ContainsFunc(it.Media, func(m timeline.Media) bool { return !m.Settled() && !m.Held })
			if it.Seq > seen && listed {
				seen = it.Seq
				stall = max(stall, time.Since(it.End().Std()))
			}
		}
	}
	return stall
}

func (g *rig) writer() *timeline.Writer {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.p.Timeline.(*timeline.Writer)
}

// publish is one publish of a made-up encoder.
type publish struct {
	feed     live.Feed
	ladder   live.Ladder
	start    media.Time // of the first frame; the present when 0
	duration time.Duration
	segment  time.Duration // default 4 s
	gop      time.Duration // divides segment; segment when 0
	rate     int           // frames per 1.001 s; 0 means no video
	video    media.Params
	audio    media.Params // nil means none
	audioAt  time.Duration
	change   media.Params // video parameters from changeAt on
	changeAt time.Duration
	target   time.Duration
	// cut leaves the publish without its last part and the record open.
	cut    bool
	record bool
	dvr    time.Duration // window; 0 means none
	// late delays parts of the epoch on their way to the bus.
	late func(seq uint64) time.Duration
	// lose names part numbers of the epoch that never reach the bus.
	lose func(seq uint64) bool
}

// on runs the publish in virtual time and returns when it is over.
func (g *rig) on(p publish) {
	if p.segment == 0 {
		p.segment = 4 * time.Second
	}
	if p.target == 0 {
		p.target = p.segment
	}
	if p.start == 0 {
		p.start = media.At(time.Now())
	}
	r := live.FeedRecord{Feed: p.feed, Opened: time.Now(), Beat: time.Now(), FirstSeq: 1, Grant: live.Grant{Entry: entry, Ladder: p.ladder, DVR: p.dvr > 0, DVRWindow: p.dvr},
		Clock: live.ClockRecord{LastArrival: media.At(time.Now())}}
	if p.record {
		r.Grant.Record = 1
	}
	g.feed(r)
	frames := p.frames()
	if p.feed.Suffix == 1 && p.feed.Index == live.Primary {
		for _, f := range frames {
			g.sent[f.Track] = append(g.sent[f.Track], f)
		}
	}
	offset := time.Since(p.start.Std())
	for _, part := range p.parts(frames) {
		last := part.Frames[len(part.Frames)-1]
		for due := last.DTS.Add(offset).Std(); time.Now().Before(due); {
			time.Sleep(min(time.Second, time.Until(due)))
			r.Beat = time.Now()
			g.feed(r)
		}
		if p.cut && part.Final || p.lose != nil && p.lose(part.Seq) {
			continue
		}
		if p.late != nil {
			time.Sleep(p.late(part.Seq))
		}
		if _, err := g.ring.Publish(g.t.Context(), p.feed.Subject(), part.ID(), part); err != nil {
			g.t.Error(err)
		}
		g.mu.Lock()
		g.parts[p.feed] = append(g.parts[p.feed], part)
		g.mu.Unlock()
	}
	if p.cut {
		return
	}
	r.Beat, r.Closed = time.Now(), time.Now()
	g.feed(r)
}

// frames makes the encoder's frames in decode order: B-frames in the video, audio on its grid.
func (p *publish) frames() []media.Frame {
	var out []media.Frame
	if p.rate > 0 {
		at := func(i int) media.Time { return p.start + media.Time(int64(i)*1001*1e6/int64(p.rate)) }
		perSegment := int(cmp.Or(p.gop, p.segment) * time.Duration(p.rate) / (1001 * time.Millisecond))
		total := int(p.duration * time.Duration(p.rate) / (1001 * time.Millisecond))
		for i := range total {
			in := i % perSegment
			size := min(perSegment, total-(i-in)) // frames of this GOP
			order := in
			if in > 0 && size > 2 { // I P B P B …: the later picture first
				if pair := (in - 1) / 2; 2*pair+2 < size {
					order = 2*pair + 2 - (in-1)%2
				}
			}
			out = append(out, media.Frame{DTS: at(i - 1), PTS: at(i - in + order), Duration: at(i).Sub(at(i - 1)), Key: in == 0,
				Payload: fmt.Appendf(nil, "%v video %d", p.feed, i)})
		}
	}
	if p.audio != nil {
		rate := p.audio.(media.AudioParams).SampleRate()
		at := func(i int64) media.Time { return p.start.Add(media.FromTicks(i*1024, rate)) }
		for i := int64(0); at(i) < p.start.Add(p.duration); i++ {
			if at(i) >= p.start.Add(p.audioAt) {
				out = append(out, media.Frame{Track: 1, DTS: at(i), PTS: at(i), Duration: at(i + 1).Sub(at(i)), Key: true,
					Payload: fmt.Appendf(nil, "%v audio %d", p.feed, i)})
			}
		}
	}
	slices.SortStableFunc(out, func(a, b media.Frame) int { return int(a.DTS - b.DTS) })
	return out
}

// parts cuts frames as a gateway does: segments at keyframes, parts of a third of a second.
func (p *publish) parts(frames []media.Frame) []*live.Part {
	const partDuration = 333 * time.Millisecond
	var starts []media.Time // of segments
	keys, each := -1, int(p.segment/cmp.Or(p.gop, p.segment))
	for _, f := range frames {
		if p.rate > 0 && f.Track == 0 && f.Key {
			keys++
		}
		if p.rate > 0 && f.Track == 0 && f.Key && keys%each == 0 || p.rate == 0 && (len(starts) == 0 || f.PTS >= starts[len(starts)-1].Add(p.segment)) {
			starts = append(starts, f.PTS)
		}
	}
	var out []*live.Part
	byKey := map[[2]int]*live.Part{}
	seg := 0 // of the video frame in hand
	for _, f := range frames {
		n := 0
		if f.Track == 0 && p.rate > 0 {
			if i := slices.Index(starts, f.PTS); f.Key && i >= 0 {
				seg = i
			}
			n = seg
		} else {
			for n+1 < len(starts) && f.PTS >= starts[n+1] {
				n++
			}
		}
		number := max(0, int(f.DTS.Sub(starts[n])/partDuration))
		part := byKey[[2]int{n, number}]
		if part == nil {
			part = &live.Part{Feed: p.feed, Number: number, Segment: p.segmentOf(n, starts)}
			byKey[[2]int{n, number}] = part
			out = append(out, part)
		}
		part.Frames = append(part.Frames, f)
	}
	slices.SortStableFunc(out, func(a, b *live.Part) int {
		if d := int(a.Segment.Number) - int(b.Segment.Number); d != 0 {
			return d
		}
		return a.Number - b.Number
	})
	for i, part := range out {
		part.Seq = uint64(i + 1)
		part.Final = i == len(out)-1
		if part.Last = part.Final || out[i+1].Segment.Number != part.Segment.Number; part.Last {
			part.End = p.start.Add(p.duration)
			if !part.Final {
				part.End = out[i+1].Segment.Start
			}
		}
	}
	return out
}

func (p *publish) segmentOf(n int, starts []media.Time) live.Segment {
	s := live.Segment{Start: starts[n], Number: uint64(n + 1), Discontinuity: n == 0, Independent: true, Target: p.target}
	if p.rate > 0 {
		v := p.video
		if p.change != nil && starts[n] >= p.start.Add(p.changeAt) {
			v = p.change
			s.Discontinuity = s.Discontinuity || starts[n-1] < p.start.Add(p.changeAt)
		}
		s.Tracks = append(s.Tracks, media.Track{ID: 0, Params: v})
	}
	end := p.start.Add(p.duration)
	if n+1 < len(starts) {
		end = starts[n+1]
	}
	if p.audio != nil && end > p.start.Add(p.audioAt) {
		s.Tracks = append(s.Tracks, media.Track{ID: 1, Params: p.audio})
	}
	return s
}

// samples reads everything of a rendition that the broadcast's items name, and holds the
// joins between segments against each other.
func (g *rig) samples(b *timeline.Broadcast, name string) []media.Frame {
	g.t.Helper()
	var out []media.Frame
	for _, it := range g.items(b) {
		m := it.Of(name)
		if m == nil || m.Gap {
			continue
		}
		if !m.Stored {
			g.t.Fatalf("item %d of %s is not stored", it.Seq, name)
		}
		h, err := mp4.ParseInit(g.object(playlist.InitKey(name, b.ID, m.Init)))
		if err != nil {
			g.t.Fatal(err)
		}
		list, err := h.Segment(g.object(playlist.MediaKey(name, b.ID, m.Name)))
		if err != nil {
			g.t.Fatal(err)
		}
		for _, s := range list {
			out = append(out, media.Frame{DTS: h.Time(s.DTS), PTS: h.Time(s.PTS), Duration: media.FromTicks(int64(s.Duration), h.Timescale), Key: s.Key, Payload: s.Data})
		}
	}
	return out
}

// items returns the broadcast's items, those of closed chapters too.
func (g *rig) items(b *timeline.Broadcast) []timeline.Item {
	g.t.Helper()
	var out []timeline.Item
	for _, c := range b.Chapters {
		list, err := timeline.LoadChapter(g.t.Context(), g.store, b.ID, c)
		if err != nil {
			g.t.Fatal(err)
		}
		out = append(out, list...)
	}
	return append(out, b.Items...)
}

func (g *rig) object(key string) []byte {
	g.t.Helper()
	r, _, err := g.store.Get(g.t.Context(), key, nil)
	if err != nil {
		g.t.Fatalf("%s: %v", key, err)
	}
	defer r.Close()
	b, err := io.ReadAll(r)
	if err != nil {
		g.t.Fatal(err)
	}
	return b
}

// sameFrames holds stored frames against sent ones, to within half a tick.
func sameFrames(t testing.TB, what string, got, want []media.Frame, tick time.Duration) {
	t.Helper()
	if len(got) != len(want) {
		t.Fatalf("%s: %d frames are stored, %d were sent", what, len(got), len(want))
	}
	for i := range want {
		g, w := &got[i], &want[i]
		if !bytes.Equal(g.Payload, w.Payload) || g.Key != w.Key {
			t.Fatalf("%s: frame %d is %q, want %q", what, i, g.Payload, w.Payload)
		}
		if g.DTS.Sub(w.DTS).Abs() > tick/2+1 || g.PTS.Sub(w.PTS).Abs() > tick/2+1 {
			t.Fatalf("%s: frame %d at %v/%v, want %v/%v", what, i, g.DTS, g.PTS, w.DTS, w.PTS)
		}
		if i > 0 {
			if end := got[i-1].DTS.Add(got[i-1].Duration); end.Sub(g.DTS).Abs() > 2 {
				t.Fatalf("%s: frame %d begins at %v, the one before ends at %v", what, i, g.DTS, end)
			}
		}
	}
}

func unhex(s string) []byte {
	b, err := hex.DecodeString(s)
	if err != nil {
		panic(err)
	}
	return b
}

// small are parameters that don't state a frame rate; hd state 30 fps.
func small(t testing.TB) media.Params { return h264(t, "6742000af841a2", "68ce3880") }
func hd(t testing.TB) media.Params {
	return h264(t, "67f4001f919b280a00b76022000003000200000300781e30632c", "68ebe3c44844")
}

func h264(t testing.TB, sps, pps string) media.Params {
	t.Helper()
	p, err := media.NewH264([][]byte{unhex(sps)}, [][]byte{unhex(pps)})
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func aac(t testing.TB) media.Params {
	t.Helper()
	p, err := media.NewAAC([]byte{0x12, 0x10})
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func feedOf(index live.Index, suffix int, epoch uint64) live.Feed {
	return live.Feed{FeedID: live.FeedID{Entry: entry, Index: index, Suffix: suffix}, Epoch: epoch}
}

func pass(ids ...int) live.Ladder {
	var l live.Ladder
	for _, id := range ids {
		l.Rungs = append(l.Rungs, live.Rung{ParamsID: id, Name: fmt.Sprintf("rung%d", id), Tags: []string{"web"},
			Video: live.VideoRung{Mode: live.ModePassThrough}, Audio: live.AudioRung{Mode: live.ModePassThrough}})
	}
	return l
}

// sameWhenRebuilt holds that the parts, published again, make the very objects that are
// stored.
func (g *rig) sameWhenRebuilt(b *timeline.Broadcast) {
	g.t.Helper()
	n := 0
	for _, it := range g.items(b) {
		for _, m := range it.Media {
			parts := g.parts[m.Feed]
			if len(parts) == 0 || m.Gap || m.FirstPart == 0 {
				continue // a closed chapter does not keep the numbers
			}
			next := m.FirstPart - 1
			a, err := live.Gather(g.t.Context(), func(context.Context) (uint64, *live.Part, error) {
				next++
				return next, parts[next-1], nil
			}, m.FirstPart, m.LastPart, m.From)
			if err != nil {
				g.t.Fatalf("item %d, %+v: %v", it.Seq, m, err)
			}
			tr, _ := a.Track(b.Rendition(m.Rendition).Kind)
			pieces, err := mp4.Segment(tr.Params, a.Frames(tr.ID), uint32(a.Segment.Number))
			if err != nil {
				g.t.Fatal(err)
			}
			if !bytes.Equal(slices.Concat(pieces...), g.object(playlist.MediaKey(m.Rendition, b.ID, m.Name))) {
				g.t.Errorf("item %d: %s of %s is not what its parts make", it.Seq, m.Name, m.Rendition)
			}
			n++
		}
	}
	if n == 0 {
		g.t.Error("nothing was compared")
	}
}
