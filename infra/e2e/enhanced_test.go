package e2e

import (
	"net/url"
	"os"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"

	"klive/infra/media"
	"klive/infra/media/flv"
	"klive/infra/media/mp4"
	"klive/infra/media/ts"
	"klive/infra/publisher"
)

// recordedVideo is a second of video by SVT-AV1, libvpx or x265, one GOP of 25 pictures; x265's are not sent in the
// order in which they are shown.
func recordedVideo(t testing.TB, name string) []mp4.MovieUnit {
	t.Helper()
	b, err := os.ReadFile("../media/mp4/testdata/" + name)
	if err != nil {
		t.Fatal(err)
	}
	var m *mp4.Movie
	var moof []byte
	var units []mp4.MovieUnit
	for at := 0; at < len(b); {
		box, ok, err := mp4.ReadBox(b[at:])
		if err != nil || !ok {
			t.Fatalf("box at %d: %v", at, err)
		}
		body := b[at : at+int(box.Size)]
		switch box.Type {
		case "moov":
			m, err = mp4.ParseMovie(body)
		case "moof":
			moof = body
		case "mdat":
			units, err = m.Fragment(moof, body, uint64(at-len(moof)))
		}
		if err != nil {
			t.Fatal(err)
		}
		at += int(box.Size)
	}
	return units
}

// recordedOpus is a sink that keeps the Opus packets of a transport stream.
type recordedOpus struct {
	track   media.Track
	packets [][]byte
}

func (r *recordedOpus) Program([]ts.Stream) error { return nil }

func (r *recordedOpus) Data(ts.Data) error { return nil }

func (r *recordedOpus) Track(t media.Track, _ ts.Stream) error {
	if t.Params.Codec() == "Opus" {
		r.track = t
	}
	return nil
}

func (r *recordedOpus) Unit(u ts.Unit) error {
	if r.track.Params != nil && u.Track == r.track.ID {
		r.packets = append(r.packets, u.Payload)
	}
	return nil
}

// TestEnhancedRTMP publishes recorded AV1, HEVC and VP9 with Opus by their FourCCs: the playlist names
// the codec and the AAC that the profile wants of Opus. Chromium plays them; HEVC, which it does not know, ffprobe decodes.
func TestEnhancedRTMP(t *testing.T) {
	beside(t)
	clips := map[string]string{"av1.mp4": `av01\.0\.00M\.08`, "hevc.mp4": `hvc1\.1\.6\.L30\.90`}
	if proving() { // it takes as many programs as AV1, and longer than there is room for otherwise
		clips["vp9.mp4"] = `vp09\.00\.10\.08`
	}
	for name, codec := range clips {
		t.Run(name, func(t *testing.T) { enhanced(t, recordedVideo(t, name), codec) })
	}
}

func enhanced(t *testing.T, video []mp4.MovieUnit, codec string) {
	beside(t)
	p := start(t, "KLIVE_SEGMENT_DURATION=2s")
	file, err := os.ReadFile("../media/ts/testdata/multi.ts")
	if err != nil {
		t.Fatal(err)
	}
	sound := &recordedOpus{}
	reader := ts.NewReader(sound)
	if _, err := reader.Write(file); err != nil || len(sound.packets) < 90 {
		t.Fatalf("%d packets of Opus: %v", len(sound.packets), err)
	}
	pub, err := publisher.Dial(t.Context(), publisher.Config{URL: p.demo()})
	if err != nil {
		t.Fatal(err)
	}
	stop := make(chan struct{})
	var wg sync.WaitGroup
	wg.Go(func() { playTags(t, pub, video, sound, stop) })
	defer func() { close(stop); wg.Wait(); pub.Close() }()
	codecs := regexp.MustCompile(`CODECS="` + codec + `,mp4a\.40\.2"`)
	p.wait(t, 40*time.Second, "a playlist with "+codecs.String(), func() bool { // sound that is encoded too late is left out at first
		return codecs.MatchString(p.get(t.Context(), p.playlist("0_demolive")))
	})
	if video[0].Params.Codec() == "HEVC" {
		for _, s := range probe(t, p, "hevc", "aac") {
			if s.Type == "video" && (s.Width != 160 || s.Height != 90) {
				t.Errorf("ffprobe found %+v", s)
			}
		}
		return
	}
	waitLive(t, p)
	p.wait(t, 40*time.Second, "a window without gaps", func() bool { return !p.gaps(t) }) // the same
	w := watch(t, p, false, 6*time.Second)
	if len(w.Stats.Errors)+len(w.Stats.Fatal) > 0 || w.Stats.Decoded < 100 || w.Stats.Width != 160 {
		t.Errorf("Chromium: %+v", w.Stats)
	}
}

