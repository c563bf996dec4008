package playlist_test

import (
	"strings"
	"testing"

	"klive/infra/live"
	"klive/infra/media"
	"klive/storage/playlist"
	"klive/storage/timeline"
	tt "klive/storage/timeline/timelinetest"
)

// spoken is a broadcast with English, Hebrew, unnamed and Dolby sound, and captions.
func spoken(t *testing.T, video bool) *timeline.State {
	t.Helper()
	sc := tt.NewScript()
	picture := tt.VideoRendition(1)
	picture.Captions = []string{"CC1", "CC3", "SERVICE2"}
	records := []timeline.Record{&timeline.Started{ID: tt.Broadcast, Start: sc.At}}
	sc.Renditions = nil
	if video {
		records = append(records, &timeline.Described{Rendition: picture})
		sc.Renditions = []string{tt.Video}
	}
	for n, language := range []string{"en", "he", "", "en"} {
		d := tt.AudioRendition(1)
		d.Name, d.Language = live.SoundRendition(tt.Entry, n+1), language
		if n == 3 {
			d.Codecs, d.Channels = "ac-3", 6
		}
		if n == 0 && !video {
			d.Rung = live.Rung{ParamsID: 32, Name: "source"}
		}
		records = append(records, &timeline.Described{Rendition: d})
		sc.Renditions = append(sc.Renditions, d.Name)
	}
	return fold(t, append(records, sc.Adopt(2*sec, false), sc.Store(), sc.Adopt(4*sec, false), sc.Store())...)
}

// TestLanguages holds what playlists and manifests say of several tracks of sound.
func TestLanguages(t *testing.T) {
	all := "smil:" + tt.Entry + "_all.smil"
	b := spoken(t, true).Current()
	golden(t, "languages", playlist.Multivariant(b, sel(t, all), false))
	golden(t, "ts-languages", playlist.MultivariantTS(b, sel(t, all), true))
	goldenText(t, "dash-languages.mpd", playlist.Manifest(b, sel(t, all), false, 5, nil))
	golden(t, "languages-one", playlist.Multivariant(b, sel(t, tt.Entry+"_a2"), false))
	sound := spoken(t, false).Current()
	golden(t, "sound-languages", playlist.Multivariant(sound, sel(t, all), false))
	if one, group := playlist.Multivariant(sound, sel(t, tt.Entry+"_32"), false), playlist.Multivariant(sound, sel(t, all), false); one != group {
		t.Errorf("by its params id:\n%s", one)
	}
	golden(t, "ts-sound-languages", playlist.MultivariantTS(sound, sel(t, all), false))
	if text := playlist.Manifest(sound, sel(t, all), false, 5, nil); strings.Count(text, "<AdaptationSet") != 4 {
		t.Errorf("not four tracks of sound:\n%s", text)
	}
}

// TestOneTrackIsAsEver: a stream with one track of sound and no captions says nothing of either.
func TestOneTrackIsAsEver(t *testing.T) {
	sc := tt.NewScript()
	s := fold(t, append(sc.Open(tt.Broadcast, 0), sc.Adopt(2*sec, false), sc.Store(), sc.Adopt(4*sec, false), sc.Store())...)
	all := sel(t, "smil:"+tt.Entry+"_all.smil")
	for _, text := range []string{
		playlist.Multivariant(s.Current(), all, false), playlist.MultivariantTS(s.Current(), all, false), playlist.Manifest(s.Current(), all, false, 5, nil),
	} {
		for _, word := range []string{"LANGUAGE", "CAPTIONS", "Accessibility", "lang="} {
			if text == "" || strings.Contains(text, word) {
				t.Errorf("%s in\n%s", word, text)
			}
		}
	}
	if text := playlist.MultivariantTS(s.Current(), all, false); strings.Contains(text, "EXT-X-MEDIA") {
		t.Errorf("a choice of one:\n%s", text)
	}
	if d := s.Current().Rendition(tt.Audio); d.Kind != media.Audio || d.Language != "" {
		t.Errorf("%+v", d)
	}
}
