package playlist_test

import (
	"flag"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"klive/infra/check"
	"klive/infra/live"
	"klive/storage/playlist"
	"klive/storage/timeline"
	tt "klive/storage/timeline/timelinetest"
)

var update = flag.Bool("update", false, "write the golden playlists anew")

// golden compares a playlist with the one in testdata, and holds both against the rules.
func golden(t *testing.T, name, text string) {
	t.Helper()
	file := filepath.Join("testdata", "golden", name+".m3u8")
	if *update {
		if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
			t.Fatal(err)
		}
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
	p := check.NewPlaylist(check.PlaylistConfig{})
	p.Add("/kLive/x/"+name, text)
	if err := p.Err(); err != nil {
		t.Error(err)
	}
}

func fold(t *testing.T, records ...timeline.Record) *timeline.State {
	t.Helper()
	s, err := tt.Fold(records...)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func apply(t *testing.T, s *timeline.State, records ...timeline.Record) *timeline.State {
	t.Helper()
	s, err := tt.Apply(s, records...)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func sel(t *testing.T, folder string) playlist.Selection {
	t.Helper()
	s, ok := playlist.ParseFolder(folder)
	if !ok {
		t.Fatalf("%s is no address", folder)
	}
	return s
}

func TestGoldenMedia(t *testing.T) {
	sc := tt.NewScript()
	s := fold(t, sc.Open(tt.Broadcast, 0)...)
	// The first segment is cut early.
	s = apply(t, s, sc.Adopt(2*sec, true), sc.Store())
	golden(t, "live-first", playlist.Live(s.Current(), tt.Video, 5))
	for range 7 {
		s = apply(t, s, sc.Adopt(4*sec, false), sc.Store())
	}
	golden(t, "live-window", playlist.Live(s.Current(), tt.Video, 5))

	// The encoder came back with other parameters, after 7.5 s.
	sc.At, sc.Init, sc.Epoch = sc.At.Add(7500*time.Millisecond), 2, 8
	s = apply(t, s, &timeline.Described{Rendition: tt.VideoRendition(2)}, &timeline.Described{Rendition: tt.AudioRendition(2)})
	s = apply(t, s, sc.Adopt(4_004_000_000, true), sc.Store(), sc.Adopt(4_004_000_000, false), sc.Gap(tt.Video), sc.Store(tt.Audio))
	golden(t, "live-discontinuity-gap", playlist.Live(s.Current(), tt.Video, 5))

	// What is adopted but not stored ends the list.
	s = apply(t, s, sc.Adopt(4*sec, false), sc.Store(tt.Audio))
	golden(t, "live-waiting-video", playlist.Live(s.Current(), tt.Video, 5))
	golden(t, "live-waiting-audio", playlist.Live(s.Current(), tt.Audio, 5))

	// The end comes when everything is listed.
	s = apply(t, s, &timeline.Ended{End: sc.At})
	if text := playlist.Live(s.Current(), tt.Video, 5); strings.Contains(text, "ENDLIST") {
		t.Errorf("ended before its last segment is listed:\n%s", text)
	}
	s = apply(t, s, sc.Store())
	golden(t, "live-ended", playlist.Live(s.Current(), tt.Video, 5))
}

func TestGoldenLateAudio(t *testing.T) {
	sc := tt.NewScript()
	sc.Renditions = []string{tt.Video}
	s := fold(t, sc.Open(tt.Broadcast, 0)[:2]...)
	for range 3 {
		s = apply(t, s, sc.Adopt(4*sec, false), sc.Store())
	}
	if text := playlist.Live(s.Current(), tt.Audio, 5); text != "" {
		t.Errorf("audio that is not there:\n%s", text)
	}
	sc.Renditions = []string{tt.Video, tt.Audio}
	s = apply(t, s, &timeline.Described{Rendition: tt.AudioRendition(1)}, sc.Adopt(4*sec, true), sc.Store(tt.Video))
	if text := playlist.Multivariant(s.Current(), sel(t, "smil:"+tt.Entry+"_all.smil"), false); strings.Contains(text, "AUDIO") {
		t.Errorf("audio that is not stored:\n%s", text)
	}
	s = apply(t, s, sc.Store(), sc.Adopt(4*sec, false), sc.Store())
	golden(t, "late-audio", playlist.Live(s.Current(), tt.Audio, 5))
	// An item without audio is a gap in the audio.
	sc.Renditions = []string{tt.Video}
	s = apply(t, s, sc.Adopt(4*sec, false), sc.Store())
	golden(t, "late-audio-gone", playlist.Live(s.Current(), tt.Audio, 5))
}

func TestGoldenDVR(t *testing.T) {
	sc := tt.NewScript()
	s := fold(t, sc.Open(tt.Broadcast, 40*sec)...)
	var all []timeline.Item
	for i := range 20 {
		s = apply(t, s, sc.Adopt(4*sec, i == 9), sc.Store())
		all = append(all, s.Current().Items[i])
	}
	closed := func(from, to int) *timeline.Closed {
		return &timeline.Closed{Broadcast: tt.Broadcast, Chapter: timeline.Chapter{
			Key: "k", FirstSeq: uint64(from), LastSeq: uint64(to), Start: all[from-1].Start, Duration: time.Duration(to-from+1) * 4 * sec,
		}}
	}
	open := s.Current()
	golden(t, "dvr", playlist.DVR(open, tt.Video, 5, nil))
	s = apply(t, s, closed(1, 4), closed(5, 8), closed(9, 12), closed(13, 14))
	b := s.Current()
	chapters := playlist.DVRChapters(b)
	if len(chapters) != 3 || chapters[0].FirstSeq != 5 {
		t.Fatalf("chapters %+v", chapters)
	}
	for _, ready := range []bool{false, true} {
		past := []playlist.Past{{Items: all[4:8]}, {Items: all[8:12]}, {Items: all[12:14]}}
		if ready {
			for i := range past {
				past[i].Text = playlist.ChapterText(b, tt.Video, past[i].Items)
			}
		}
		text := playlist.DVR(b, tt.Video, 5, past)
		// A chapter repeats its EXT-X-MAP; apart from that it is the same playlist.
		plain := func(s string) string {
			return strings.ReplaceAll(s, `#EXT-X-MAP:URI="`+tt.Broadcast+`/init-1.mp4"`+"\n", "")
		}
		if d := cmp.Diff(plain(playlist.DVR(open, tt.Video, 5, nil)), plain(text)); d != "" {
			t.Errorf("with chapters, text %v: %s", ready, d)
		}
		golden(t, "dvr-chapters", text)
	}
	// The live playlist of a broadcast without DVR is its DVR playlist.
	b2 := *b
	b2.DVRWindow = 0
	if playlist.DVR(&b2, tt.Video, 5, nil) != playlist.Live(b, tt.Video, 5) {
		t.Error("without a window the DVR playlist is not the live one")
	}
}

// ladder is a broadcast with two pictures and two languages.
func ladder(t *testing.T) *timeline.State {
	sc := tt.NewScript()
	low, other := tt.VideoRendition(1), tt.AudioRendition(1)
	low.Name, low.Width, low.Height, low.FrameRate, low.Groups = rung, 640, 360, 30000.0/1001, []string{"all"}
	low.Rung = live.Rung{ParamsID: 33, Name: "360p", Video: live.VideoRung{Mode: live.ModeEncode, Bitrate: 9_000_000}}
	other.Name, other.Language = tt.Entry+"_a2", "fra"
	records := append(sc.Open(tt.Broadcast, 0), &timeline.Described{Rendition: low}, &timeline.Described{Rendition: other})
	sc.Renditions = []string{tt.Video, rung, tt.Audio, other.Name}
	records = append(records, sc.Adopt(2*sec, false), sc.Store())
	sc.Rate = 700_000
	return fold(t, append(records, sc.Adopt(4*sec, false), sc.Store())...)
}

func TestGoldenMultivariant(t *testing.T) {
	b := ladder(t).Current()
	for folder, name := range map[string]string{
		"smil:" + tt.Entry + "_all.smil":    "multi-all",
		"smil:" + tt.Entry + "_mobile.smil": "multi-tag",
		"smil:" + tt.Entry + "_32_33.smil":  "multi-all",
		"smil:" + tt.Entry + "_33_32.smil":  "multi-all",
		"smil:" + tt.Entry + "_33.smil":     "multi-single",
		rung:                                "multi-single",
		tt.Entry + "_a2":                    "multi-audio",
	} {
		golden(t, name, playlist.Multivariant(b, sel(t, folder), false))
	}
	golden(t, "multi-dvr", playlist.Multivariant(b, sel(t, "smil:"+tt.Entry+"_all.smil"), true))
	for _, folder := range []string{"smil:" + tt.Entry + "_nothing.smil", tt.Entry + "_1", "smil:" + tt.Entry + "_1_2.smil", tt.Entry + "_a7"} {
		if text := playlist.Multivariant(b, sel(t, folder), false); text != "" {
			t.Errorf("%s lists\n%s", folder, text)
		}
	}
}

// TestGoldenSoundRung lists a rung that is sound alone as a variant of its own, and as nobody's
// language; it has a playlist by itself and in combinations.
func TestGoldenSoundRung(t *testing.T) {
	sc := tt.NewScript()
	radio := tt.AudioRendition(1)
	radio.Name, radio.Rung = tt.Entry+"_50", live.Rung{ParamsID: 50, Name: "radio"}
	sc.Renditions = []string{tt.Video, tt.Audio, radio.Name}
	records := append(sc.Open(tt.Broadcast, 0), &timeline.Described{Rendition: radio}, sc.Adopt(4*sec, false), sc.Store())
	b := fold(t, records...).Current()
	golden(t, "multi-radio-all", playlist.Multivariant(b, sel(t, "smil:"+tt.Entry+"_all.smil"), false))
	golden(t, "multi-radio-all", playlist.Multivariant(b, sel(t, "smil:"+tt.Entry+"_32_50.smil"), false))
	golden(t, "multi-radio", playlist.Multivariant(b, sel(t, radio.Name), false))
	golden(t, "multi-radio", playlist.Multivariant(b, sel(t, "smil:"+tt.Entry+"_50.smil"), false))
	if mpd := playlist.Manifest(b, sel(t, "smil:"+tt.Entry+"_all.smil"), false, 5, nil); strings.Count(mpd, "<AdaptationSet") != 2 {
		t.Errorf("DASH, where sound can be played alone, lists it twice:\n%s", mpd)
	}
}

func TestGoldenMultivariantStart(t *testing.T) {
	all := sel(t, "smil:"+tt.Entry+"_all.smil")
	// Before half a target has been measured, the peak is a guess with headroom.
	sc := tt.NewScript()
	s := fold(t, append(sc.Open(tt.Broadcast, 0), sc.Adopt(1*sec, false), sc.Store(tt.Video))...)
	if text := playlist.Multivariant(s.Current(), all, false); text != "" {
		t.Errorf("without its audio:\n%s", text)
	}
	s = apply(t, s, sc.Store())
	golden(t, "multi-start", playlist.Multivariant(s.Current(), all, false))

	// Sound alone.
	sc = tt.NewScript()
	sc.Renditions = []string{tt.Audio}
	audio := tt.AudioRendition(1)
	audio.Rung = live.Rung{ParamsID: 32, Name: "source"}
	dependent := sc.Adopt(4*sec, false)
	dependent.Independent = false
	s = fold(t, &timeline.Started{ID: tt.Broadcast}, &timeline.Described{Rendition: audio}, dependent, sc.Store())
	golden(t, "multi-sound", playlist.Multivariant(s.Current(), all, false))
	if text := playlist.Multivariant(s.Current(), sel(t, tt.Video), false); text == "" {
		t.Error("sound does not answer for its rung")
	}
}

func TestStored(t *testing.T) {
	s := ladder(t)
	s.Current().DVRWindow = time.Hour
	files := map[string]string{}
	var order []string
	for _, f := range append(playlist.Stored(s, 5), playlist.StoredDVR(s, 5, nil)...) {
		if _, twice := files[f.Key]; twice {
			t.Errorf("%s twice", f.Key)
		}
		files[f.Key] = f.Text
		order = append(order, f.Key)
	}
	var want []string
	for _, dvr := range []string{"", "-dvr"} {
		leaf := map[string]string{"": "v", "-dvr": "dvr"}[dvr]
		for _, r := range []string{"_32", "_33", "_a1", "_a2"} {
			want = append(want, "kLive/"+tt.Entry+r+"/"+leaf+".m3u8")
		}
		for _, g := range []string{"all", "mobile", "32_33"} {
			want = append(want, "kLive/smil:"+tt.Entry+"_"+g+".smil/playlist"+dvr+".m3u8")
		}
		for _, r := range []string{"_32", "_33", "_a1", "_a2"} {
			want = append(want, "kLive/"+tt.Entry+r+"/playlist"+dvr+".m3u8")
		}
	}
	if d := cmp.Diff(want, order); d != "" {
		t.Error(d)
	}
	// Every reference in them leads to one of them.
	for key, text := range files {
		for line := range strings.Lines(text) {
			if _, ref, ok := strings.Cut(line, "../"); ok {
				target := "kLive/" + strings.TrimRight(ref, "\"\n")
				if files[target] == "" {
					t.Errorf("%s names %s, which is not stored", key, target)
				}
			}
		}
	}
	if files := playlist.Stored(timeline.New(tt.Entry), 5); len(files) != 0 {
		t.Errorf("playlists of nothing: %v", files)
	}
}

// A broadcast that has only begun leaves the last one's playlists in place.
func TestOnAir(t *testing.T) {
	sc := tt.NewScript()
	s := fold(t, append(sc.Open(tt.Broadcast, 0), sc.Adopt(4*sec, false), sc.Store(), &timeline.Ended{End: sc.At})...)
	s = apply(t, s, &timeline.Started{ID: "secondbroadcast", Start: sc.At}, &timeline.Described{Rendition: tt.VideoRendition(1)},
		&timeline.Described{Rendition: tt.AudioRendition(1)}, sc.Adopt(4*sec, false))
	if b := playlist.OnAir(s); b.ID != tt.Broadcast {
		t.Errorf("on air is %s", b.ID)
	}
	s = apply(t, s, sc.Store())
	if b := playlist.OnAir(s); b.ID != "secondbroadcast" {
		t.Errorf("on air is %s", b.ID)
	}
}

func TestParseFolder(t *testing.T) {
	for folder, want := range map[string]playlist.Selection{
		"smil:0_rkij47dr_all.smil":      {Entry: tt.Entry, Group: "all"},
		"smil:0_rkij47dr_my_tag-1.smil": {Entry: tt.Entry, Group: "my_tag-1"},
		"smil:0_rkij47dr_34_33_34.smil": {Entry: tt.Entry, Params: []int{33, 34}},
		"smil:0_rkij47dr_0.smil":        {Entry: tt.Entry, Params: []int{0}},
		"0_rkij47dr_33":                 {Entry: tt.Entry, Rendition: "0_rkij47dr_33"},
		"0_rkij47dr_a1":                 {Entry: tt.Entry, Rendition: "0_rkij47dr_a1"},
	} {
		if got, ok := playlist.ParseFolder(folder); !ok || !cmp.Equal(got, want) {
			t.Errorf("%s: %+v, %v", folder, got, ok)
		}
	}
	for _, folder := range []string{
		"", "smil:", "smil:.smil", "smil:0_rkij47dr.smil", "smil:0_rkij47dr_.smil", "smil:0_rkij47dr_all", "0_rkij47dr", "0_rkij47dr_",
		"0_rkij47dr_x", "0_rkij47dr_a", "0_rkij47dr_033", "0_rkij47dr_33_34", "0_short_33", "x_rkij47dr_33", "0_rkij47dr_9999999999",
		"smil:0_rkij47dr_a/b.smil", "smil:0_rkij47dr_" + strings.Repeat("x", 101) + ".smil", "ngrp:0_rkij47dr_all",
	} {
		if got, ok := playlist.ParseFolder(folder); ok {
			t.Errorf("%q: %+v", folder, got)
		}
	}
}

func TestKeys(t *testing.T) {
	for got, want := range map[string]string{
		playlist.MediaKey(tt.Video, "b1", "17-3"):  "kLive/0_rkij47dr_32/b1/17-3.m4s",
		playlist.InitKey(tt.Audio, "b1", 2):        "kLive/0_rkij47dr_a1/b1/init-2.mp4",
		playlist.LiveKey(tt.Video):                 "kLive/0_rkij47dr_32/v.m3u8",
		playlist.DVRKey(tt.Audio):                  "kLive/0_rkij47dr_a1/dvr.m3u8",
		playlist.GroupKey(tt.Entry, "all", false):  "kLive/smil:0_rkij47dr_all.smil/playlist.m3u8",
		playlist.GroupKey(tt.Entry, "33_34", true): "kLive/smil:0_rkij47dr_33_34.smil/playlist-dvr.m3u8",
		playlist.SingleKey(tt.Video, true):         "kLive/0_rkij47dr_32/playlist-dvr.m3u8",
	} {
		if got != want {
			t.Errorf("%s, want %s", got, want)
		}
	}
}

func BenchmarkLive(b *testing.B) {
	sc := tt.NewScript()
	records := sc.Open(tt.Broadcast, 0)
	for range 20 {
		records = append(records, sc.Adopt(4*sec, false), sc.Store())
	}
	s, err := tt.Fold(records...)
	if err != nil {
		b.Fatal(err)
	}
	b.ReportAllocs()
	for b.Loop() {
		if playlist.Live(s.Current(), tt.Video, 5) == "" {
			b.Fatal("nothing")
		}
	}
}
