package playlist_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"klive/infra/check"
	"klive/storage/playlist"
	"klive/storage/timeline"
	tt "klive/storage/timeline/timelinetest"
)

// goldenText compares a text with the one in testdata.
func goldenText(t *testing.T, name, text string) {
	t.Helper()
	file := filepath.Join("testdata", "golden", name)
	if *update {
		if err := os.WriteFile(file, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff(strings.Split(string(want), "\n"), strings.Split(text, "\n")); d != "" {
		t.Errorf("%s: %s", name, d)
	}
}

const all = "smil:" + tt.Entry + "_all.smil"

// step reads all playlists of a state into the checker.
func step(t *testing.T, d *check.DASH, s *timeline.State, past []playlist.Past) string {
	t.Helper()
	b := playlist.OnAir(s)
	for _, r := range b.Renditions {
		if text := playlist.DVR(b, r.Name, 5, past); text != "" {
			if err := d.HLS("/kLive/"+r.Name+"/dvr.m3u8", text); err != nil {
				t.Fatal(err)
			}
		}
	}
	text := playlist.Manifest(b, sel(t, all), true, 5, past)
	d.Add("/kLive/"+all+"/manifest.mpd", text)
	if missing := d.Missing(); len(missing) > 0 {
		t.Errorf("the manifest lacks %v", missing)
	}
	return text
}

func TestManifest(t *testing.T) {
	sc := tt.NewScript()
	s := fold(t, sc.Open(tt.Broadcast, 40*sec)...)
	if text := playlist.Manifest(s.Current(), sel(t, all), false, 5, nil); text != "" {
		t.Errorf("a manifest of nothing:\n%s", text)
	}
	var d check.DASH
	s = apply(t, s, sc.Adopt(2*sec, true), sc.Store())
	goldenText(t, "dash-first.mpd", step(t, &d, s, nil))
	for range 3 {
		s = apply(t, s, sc.Adopt(4*sec, false), sc.Store())
		step(t, &d, s, nil)
	}
	// A reconnect, a gap in the picture alone, a segment on its way.
	sc.At, sc.Init, sc.Epoch = sc.At.Add(7500*time.Millisecond), 2, 8
	s = apply(t, s, &timeline.Described{Rendition: tt.VideoRendition(2)}, &timeline.Described{Rendition: tt.AudioRendition(2)})
	s = apply(t, s, sc.Adopt(4_004_000_000, true), sc.Store())
	step(t, &d, s, nil)
	s = apply(t, s, sc.Adopt(4_004_000_000, false), sc.Gap(tt.Video), sc.Store(tt.Audio))
	s = apply(t, s, sc.Adopt(4*sec, false), sc.Store())
	s = apply(t, s, sc.Adopt(4*sec, false), sc.Store(tt.Audio))
	goldenText(t, "dash-two-periods.mpd", step(t, &d, s, nil))
	goldenText(t, "dash-live.mpd", playlist.Manifest(s.Current(), sel(t, all), false, 3, nil))
	s = apply(t, s, sc.Store())
	for range 8 { // the first period leaves the window bit by bit
		s = apply(t, s, sc.Adopt(4*sec, false), sc.Store())
		step(t, &d, s, nil)
	}
	s = apply(t, s, &timeline.Ended{End: sc.At})
	goldenText(t, "dash-ended.mpd", step(t, &d, s, nil))
	if !d.Static || d.Periods != 1 {
		t.Errorf("at the end: static %v, %d periods", d.Static, d.Periods)
	}
	if err := d.Err(); err != nil {
		t.Error(err)
	}
	if d.Compared < 100 {
		t.Errorf("%d segments were held against HLS", d.Compared)
	}
}

// A period keeps its start although its first item is in a chapter that has left the window.
func TestManifestChapters(t *testing.T) {
	sc := tt.NewScript()
	s := fold(t, sc.Open(tt.Broadcast, 40*sec)...)
	var d check.DASH
	var past []playlist.Past
	var at []timeline.Item
	for i := range 40 {
		s = apply(t, s, sc.Adopt(4*sec, i == 7), sc.Store())
		at = append(at, s.Current().Items[len(s.Current().Items)-1])
		if n := len(at); n == 12 {
			s = apply(t, s, &timeline.Closed{Broadcast: tt.Broadcast, Chapter: timeline.Chapter{
				Key: "k" + string(rune('a'+i)), FirstSeq: at[0].Seq, LastSeq: at[5].Seq, Start: at[0].Start, Duration: 24 * sec,
			}})
			past = append(past, playlist.Past{Items: at[:6:6]})
			at = at[6:]
		}
		n := len(playlist.DVRChapters(s.Current()))
		step(t, &d, s, past[len(past)-n:])
		if first := s.Current().Items[0]; i > 15 {
			s = apply(t, s, &timeline.Expired{Broadcast: tt.Broadcast, Before: first.Seq - 5})
		}
	}
	if err := d.Err(); err != nil {
		t.Error(err)
	}
	if runs := s.Current().Runs; len(runs) != 1 || runs[0].Seq != 8 {
		t.Errorf("runs %+v", runs)
	}
}

// A timeline of the release before this one has no runs.
func TestManifestWithoutRuns(t *testing.T) {
	sc := tt.NewScript()
	s := fold(t, sc.Open(tt.Broadcast, 40*sec)...)
	for i := range 6 {
		s = apply(t, s, sc.Adopt(4*sec, i == 3), sc.Store())
	}
	b := *s.Current()
	b.Runs = nil
	var d check.DASH
	d.Add("/kLive/"+all+"/manifest.mpd", playlist.Manifest(&b, sel(t, all), true, 5, nil))
	if err := d.Err(); err != nil || d.Periods != 2 || len(d.Segments[tt.Video]) != 3+3 {
		t.Errorf("%d periods, %v: %v", d.Periods, d.Segments, err)
	}
}

func TestManifestOfMany(t *testing.T) {
	b := ladder(t).Current()
	goldenText(t, "dash-many.mpd", playlist.Manifest(b, sel(t, all), false, 5, nil))
	goldenText(t, "dash-audio.mpd", playlist.Manifest(b, sel(t, tt.Entry+"_a2"), false, 5, nil))
	goldenText(t, "all.smil", playlist.SMIL(b, sel(t, all)))
}

// Ids that nobody has lead to the same text as without them.
func TestKnown(t *testing.T) {
	s := ladder(t)
	for folder, want := range map[string][]int{
		"_32_33": {32, 33}, "_32_98_99": {32}, "_98_99": {98}, "_99": {99}, "_33": {33},
	} {
		if got := playlist.Known(s, sel(t, "smil:"+tt.Entry+folder+".smil")); !cmp.Equal(got.Params, want) {
			t.Errorf("%s: %v, want %v", folder, got.Params, want)
		}
	}
}
