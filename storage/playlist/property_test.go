package playlist_test

import (
	"fmt"
	"slices"
	"strconv"
	"testing"
	"time"

	"pgregory.net/rapid"

	"klive/infra/check"
	"klive/infra/live"
	"klive/infra/media"
	"klive/storage/playlist"
	"klive/storage/storagetest"
	"klive/storage/timeline"
	tt "klive/storage/timeline/timelinetest"
)

const (
	sec  = time.Second
	rung = tt.Entry + "_33"
)

// world is a random broadcast: an owner with its store, and a viewer who reads every
// playlist after each record.
type world struct {
	t       *rapid.T
	test    *testing.T
	store   *storagetest.Memory
	writer  *timeline.Writer
	checker *check.Playlist
	bucket  *check.Playlist // of the playlists that are stored
	sizes   map[string]int64

	at         media.Time
	target     int
	epoch      uint64
	init       int
	broadcast  string
	renditions []string
	late       []owed            // media that are still on their way
	last       map[string]string // the newest text by path
	chapters   map[string][]timeline.Item
	listed     int
}

type owed struct {
	seq   uint64
	media timeline.Media
}

func newWorld(test *testing.T, t *rapid.T) *world {
	w := &world{t: t, test: test, store: storagetest.NewMemory(), sizes: map[string]int64{}, last: map[string]string{}, chapters: map[string][]timeline.Item{}, at: tt.Start, epoch: 1}
	config := check.PlaylistConfig{Size: func(path string) (int64, bool) {
		n, ok := w.sizes[path]
		return n, ok
	}}
	w.checker, w.bucket = check.NewPlaylist(config), check.NewPlaylist(config)
	var err error
	w.writer, err = timeline.OpenWriter(test.Context(), timeline.WriterConfig{
		Store: w.store, Log: tt.NewLog(), Entry: tt.Entry, Epoch: 1, Owner: "test", Keep: 10, Chapter: 20 * sec,
	})
	if err != nil {
		t.Fatal(err)
	}
	return w
}

func (w *world) append(r timeline.Record) *timeline.State {
	w.t.Helper()
	s, err := w.writer.Append(w.test.Context(), r)
	if err != nil {
		w.t.Fatalf("%T: %v", r, err)
	}
	w.watch(s)
	return s
}

// watch feeds every playlist of the state to the checker.
func (w *world) watch(s *timeline.State) {
	w.t.Helper()
	b := playlist.OnAir(s)
	if b == nil {
		return
	}
	feed := func(path, text string) {
		if text == "" || text == w.last[path] {
			return
		}
		w.last[path] = text
		w.listed++
		if bad := w.checker.Add("/"+path, text); len(bad) > 0 {
			w.t.Fatalf("%v\n%s", bad, text)
		}
	}
	for _, f := range playlist.Stored(s, 5) {
		if bad := w.bucket.Add("/"+f.Key, f.Text); len(bad) > 0 {
			w.t.Fatalf("stored: %v\n%s", bad, f.Text)
		}
	}
	past := w.past(b)
	for _, d := range b.Renditions {
		feed(playlist.LiveKey(d.Name), playlist.Live(b, d.Name, 5))
		feed(playlist.DVRKey(d.Name), playlist.DVR(b, d.Name, 5, past[d.Name]))
	}
	for _, group := range []string{"all", "mobile", "33", "32_33"} {
		for _, dvr := range []bool{false, true} {
			key := playlist.GroupKey(tt.Entry, group, dvr)
			sel, ok := playlist.ParseFolder(key[len("kLive/") : len(key)-len("/playlist.m3u8")])
			if dvr {
				sel, ok = playlist.ParseFolder(key[len("kLive/") : len(key)-len("/playlist-dvr.m3u8")])
			}
			if !ok {
				w.t.Fatalf("%s is no address", key)
			}
			feed(key, playlist.Multivariant(b, sel, dvr))
		}
	}
}

func (w *world) past(b *timeline.Broadcast) map[string][]playlist.Past {
	out := map[string][]playlist.Past{}
	for _, c := range playlist.DVRChapters(b) {
		items, ok := w.chapters[c.Key]
		if !ok {
			var err error
			if items, err = timeline.LoadChapter(w.test.Context(), w.store, b.ID, c); err != nil {
				w.t.Fatal(err)
			}
			w.chapters[c.Key] = items
		}
		for _, d := range b.Renditions {
			p := playlist.Past{Items: items}
			if w.listed%2 == 0 { // made before or not, it is the same
				p.Text = playlist.ChapterText(b, d.Name, items)
			}
			out[d.Name] = append(out[d.Name], p)
		}
	}
	return out
}

func (w *world) describe(name string) {
	d := tt.VideoRendition(w.init)
	switch name {
	case tt.Audio:
		d = tt.AudioRendition(w.init)
	case rung:
		d.Name, d.Groups = rung, []string{"all"}
		d.Rung = live.Rung{ParamsID: 33, Name: "360p", Video: live.VideoRung{Mode: live.ModeEncode, Bitrate: 600_000}}
	}
	if !slices.Contains(w.renditions, tt.Audio) && name != tt.Audio {
		d.Audio = ""
	}
	w.append(&timeline.Described{Rendition: d})
}

