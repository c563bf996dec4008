package recorder_test

import (
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"klive/infra/kaltura"
	"klive/infra/live"
	"klive/infra/media"
	"klive/infra/media/mp4"
	"klive/storage"
	"klive/storage/ledger"
	"klive/storage/playlist"
	"klive/storage/storagetest"
	"klive/storage/timeline"
	"klive/workers/recorder"
	"klive/workers/transcode/transcodetest"
)

const (
	entry     = "0_rkij47dr"
	broadcast = "broadcast1"
	frameRate = 25
)

// origin is when the broadcast begins: on no tick, and beyond 2^32 in every unit.
var origin = media.Time(1_760_000_000_123_456_789)

func unhex(s string) []byte {
	b, err := hex.DecodeString(s)
	if err != nil {
		panic(err)
	}
	return b
}

func videoParams(other bool) media.Params {
	sps := "67640028acd940780227e5c05a808080a0000003002000000781e30632c0"
	pps := "68ebe3cb22c0"
	if other {
		pps = "68ebe3cb2240"
	}
	p, err := media.NewH264([][]byte{unhex(sps)}, [][]byte{unhex(pps)})
	if err != nil {
		panic(err)
	}
	return p
}

func audioParams() media.Params {
	p, err := media.NewAAC([]byte{0x11, 0x90}) // 48 kHz, stereo
	if err != nil {
		panic(err)
	}
	return p
}

// stream is a broadcast whose media are made as it goes on: one live asset for each rendition,
// frames that carry their numbers.
type stream struct {
	store *storagetest.Memory

	mu      sync.Mutex
	state   timeline.State
	b       timeline.Broadcast
	at      media.Time
	frame   int
	sound   int64 // samples since the Unix epoch
	inits   int
	mute    bool
	noData  bool // media are not stored; for what only plans
	shelved bool // all items but the newest lie in a chapter, where nothing tells their feeds
	// ladder has all renditions but the first encoded from it; dependent items begin without a
	// keyframe.
	ladder, dependent, isGone bool

	// isDown, when set, says whether the store fails.
	isDown atomic.Pointer[func() bool]
}

// byRig marks the writes of the rig itself, which never fail.
type byRig struct{}

// assets are the live assets of the renditions; the first is the anchor.
var assets = []string{"0_asset000", "0_asset001", "0_asset002", "0_asset003"}

func newStream(renditions int, sound bool) *stream {
	s := &stream{store: storagetest.NewMemory(), at: origin, mute: !sound}
	s.store.Before = func(ctx context.Context, _, _ string) error {
		if down := s.isDown.Load(); down != nil && ctx.Value(byRig{}) == nil && (*down)() {
			return errors.New("503 Slow Down")
		}
		return nil
	}
	s.sound = origin.Ticks(48000)/1024 + 1
	s.b = timeline.Broadcast{ID: broadcast, Start: origin, Target: 4}
	for i := range renditions {
		r := timeline.Rendition{Name: fmt.Sprintf("%s_%d", entry, i), Kind: media.Video, First: 1, Rung: live.Rung{ParamsID: i, Name: fmt.Sprint(i), AssetID: assets[i]}}
		if i == 0 {
			r.Rung.Tags = []string{"source", "recording_anchor"}
		}
		if sound {
			r.Audio = entry + "_a1"
		}
		s.b.Renditions = append(s.b.Renditions, r)
	}
	if sound {
		s.b.Renditions = append(s.b.Renditions, timeline.Rendition{Name: entry + "_a1", Kind: media.Audio})
	}
	s.newInit(false)
	return s
}

// newInit gives all renditions an initialization section of other parameters.
func (s *stream) newInit(other bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.inits++
	for _, r := range s.b.Renditions {
		params := videoParams(other)
		switch {
		case r.Kind == media.Audio:
			params = audioParams()
		case s.ladder && r.Name != s.b.Renditions[0].Name:
			params = transcodetest.Params(media.Video)
		}
		b, err := mp4.Init(media.Track{Params: params})
		if err != nil {
			panic(err)
		}
		s.put(playlist.InitKey(r.Name, broadcast, s.inits), [][]byte{b})
	}
}

