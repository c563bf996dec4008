package packager

import (
	"bytes"
	"fmt"
	"log/slog"
	"strings"
	"testing"
	"time"

	"klive/infra/live"
	"klive/infra/media"
)

// TestLeftOutIsSaidOnce holds what the ladder makes of a feed, and what is said of the rest.
func TestLeftOutIsSaidOnce(t *testing.T) {
	var log bytes.Buffer
	g := newRig(t)
	_, end := g.start()
	end()
	p := g.p
	p.log = slog.New(slog.NewTextHandler(&log, nil))
	l := pass(32, 40)
	l.Rungs = append(l.Rungs, live.Rung{ParamsID: 33, Name: "small", Video: live.VideoRung{Mode: live.ModeEncode}, Audio: live.AudioRung{Mode: live.ModeEncode}})
	l.Groups = []live.Group{{Name: "mobile", Members: []string{"rung40"}}}
	f := feedOf(live.Primary, 1, 1)
	p.feeds[f.FeedID] = &feed{record: live.FeedRecord{Feed: f, Grant: live.Grant{Record: 1, Ladder: l}}}
	s := &segment{Assembly: &live.Assembly{Feed: f, Segment: live.Segment{Tracks: []media.Track{{ID: 0, Params: small(t)}, {ID: 1, Params: aac(t)}}}}}
	for range 3 {
		var got []string
		for _, o := range p.outputs([]*segment{s}) {
			got = append(got, o.rendition+" "+strings.Join(o.groups, ","))
		}
		if want := "0_demolive_32 all,web; 0_demolive_40 all,web,mobile; 0_demolive_a1 all,web,mobile"; strings.Join(got, "; ") != want {
			t.Errorf("outputs %q, want %q", got, want)
		}
	}
	if n := strings.Count(log.String(), "\n"); n != 1 || !strings.Contains(log.String(), "0_demolive_33") {
		t.Errorf("the log says:\n%s", &log)
	}
	next := New(p.Config) // of the same entry, after a takeover
	next.log, next.feeds = p.log, p.feeds
	log.Reset()
	if next.outputs([]*segment{s}); log.Len() != 0 {
		t.Errorf("the next packager says again:\n%s", &log)
	}
}

// TestOutputsOfLanguages holds what is made of several tracks of sound.
func TestOutputsOfLanguages(t *testing.T) {
	var log bytes.Buffer
	g := newRig(t)
	_, end := g.start()
	end()
	p := g.p
	p.log = slog.New(slog.NewTextHandler(&log, nil))
	f := feedOf(live.Primary, 1, 1)
	p.feeds[f.FeedID] = &feed{record: live.FeedRecord{Feed: f, Grant: live.Grant{Record: 1, Ladder: pass(32)}}}
	of := func(tracks ...media.Track) string {
		var got []string
		for _, o := range p.outputs([]*segment{{Assembly: &live.Assembly{Feed: f, Segment: live.Segment{Tracks: tracks}}}}) {
			got = append(got, fmt.Sprintf("%s=%d%s", strings.TrimPrefix(o.rendition, "0_demolive_"), o.track.ID, o.track.Language))
			if o.audio && (o.rung.Name != "" || strings.Join(o.groups, ",") != "all,web") {
				t.Errorf("%s: rung %q, groups %q", o.rendition, o.rung.Name, o.groups)
			}
		}
		return strings.Join(got, " ")
	}
	video, one, two := media.Track{ID: 0, Params: small(t)}, media.Track{ID: 1, Params: aac(t), Language: "en"}, media.Track{ID: 2, Params: aac(t), Language: "he"}
	if got := of(video, one, two); got != "32=0 a1=1en a2=2he" {
		t.Errorf("two languages: %s", got)
	}
	if got := of(video, two); got != "32=0 a1=2he" {
		t.Errorf("one of them: %s", got)
	}
	p.tracks["0_demolive_a2"] = f
	if got := of(video, two); got != "32=0 a1=2he a2=2he" {
		t.Errorf("the other one has fallen silent: %s", got)
	}
	if log.Len() > 0 {
		t.Errorf("the log says:\n%s", &log)
	}
	dolby := media.Track{ID: 3, Params: &media.AC3{ID: 8, Coding: 7}}
	of(video, one, dolby)
	if got := of(video, one, dolby); got != "32=0 a1=1en a3=3" || strings.Count(log.String(), "\n") != 1 || !strings.Contains(log.String(), "AC-3") {
		t.Errorf("another codec: %s; the log says:\n%s", got, &log)
	}
}

