package origin_test

import (
	"bytes"
	"encoding/hex"
	"net/http"
	"strings"
	"testing"
	"time"

	"klive/infra/check"
	"klive/infra/media"
	container "klive/infra/media/mp4"
	"klive/storage"
	"klive/storage/origin"
	"klive/storage/playlist"
	"klive/storage/storagetest"
	"klive/storage/timeline"
	tt "klive/storage/timeline/timelinetest"
)

// muxed is a station whose media are real, and whose origin gives MPEG-TS.
type muxed struct {
	*station
	params map[string]media.Params
}

func newMuxed(t *testing.T) *muxed {
	t.Helper()
	s := newStation(t, storagetest.NewMemory(), time.Hour)
	s.origin = origin.New(origin.Config{Timelines: s.view, Store: s.store, TS: true})
	sps, _ := hex.DecodeString("6742000af841a2")
	pps, _ := hex.DecodeString("68ce3880")
	v, err := media.NewH264([][]byte{sps}, [][]byte{pps})
	if err != nil {
		t.Fatal(err)
	}
	a, err := media.NewAAC([]byte{0x12, 0x10})
	if err != nil {
		t.Fatal(err)
	}
	return &muxed{s, map[string]media.Params{tt.Video: v, tt.Audio: a}}
}

// put stores media and their initialization section.
func (m *muxed) put(of timeline.Media) {
	m.t.Helper()
	params := m.params[of.Rendition]
	init, err := container.Init(media.Track{Params: params})
	if err != nil {
		m.t.Fatal(err)
	}
	var frames []*media.Frame
	for i := range 100 {
		at := of.Start.Add(time.Duration(i) * 40 * time.Millisecond)
		frames = append(frames, &media.Frame{DTS: at, PTS: at, Duration: 40 * time.Millisecond, Key: i == 0, Payload: append([]byte{0, 0, 0, 9, 0x65}, "12345678"...)})
	}
	pieces, err := container.Segment(params, frames, 1)
	if err != nil {
		m.t.Fatal(err)
	}
	for key, data := range map[string][]byte{
		playlist.InitKey(of.Rendition, tt.Broadcast, of.Init):  init,
		playlist.MediaKey(of.Rendition, tt.Broadcast, of.Name): bytes.Join(pieces, nil),
	} {
		if _, err := m.store.Put(m.t.Context(), key, [][]byte{data}, storage.PutOptions{}); err != nil {
			m.t.Fatal(err)
		}
	}
}

// adopt puts a segment's media in the store and says so of the given renditions.
func (m *muxed) adopt(said ...string) (name string) {
	m.t.Helper()
	adopted := m.script.Adopt(4*sec, false)
	m.append(adopted)
	for _, x := range adopted.Item.Media {
		m.put(x)
	}
	m.append(m.script.Store(said...))
	if err := m.writer.Save(m.t.Context()); err != nil {
		m.t.Fatal(err)
	}
	return adopted.Item.Media[0].Name
}

// streams counts the packets of each PID.
func streams(data string) map[int]int {
	n := map[int]int{}
	for p := data; len(p) >= 188; p = p[188:] {
		n[int(p[1]&0x1f)<<8|int(p[2])]++
	}
	return n
}

func tsPath(name string) string {
	return "/kLive/" + tt.Video + "/" + tt.Broadcast + "/" + name + ".ts"
}

func TestTransportStreams(t *testing.T) {
	m := newMuxed(t)
	first := m.adopt()
	for range 40 { // the first one gets into a chapter
		m.adopt()
	}
	rules := check.NewPlaylist(check.PlaylistConfig{})
	for _, path := range []string{multi, "/kLive/" + tt.Video + "/ts.m3u8", "/kLive/" + tt.Video + "/ts-dvr.m3u8"} {
		r := m.do("GET", path)
		text := body(t, r)
		if r.StatusCode != 200 || strings.Contains(text, "EXT-X-MAP") || strings.Contains(text, ".m4s") {
			t.Errorf("%s: %d\n%s", path, r.StatusCode, text)
		}
		rules.Add(path, text)
	}
	if err := rules.Err(); err != nil {
		t.Error(err)
	}
	r := m.do("GET", tsPath(first))
	data := body(t, r)
	if got := streams(data); r.StatusCode != 200 || r.Header.Get("Content-Type") != "video/mp2t" || len(got) != 4 || got[0x100] < 100 || got[0x101] < 100 {
		t.Fatalf("%d %v, streams %v", r.StatusCode, r.Header, got)
	}
	part := m.do("GET", tsPath(first), "Range", "bytes=188-375")
	if part.StatusCode != 206 || body(t, part) != data[188:376] {
		t.Errorf("a range: %d", part.StatusCode)
	}
	if again := m.do("GET", tsPath(first), "If-None-Match", r.Header.Get("ETag")); again.StatusCode != http.StatusNotModified {
		t.Errorf("the same again: %d", again.StatusCode)
	}
	for _, path := range []string{tsPath("1-1"), tsPath("init-1"), "/kLive/" + tt.Entry + "_99/" + tt.Broadcast + "/" + first + ".ts", "/kLive/smil:" + tt.Entry + "_all.smil/ts.m3u8"} {
		if r := m.do("GET", path); r.StatusCode != 404 {
			t.Errorf("%s: %d", path, r.StatusCode)
		}
	}
	plain := origin.New(origin.Config{Timelines: m.view, Store: m.store})
	m.origin = plain
	if r := m.do("GET", tsPath(first)); r.StatusCode != 404 {
		t.Errorf("without hls.container ts: %d", r.StatusCode)
	}
}

// A segment whose sound is on its way is made when that is there; one whose sound never comes
// has none.
func TestTransportStreamWaitsForSound(t *testing.T) {
	m := newMuxed(t)
	m.adopt()
	name := m.adopt(tt.Video)
	answer := make(chan string, 1)
	go func() { answer <- body(t, m.do("GET", tsPath(name))) }()
	select {
	case text := <-answer:
		t.Fatalf("it was made without its sound: %v", streams(text))
	case <-time.After(200 * time.Millisecond):
	}
	m.append(m.script.Store(tt.Audio))
	if got := streams(<-answer); got[0x101] == 0 {
		t.Errorf("streams %v", got)
	}
	adopted := m.script.Adopt(4*sec, false)
	m.append(adopted)
	m.put(*adopted.Item.Of(tt.Video))
	m.append(m.script.Gap(tt.Audio), m.script.Store(tt.Video))
	for until := time.Now().Add(10 * sec); ; time.Sleep(20 * time.Millisecond) {
		r := m.do("GET", tsPath(adopted.Item.Media[0].Name))
		got := streams(body(t, r))
		if r.StatusCode == 200 {
			if got[0x100] == 0 || got[0x101] != 0 {
				t.Errorf("streams %v", got)
			}
			break
		}
		if time.Now().After(until) {
			t.Fatalf("a segment whose sound is lost: %d", r.StatusCode)
		}
	}
}