func (s *stream) put(key string, data [][]byte) int64 {
	if s.noData {
		return 1
	}
	info, err := s.store.Put(context.WithValue(context.Background(), byRig{}, true), key, data, storage.PutOptions{})
	if err != nil {
		panic(err)
	}
	return info.Size
}

// add appends an item of so many frames; gaps are renditions that lack it.
func (s *stream) add(frames int, gaps ...int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	length := time.Duration(frames) * time.Second / frameRate
	it := timeline.Item{Seq: s.state.NextSeq + 1, Start: s.at, Duration: length, Dependent: s.dependent}
	s.state.NextSeq++
	end := s.at.Add(length)
	name := fmt.Sprintf("%d-1", s.at.Micros())
	for i, r := range s.b.Renditions {
		m := timeline.Media{Rendition: r.Name, Name: name, Start: s.at, Duration: length, Init: s.inits, Stored: true}
		if s.ladder && r.Kind == media.Video {
			s.source(i, &m, slices.Contains(gaps, i))
		}
		var list []*media.Frame
		switch {
		case slices.Contains(gaps, i):
			if m.Gap, m.Stored, m.Init = true, false, 0; r.Kind == media.Audio {
				s.audio(end) // it has passed
			}
		case s.noData:
		case r.Kind == media.Video:
			list = s.video(i, frames)
		case s.mute:
			continue
		default:
			list = s.audio(end)
		}
		if list != nil {
			params := videoParams(false)
			if r.Kind == media.Audio {
				params = audioParams()
			}
			pieces, err := mp4.Segment(params, list, uint32(it.Seq))
			if err != nil {
				panic(err)
			}
			m.Size = s.put(playlist.MediaKey(r.Name, broadcast, name), pieces)
		}
		it.Media = append(it.Media, m)
	}
	s.frame += frames
	s.at = end
	s.b.Items = append(slices.Clip(s.b.Items), it)
}

// source says what the media of a rendition are made of.
func (s *stream) source(rendition int, m *timeline.Media, gap bool) {
	feed := live.Feed{FeedID: live.FeedID{Entry: entry, Suffix: 1}, Epoch: 1}
	if rendition == 0 {
		m.Feed = feed
		return
	}
	m.Encode = &timeline.Encode{Feed: feed}
	if gap {
		m.Encode.Video = &live.VideoJob{Rendition: m.Rendition, Profile: "main", Level: 30, Width: 640, Height: 360, Bitrate: 600e3, Most: 660e3, Buffer: 264e3}
	}
}

// video makes frames with B-frames in decode order I P B B.
func (s *stream) video(rendition, n int) (out []*media.Frame) {
	at := func(i int) media.Time { return s.at.Add(time.Duration(i) * time.Second / frameRate) }
	for i := range n {
		shift := []int{0, 2, -1, -1}[i%4]
		if i+3-i%4 > n-1 {
			shift = 0
		}
		out = append(out, &media.Frame{DTS: at(i - 1), PTS: at(i + shift), Duration: time.Second / frameRate, Key: i == 0 && !s.dependent,
			Payload: fmt.Appendf(nil, "rendition %d frame %d;", rendition, s.frame+i)})
	}
	return out
}

func (s *stream) audio(end media.Time) (out []*media.Frame) {
	for media.TimeFromTicks(s.sound*1024, 48000) < end {
		at := media.TimeFromTicks(s.sound*1024, 48000)
		out = append(out, &media.Frame{Track: 1, DTS: at, PTS: at, Duration: media.FromTicks(1024, 48000), Key: true, Payload: fmt.Appendf(nil, "sound %d;", s.sound)})
		s.sound++
	}
	return out
}

