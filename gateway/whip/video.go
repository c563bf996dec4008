package whip

import (
	"errors"

	"klive/gateway"
	"klive/infra/media/nal"
)

// unit is one access unit as a codec's reader has it.
type unit = nal.Unit

// units puts the access units of a codec together.
type units interface {
	// add takes the payload of the unit's next packet.
	add(payload []byte) error
	// entry reports whether the unit can be a keyframe of which nothing is missing at its beginning,
	// although packets before it are.
	entry() bool
	// take returns the unit that was put together, at a time in ms, and begins the next one; reset
	// drops it. Errors are errPacket or of package nal.
	take(ms uint32) (unit, error)
	reset()
}

// video makes access units of a track's packets. It hands on none that is not
// whole, and none that depends on one that was not: from a loss on, all are left out up to the
// next keyframe.
type video struct {
	t      *track
	units  units
	time   uint32 // RTP time of the access unit that is put together
	open   bool   // there is one
	spoilt bool   // some of it is missing, or wrong
	// shown is the time of the picture before, backward counts those since the
	// last keyframe that were shown before theirs.
	shown    uint32
	begun    bool
	backward int
}

// newDepacketizer returns what reads a codec's packets.
func newDepacketizer(t *track, codec string) depacketizer {
	t.broken.Store(true)
	switch codec {
	case "AV1":
		return &video{t: t, units: &obus{}}
	case "VP9":
		return &video{t: t, units: &vp9{}}
	case "VP8":
		return &video{t: t, units: &vp8{}}
	}
	return &video{t: t, units: newNALs(codec == "H265")}
}

func (v *video) add(p *packet, lost bool) error {
	if lost {
		v.lose(p)
	}
	if len(p.payload) == 0 {
		return nil // padding, by which browsers probe the network
	}
	if v.open && p.time != v.time {
		if err := v.finish(); err != nil {
			return err
		}
	}
	if !v.open {
		v.open, v.time = true, p.time
	}
	if !v.spoilt && v.units.add(p.payload) != nil {
		v.t.s.server.metrics.malformed.Inc()
		v.spoilt = true
	}
	if p.marker {
		return v.finish()
	}
	return nil
}

// lose notes that packets before this one are gone. They may have been the end of the unit that
// is open, whole units, or the beginning of this packet's.
func (v *video) lose(p *packet) {
	if v.open && p.time != v.time {
		v.spoilt = true
		_ = v.finish() // which leaves it out
	}
	v.breakOff()
	v.spoilt = v.open
}

// breakOff leaves pictures out until the next keyframe.
func (v *video) breakOff() {
	if !v.t.broken.Swap(true) {
		v.t.s.wantKeyframe(v.t)
	}
}

// finish hands the access unit on, if it is whole and can be shown.
func (v *video) finish() error {
	whole := !v.spoilt && (!v.t.broken.Load() || v.units.entry())
	v.open, v.spoilt = false, false
	if !whole {
		v.units.reset()
		v.breakOff()
		v.t.leaveOut()
		return nil
	}
	u, err := v.units.take(v.time / 90)
	switch {
	case errors.Is(err, nal.ErrMalformed) || errors.Is(err, errPacket):
		v.t.s.server.metrics.malformed.Inc()
		v.breakOff()
		v.t.leaveOut()
		return nil
	case err != nil:
		return &gateway.Refusal{Reason: gateway.ReasonMedia, Text: err.Error()}
	}
	if u.Params != nil {
		if err := v.t.setTrack(u.Params); err != nil {
			return err
		}
	}
	switch {
	case u.Payload == nil:
		return nil
	case u.Key:
		v.t.broken.Store(false)
		v.backward = 0 // a clock that jumps now and then makes no B-frames
	case v.t.broken.Load():
		v.t.leaveOut()
		return nil
	}
	if err := v.ordered(); err != nil {
		return err
	}
	return v.t.write(v.time, u.Key, u.Payload)
}

// maxBackward is how many pictures from a keyframe to the next may be shown before the one that
// came before them.
const maxBackward = 3

// ordered refuses pictures that come in another order than they are shown in: RTP says only when
// that is (RFC 6184 §5.1), and WebRTC's own encoders make none.
func (v *video) ordered() error {
	if back := int32(v.time - v.shown); v.begun && back < 0 && back > -90000 {
		if v.backward++; v.backward > maxBackward {
			return refuseOffer("the encoder sends B-frames, which WebRTC does not take: set them to 0 (x264: bframes=0, or tune zerolatency)")
		}
	}
	v.begun, v.shown = true, v.time
	return nil
}
