package push

import (
	"bytes"
	"fmt"
	"net/http"
	"strings"
	"testing"

	"klive/infra/bus"
	"klive/infra/bus/bustest"
	"klive/infra/live"
)

// A packager that begins each segment with an initialization section, under names that count up,
// has one section kept and not one for each.
func TestSectionsOfEachSegment(t *testing.T) {
	bucket, err := bustest.Start(t).Bucket(t.Context(), bus.BucketConfig{Name: live.SectionsBucket, TTL: live.SectionsLife})
	if err != nil {
		t.Fatal(err)
	}
	r := newRig(t, func(c *Config) { c.Sections = bucket })
	video, pictures := boxes(t, fragmented(t, "0:v"))
	for i, p := range pictures {
		if code, detail := r.send(http.MethodPut, fmt.Sprintf("%s/t/secret-token/video-%05d.mp4", address, i), bytes.NewReader(append(bytes.Clone(video), p...))); code != 200 {
			t.Fatalf("%d: %d %s", i, code, detail)
		}
	}
	f := r.push.find(live.FeedID{Entry: "0_rkij47dr", Suffix: 1})
	if f == nil || len(pictures) < 2 {
		t.Fatalf("there is no feed, or there are %d segments", len(pictures))
	}
	if s := f.ownSections(); len(s.list) != 1 || streamKey(s.list[0].Path) != streamKey("video-00001.mp4") {
		t.Errorf("%d sections are kept", len(s.list))
	}
}

// One feed does not take the room of all others, and a playlist that is too large is refused
// instead of being read in part.
func TestFeedIsBounded(t *testing.T) {
	r := newRig(t, nil)
	video, pictures := boxes(t, fragmented(t, "0:v"))
	put := func(name string, body []byte) (int, string) {
		return r.send(http.MethodPut, address+"/t/secret-token/"+name, bytes.NewReader(body))
	}
	if code, detail := put("init-stream0.m4s", video); code != 200 {
		t.Fatal(code, detail)
	}
	f := r.push.find(live.FeedID{Entry: "0_rkij47dr", Suffix: 1})
	under := func(n int) {
		f.mu.Lock()
		defer f.mu.Unlock()
		f.requests += n
	}
	under(maxFeedRequests)
	if code, detail := put("chunk-stream0-00001.m4s", pictures[0]); code < 400 || !strings.Contains(detail, "requests under way") {
		t.Errorf("one request too many: %d %s", code, detail)
	}
	under(-maxFeedRequests)
	if code, detail := put("chunk-stream0-00001.m4s", pictures[0]); code != 200 {
		t.Errorf("the next one: %d %s", code, detail)
	}
	large := append(bytes.Repeat([]byte("#EXTINF:4,\nsegment.m4s\n"), maxText/22), "#EXT-X-ENDLIST\n"...)
	if code, detail := put("live.m3u8", append([]byte("#EXTM3U\n"), large...)); code < 400 || !strings.Contains(detail, "MiB") {
		t.Errorf("a vast playlist: %d %s", code, detail)
	}
}