// pauseFor lets nothing come for a while: the next item lies behind a hole.
func (s *stream) pauseFor(d time.Duration) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.at = s.at.Add(d)
	s.sound = s.at.Ticks(48000)/1024 + 1
}

func (s *stream) end() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.b.Ended, s.b.End = true, s.at
}

// State implements [recorder.Timelines].
func (s *stream) State(context.Context, string) (*timeline.State, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	st, b := s.state, s.b
	if n := len(b.Items) - 1; s.shelved && n > 0 {
		b.Chapters = []timeline.Chapter{{FirstSeq: b.Items[0].Seq, LastSeq: b.Items[n-1].Seq, Start: b.Items[0].Start}}
		b.Items = b.Items[n:]
	}
	st.Broadcasts = []*timeline.Broadcast{&b}
	return &st, nil
}

// Items implements [recorder.Timelines].
func (s *stream) Items(_ context.Context, _ string, c timeline.Chapter) (list []timeline.Item, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, it := range s.b.Items {
		if it.Seq > c.LastSeq {
			break
		}
		it.Media = slices.Clone(it.Media)
		for i := range it.Media {
			it.Media[i].Feed = live.Feed{}
		}
		list = append(list, it)
	}
	return list, nil
}

// shelve puts all items but the newest into a chapter.
func (s *stream) shelve() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.shelved = true
}

// feeds are those of the entry while it is on the air.
func (s *stream) feeds() []live.FeedRecord {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.b.Ended {
		return nil
	}
	return []live.FeedRecord{{Grant: live.Grant{Entry: entry, PartnerID: 102, Record: 1}}}
}

// kalturaAPI is Kaltura as far as recordings go: tokens are used once, an append of a path is
// taken as often as it comes.
type kalturaAPI struct {
	// fault, when set, says what becomes of a call: faultNone, faultUnsent (it does not arrive),
	// faultBefore (no answer, nothing done), faultAfter (done, no answer).
	fault func(call string) int
	// slow is how long an append takes.
	slow time.Duration
	// refuse, when set, answers an append with an error.
	refuse func(r kaltura.AppendRequest) error

	mu       sync.Mutex
	tokens   map[string][]byte
	made     int
	appended []appended
	ms       int64
	calls    []string
}

type appended struct {
	kaltura.AppendRequest
	file []byte // of uploads
	name string
}

const (
	faultNone = iota
	faultUnsent
	faultBefore
	faultAfter
)

func (k *kalturaAPI) call(name string, do func() error) error {
	k.mu.Lock()
	defer k.mu.Unlock()
	fault := faultNone
	if k.fault != nil {
		fault = k.fault(name)
	}
	lost := &kaltura.TransportError{Call: name, Err: errors.New("no answer")}
	switch fault {
	case faultUnsent:
		return &kaltura.TransportError{Call: name, Err: &net.OpError{Op: "dial", Err: errors.New("refused")}}
	case faultBefore:
		return lost
	}
	k.calls = append(k.calls, name)
	err := do()
	if fault == faultAfter {
		return lost
	}
	return err
}

func (k *kalturaAPI) LiveStreamGet(context.Context, int, string) (e *kaltura.LiveStreamEntry, err error) {
	err = k.call("get", func() error { e = k.entry(); return nil })
	return e, err
}

func (k *kalturaAPI) entry() *kaltura.LiveStreamEntry {
	e := &kaltura.LiveStreamEntry{}
	e.ID, e.MsDuration, e.RecordedEntryID = entry, k.ms, "0_recorded"
	return e
}

func (k *kalturaAPI) CancelReplace(_ context.Context, _ int, vod string) error {
	return k.call("cancelReplace "+vod, func() error { return nil })
}

