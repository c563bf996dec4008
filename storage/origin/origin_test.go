package origin_test

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"go.uber.org/goleak"

	"klive/infra/check"
	"klive/storage"
	"klive/storage/disk"
	"klive/storage/origin"
	"klive/storage/playlist"
	"klive/storage/storagetest"
	"klive/storage/timeline"
	tt "klive/storage/timeline/timelinetest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const (
	sec   = time.Second
	multi = "/kLive/smil:" + tt.Entry + "_all.smil/playlist.m3u8"
	first = "1767323045000000-7.m4s"
)

// station is an entry on the air: its owner, and an origin that knows nothing of it but the
// store and the log.
type station struct {
	t      *testing.T
	store  storage.Store
	log    *tt.Log
	writer *timeline.Writer
	script *tt.Script
	view   *timeline.View
	origin *origin.Origin
	reg    *prometheus.Registry
}

func newStation(t *testing.T, store storage.Store, dvr time.Duration) *station {
	t.Helper()
	s := &station{t: t, store: store, log: tt.NewLog(), script: tt.NewScript(), reg: prometheus.NewRegistry()}
	var err error
	s.writer, err = timeline.OpenWriter(t.Context(), timeline.WriterConfig{Store: store, Log: s.log, Entry: tt.Entry, Epoch: 1, Owner: "test"})
	if err != nil {
		t.Fatal(err)
	}
	s.script.Rate = 10
	s.view = timeline.NewView(timeline.ViewConfig{Store: store, Log: s.log})
	t.Cleanup(s.view.Close)
	s.origin = origin.New(origin.Config{Timelines: s.view, Store: store, Registerer: s.reg})
	s.append(s.script.Open(tt.Broadcast, dvr)...)
	return s
}

func (s *station) append(records ...timeline.Record) {
	s.t.Helper()
	for _, r := range records {
		if _, err := s.writer.Append(s.t.Context(), r); err != nil {
			s.t.Fatalf("%T: %v", r, err)
		}
	}
}

// segment adopts, stores and publishes one segment of 4 s; its media are 40 bytes.
func (s *station) segment() {
	s.t.Helper()
	adopted := s.script.Adopt(4*sec, false)
	s.append(adopted)
	for _, m := range adopted.Item.Media {
		for _, key := range []string{playlist.MediaKey(m.Rendition, tt.Broadcast, m.Name), playlist.InitKey(m.Rendition, tt.Broadcast, m.Init)} {
			_, err := s.store.Put(s.t.Context(), key, [][]byte{[]byte(strings.Repeat("0123456789", 4))}, storage.PutOptions{IfAbsent: true})
			if err != nil && !errors.Is(err, storage.ErrPrecondition) {
				s.t.Fatal(err)
			}
		}
	}
	s.append(s.script.Store())
	if err := s.writer.Save(s.t.Context()); err != nil {
		s.t.Fatal(err)
	}
}

func (s *station) do(method, target string, header ...string) *http.Response {
	s.t.Helper()
	return s.doFor(s.t.Context(), method, target, header...)
}

// doFor is do for a viewer who leaves when ctx ends.
func (s *station) doFor(ctx context.Context, method, target string, header ...string) *http.Response {
	s.t.Helper()
	u, err := url.Parse(target)
	if err != nil {
		s.t.Fatal(err)
	}
	r := (&http.Request{Method: method, URL: u, Header: http.Header{}}).WithContext(ctx)
	for i := 0; i < len(header); i += 2 {
		r.Header.Set(header[i], header[i+1])
	}
	w := httptest.NewRecorder()
	s.origin.ServeHTTP(w, r)
	return w.Result()
}

