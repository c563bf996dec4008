package playlist_test

import (
	"strings"
	"testing"
	"time"

	"klive/storage/playlist"
	"klive/storage/timeline"
	tt "klive/storage/timeline/timelinetest"
)

// TestHeld holds that an origin's playlists name held media and stored ones end before them.
func TestHeld(t *testing.T) {
	sc := tt.NewScript()
	records := sc.Open(tt.Broadcast, time.Minute)
	var names []string
	for i := range 6 {
		a := sc.Adopt(4*sec, false)
		names = append(names, a.Item.Media[0].Name+".m4s")
		settled := sc.Store()
		if i >= 4 {
			settled = sc.Hold()
		}
		records = append(records, a, settled)
	}
	s, err := tt.Fold(append(records, sc.Adopt(4*sec, false), &timeline.Ended{End: sc.At})...)
	if err != nil {
		t.Fatal(err)
	}
	stored := map[string]string{}
	for _, f := range append(playlist.Stored(s, 5), playlist.StoredDVR(s, 5, nil)...) {
		stored[f.Key] = f.Text
	}
	for what, text := range map[string]string{
		"the origin's":     playlist.Live(s.Current(), tt.Video, 5),
		"the origin's DVR": playlist.DVR(s.Current(), tt.Video, 5, nil),
		"the stored":       stored[playlist.LiveKey(tt.Video)],
		"the stored DVR":   stored[playlist.DVRKey(tt.Video)],
	} {
		origin := strings.HasPrefix(what, "the origin's")
		if !strings.Contains(text, names[3]) || strings.Contains(text, names[4]) != origin || strings.Contains(text, names[5]) != origin {
			t.Errorf("%s playlist:\n%s", what, text)
		}
		if strings.Contains(text, "ENDLIST") {
			t.Errorf("%s playlist ends, with media still to come:\n%s", what, text)
		}
	}
}

// TestAllHeld holds that nothing is stored of a broadcast of which nothing is in the store.
func TestAllHeld(t *testing.T) {
	sc := tt.NewScript()
	s, err := tt.Fold(append(sc.Open(tt.Broadcast, time.Minute), sc.Adopt(4*sec, false), sc.Hold())...)
	if err != nil {
		t.Fatal(err)
	}
	if playlist.Live(s.Current(), tt.Video, 5) == "" {
		t.Error("an origin has nothing to show")
	}
	if files := append(playlist.Stored(s, 5), playlist.StoredDVR(s, 5, nil)...); len(files) != 0 {
		t.Errorf("stored playlists: %v", files)
	}
}
