package gateway

import (
	"testing"
	"time"

	"klive/infra/live"
	"klive/infra/media"
)

// spoken is a track of sound in a language.
func spoken(id media.TrackID, language string) media.Track {
	t := testAAC(48000)
	t.ID, t.Language = id, language
	return t
}

// both sends the units of an encoder, the sound as two tracks.
func both(units []unit) (out []unit) {
	for _, u := range units {
		out = append(out, u)
		if u.au.Track == media.FirstAudioTrack {
			u.au.Track = 2
			out = append(out, u)
		}
	}
	return out
}

// TestLanguages: of two tracks of sound each has its language, from the first segment on, and
// nothing of them is lost.
func TestLanguages(t *testing.T) {
	units := both(source{fps: 30, gop: 60, audio: 48000, length: 9 * time.Second}.units())
	b := newBench(t, nil)
	b.cut.expect(media.Video, media.Audio, media.Audio)
	parts := b.tracks(testH264(""), spoken(1, "en"), spoken(2, "he")).send(units...).finish()
	frames := map[media.TrackID]int{}
	for _, p := range parts {
		if len(p.Segment.Tracks) != 3 || p.Segment.Tracks[0].Language != "" || p.Segment.Tracks[1].Language != "en" || p.Segment.Tracks[2].Language != "he" {
			t.Fatalf("segment %d has %+v", p.Segment.Number, p.Segment.Tracks)
		}
		for i := range p.Frames {
			frames[p.Frames[i].Track]++
		}
	}
	if frames[0] != 270 || frames[1] < 420 || frames[1] != frames[2] {
		t.Errorf("frames %v", frames)
	}
}

// TestOneLanguage: a single track of sound says nothing of its language.
func TestOneLanguage(t *testing.T) {
	parts := newBench(t, nil).tracks(testH264(""), spoken(1, "en")).send(source{fps: 30, gop: 60, audio: 48000, length: 5 * time.Second}.units()...).finish()
	for _, p := range parts {
		if _, err := p.AppendBinary(nil); err != nil || p.Segment.Tracks[1].Language != "" {
			t.Fatalf("segment %d has %+v, %v", p.Segment.Number, p.Segment.Tracks, err)
		}
	}
}

// TestFirstSoundStops: sound alone, in two languages, goes on in segments of the usual length when the track that
// makes the cuts falls silent, and nothing of the other one is lost.
func TestFirstSoundStops(t *testing.T) {
	units := only(both(source{audio: 48000, length: 30 * time.Second}.units()), func(u unit) bool {
		return u.au.Track == 2 || u.at < 9*time.Second
	})
	b := newBench(t, nil)
	b.cut.expect(media.Audio, media.Audio)
	parts := b.tracks(spoken(1, "en"), spoken(2, "he")).send(units...).finish()
	checkParts(t, parts, 333*time.Millisecond)
	if n := len(segments(parts)); n < 7 {
		t.Errorf("%d segments of 30 s", n)
	}
	if got := frames(parts, 2); len(got) != 1407 {
		t.Errorf("%d frames of the track that goes on, want 1407", len(got))
	}
}

// TestExpectedTracks: the first segment waits a moment for every track that was announced.
func TestExpectedTracks(t *testing.T) {
	units := both(source{fps: 30, gop: 60, audio: 48000, length: 5 * time.Second}.units())
	for _, announced := range []bool{true, false} {
		b := newBench(t, nil).tracks(testH264(""), spoken(1, "en"))
		if announced {
			b.cut.expect(media.Video, media.Audio, media.Audio)
		}
		for _, u := range units {
			if u.au.Track == 2 && b.cut.track(2) == nil {
				if u.at < 300*time.Millisecond {
					continue // the program map spoke of it, and it comes late
				}
				b.tracks(spoken(2, "he"))
			}
			b.send(u)
		}
		first := b.finish()[0].Segment
		if got, want := len(first.Tracks), map[bool]int{true: 3, false: 2}[announced]; got != want {
			t.Errorf("announced %v: the first segment has %d tracks, want %d", announced, got, want)
		}
	}
}

// TestLanguageChanges: another language under the same track names it anew and cuts nothing.
func TestLanguageChanges(t *testing.T) {
	units := both(source{fps: 30, gop: 30, audio: 48000, length: 13 * time.Second}.units())
	b := newBench(t, nil).tracks(testH264(""), spoken(1, "en"), spoken(2, "he"))
	for _, u := range units {
		if u.at > 6*time.Second && b.cut.track(2).track.Language == "he" {
			b.tracks(spoken(2, "fr"))
		}
		b.send(u)
	}
	var segments []live.Segment
	for _, p := range b.finish() {
		if p.Number == 0 {
			segments = append(segments, p.Segment)
		}
	}
	last := segments[len(segments)-1]
	if tr, _ := last.Track(2); tr.Language != "fr" || segments[0].Tracks[2].Language != "he" {
		t.Errorf("the last segment has %+v", last.Tracks)
	}
	for _, s := range segments[1:] {
		if s.Discontinuity {
			t.Errorf("segment %d is a discontinuity", s.Number)
		}
	}
}

// TestData: timed data goes with the parts, in the feed's own time, and within bounds.
func TestData(t *testing.T) {
	units := source{fps: 30, gop: 60, audio: 48000, length: 9 * time.Second, start: 1<<32 - 4000}.units() // the clock wraps
	b := newBench(t, nil).tracks(testH264(""), testAAC(48000))
	b.cut.data(&Datum{Format: media.ID3, Payload: []byte("before the media")})
	for i, u := range units {
		b.send(u)
		switch i {
		case 100:
			b.cut.data(&Datum{Format: media.SCTE35, Time: 2000, Timed: true, Payload: []byte("splice")}) // 6 s after the start
			b.cut.data(&Datum{Format: media.ID3, Payload: []byte("now")})
			b.cut.data(&Datum{Format: media.ID3, Payload: make([]byte, media.MaxData+1)})
		case 300:
			for range live.MaxPartData + 10 {
				b.cut.data(&Datum{Format: media.ID3, Payload: []byte{1}})
			}
		}
	}
	var data []media.Data
	start := media.Time(0)
	for _, p := range b.finish() {
		if start == 0 {
			start = p.Segment.Start
		}
		if len(p.Data) > live.MaxPartData {
			t.Fatalf("%d data in part %d", len(p.Data), p.Seq)
		}
		data = append(data, p.Data...)
		if _, err := p.AppendBinary(nil); err != nil {
			t.Fatal(err)
		}
	}
	if len(data) != 2+live.MaxPartData || data[0].Format != media.SCTE35 || data[0].Time.Sub(start) != 6*time.Second || string(data[1].Payload) != "now" {
		t.Fatalf("%d data, the first %+v, %v after the start", len(data), data[0], data[0].Time.Sub(start))
	}
	if now := data[1].Time.Sub(start); now < time.Second || now > 3*time.Second {
		t.Errorf("now is %v after the start", now)
	}
	if got := b.cut.seg.dropped[dropData]; got != 12 {
		t.Errorf("%d left out, want 12", got)
	}
}
