package origin_test

import (
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/credentials"

	"klive/infra/check"
	"klive/infra/check/fault"
	"klive/storage"
	"klive/storage/origin"
	"klive/storage/s3"
	"klive/storage/storagetest"
	"klive/storage/timeline"
	tt "klive/storage/timeline/timelinetest"
)

// storeDelay is how much later a store answers that is far away.
const storeDelay = 20 * time.Millisecond

// TestBuildWindow prints how long an origin takes for the playlists of a long DVR window: one
// that knows nothing yet, then one that does and sees one more segment. The timeline lies in
// memory, or in a bucket that takes its time for each answer.
func TestBuildWindow(t *testing.T) {
	t.Run("memory", func(t *testing.T) {
		m := storagetest.NewMemory()
		buildWindow(t, m, m, 2*time.Hour)
	})
	t.Run("bucket", func(t *testing.T) {
		g := storagetest.StartGateway(t, "media")
		relay := fault.NewStoreRelay(t, "far", strings.TrimPrefix(g.Endpoint, "http://"), &fault.Journal{})
		relay.Set(fault.Trouble{Delay: storeDelay})
		buildWindow(t, openBucket(t, g.Endpoint), openBucket(t, "http://"+relay.Addr()), 20*time.Minute)
	})
}

func openBucket(t *testing.T, endpoint string) storage.Store {
	t.Helper()
	s, err := s3.Open(t.Context(), s3.Config{
		URL:         "s3://media?region=us-east-1&pathStyle=true&endpoint=" + url.QueryEscape(endpoint),
		Credentials: credentials.NewStaticCredentialsProvider(storagetest.GatewayKey, storagetest.GatewaySecret, ""),
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.Close)
	return s
}

// buildWindow fills a window in the store near, and asks an origin that has the store far. When
// proving the window is a day.
func buildWindow(t *testing.T, near, far storage.Store, window time.Duration) {
	proving := check.Proving()
	if proving {
		window = 24 * time.Hour
	}
	s := newStation(t, near, window)
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
	cold := timeline.NewView(timeline.ViewConfig{Store: far, Log: s.log})
	defer cold.Close()
	s.origin = origin.New(origin.Config{Timelines: cold, Store: far})
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
	if proving && warm > first {
		t.Errorf("warm took %v and cold %v", warm, first)
	}
}
