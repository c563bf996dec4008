package packager

import (
	"context"
	"errors"
	"log/slog"
	"strings"
	"testing"
	"time"

	"klive/infra/check"
	"klive/infra/media"
	"klive/storage"
	"klive/storage/playlist"
	"klive/storage/storagetest"
	"klive/storage/timeline"
	"klive/storage/timeline/timelinetest"
)

// weighed counts what is written, by what it is.
type weighed struct {
	storage.Store
	puts, bytes map[string]int64
}

func (s *weighed) Put(ctx context.Context, key string, data [][]byte, opt storage.PutOptions) (storage.Info, error) {
	what := "live playlists"
	switch {
	case strings.HasPrefix(key, "state/"):
		what = "timeline"
	case strings.HasSuffix(key, playlist.DVRName), strings.HasSuffix(key, playlist.MultivariantDVRName):
		what = "DVR playlists"
	}
	s.puts[what]++
	for _, d := range data {
		s.bytes[what] += int64(len(d))
	}
	return s.Store.Put(ctx, key, data, opt)
}

// cost runs a broadcast until its window is full and an hour longer, and returns what the last
// hour wrote besides media, for each segment. Media are only said to be stored.
func cost(t *testing.T, window time.Duration) (w *weighed, segments int, mediaBytes int64) {
	t.Helper()
	const length = 4 * time.Second
	w = &weighed{Store: storagetest.NewMemory(), puts: map[string]int64{}, bytes: map[string]int64{}}
	log, script := timelinetest.NewLog(), timelinetest.NewScript()
	script.Rate = 312_500 // a track: 5 Mbit/s together
	tl, err := timeline.OpenWriter(t.Context(), timeline.WriterConfig{Store: w, Log: log, Entry: timelinetest.Entry, Epoch: 1, Owner: "test"})
	if err != nil {
		t.Fatal(err)
	}
	p := &Packager{Config: Config{Timeline: tl, Store: w, Options: Options{}.withDefaults(), Metrics: NewMetrics(nil),
		Chapters: func(ctx context.Context, b string, c timeline.Chapter) ([]timeline.Item, error) {
			return timeline.LoadChapter(ctx, w, b, c)
		}}, log: slog.New(slog.DiscardHandler)}
	s := newSaver(p)
	add := func(records ...timeline.Record) {
		for _, r := range records {
			if _, err := tl.Append(t.Context(), r); err != nil {
				t.Fatal(err)
			}
		}
	}
	add(script.Open(timelinetest.Broadcast, window)...)
	total := int((window + time.Hour) / length)
	segments = int(time.Hour / length)
	for i := range total {
		if i == total-segments {
			clear(w.puts)
			clear(w.bytes)
			mediaBytes = 0
		}
		add(script.Adopt(length, false), script.Store())
		mediaBytes += int64(length.Seconds()) * 2 * script.Rate
		if err := s.playlists(t.Context()); err != nil {
			t.Fatal(err)
		}
		if i%3 == 0 {
			s.expired = time.Time{}
			if err := s.expire(t.Context(), script.At); err != nil {
				t.Fatal(err)
			}
		}
		log.Trim(tl.State().LogSeq - 10)
	}
	return w, segments, mediaBytes
}

// What a segment costs does not grow with the DVR window; the stored playlists of the window,
// which are as long as it is, are written less often the longer they are.
func TestCostOfWindow(t *testing.T) {
	check.Calculation(t)
	windows := []time.Duration{10 * time.Minute, 2 * time.Hour}
	if check.Proving() {
		windows = append(windows, 24*time.Hour)
	}
	var first float64
	for _, window := range windows {
		w, n, media := cost(t, window)
		each := func(v int64) float64 { return float64(v) / float64(n) }
		flat := each(media + w.bytes["timeline"])
		t.Logf("window %v, a segment: %.0f B of media; timeline %.0f B in %.2f writes, live playlists %.0f B in %.2f, DVR playlists %.0f B in %.3f",
			window, each(media), each(w.bytes["timeline"]), each(w.puts["timeline"]), each(w.bytes["live playlists"]), each(w.puts["live playlists"]),
			each(w.bytes["DVR playlists"]), each(w.puts["DVR playlists"]))
		if first == 0 {
			first = flat
		}
		if flat > first*1.05 {
			t.Errorf("window %v: media and timeline weigh %.0f B a segment, at %v it was %.0f", window, flat, windows[0], first)
		}
		if share := float64(w.bytes["DVR playlists"]) / float64(media); share > 0.0105 || w.puts["DVR playlists"] == 0 {
			t.Errorf("window %v: the DVR playlists weigh %.2f %% of the media in %d writes", window, 100*share, w.puts["DVR playlists"])
		}
	}
}

