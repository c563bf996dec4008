package whip

import (
	"bytes"
	"encoding/binary"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/pion/rtp"
	rtpcodecs "github.com/pion/rtp/codecs"
	"github.com/prometheus/client_golang/prometheus"

	"klive/gateway"
	"klive/infra/media"
	"klive/infra/media/ts"
)

// taken is a publication that keeps what it gets.
type taken struct {
	gateway.Publication
	params []media.Params
	units  []gateway.AccessUnit
}

func (p *taken) SetTrack(t media.Track) error {
	p.params = append(p.params, t.Params)
	return nil
}

func (p *taken) Write(au gateway.AccessUnit) error {
	p.units = append(p.units, au)
	return nil
}

// feeder sends access units to a track without a network.
type feeder struct {
	track   *track
	pub     *taken
	payload rtp.Payloader
	seq     uint16
	at      uint32
	now     time.Time
}

func newFeeder(codec string, payload rtp.Payloader) *feeder {
	f := &feeder{pub: &taken{}, payload: payload, now: time.Unix(1000, 0)}
	s := &session{server: &Server{cfg: Config{Latency: 50 * time.Millisecond}, metrics: newMetrics(prometheus.NewRegistry())},
		pub: f.pub, lines: newLines(f.now), done: make(chan struct{})}
	f.track = &track{s: s, to: s, id: media.VideoTrack, line: s.lines.add(90000, false)}
	f.track.wanted.Store(time.Now().Add(time.Hour).UnixNano()) // nobody to ask for keyframes
	f.track.take = newDepacketizer(f.track, codec)
	f.track.order = reorder{latency: 50 * time.Millisecond, deliver: f.track.delivered}
	return f
}

// send sends one access unit; without leaves one of its packets out, -1 none.
func (f *feeder) send(t *testing.T, au []byte, without int) {
	t.Helper()
	list := f.payload.Payload(1000, au)
	for i, p := range list {
		h := rtp.Header{Version: 2, PayloadType: 96, SequenceNumber: f.seq, Timestamp: f.at, Marker: i == len(list)-1}
		f.seq++
		b, err := (&rtp.Packet{Header: h, Payload: p}).Marshal()
		if err != nil {
			t.Fatal(err)
		}
		if i != without {
			f.track.packet(b, f.now)
		}
	}
	f.at += 3000
	f.now = f.now.Add(time.Second / 30)
	f.track.order.expire(f.now)
}

// encode has ffmpeg make 2 s of pictures with a keyframe each second.
func encode(t *testing.T, name string, more ...string) []byte {
	t.Helper()
	ffmpeg, err := exec.LookPath("ffmpeg")
	if err != nil {
		t.Skip("SKIP: no ffmpeg; apt-get install ffmpeg")
	}
	file := filepath.Join(t.TempDir(), name)
	args := append([]string{"-v", "error", "-nostdin", "-f", "lavfi", "-i", "testsrc2=size=320x180:rate=30", "-t", "2", "-pix_fmt", "yuv420p", "-g", "30", "-b:v", "800k"}, more...)
	if out, err := exec.CommandContext(t.Context(), ffmpeg, append(args, file)...).CombinedOutput(); err != nil {
		t.Skipf("SKIP: this ffmpeg can't encode it: %s", out)
	}
	b, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// fromTransport lists the access units of a transport stream, with start codes and parameter sets.
func fromTransport(t *testing.T, b []byte) [][]byte {
	t.Helper()
	sink := &transportUnits{}
	r := ts.NewReader(sink)
	if _, err := r.Write(b); err != nil {
		t.Fatal(err)
	}
	if err := r.Flush(true); err != nil {
		t.Fatal(err)
	}
	return sink.list
}

type transportUnits struct {
	params media.Params
	list   [][]byte
}

func (s *transportUnits) Program([]ts.Stream) error { return nil }

func (s *transportUnits) Data(ts.Data) error { return nil }

func (s *transportUnits) Track(t media.Track, _ ts.Stream) error {
	s.params = t.Params
	return nil
}

func (s *transportUnits) Unit(u ts.Unit) error {
	var au bytes.Buffer
	put := func(unit []byte) { au.Write([]byte{0, 0, 0, 1}); au.Write(unit) }
	if u.Key {
		switch p := s.params.(type) {
		case *media.H264:
			for _, set := range append(append([][]byte{}, p.SPS...), p.PPS...) {
				put(set)
			}
		case *media.HEVC:
			for _, set := range append(append(append([][]byte{}, p.VPS...), p.SPS...), p.PPS...) {
				put(set)
			}
		}
	}
	for b := u.Payload; len(b) >= 4; {
		n := int(binary.BigEndian.Uint32(b))
		put(b[4 : 4+n])
		b = b[4+n:]
	}
	s.list = append(s.list, au.Bytes())
	return nil
}

// fromIVF lists the frames of an IVF file.
func fromIVF(b []byte) (list [][]byte) {
	for b = b[32:]; len(b) >= 12; {
		n := int(binary.LittleEndian.Uint32(b))
		list = append(list, b[12:12+n])
		b = b[12+n:]
	}
	return list
}

// TestCodecs reads what real encoders make, whole and with a packet missing: from there on
// nothing is handed on up to the next keyframe.
func TestCodecs(t *testing.T) {
	for _, c := range []struct {
		codec, name string
		payload     func() rtp.Payloader
		units       func(*testing.T) [][]byte
	}{
		{"H264", "H264", func() rtp.Payloader { return &rtpcodecs.H264Payloader{} }, func(t *testing.T) [][]byte {
			return fromTransport(t, encode(t, "a.ts", "-c:v", "libx264", "-bf", "0", "-tune", "zerolatency"))
		}},
		{"H265", "HEVC", func() rtp.Payloader { return &rtpcodecs.H265Payloader{} }, func(t *testing.T) [][]byte {
			return fromTransport(t, encode(t, "a.ts", "-c:v", "libx265", "-preset", "ultrafast", "-x265-params", "bframes=0:log-level=error:keyint=30:min-keyint=30"))
		}},
		{"AV1", "AV1", func() rtp.Payloader { return &rtpcodecs.AV1Payloader{} }, func(t *testing.T) [][]byte {
			return fromIVF(encode(t, "a.ivf", "-c:v", "libaom-av1", "-cpu-used", "8", "-usage", "realtime", "-lag-in-frames", "0"))
		}},
		{"VP9", "VP9", func() rtp.Payloader { return &rtpcodecs.VP9Payloader{} }, func(t *testing.T) [][]byte {
			return fromIVF(encode(t, "a.ivf", "-c:v", "libvpx-vp9", "-deadline", "realtime", "-cpu-used", "8", "-lag-in-frames", "0", "-auto-alt-ref", "0"))
		}},
		{"VP8", "VP8", func() rtp.Payloader { return &rtpcodecs.VP8Payloader{} }, func(t *testing.T) [][]byte {
			return fromIVF(encode(t, "a.ivf", "-c:v", "libvpx", "-deadline", "realtime", "-cpu-used", "8", "-lag-in-frames", "0", "-auto-alt-ref", "0"))
		}},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			list := c.units(t)
			if len(list) < 59 {
				t.Fatalf("%d pictures", len(list))
			}
			f := newFeeder(c.codec, c.payload())
			for _, au := range list {
				f.send(t, au, -1)
			}
			if n := len(f.pub.units); n != len(list) || !f.pub.units[0].Key || f.pub.units[1].Key || !f.pub.units[30].Key {
				t.Errorf("%d of %d pictures, %d left out", n, len(list), f.track.damaged.Load())
			}
			if len(f.pub.params) != 1 || f.pub.params[0].Codec() != c.name {
				t.Fatalf("the parameters are %v", f.pub.params)
			}
			if w, h := f.pub.params[0].(media.VideoParams).Size(); w != 320 || h != 180 {
				t.Errorf("the size is %d×%d", w, h)
			}
			f = newFeeder(c.codec, c.payload())
			for i, au := range list {
				without := -1
				if i == 10 {
					without = 0
				}
				f.send(t, au, without)
			}
			if n := len(f.pub.units); n != 10+len(list)-30 || !f.pub.units[10].Key {
				t.Errorf("with one packet missing: %d pictures", n)
			}
			if f.track.damaged.Load() == 0 {
				t.Error("nothing is counted as left out")
			}
			f = newFeeder(c.codec, c.payload())
			for i, au := range list {
				without := -1
				if i == 0 {
					without = 0 // the beginning of the first keyframe, with the parameters
				}
				f.send(t, au, without)
			}
			if n := len(f.pub.units); n != len(list)-30 || !f.pub.units[0].Key {
				t.Errorf("with the first packet missing: %d pictures", n)
			}
		})
	}
}