// mediaPlaylist finds the address of a media playlist in a multivariant one.
var mediaPlaylist = regexp.MustCompile(`(?m)^([^#\s]\S*)$|^#EXT-X-MEDIA:.*URI="([^"]+)"`)

// gaps reports whether a media playlist of the demo entry has a gap, or can't be read.
func (p *process) gaps(t testing.TB) bool {
	t.Helper()
	base, err := url.Parse(p.playlist("0_demolive"))
	if err != nil {
		t.Fatal(err)
	}
	list := mediaPlaylist.FindAllStringSubmatch(p.get(t.Context(), base.String()), -1)
	for _, m := range list {
		at, err := base.Parse(m[1] + m[2])
		if err != nil {
			t.Fatal(err)
		}
		if text := p.get(t.Context(), at.String()); text == "" || strings.Contains(text, "#EXT-X-GAP") {
			return true
		}
	}
	return len(list) == 0
}

// playTags sends 25 pictures and 50 packets a second, over and over.
func playTags(t testing.TB, pub *publisher.Publisher, video []mp4.MovieUnit, sound *recordedOpus, stop <-chan struct{}) {
	send := func(write func(uint32, ...[]byte) error, ms int, tag []byte, err error) bool {
		if err == nil {
			err = write(uint32(ms), tag)
		}
		if err != nil {
			t.Error(err)
		}
		return err == nil
	}
	tag, err := flv.AppendSequence(nil, video[0].Params)
	if !send(pub.WriteVideo, 0, tag, err) {
		return
	}
	if tag, err = flv.AppendSequence(nil, sound.track.Params); !send(pub.WriteAudio, 0, tag, err) {
		return
	}
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for i := 0; ; i++ {
		select {
		case <-stop:
			return
		case <-tick.C:
		}
		if i%2 == 0 {
			u := &video[i/2%len(video)]
			offset := int32(u.Offset * 1000 / int64(u.Track.Timescale))
			if tag, err = flv.AppendFrame(nil, video[0].Params, u.Payload, offset, u.Key); !send(pub.WriteVideo, i*20, tag, err) {
				return
			}
		}
		if tag, err = flv.AppendFrame(nil, sound.track.Params, sound.packets[i%len(sound.packets)], 0, true); !send(pub.WriteAudio, i*20, tag, err) {
			return
		}
	}
}

// TestEnhancedFourCCs holds that a codec that is not taken is refused by its name.
func TestEnhancedFourCCs(t *testing.T) {
	beside(t)
	p := start(t)
	pub, err := publisher.Dial(t.Context(), publisher.Config{URL: p.demo()})
	if err != nil {
		t.Fatal(err)
	}
	defer pub.Abort()
	if err := pub.WriteVideo(0, []byte{0x90, 'v', 'p', '0', '8', 1, 0, 0, 0}); err != nil {
		t.Fatal(err)
	}
	select {
	case <-pub.Done():
	case <-time.After(20 * time.Second):
		t.Fatal("VP8 is taken")
	}
	if err := pub.Err(); err == nil || !strings.Contains(err.Error(), "vp08") {
		t.Errorf("the encoder is told %v", err)
	}
}