func (w *world) begin(n int) {
	w.broadcast = fmt.Sprintf("broadcast%d", n)
	w.target = rapid.SampledFrom([]int{1, 2, 4, 6}).Draw(w.t, "target")
	w.init = 1
	w.renditions = rapid.SampledFrom([][]string{{tt.Video, tt.Audio}, {tt.Video, rung, tt.Audio}, {tt.Video}, {tt.Video, rung}, {tt.Audio}}).Draw(w.t, "renditions")
	window := rapid.SampledFrom([]time.Duration{0, 30 * sec, 90 * sec, time.Hour}).Draw(w.t, "dvr")
	w.append(&timeline.Started{ID: w.broadcast, Start: w.at, DVRWindow: window})
	for _, name := range w.renditions {
		w.describe(name)
	}
}

func (w *world) adopt(first bool) {
	t := w.t
	discontinuity := first || rapid.IntRange(0, 9).Draw(t, "discontinuity") == 0
	if discontinuity && !first {
		w.at = w.at.Add(time.Duration(rapid.IntRange(0, 20_000_000).Draw(t, "jump µs")) * time.Microsecond)
		w.epoch++
		if rapid.Bool().Draw(t, "new init") {
			w.init++
			for _, name := range w.renditions {
				w.describe(name)
			}
		}
		if !slices.Contains(w.renditions, tt.Audio) && rapid.Bool().Draw(t, "audio joins") {
			w.renditions = append(slices.Clone(w.renditions), tt.Audio)
			for _, name := range w.renditions {
				w.describe(name)
			}
		}
	}
	most := int64(w.target)*1e9 + 499_000_000
	length := time.Duration(rapid.Int64Range(1e8, most).Draw(t, "length"))
	if rapid.IntRange(0, 3).Draw(t, "even") > 0 {
		length = time.Duration(w.target) * sec
	}
	name := strconv.FormatInt(w.at.Micros(), 10) + "-" + strconv.FormatUint(w.epoch, 10)
	it := timeline.Item{Start: w.at, Duration: length, Discontinuity: discontinuity}
	for _, r := range w.renditions {
		if r != w.renditions[0] && rapid.IntRange(0, 15).Draw(t, "absent") == 0 {
			continue
		}
		it.Media = append(it.Media, timeline.Media{Rendition: r, Name: name, Start: w.at, Duration: length, Init: w.init})
	}
	s := w.append(&timeline.Adopted{Item: it, Target: w.target, Independent: rapid.IntRange(0, 40).Draw(t, "dependent") > 0})
	for _, m := range it.Media {
		w.late = append(w.late, owed{s.NextSeq - 1, m})
	}
	w.at = w.at.Add(length)
}

// store settles some of what is on its way, in any order; what is old comes first.
func (w *world) settle(all bool) {
	for len(w.late) > 0 {
		i := rapid.IntRange(0, len(w.late)-1).Draw(w.t, "which")
		if w.late[0].seq+4 < w.writer.State().NextSeq {
			i = 0
		} else if !all && rapid.IntRange(0, 2).Draw(w.t, "enough") == 0 {
			return
		}
		o := w.late[i]
		if !o.media.Held && rapid.IntRange(0, 4).Draw(w.t, "held") == 0 {
			w.hold(i)
			continue
		}
		w.late = slices.Delete(w.late, i, i+1)
		if o.media.Held {
			o.media.Held, o.media.Stored = false, true
		} else if rapid.IntRange(0, 9).Draw(w.t, "gap") == 0 {
			o.media.Gap, o.media.Init = true, 0
		} else {
			o.media.Stored = true
			o.media.Size = rapid.Int64Range(1000, 4_000_000).Draw(w.t, "size")
			w.sizes["/"+playlist.MediaKey(o.media.Rendition, w.broadcast, o.media.Name)] = o.media.Size
		}
		w.append(&timeline.Stored{Seq: o.seq, Media: []timeline.Media{o.media}})
	}
}

// hold says that a medium that is on its way is held.
func (w *world) hold(i int) {
	m := &w.late[i].media
	m.Held, m.Size = true, rapid.Int64Range(1000, 4_000_000).Draw(w.t, "size")
	w.sizes["/"+playlist.MediaKey(m.Rendition, w.broadcast, m.Name)] = m.Size
	w.append(&timeline.Stored{Seq: w.late[i].seq, Media: []timeline.Media{*m}})
}

// Whatever comes, every version of every playlist keeps the rules.
func TestPlaylistsKeepTheRules(t *testing.T) {
	check.Calculation(t)
	check.Checks(t, 30, 300)
	total := 0
	rapid.Check(t, func(rt *rapid.T) {
		w := newWorld(t, rt)
		for n := range rapid.IntRange(1, 2).Draw(rt, "broadcasts") {
			w.begin(n)
			for i := range rapid.IntRange(1, 60).Draw(rt, "items") {
				w.adopt(i == 0)
				w.settle(false)
				if err := w.writer.Save(t.Context()); err != nil {
					rt.Fatal(err)
				}
				w.watch(w.writer.State())
			}
			w.settle(true)
			w.append(&timeline.Ended{End: w.at})
			w.at = w.at.Add(300 * sec)
		}
		total += w.listed
	})
	if total == 0 {
		t.Error("no playlist was ever made")
	}
	t.Logf("%d versions", total)
}