func body(t *testing.T, r *http.Response) string {
	t.Helper()
	b, err := io.ReadAll(r.Body)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

// answer is what an origin should say to one request.
type answer struct {
	name, target, header string
	code                 int
	kind, cache          string
	want                 string // within the body
}

const (
	m3u8, mp4, plain = "application/vnd.apple.mpegurl", "video/mp4", "text/plain; charset=utf-8"
	mpd, smil        = "application/dash+xml", "application/smil+xml; charset=utf-8"
)

func answers() []answer { return slices.Concat(playlistAnswers(), mediaAnswers(), trickAnswers()) }

func playlistAnswers() []answer {
	return []answer{
		{"multivariant", multi, "", 200, m3u8, "public, max-age=2", "../0_rkij47dr_32/v.m3u8"},
		{"multivariant DVR query", multi + "?DVR", "", 200, m3u8, "public, max-age=2", "../0_rkij47dr_32/dvr.m3u8"},
		{"multivariant DVR with ids", multi + "?DVR&flavorIds=32", "", 200, m3u8, "public, max-age=2", "/dvr.m3u8"},
		{"multivariant DVR leaf", strings.Replace(multi, "playlist", "playlist-dvr", 1), "", 200, m3u8, "public, max-age=2", "/dvr.m3u8"},
		{"multivariant escaped colon", strings.Replace(multi, ":", "%3A", 1), "", 200, m3u8, "public, max-age=2", "/v.m3u8"},
		{"tag", strings.Replace(multi, "_all", "_mobile", 1), "", 200, m3u8, "public, max-age=2", "/v.m3u8"},
		{"ids", strings.Replace(multi, "_all", "_32_33", 1), "", 200, m3u8, "public, max-age=2", "/v.m3u8"},
		{"single", "/kLive/" + tt.Video + "/playlist.m3u8", "", 200, m3u8, "public, max-age=2", "AUDIO="},
		{"media", "/kLive/" + tt.Video + "/v.m3u8", "", 200, m3u8, "public, max-age=2", "MEDIA-SEQUENCE:4\n"},
		{"media DVR", "/kLive/" + tt.Video + "/dvr.m3u8", "", 200, m3u8, "public, max-age=2", "MEDIA-SEQUENCE:1\n"},
		{"media DVR query", "/kLive/" + tt.Video + "/v.m3u8?DVR", "", 200, m3u8, "public, max-age=2", "MEDIA-SEQUENCE:1\n"},
		{"audio", "/kLive/" + tt.Audio + "/v.m3u8", "", 200, m3u8, "public, max-age=2", "MEDIA-SEQUENCE:4\n"},
		{"raw ingest name", "/kLive/" + tt.Entry + "_1/playlist.m3u8", "", 404, plain, "max-age=1", "no such stream"},
		{"raw ingest media", "/kLive/" + tt.Entry + "_1/v.m3u8", "", 404, plain, "max-age=1", "no such stream"},
		{"unknown entry", "/kLive/smil:0_aaaaaaaa_all.smil/playlist.m3u8", "", 404, plain, "max-age=1", "no such stream"},
		{"unknown tag", strings.Replace(multi, "_all", "_tv", 1), "", 404, plain, "max-age=1", "no such stream"},
		{"HDS", strings.Replace(multi, "playlist.m3u8", "manifest.f4m", 1), "", 404, plain, "max-age=1", "HDS is not offered"},
		{"Smooth", strings.Replace(multi, "playlist.m3u8", "Manifest", 1), "", 404, plain, "max-age=1", "Smooth Streaming is not offered"},
		{"DASH", strings.Replace(multi, "playlist.m3u8", "manifest.mpd", 1), "", 200, mpd, "public, max-age=2", "type=\"dynamic\""},
		{"DASH DVR", strings.Replace(multi, "playlist.m3u8", "manifest.mpd?DVR", 1), "", 200, mpd, "public, max-age=2", "timeShiftBufferDepth=\"PT3600S\""},
		{"DASH single", "/kLive/" + tt.Video + "/manifest.mpd", "", 200, mpd, "public, max-age=2", tt.Video},
		{"raw ingest DASH", "/kLive/" + tt.Entry + "_1/manifest.mpd", "", 404, plain, "max-age=1", "no such stream"},
		{"alias", "/kLive/ngrp:" + tt.Entry + "_1_all/playlist.m3u8", "", 200, m3u8, "public, max-age=2", "/v.m3u8"},
		{"alias of a tag", "/kLive/ngrp:" + tt.Entry + "_1_mobile/playlist.m3u8", "", 200, m3u8, "public, max-age=2", "/v.m3u8"},
		{"alias without suffix", "/kLive/ngrp:" + tt.Entry + "_all/playlist.m3u8", "", 404, plain, "max-age=1", "names no stream"},
		{"unknown ids", strings.Replace(multi, "_all", "_98_99", 1), "", 404, plain, "max-age=1", "none of these flavors"},
		{"unknown flavorIds", multi + "?flavorIds=98,99", "", 404, plain, "max-age=1", "none of these flavors"},
		{"some flavorIds", multi + "?flavorIds=99,32", "", 200, m3u8, "public, max-age=2", "/v.m3u8"},
		{"flavorIds that are none", multi + "?flavorIds=32,x", "", 404, plain, "max-age=1", "flavorIds takes"},
		{"flavorIds without end", multi + "?flavorIds=" + strings.Repeat("1,", 5000), "", 404, plain, "max-age=1", "flavorIds takes"},
		{"SMIL", "/kLive/" + tt.Entry + "_all.smil", "", 200, smil, "public, max-age=2", "src=\"mp4:" + tt.Video + "\""},
		{"SMIL of ids", "/kLive/smil:" + tt.Entry + "_32_33.smil", "", 200, smil, "public, max-age=2", "system-bitrate="},
		{"SMIL of flavorIds", "/kLive/" + tt.Entry + "_x.smil?flavorIds=32", "", 200, smil, "public, max-age=2", "system-bitrate="},
		{"SMIL of nothing", "/kLive/" + tt.Entry + "_tv.smil", "", 404, plain, "max-age=1", "no such stream"},
		{"entry page", "/live/" + tt.Entry, "", 302, "", "private, max-age=60", ""},
		{"entry page of nothing", "/live/nobody", "", 404, plain, "max-age=1", "no such entry"},
		{"time", "/kLive/time", "", 200, plain, "no-store", "T"},
		{"other leaf", "/kLive/" + tt.Video + "/x.m3u8", "", 404, plain, "max-age=1", "no such playlist"},
		{"media playlist of a group", strings.Replace(multi, "playlist.m3u8", "v.m3u8", 1), "", 404, plain, "max-age=1", "no such playlist"},
		{"crossdomain", "/crossdomain.xml", "", 200, "text/xml; charset=utf-8", "public, max-age=86400", "cross-domain-policy"},
		{"clientaccesspolicy", "/clientaccesspolicy.xml", "", 200, "text/xml; charset=utf-8", "public, max-age=86400", "access-policy"},
	}
}

func mediaAnswers() []answer {
	media := "/kLive/" + tt.Video + "/" + tt.Broadcast + "/" + first
	return []answer{
		{"segment", media, "", 200, mp4, "public, max-age=31536000, immutable", strings.Repeat("0123456789", 4)},
		{"init", "/kLive/" + tt.Video + "/" + tt.Broadcast + "/init-1.mp4", "", 200, mp4, "public, max-age=31536000, immutable", "0123"},
		{"range", media, "Range: bytes=0-1", 206, mp4, "public, max-age=31536000, immutable", "01"},
		{"range to the end", media, "Range: bytes=38-", 206, mp4, "public, max-age=31536000, immutable", "89"},
		{"range from the end", media, "Range: bytes=-3", 206, mp4, "public, max-age=31536000, immutable", "789"},
		{"range too long", media, "Range: bytes=38-1000", 206, mp4, "public, max-age=31536000, immutable", "89"},
		{"range behind the end", media, "Range: bytes=40-", 416, plain, "max-age=1", "behind the end"},
		{"range beyond numbers", media, "Range: bytes=99999999999999999999-", 416, plain, "max-age=1", "behind the end"},
		{"range to beyond numbers", media, "Range: bytes=38-99999999999999999999", 206, mp4, "public, max-age=31536000, immutable", "89"},
		{"range of nothing", media, "Range: bytes=-0", 416, plain, "max-age=1", "behind the end"},
		{"range backwards", media, "Range: bytes=5-2", 200, mp4, "public, max-age=31536000, immutable", "0123"},
		{"range with signs", media, "Range: bytes=+1-+3", 200, mp4, "public, max-age=31536000, immutable", "0123"},
		{"range of two minus", media, "Range: bytes=--1", 200, mp4, "public, max-age=31536000, immutable", "0123"},
		{"range of words", media, "Range: bytes=a-b", 200, mp4, "public, max-age=31536000, immutable", "0123"},
		{"range nonsense", media, "Range: lines=1-2", 200, mp4, "public, max-age=31536000, immutable", "0123"},
		{"ranges", media, "Range: bytes=0-1,3-4", 200, mp4, "public, max-age=31536000, immutable", "0123"},
		{"range of another version", media, "If-Range: \"other\"|Range: bytes=0-1", 200, mp4, "public, max-age=31536000, immutable", "0123"},
		{"segment not there", "/kLive/" + tt.Video + "/" + tt.Broadcast + "/1-1.m4s", "", 404, plain, "max-age=1", "no such stream"},
		{"other file", "/kLive/" + tt.Video + "/" + tt.Broadcast + "/notes.txt", "", 404, plain, "max-age=1", "nothing"},
		{"init zero", "/kLive/" + tt.Video + "/" + tt.Broadcast + "/init-0.mp4", "", 404, plain, "max-age=1", "nothing"},
	}
}

// trickAnswers are of what lies beside the public.
func trickAnswers() []answer {
	return []answer{
		{"recordings", "/recordings/" + tt.Entry + ".x.0_1.mp4", "", 404, plain, "max-age=1", "nothing"},
		{"state", "/" + timeline.HeadKey(tt.Entry), "", 404, plain, "max-age=1", "nothing"},
		{"root", "/", "", 404, plain, "max-age=1", "nothing"},
		{"dots", "/kLive/../" + timeline.HeadKey(tt.Entry), "", 404, plain, "max-age=1", "nothing"},
		{"dots within", "/kLive/" + tt.Video + "/../../secret", "", 404, plain, "max-age=1", "nothing"},
		{"escaped dots", "/kLive/" + tt.Video + "/%2e%2e/%2e%2e/secret", "", 404, plain, "max-age=1", "nothing"},
		{"escaped slashes", "/kLive/" + tt.Video + "%2f" + tt.Broadcast + "%2f" + first, "", 404, plain, "max-age=1", "nothing"},
		{"escaped slashes whole", "/kLive%2f..%2fsecret", "", 404, plain, "max-age=1", "nothing"},
		{"backslashes", "/kLive/" + tt.Video + "/..%5c..%5csecret/" + first, "", 404, plain, "max-age=1", "nothing"},
		{"double slash", "//kLive/" + tt.Video + "/v.m3u8", "", 404, plain, "max-age=1", "nothing"},
		{"double slash within", "/kLive//" + tt.Video + "/v.m3u8", "", 404, plain, "max-age=1", "nothing"},
		{"trailing slash", "/kLive/" + tt.Video + "/v.m3u8/", "", 404, plain, "max-age=1", "nothing"},
		{"escaped twice", "/kLive/%252e%252e/secret", "", 404, plain, "max-age=1", "names no stream"},
		{"escaped twice in a folder", "/kLive/" + tt.Video + "%252f..%252fsecret/v.m3u8", "", 404, plain, "max-age=1", "names no stream"},
		{"100 kB", "/kLive/" + strings.Repeat("x", 100_000) + "/v.m3u8", "", 404, plain, "max-age=1", "nothing"},
		{"100 kB of slashes", "/kLive" + strings.Repeat("/", 100_000), "", 404, plain, "max-age=1", "nothing"},
		{"null within", "/kLive/" + tt.Video + "%00/v.m3u8", "", 404, plain, "max-age=1", "nothing"},
		{"null", "/kLive/" + tt.Video + "/v.m3u8%00", "", 404, plain, "max-age=1", "nothing"},
		{"long", "/kLive/" + strings.Repeat("x/", 400), "", 404, plain, "max-age=1", "nothing"},
	}
}

func TestAnswers(t *testing.T) {
	s := newStation(t, storagetest.NewMemory(), time.Hour)
	for range 8 {
		s.segment()
	}
	// Things that are there but must never be public.
	for _, key := range []string{"recordings/" + tt.Entry + ".x.0_1.mp4", "kLive/" + tt.Video + "/" + tt.Broadcast + "/notes.txt", "secret"} {
		if _, err := s.store.Put(t.Context(), key, [][]byte{[]byte("secret")}, storage.PutOptions{}); err != nil {
			t.Fatal(err)
		}
	}
	for _, test := range answers() {
		t.Run(test.name, func(t *testing.T) {
			var header []string
			for line := range strings.SplitSeq(test.header, "|") {
				if name, value, ok := strings.Cut(line, ": "); ok {
					header = append(header, name, value)
				}
			}
			r := s.do("GET", test.target, header...)
			text := body(t, r)
			h := r.Header
			if r.StatusCode != test.code || h.Get("Content-Type") != test.kind || h.Get("Cache-Control") != test.cache || !strings.Contains(text, test.want) {
				t.Errorf("%d %v\n%s", r.StatusCode, h, text)
			}
			if h.Get("Access-Control-Allow-Origin") != "*" {
				t.Error("no CORS header")
			}
			if strings.Contains(text, "secret") {
				t.Error("a secret came out")
			}
			if r.StatusCode == 200 && test.kind == m3u8 || test.kind == mp4 {
				s.checkConditional(t, test.target, r, text, header)
			}
		})
	}
}

// checkConditional asks again with HEAD and with the ETag.
func (s *station) checkConditional(t *testing.T, target string, was *http.Response, text string, header []string) {
	t.Helper()
	if n := was.Header.Get("Content-Length"); n != fmt.Sprint(len(text)) {
		t.Errorf("Content-Length %s of %d bytes", n, len(text))
	}
	head := s.do("HEAD", target, header...)
	if head.StatusCode != was.StatusCode || body(t, head) != "" || head.Header.Get("Content-Length") != was.Header.Get("Content-Length") ||
		head.Header.Get("ETag") != was.Header.Get("ETag") {
		t.Errorf("HEAD: %d %v", head.StatusCode, head.Header)
	}
	for _, tag := range []string{was.Header.Get("ETag"), "W/" + was.Header.Get("ETag"), `"x", ` + was.Header.Get("ETag"), "*"} {
		if r := s.do("GET", target, "If-None-Match", tag); r.StatusCode != 304 || body(t, r) != "" || r.Header.Get("Cache-Control") == "" {
			t.Errorf("If-None-Match %s: %d", tag, r.StatusCode)
		}
	}
	if r := s.do("GET", target, "If-None-Match", `"other"`); r.StatusCode != 200 {
		t.Errorf("If-None-Match of another version: %d", r.StatusCode)
	}
}

// If-Modified-Since counts where there is no If-None-Match (RFC 9110 §13.1.3).
func TestModifiedSince(t *testing.T) {
	s := newStation(t, storagetest.NewMemory(), 0)
	s.segment()
	media := "/kLive/" + tt.Video + "/" + tt.Broadcast + "/" + first
	changed := s.do("GET", media).Header.Get("Last-Modified")
	at, err := http.ParseTime(changed)
	if err != nil {
		t.Fatal(err)
	}
	for _, test := range []struct {
		name   string
		code   int
		header []string
	}{
		{"since it changed", 304, []string{"If-Modified-Since", changed}},
		{"since later", 304, []string{"If-Modified-Since", at.Add(time.Hour).Format(http.TimeFormat)}},
		{"since before", 200, []string{"If-Modified-Since", at.Add(-time.Hour).Format(http.TimeFormat)}},
		{"nonsense", 200, []string{"If-Modified-Since", "yesterday"}},
		{"another ETag", 200, []string{"If-Modified-Since", changed, "If-None-Match", `"other"`}},
	} {
		if r := s.do("GET", media, test.header...); r.StatusCode != test.code {
			t.Errorf("%s: %d", test.name, r.StatusCode)
		}
	}
	if r := s.do("GET", "/kLive/"+tt.Video+"/v.m3u8", "If-Modified-Since", at.Add(time.Hour).Format(http.TimeFormat)); r.StatusCode != 200 {
		t.Errorf("a playlist, which has no such time: %d", r.StatusCode)
	}
}

func TestMethods(t *testing.T) {
	s := newStation(t, storagetest.NewMemory(), 0)
	r := s.do("OPTIONS", multi, "Origin", "https://example.com", "Access-Control-Request-Method", "GET")
	if r.StatusCode != 204 || !strings.Contains(r.Header.Get("Access-Control-Allow-Headers"), "Range") ||
		!strings.Contains(r.Header.Get("Access-Control-Allow-Methods"), "GET") {
		t.Errorf("OPTIONS: %d %v", r.StatusCode, r.Header)
	}
	for _, method := range []string{"POST", "PUT", "DELETE", "PATCH"} {
		if r := s.do(method, multi); r.StatusCode != 405 || r.Header.Get("Allow") == "" {
			t.Errorf("%s: %d", method, r.StatusCode)
		}
	}
}

// A viewer with the stored playlists and one at the origin see the same.
func TestOriginEqualsStored(t *testing.T) {
	s := newStation(t, storagetest.NewMemory(), time.Hour)
	for range 40 {
		s.segment()
	}
	state := s.writer.State()
	var past []playlist.Past
	for _, c := range playlist.DVRChapters(state.Current()) {
		items, err := s.view.Items(t.Context(), tt.Broadcast, c)
		if err != nil {
			t.Fatal(err)
		}
		past = append(past, playlist.Past{Items: items})
	}
	if len(past) == 0 {
		t.Fatal("no chapter was closed")
	}
	files := append(playlist.Stored(state, 5), playlist.StoredDVR(state, 5, past)...)
	for _, f := range files {
		if text := body(t, s.do("GET", "/"+f.Key)); text != f.Text {
			t.Errorf("%s:\n%s\nstored is\n%s", f.Key, text, f.Text)
		}
	}
}

// However many watch, each state is rendered once; and what they see keeps the rules.
func TestManyViewers(t *testing.T) {
	s := newStation(t, storagetest.NewMemory(), 2*time.Minute)
	s.segment()
	rules := check.NewPlaylist(check.PlaylistConfig{})
	paths := []string{multi, "/kLive/" + tt.Video + "/v.m3u8", "/kLive/" + tt.Audio + "/v.m3u8", "/kLive/" + tt.Video + "/dvr.m3u8"}
	var stop sync.WaitGroup
	ctx, cancel := context.WithCancel(t.Context())
	for range 8 {
		stop.Go(func() {
			for ctx.Err() == nil {
				for _, p := range paths {
					if r := s.do("GET", p); r.StatusCode != 200 {
						t.Errorf("%s: %d", p, r.StatusCode)
					}
				}
				time.Sleep(time.Millisecond) // viewers without a pause leave the writer no processor
			}
		})
	}
	for range 60 {
		s.segment()
		for _, p := range paths[1:] {
			rules.Add(p, body(t, s.do("GET", p)))
		}
		rules.Add(multi, body(t, s.do("GET", multi)))
	}
	cancel()
	stop.Wait()
	if err := rules.Err(); err != nil {
		t.Error(err)
	}

	s.follows()
	s.do("GET", multi)
	before := s.metric("klive_origin_renders_total")
	for range 1000 {
		s.do("GET", multi)
	}
	if n := s.metric("klive_origin_renders_total") - before; n != 0 {
		t.Errorf("%v renders for 1000 viewers of one state", n)
	}
	if s.metric("klive_origin_requests_total") < 1000 || s.metric("klive_origin_bytes_total") <= 0 {
		t.Error("requests are not counted")
	}
}

// follows waits until the view has read the log's end.
func (s *station) follows() {
	s.t.Helper()
	for {
		st, err := s.view.State(s.t.Context(), tt.Entry)
		if err != nil {
			s.t.Fatal(err)
		}
		if st.LogSeq == s.writer.State().LogSeq {
			return
		}
		time.Sleep(5 * time.Millisecond)
	}
}

func (s *station) metric(name string) float64 {
	s.t.Helper()
	list, err := s.reg.Gather()
	if err != nil {
		s.t.Fatal(err)
	}
	sum := 0.0
	for _, f := range list {
		if f.GetName() == name {
			for _, m := range f.GetMetric() {
				sum += m.GetCounter().GetValue()
			}
		}
	}
	return sum
}

// The store's troubles are the viewer's for a second only.
func TestStoreDown(t *testing.T) {
	store := storagetest.NewMemory()
	var down sync.Map
	store.Before = func(_ context.Context, op, _ string) error {
		if _, on := down.Load("on"); on && op == "get" {
			return errors.New("503 from the store")
		}
		return nil
	}
	s := newStation(t, store, 0)
	s.segment()
	s.do("GET", multi)
	down.Store("on", true)
	r := s.do("GET", "/kLive/"+tt.Video+"/"+tt.Broadcast+"/"+first)
	if text := body(t, r); r.StatusCode != 503 || r.Header.Get("Retry-After") != "1" || r.Header.Get("Cache-Control") != "max-age=1" || strings.Contains(text, "from the store") {
		t.Errorf("%d %v %s", r.StatusCode, r.Header, text)
	}
	// Who watches goes on: the timeline is in memory.
	if r := s.do("GET", multi); r.StatusCode != 200 {
		t.Errorf("playlist: %d", r.StatusCode)
	}
	down.Delete("on")
	if r := s.do("GET", "/kLive/"+tt.Video+"/"+tt.Broadcast+"/"+first); r.StatusCode != 200 {
		t.Errorf("after it: %d", r.StatusCode)
	}
}

// The whole way over a connection, in virtual time, from files.
func TestInVirtualTime(t *testing.T) {
	dir := t.TempDir()
	synctest.Test(t, func(t *testing.T) {
		store, err := disk.Open(disk.Config{Dir: dir})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(store.Close)
		s := newStation(t, store, 0)
		client, server := net.Pipe()
		h := &http.Server{Handler: s.origin}
		l := &oneConn{conn: make(chan net.Conn, 1), done: make(chan struct{})}
		l.conn <- server
		var served sync.WaitGroup
		served.Go(func() { h.Serve(l) })
		in := bufio.NewReader(client)
		get := func(path string) (int, string) {
			go fmt.Fprintf(client, "GET %s HTTP/1.1\r\nHost: x\r\n\r\n", path)
			r, err := http.ReadResponse(in, nil)
			if err != nil {
				t.Fatal(err)
			}
			defer r.Body.Close()
			b, err := io.ReadAll(r.Body)
			if err != nil {
				t.Fatal(err)
			}
			return r.StatusCode, string(b)
		}
		if code, _ := get(multi); code != 404 {
			t.Errorf("before the first segment: %d", code)
		}
		for i := range 3 {
			time.Sleep(4 * sec)
			s.segment()
			synctest.Wait()
			if code, text := get("/kLive/" + tt.Video + "/v.m3u8"); code != 200 || strings.Count(text, "#EXTINF") != i+1 {
				t.Errorf("after segment %d: %d\n%s", i+1, code, text)
			}
		}
		if code, text := get("/kLive/" + tt.Video + "/" + tt.Broadcast + "/" + first); code != 200 || len(text) != 40 {
			t.Errorf("segment: %d, %d bytes", code, len(text))
		}
		client.Close()
		h.Close()
		l.Close()
		served.Wait()
		s.view.Close()
	})
}

// oneConn is a listener with one connection.
type oneConn struct {
	conn chan net.Conn
	once sync.Once
	done chan struct{}
}

func (l *oneConn) Accept() (net.Conn, error) {
	select {
	case c := <-l.conn:
		return c, nil
	case <-l.done:
		return nil, net.ErrClosed
	}
}

func (l *oneConn) Close() error { l.once.Do(func() { close(l.done) }); return nil }

func (l *oneConn) Addr() net.Addr { return &net.TCPAddr{} }
