package whip

import (
	"os"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"klive/gateway"
	"klive/infra/media"
)

// FuzzOffer reads offers of any kind: what is taken can be answered in its own terms.
func FuzzOffer(f *testing.F) {
	f.Add([]byte(anOffer))
	f.Add([]byte("v=0\r\n"))
	if b, err := os.ReadFile("testdata/chromium.sdp"); err == nil {
		f.Add(b)
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		o, err := readOffer(b)
		if err != nil {
			if _, ok := err.(*gateway.Refusal); !ok {
				t.Fatalf("%T: %v", err, err)
			}
			return
		}
		if o.video == "" && !o.audio {
			t.Fatal("an offer of nothing was taken")
		}
		again, err := readOffer([]byte(o.text))
		if err != nil || again.video != o.video || again.audio != o.audio {
			t.Fatalf("the trimmed offer is another one: %v\n%s", err, o.text)
		}
		if _, err := o.answer(o.text); err != nil {
			t.Fatal(err)
		}
	})
}

// FuzzFragment reads the bodies of PATCH.
func FuzzFragment(f *testing.F) {
	f.Add([]byte("a=ice-ufrag:abcd\r\na=ice-pwd:0123456789012345678901\r\nm=audio 9 UDP/TLS/RTP/SAVPF 0\r\na=mid:0\r\na=candidate:1 1 udp 1 192.0.2.1 50000 typ host\r\n"))
	f.Add([]byte("a=candidate:\r\n"))
	f.Fuzz(func(t *testing.T, b []byte) {
		p, err := readFragment(b)
		if err != nil {
			return
		}
		if len(p.candidates) > maxCandidates {
			t.Fatalf("%d candidates", len(p.candidates))
		}
		if text, err := renew(anOffer, p); err != nil {
			t.Fatalf("%v\n%s", err, text)
		}
	})
}

// nowhere takes what a track makes.
type nowhere struct {
	gateway.Publication
	t      *testing.T
	params map[media.TrackID]media.Params
	key    bool
}

func (n *nowhere) SetTrack(t media.Track) error {
	n.params[t.ID] = t.Params
	return nil
}

func (n *nowhere) Write(au gateway.AccessUnit) error {
	if n.params[au.Track] == nil || len(au.Payload) == 0 {
		n.t.Errorf("an access unit of %d bytes before its track", len(au.Payload))
	}
	n.key = n.key || au.Key
	if !n.key {
		n.t.Error("a picture before the first keyframe")
	}
	return nil
}

// FuzzPackets reads RTP packets of any kind: lengths of two bytes each, then the packets.
func FuzzPackets(f *testing.F) {
	for _, codec := range []byte{0, 1, 2, 3, 4, 5} {
		f.Add(codec, []byte{0, 16, 0x80, 0xe6, 0, 1, 0, 0, 0, 0, 0, 0, 0, 1, 0x67, 0x42, 0xe0, 0x1f})
	}
	f.Fuzz(func(t *testing.T, codec byte, b []byte) {
		pub := &nowhere{t: t, params: map[media.TrackID]media.Params{}}
		s := &session{server: &Server{cfg: Config{Latency: 50 * time.Millisecond}, metrics: newMetrics(prometheus.NewRegistry())},
			pub: pub, lines: newLines(time.Now()), done: make(chan struct{})}
		tr := &track{s: s, to: s, id: media.VideoTrack}
		tr.wanted.Store(time.Now().Add(time.Hour).UnixNano()) // nobody to ask for keyframes
		name := ""
		if n := int(codec) % (len(codecs) + 1); n == len(codecs) {
			tr.id, tr.line, tr.take = media.FirstAudioTrack, s.lines.add(48000, true), &sound{t: tr}
		} else {
			name = codecs[n].name
			tr.line = s.lines.add(90000, false)
			tr.take = newDepacketizer(tr, name)
		}
		tr.order = reorder{latency: 50 * time.Millisecond, deliver: tr.delivered}
		now := time.Now()
		for len(b) >= 2 {
			n := min(int(b[0])<<8|int(b[1]), len(b)-2)
			tr.packet(b[2:2+n], now)
			now = now.Add(10 * time.Millisecond)
			tr.order.expire(now)
			b = b[2+n:]
		}
	})
}
