package whip

import (
	"errors"
	"io"
	"os"
	"sync/atomic"
	"time"

	"github.com/pion/rtp"
	"github.com/pion/webrtc/v4"

	"klive/infra/live"
	"klive/infra/media"
)

// readSize holds the largest packet that any network brings.
const readSize = 2048

// track reads one stream of RTP packets.
type track struct {
	s     *session
	in    *webrtc.TrackRemote
	id    media.TrackID
	ssrc  uint32
	rid   string // of a layer
	to    outlet
	layer *layer // nil where the pictures come in one size
	order reorder
	take  depacketizer
	line  *line
	asked []uint16

	heard    atomic.Int64         // when the last packet came, in Unix nanoseconds
	keyframe atomic.Int64         // when the last keyframe came
	wanted   atomic.Int64         // when one was asked for last
	nacks    atomic.Uint64        // requests for packets
	plis     atomic.Uint64        // requests for keyframes
	slot     atomic.Pointer[slot] // where it goes; nil for the session's own publication
	looked   live.LinkStats       // what figures said last; the session's look owns it
	broken   atomic.Bool          // pictures are left out until the next keyframe
	damaged  atomic.Uint64        // access units left out
	begun    atomic.Bool          // an access unit has been handed on
	counts   [5]atomic.Uint64
}

// outlet is where a track's access units go: the session's publication, or a layer.
type outlet interface {
	setTrack(media.Track) error
	write(*handed) error
}

// depacketizer puts a track's access units together.
type depacketizer interface {
	// add takes the next packet; lost says that some before it never came. It hands whole units
	// to the track.
	add(p *packet, lost bool) error
}

// read takes the track's packets until it ends. Its error is nil when the peer has ended it,
// or the gateway's.
func (t *track) read() error {
	buf := make([]byte, readSize)
	waiting := false
	for {
		if wake := t.order.wake(); !wake.IsZero() || waiting {
			_ = t.in.SetReadDeadline(wake)
			waiting = !wake.IsZero()
		}
		n, _, err := t.in.Read(buf)
		now := time.Now()
		switch {
		case err == nil:
			t.packet(buf[:n], now)
		case errors.Is(err, io.ErrShortBuffer):
			t.s.server.metrics.malformed.Inc()
		case !errors.Is(err, os.ErrDeadlineExceeded) && !timeout(err):
			return t.end(err)
		}
		t.order.expire(now)
		t.ask(now)
		t.count()
		if t.s.failed() {
			return nil
		}
	}
}

func timeout(err error) bool {
	var t interface{ Timeout() bool }
	return errors.As(err, &t) && t.Timeout()
}

func (t *track) end(err error) error {
	if errors.Is(err, io.EOF) || errors.Is(err, io.ErrClosedPipe) {
		return nil
	}
	return err
}

// packet reads one packet's header.
func (t *track) packet(b []byte, now time.Time) {
	var h rtp.Header
	n, err := h.Unmarshal(b)
	if err != nil {
		t.s.server.metrics.malformed.Inc()
		return
	}
	payload := b[n:]
	if h.Padding {
		pad := 0
		if len(payload) > 0 {
			pad = int(payload[len(payload)-1])
		}
		if pad == 0 || pad > len(payload) {
			t.s.server.metrics.malformed.Inc()
			return
		}
		payload = payload[:len(payload)-pad]
	}
	t.heard.Store(now.UnixNano())
	t.line.came(h.Timestamp, now)
	ref := t.order.newest
	if !t.order.started {
		ref = int64(h.SequenceNumber)
	}
	if payload == nil {
		payload = []byte{}
	}
	t.order.push(packet{seq: unwrap16(h.SequenceNumber, ref), time: h.Timestamp, marker: h.Marker, payload: payload}, now)
}

// ask asks for what is missing.
func (t *track) ask(now time.Time) {
	if t.asked = t.order.ask(now, t.s.roundTrip(), t.asked[:0]); len(t.asked) > 0 {
		t.s.nack(t, t.asked)
	}
}

// delivered gets the packets in their order.
func (t *track) delivered(p *packet, lost bool) {
	if err := t.take.add(p, lost); err != nil {
		t.s.fail(err)
	}
}

// leaveOut counts an access unit that can't be used.
func (t *track) leaveOut() {
	t.damaged.Add(1)
	t.s.server.metrics.damaged.Inc()
}

// setTrack hands parameters on, for the access units that follow.
func (t *track) setTrack(p media.Params) error {
	return t.s.start.pass(t.s.lines, &handed{t: t, params: p, came: time.Now()})
}

// write hands an access unit on.
func (t *track) write(rtpTime uint32, key bool, payload []byte) error {
	now := time.Now()
	if key {
		t.keyframe.Store(now.UnixNano())
	}
	t.begun.Store(true)
	return t.s.start.pass(t.s.lines, &handed{t: t, time: rtpTime, key: key, payload: payload, came: now})
}

// count makes the order's figures readable to others.
func (t *track) count() {
	o := &t.order.stats
	for i, v := range [...]uint64{o.received, o.missing, o.recovered, o.belated, o.lost} {
		t.counts[i].Store(v)
	}
}

// figures are the track's counts.
func (t *track) figures() live.LinkStats {
	return live.LinkStats{
		Received: t.counts[0].Load(), Lost: t.counts[1].Load(), Retransmitted: t.counts[2].Load(), Belated: t.counts[3].Load(), Dropped: t.counts[4].Load(),
		Damaged: t.damaged.Load(), NACKs: t.nacks.Load(), PLIs: t.plis.Load(),
	}
}
