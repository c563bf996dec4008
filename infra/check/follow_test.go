package check

import (
	"errors"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"klive/infra/media"
	"klive/infra/media/mp4"
	"klive/infra/publisher"
)

// shelf serves files by path.
type shelf struct {
	files atomic.Pointer[map[string]string]
}

func (s *shelf) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	text, ok := (*s.files.Load())[r.URL.Path]
	if !ok {
		http.NotFound(w, r)
		return
	}
	w.Write([]byte(text))
}

const masterText = `#EXTM3U
#EXT-X-VERSION:7
#EXT-X-MEDIA:TYPE=AUDIO,GROUP-ID="a",NAME="a",URI="../0_demolive_a1/v.m3u8"
#EXT-X-STREAM-INF:BANDWIDTH=1,AUDIO="a"
../0_demolive_32/v.m3u8
`

const mediaText = `#EXTM3U
#EXT-X-VERSION:7
#EXT-X-TARGETDURATION:4
#EXT-X-MEDIA-SEQUENCE:7
#EXT-X-MAP:URI="b/init-1.mp4"
#EXT-X-PROGRAM-DATE-TIME:2027-01-15T08:00:00.000Z
#EXTINF:2.000,
b/1.m4s
#EXT-X-DISCONTINUITY
#EXTINF:2.0,
b/2.m4s
#EXT-X-GAP
#EXTINF:4,
b/3.m4s
`

// segmentOf packs a clip's first units of a kind as the service does.
func segmentOf(t *testing.T, c *publisher.Clip, k media.Kind, n int) (init, segment string) {
	t.Helper()
	tr, params := c.Video, media.Params(nil)
	var err error
	if k == media.Audio {
		tr = c.Audio
		params, err = media.NewAAC(tr.Config)
	} else {
		sps, pps := setsOf(tr.Config)
		params, err = media.NewH264([][]byte{sps}, [][]byte{pps})
	}
	if err != nil {
		t.Fatal(err)
	}
	cursor, err := (&publisher.Clip{Video: tr}).Cursor()
	if err != nil {
		t.Fatal(err)
	}
	var frames []*media.Frame
	for range n {
		u := cursor.Next()
		frames = append(frames, &media.Frame{DTS: media.Time(u.DTS), PTS: media.Time(u.PTS), Key: u.Key, Payload: u.Payload(), Duration: time.Second / 30})
	}
	head, err := mp4.Init(media.Track{Params: params})
	if err != nil {
		t.Fatal(err)
	}
	body, err := mp4.Segment(params, frames, 1)
	if err != nil {
		t.Fatal(err)
	}
	var b strings.Builder
	for _, p := range body {
		b.Write(p)
	}
	return string(head), b.String()
}

func setsOf(c []byte) (sps, pps []byte) {
	n := int(c[6])<<8 | int(c[7])
	rest := c[8+n+1:]
	return c[8 : 8+n], rest[2 : 2+(int(rest[0])<<8|int(rest[1]))]
}

func TestFollow(t *testing.T) {
	clip, err := publisher.NewSynthetic(publisher.Synthetic{})
	if err != nil {
		t.Fatal(err)
	}
	vi, vs := segmentOf(t, clip, media.Video, 60)
	ai, as := segmentOf(t, clip, media.Audio, 90)
	files := map[string]string{}
	var s shelf
	s.files.Store(&files)
	server := httptest.NewServer(&s)
	defer server.Close()
	f, err := Follow(server.Client(), server.URL+"/kLive/smil:0_demolive_all.smil/playlist.m3u8")
	if err != nil {
		t.Fatal(err)
	}
	if err := f.Poll(t.Context()); !errors.Is(err, ErrNoPlaylist) {
		t.Errorf("without a playlist: %v", err)
	}
	files = map[string]string{
		"/kLive/smil:0_demolive_all.smil/playlist.m3u8": masterText,
		"/kLive/0_demolive_32/v.m3u8":                   mediaText, "/kLive/0_demolive_a1/v.m3u8": strings.Replace(mediaText, "2.000", "2.1", 1),
		"/kLive/0_demolive_32/b/init-1.mp4": vi, "/kLive/0_demolive_32/b/1.m4s": vs, "/kLive/0_demolive_32/b/2.m4s": vs,
		"/kLive/0_demolive_a1/b/init-1.mp4": ai, "/kLive/0_demolive_a1/b/1.m4s": as, "/kLive/0_demolive_a1/b/2.m4s": as,
	}
	if err := f.Poll(t.Context()); err != nil {
		t.Fatal(err)
	}
	video := f.Kind(media.Video)
	if len(video.Items) != 3 || video.Target != 4 || video.Items[1].Seq != 8 || !video.Items[1].Discontinuity || !video.Items[2].Gap {
		t.Errorf("the video rendition reads %+v", video)
	}
	units := video.Units()
	if len(units) != 120 || !units[60].Discontinuity || !units[60].First || units[59].Number != 59 || !units[59].Marked {
		t.Errorf("%d units", len(units))
	}
	if len(f.Versions) != 3 {
		t.Errorf("%d versions of playlists", len(f.Versions))
	}
	if f, err = Follow(server.Client(), server.URL+"/kLive/smil:0_demolive_all.smil/playlist.m3u8"); err != nil {
		t.Fatal(err)
	}
	delete(files, "/kLive/0_demolive_32/b/2.m4s")
	if err := f.Poll(t.Context()); err == nil || errors.Is(err, ErrNoPlaylist) || !strings.Contains(err.Error(), "2.m4s") {
		t.Errorf("a listed segment that is missing gives %v", err)
	}
}
