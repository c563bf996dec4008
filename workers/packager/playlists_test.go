package packager

import (
	"errors"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"klive/infra/live"
	"klive/infra/media"
	"klive/storage"
	"klive/storage/playlist"
	"klive/storage/timeline"
)

// The stored DVR playlists are written when a chapter closes and at the end, not with each
// item: their cost would grow with the window. Media as light as here are outweighed by them, so
// an eighth of the window is what counts.
func TestStoredDVRPlaylists(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := newRig(t)
		var writes atomic.Int64
		g.store.put = func(key string) error {
			if strings.HasSuffix(key, "_32/"+playlist.DVRName) {
				writes.Add(1)
			}
			return nil
		}
		result, end := g.start()
		defer end()
		g.on(publish{feed: feedOf(live.Primary, 1, 1), ladder: pass(32), rate: 30, video: small(t), duration: 4 * time.Minute, dvr: 8 * time.Minute})
		time.Sleep(time.Second)
		text := string(g.object(playlist.DVRKey(entry + "_32")))
		listed := strings.Count(text, "#EXTINF")
		if closed := len(g.state().Current().Chapters); closed < 2 || listed < 30 || strings.Contains(text, "ENDLIST") {
			t.Errorf("after four minutes: %d chapters, %d segments in\n%s", closed, listed, text)
		}
		if n := writes.Load(); n > 6 {
			t.Errorf("the DVR playlist was written %d times in four minutes", n)
		}
		b := ended(t, g, result)
		text = string(g.object(playlist.DVRKey(entry + "_32")))
		if got := strings.Count(text, "#EXTINF"); got != len(g.items(b)) || !strings.HasSuffix(text, "#EXT-X-ENDLIST\n") {
			t.Errorf("at the end: %d of %d segments in\n%s", got, len(g.items(b)), text)
		}
		if master := string(g.object(playlist.GroupKey(entry, "all", true))); !strings.Contains(master, playlist.DVRName) {
			t.Errorf("the DVR multivariant playlist does not name the DVR window:\n%s", master)
		}
	})
}

// A second bitrate whose gateway still holds its first parts is waited for: the broadcast
// begins with both.
func TestFirstPartsAreWaitedFor(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := newRig(t)
		g.opt.FailoverAfter = 500 * time.Millisecond
		_, end := g.start()
		defer end()
		begin := media.At(time.Now())
		second := publish{feed: feedOf(live.Primary, 2, 2), ladder: pass(36), start: begin, segment: time.Second, rate: 30, video: small(t), duration: 9 * time.Second}
		g.feed(live.FeedRecord{Feed: second.feed, Opened: time.Now(), Beat: time.Now(), Grant: live.Grant{Entry: entry, Ladder: second.ladder}, Clock: live.ClockRecord{LastArrival: begin}})
		go g.on(publish{feed: feedOf(live.Primary, 1, 1), ladder: pass(32), start: begin, segment: time.Second, rate: 30, video: small(t), duration: 9 * time.Second})
		time.Sleep(800 * time.Millisecond)
		g.on(second)
		time.Sleep(2 * time.Second)
		items := g.items(g.state().Current())
		if len(items) < 8 {
			t.Fatalf("%d items", len(items))
		}
		for _, it := range items[:8] {
			if len(it.Media) != 2 || !it.Media[0].Stored || !it.Media[1].Stored || it.Discontinuity {
				t.Errorf("item %d: %+v", it.Seq, it)
			}
		}
	})
}

// TestDamagedChapter holds that a chapter that can't be read is said, stops nothing else and
// is not overwritten.
func TestDamagedChapter(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := newRig(t)
		result, end := g.start()
		defer end()
		go g.on(publish{feed: feedOf(live.Primary, 1, 1), ladder: pass(32), rate: 10, video: small(t), duration: 5 * time.Minute, dvr: 10 * time.Minute})
		time.Sleep(2 * time.Minute)
		if err := g.p.Problem(); err != nil {
			t.Errorf("a problem of a sound timeline: %v", err)
		}
		hurt := g.state().Current().Chapters[0]
		if _, err := g.store.Put(t.Context(), hurt.Key, [][]byte{[]byte("{")}, storage.PutOptions{}); err != nil {
			t.Fatal(err)
		}
		time.Sleep(2 * time.Minute)
		if err := g.p.Problem(); !errors.Is(err, timeline.ErrDamaged) {
			t.Errorf("the problem: %v", err)
		}
		if st := g.state(); st.LogSeq != g.writer().State().LogSeq || len(st.Current().Chapters) < 3 {
			t.Errorf("the head is behind, or holds %d chapters", len(st.Current().Chapters))
		}
		if err := <-result; err != nil {
			t.Errorf("Run: %v", err)
		}
		if got := g.object(hurt.Key); string(got) != "{" {
			t.Errorf("the chapter was overwritten: %s", got)
		}
	})
}