func (k *kalturaAPI) Upload(_ context.Context, _ int, r kaltura.UploadRequest) (t *kaltura.UploadToken, err error) {
	b, err := io.ReadAll(r.File)
	if err != nil {
		return nil, err
	}
	if int64(len(b)) != r.Size {
		return nil, fmt.Errorf("%d bytes of %d", len(b), r.Size)
	}
	err = k.call("upload", func() error {
		if k.tokens == nil {
			k.tokens = map[string][]byte{}
		}
		k.made++
		t = &kaltura.UploadToken{ID: fmt.Sprint("token", k.made), Status: kaltura.UploadFull}
		k.tokens[t.ID] = append([]byte(r.Name+"\x00"), b...)
		return nil
	})
	if err != nil {
		return nil, err
	}
	return t, nil
}

func (k *kalturaAPI) AppendRecording(_ context.Context, _ int, r kaltura.AppendRequest) (e *kaltura.LiveStreamEntry, err error) {
	time.Sleep(k.slow)
	err = k.call("append "+r.AssetID, func() error {
		if k.refuse != nil {
			if err := k.refuse(r); err != nil {
				return err
			}
		}
		a := appended{AppendRequest: r, name: r.Resource.LocalFilePath + r.Resource.URL}
		if r.Resource.Token != "" {
			b, ok := k.tokens[r.Resource.Token]
			if !ok {
				return &kaltura.APIError{Code: kaltura.CodeUploadTokenNotFound, Message: "no such token"}
			}
			delete(k.tokens, r.Resource.Token)
			name, file, _ := strings.Cut(string(b), "\x00")
			a.name, a.file = name, []byte(file)
		}
		k.appended = append(k.appended, a)
		if r.AssetID == assets[0] && r.Index == 0 {
			k.ms += int64(r.Duration * 1000)
		}
		e = k.entry()
		return nil
	})
	if err != nil {
		return nil, err
	}
	return e, nil
}

// of returns what was appended to an asset.
func (k *kalturaAPI) of(asset string) (out []appended) {
	k.mu.Lock()
	defer k.mu.Unlock()
	for _, a := range k.appended {
		if a.AssetID == asset {
			out = append(out, a)
		}
	}
	return out
}

// inOrder holds that an asset got its files once each, in order, none missing, and the last
// alone as its last.
func (k *kalturaAPI) inOrder(t interface{ Errorf(string, ...any) }, asset string, ended bool) {
	list := k.of(asset)
	for n, a := range list {
		if want := fmt.Sprintf("%s.%s.0_%d.mp4", entry, asset, n); !strings.HasSuffix(a.name, want) {
			t.Errorf("append %d of %s is of %q, want %s", n, asset, a.name, want)
		}
		if last := ended && n == len(list)-1; a.Last != last {
			t.Errorf("append %d of %d of %s: isLastChunk %v", n, len(list), asset, a.Last)
		}
	}
}

// options are quick.
func options(segment time.Duration) recorder.Options {
	return recorder.Options{Segment: segment, Poll: 250 * time.Millisecond, Retry: 10 * time.Millisecond, RetryMost: 100 * time.Millisecond, Unknown: 10 * time.Millisecond}
}

func newRecorder(t testing.TB, s *stream, store recorder.Recordings, api recorder.API, o recorder.Options) *recorder.Recorder {
	t.Helper()
	r, err := recorder.New(context.Background(), recorder.Config{
		Entry: entry, Owner: "worker", Store: store, Recordings: store, Timelines: s, API: api,
		Guard: func(context.Context) error { return nil }, Live: s.feeds, Log: testLog(t), Options: o,
	})
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func testLog(t testing.TB) *slog.Logger {
	if !testing.Verbose() {
		return slog.New(slog.DiscardHandler)
	}
	return slog.New(slog.NewTextHandler(t.Output(), nil))
}

func loadLedger(t testing.TB, s storage.Store) *ledger.Ledger {
	t.Helper()
	l, err := ledger.Load(context.Background(), s, entry)
	if err != nil {
		t.Fatal(err)
	}
	return l
}
