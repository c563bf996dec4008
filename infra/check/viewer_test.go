package check

import (
	"context"
	"maps"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"klive/infra/media"
	"klive/infra/publisher"
)

// TestViewer lets a viewer see a window grow; one segment can't be fetched at first.
func TestViewer(t *testing.T) {
	clip, err := publisher.NewSynthetic(publisher.Synthetic{NoAudio: true})
	if err != nil {
		t.Fatal(err)
	}
	init, segment := segmentOf(t, clip, media.Video, 60)
	const master, list = "/kLive/smil:0_demolive_all.smil/playlist.m3u8", "/kLive/0_demolive_32/v.m3u8"
	window := func(n int) string {
		text := "#EXTM3U\n#EXT-X-VERSION:7\n#EXT-X-TARGETDURATION:2\n#EXT-X-MEDIA-SEQUENCE:1\n#EXT-X-DISCONTINUITY-SEQUENCE:1\n#EXT-X-MAP:URI=\"b/init-1.mp4\"\n"
		at := time.Date(2027, 1, 15, 8, 0, 0, 0, time.UTC)
		for i := range n {
			text += "#EXT-X-PROGRAM-DATE-TIME:" + at.Add(time.Duration(i)*2*time.Second).Format("2006-01-02T15:04:05.000Z") + "\n#EXTINF:2.0,\nb/" + name(i) + "\n"
		}
		return text
	}
	files := map[string]string{
		master: "#EXTM3U\n#EXT-X-VERSION:7\n#EXT-X-STREAM-INF:BANDWIDTH=1000000,CODECS=\"avc1.42c01e\"\n../0_demolive_32/v.m3u8\n",
		list:   window(2), "/kLive/0_demolive_32/b/init-1.mp4": init,
		"/kLive/0_demolive_32/b/" + name(0): segment, "/kLive/0_demolive_32/b/" + name(1): segment,
	}
	var s shelf
	show := func() { shown := maps.Clone(files); s.files.Store(&shown) }
	show()
	server := httptest.NewServer(&s)
	defer server.Close()
	v, err := Watch("viewer", server.URL+master)
	if err != nil {
		t.Fatal(err)
	}
	defer v.Stop()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	if err := v.WaitFor(ctx, 2); err != nil {
		t.Fatal(err)
	}
	if n := len(v.Items()); n != 0 {
		t.Errorf("%d items count although they were there before", n)
	}
	files[list] = window(3)
	listed := time.Now()
	show()
	isListed := func() bool {
		v.listed.mu.Lock()
		defer v.listed.mu.Unlock()
		r := v.listed.follower.Renditions[list]
		return r != nil && len(r.Items) > 0 && r.Items[len(r.Items)-1].Seq == 3
	}
	for (len(v.Failures()) < 2 || !isListed()) && ctx.Err() == nil {
		time.Sleep(10 * time.Millisecond)
	}
	files["/kLive/0_demolive_32/b/"+name(2)] = segment
	there := time.Now()
	show()
	if err := v.WaitFor(ctx, 3); err != nil {
		t.Fatal(err)
	}
	items := v.Items()
	if len(items) != 1 || items[0].Seq != 3 || items[0].FirstListed.Before(listed) || items[0].FirstListed.After(there) {
		t.Errorf("the third segment was listed at %v and there at %v, the viewer has %+v", listed, there, items)
	}
	if f := v.Failures(); !strings.Contains(f[0].Err.Error(), name(2)) {
		t.Errorf("the first failure is %v", f[0].Err)
	}
	if out := v.FailuresOutside([]Fault{{At: listed.Add(-time.Second), Until: time.Now()}}, 0); len(out) != 0 {
		t.Errorf("failures outside the fault: %v", out)
	}
	if both, err := Both(v, v); err != nil || len(both) != 1 {
		t.Errorf("both saw %d items: %v", len(both), err)
	}
}

// name is a segment's name by its place.
func name(i int) string { return []string{"1000-1.m4s", "3000-1.m4s", "5000-1.m4s"}[i] }
