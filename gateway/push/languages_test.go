package push

import (
	"slices"
	"testing"
	"time"

	"klive/infra/media"
	"klive/infra/media/mp4"
)

// tracksHeard keeps the tracks that a publication is told of.
type tracksHeard struct {
	nowhere
	tracks   []media.Track
	expected []media.Kind
}

func (p *tracksHeard) SetTrack(t media.Track) error { p.tracks = append(p.tracks, t); return nil }
func (p *tracksHeard) Expect(k ...media.Kind)       { p.expected = k }

// TestLanguages: initialization sections of two languages, each in a request of its own, become
// two tracks of one feed with their languages.
func TestLanguages(t *testing.T) {
	aac, err := media.NewAAC([]byte{0x11, 0x90})
	if err != nil {
		t.Fatal(err)
	}
	pub := &tracksHeard{}
	feed := newFeed(&Handler{metrics: newMetrics(nil), cfg: Config{Turn: time.Second}}, target{})
	feed.merge = newMerger(pub, feed.h.metrics)
	for i, tag := range []string{"en", "he", "en"} { // the last one is sent again
		init, err := mp4.Init(media.Track{ID: 1, Params: aac, Language: tag})
		if err != nil {
			t.Fatal(err)
		}
		m := &movieReader{feed: feed, merge: feed.merge, in: bufferedReader(init), path: []string{"init-0.mp4", "init-1.mp4", "init-0.mp4"}[i]}
		if err := m.read(); err != nil {
			t.Fatal(err)
		}
		m.stop()
		pieces, err := mp4.Segment(aac, []*media.Frame{{Track: 1, DTS: media.Time(i * 1e9), PTS: media.Time(i * 1e9), Duration: 21e6, Key: true, Payload: []byte{0x21, 0x10}}}, 1)
		if err != nil {
			t.Fatal(err)
		}
		m = &movieReader{feed: feed, merge: feed.merge, in: bufferedReader(slices.Concat(pieces...)), path: []string{"chunk-0-1.m4s", "chunk-1-1.m4s", "chunk-0-2.m4s"}[i]}
		if err := m.start(); err != nil {
			t.Fatal(err)
		}
		if err := m.read(); err != nil {
			t.Fatal(err)
		}
		m.stop()
	}
	if err := feed.merge.flush(); err != nil {
		t.Fatal(err)
	}
	if !slices.Equal(pub.expected, []media.Kind{media.Audio, media.Audio}) {
		t.Errorf("expected %v", pub.expected)
	}
	said := map[media.TrackID]string{}
	for _, tr := range pub.tracks {
		said[tr.ID] = tr.Language
	}
	if len(said) != 2 || said[1] != "en" || said[2] != "he" {
		t.Errorf("tracks %+v", pub.tracks)
	}
}