// TestSizeChange follows an encoder that changes its picture size and gives the new parameter
// set another number, as browsers do.
func TestSizeChange(t *testing.T) {
	small := fromTransport(t, encode(t, "a.ts", "-c:v", "libx264", "-bf", "0", "-tune", "zerolatency"))
	large := fromTransport(t, encode(t, "b.ts", "-vf", "scale=640:360", "-c:v", "libx264", "-bf", "0", "-tune", "zerolatency", "-x264-params", "sps-id=3"))
	f := newFeeder("H264", &rtpcodecs.H264Payloader{})
	for _, au := range append(small[:20:20], large...) {
		f.send(t, au, -1)
	}
	var sizes [][2]int
	for _, p := range f.pub.params {
		w, h := p.(media.VideoParams).Size()
		sizes = append(sizes, [2]int{w, h})
	}
	if len(sizes) != 2 || sizes[0] != [2]int{320, 180} || sizes[1] != [2]int{640, 360} {
		t.Errorf("the sizes are %v", sizes)
	}
	if n := len(f.pub.units); n != 20+len(large) || !f.pub.units[20].Key {
		t.Errorf("%d pictures", n)
	}
}

// TestBFrames ends a stream whose pictures come in another order than they are shown in.
func TestBFrames(t *testing.T) {
	list := fromTransport(t, encode(t, "a.ts", "-c:v", "libx264", "-bf", "0", "-tune", "zerolatency"))
	f := newFeeder("H264", &rtpcodecs.H264Payloader{})
	for i, au := range list[:30] {
		if i%3 == 1 {
			f.at += 6000
		} else if i%3 == 2 {
			f.at -= 9000
		}
		f.send(t, au, -1)
	}
	if !f.track.s.failed() || f.track.s.cause == nil || !strings.Contains(f.track.s.cause.Error(), "B-frames") {
		t.Errorf("it ended with %v", f.track.s.cause)
	}
}

// TestClockJumps goes on with a stream whose clock jumps back now and then.
func TestClockJumps(t *testing.T) {
	list := fromTransport(t, encode(t, "a.ts", "-c:v", "libx264", "-bf", "0", "-tune", "zerolatency"))
	f := newFeeder("H264", &rtpcodecs.H264Payloader{})
	for range 4 {
		for i, au := range list {
			if i%30 == 10 {
				f.at -= 9000
			}
			f.send(t, au, -1)
		}
	}
	if n := len(f.pub.units); f.track.s.failed() || n != 4*len(list) {
		t.Errorf("%d of %d pictures; it ended with %v", n, 4*len(list), f.track.s.cause)
	}
}
