package origin_test

import (
	"os"
	"strings"
	"testing"
	"time"

	"klive/storage/origin"
	"klive/storage/storagetest"
	"klive/storage/timeline"
	tt "klive/storage/timeline/timelinetest"
)

// TestBuildWindow prints how long an origin takes for the playlists of a long DVR window: one
// that knows nothing yet, then one that does and sees one more segment.
func TestBuildWindow(t *testing.T) {
	window := 2 * time.Hour
	if os.Getenv("KLIVE_PROVE") == "1" {
		window = 24 * time.Hour
	}
	s := newStation(t, storagetest.NewMemory(), window)
	s.script.Rate = 300_000
	total := int(window / (4 * sec))
	add := func(n int) {
		for i := range n {
			s.append(s.script.Adopt(4*sec, i == n/2), s.script.Store())
			if i%15 == 14 || i == n-1 {
				if err := s.writer.Save(t.Context()); err != nil {
					t.Fatal(err)
				}
				s.log.Trim(s.writer.State().LogSeq - 2)
			}
		}
	}
	add(total)
	cold := timeline.NewView(timeline.ViewConfig{Store: s.store, Log: s.log})
	defer cold.Close()
	s.origin = origin.New(origin.Config{Timelines: cold, Store: s.store})
	took := func(target, unit string) time.Duration {
		t.Helper()
		begin := time.Now()
		text := body(t, s.do("GET", target))
		d := time.Since(begin)
		if n := strings.Count(text, unit); n < 1 || unit == "#EXTINF" && n < total-1 {
			t.Fatalf("%s names %d of %d segments", target, n, total)
		}
		t.Logf("%v window, %s: %v, %d B", window, target, d.Round(10*time.Microsecond), len(text))
		return d
	}
	dvr, mpd := "/kLive/"+tt.Video+"/dvr.m3u8", strings.Replace(multi, "playlist.m3u8", "manifest.mpd?DVR", 1)
	t.Log("cold")
	first := took(dvr, "#EXTINF")
	took("/kLive/"+tt.Audio+"/dvr.m3u8", "#EXTINF")
	took(mpd, "<S ")
	t.Log("warm, one segment later")
	add(1)
	for deadline := time.Now().Add(10 * sec); ; time.Sleep(10 * time.Millisecond) {
		state, err := cold.State(t.Context(), tt.Entry)
		if err == nil && state.LogSeq == s.writer.State().LogSeq {
			break
		}
		if time.Now().After(deadline) {
			t.Fatalf("the origin does not follow: %v", err)
		}
	}
	warm := took(dvr, "#EXTINF")
	took(mpd, "<S ")
	if warm > first {
		t.Errorf("warm took %v and cold %v", warm, first)
	}
}