func TestRateMeter(t *testing.T) {
	frames := func(n int, d time.Duration) []*media.Frame {
		out := make([]*media.Frame, n)
		for i := range out {
			out[i] = &media.Frame{Duration: d}
		}
		return out
	}
	for _, c := range []struct {
		stated float64
		d      time.Duration
		want   float64
	}{
		{0, 33366667, 29.97}, {0, 33333333, 30}, {0, 41708333, 23.976}, {0, 40 * time.Millisecond, 25}, {0, 16683333, 59.94},
		{0, 66667 * time.Microsecond, 15}, {30000.0 / 1001, 50 * time.Millisecond, 29.97}, {0, 0, 0},
	} {
		var m rateMeter
		for range 9 {
			m.add(frames(60, c.d))
		}
		if got := m.result(c.stated); got != c.want {
			t.Errorf("%v a frame, %v stated: %v fps, want %v", c.d, c.stated, got, c.want)
		}
		if m.segments != rateSegments {
			t.Errorf("measured over %d segments", m.segments)
		}
	}
}

// TestSoundRungs holds what rungs without pictures make of a feed: their own rendition beside the
// pictures' sound, as it came or encoded with the rung's rate; alone, the first one is the sound.
func TestSoundRungs(t *testing.T) {
	g := newRig(t)
	_, end := g.start()
	end()
	p := g.p
	p.Jobs, p.Ends = struct{ Jobs }{}, struct{ Ends }{}
	l := pass(32)
	for i := range l.Rungs {
		l.Rungs[i].Audio = live.AudioRung{Mode: live.ModeEncode, Bitrate: 96e3}
	}
	l.Rungs = append(l.Rungs, live.Rung{ParamsID: 50, Name: "radio", Tags: []string{"web"}, Video: live.VideoRung{Mode: live.ModeDisable}, Audio: live.AudioRung{Mode: live.ModeEncode, Bitrate: 48e3}})
	f := feedOf(live.Primary, 1, 1)
	p.feeds[f.FeedID] = &feed{record: live.FeedRecord{Feed: f, Grant: live.Grant{Ladder: l}}}
	for _, tt := range []struct {
		name   string
		tracks []media.Track
		want   string
	}{
		{"AAC", []media.Track{{ID: 0, Params: small(t)}, {ID: 1, Params: aac(t)}}, "0_demolive_32; 0_demolive_a1; 0_demolive_50"},
		{"Opus", []media.Track{{ID: 0, Params: small(t)}, {ID: 1, Params: &media.Opus{ChannelCount: 2}}}, "0_demolive_32; 0_demolive_a1 at 96000; 0_demolive_50 at 48000"},
		{"no sound", []media.Track{{ID: 0, Params: small(t)}}, "0_demolive_32"},
		{"no pictures", []media.Track{{ID: 1, Params: aac(t)}}, "0_demolive_a1; 0_demolive_50"},
	} {
		s := &segment{Assembly: &live.Assembly{Feed: f, Segment: live.Segment{Tracks: tt.tracks}}}
		it := &item{outputs: p.outputs([]*segment{s}), target: 4}
		var got []string
		var sounds []string
		for i := range it.outputs {
			o := &it.outputs[i]
			text := o.rendition
			if o.sound != nil {
				text += fmt.Sprint(" at ", o.sound.Bitrate)
				sounds = append(sounds, soundsOf(&live.Job{}, o).Outputs()...)
			}
			got = append(got, text)
		}
		if strings.Join(got, "; ") != tt.want {
			t.Errorf("%s: %q, want %q", tt.name, strings.Join(got, "; "), tt.want)
		}
		if tt.name == "Opus" && strings.Join(sounds, " ") != "0_demolive_a1 0_demolive_50" {
			t.Errorf("the jobs make %q", sounds)
		}
		if audioOf(it, &rendition{}) != "0_demolive_a1" && tt.name != "no sound" {
			t.Errorf("%s: the pictures' sound is %s", tt.name, audioOf(it, &rendition{}))
		}
	}
}