// A new broadcast removes the archive of the one before (contract row 84), after a grace.
func TestNewBroadcastRemovesTheOld(t *testing.T) {
	store, log, script := storagetest.NewMemory(), timelinetest.NewLog(), timelinetest.NewScript()
	tl, err := timeline.OpenWriter(t.Context(), timeline.WriterConfig{Store: store, Log: log, Entry: timelinetest.Entry, Epoch: 1, Owner: "test"})
	if err != nil {
		t.Fatal(err)
	}
	p := &Packager{Config: Config{Timeline: tl, Store: store, Options: Options{}.withDefaults(), Metrics: NewMetrics(nil)}, log: slog.New(slog.DiscardHandler)}
	s := newSaver(p)
	id := timelinetest.Broadcast
	add := func(records ...timeline.Record) {
		t.Helper()
		for _, r := range records {
			if _, err := tl.Append(t.Context(), r); err != nil {
				t.Fatal(err)
			}
		}
		s.expired = time.Time{}
		if err := s.expire(t.Context(), script.At); err != nil {
			t.Fatal(err)
		}
	}
	segment := func() {
		t.Helper()
		adopted := script.Adopt(4*time.Second, false)
		for _, m := range adopted.Item.Media {
			if _, err := store.Put(t.Context(), playlist.MediaKey(m.Rendition, id, m.Name), [][]byte{[]byte("media")}, storage.PutOptions{}); err != nil {
				t.Fatal(err)
			}
		}
		add(adopted, script.Store())
	}
	left := func(id string) int {
		t.Helper()
		list, err := store.List(t.Context(), playlist.Root+"/"+timelinetest.Video+"/"+id+"/", "", 1000)
		if err != nil {
			t.Fatal(err)
		}
		return len(list)
	}
	add(script.Open(id, 2*time.Hour)...)
	for range 10 {
		segment()
	}
	add(&timeline.Ended{End: script.At})
	script.At = script.At.Add(10 * time.Minute)
	old := id
	id = "YW5vdGhlcm9uZQ"
	add(script.Open(id, 2*time.Hour)...)
	for range 14 { // 56 s
		segment()
	}
	if n := left(old); n != 10 {
		t.Errorf("%d of 10 old segments are left within the grace", n)
	}
	// What a recording needs stays, and all when that can't be told.
	floor := &fakeFloor{at: timelinetest.Start.Add(12 * time.Second), ok: true}
	p.Floor = floor
	segment()
	if n := left(old); n != 7 {
		t.Errorf("%d of the 7 old segments above the floor are left", n)
	}
	floor.err = errors.New("no answer")
	segment()
	if n := left(old); n != 7 {
		t.Errorf("%d of 7 old segments are left while the floor is not known", n)
	}
	p.Floor = nil
	segment()
	if n := left(old); n != 0 || len(tl.State().Broadcasts) != 1 {
		t.Errorf("%d old segments are left behind the grace, %d broadcasts", n, len(tl.State().Broadcasts))
	}
	if n := left(id); n != 17 {
		t.Errorf("%d of 17 new segments are left", n)
	}
}

type fakeFloor struct {
	at  media.Time
	ok  bool
	err error
}

func (f *fakeFloor) Floor(context.Context, string) (media.Time, bool, error) {
	return f.at, f.ok, f.err
}
