package ts

import (
	"bytes"
	"encoding/binary"
	"errors"
	"math"

	"klive/infra/media"
	"klive/infra/media/nal"
)

// video reads the access units of an H.264 or HEVC stream, one in a PES packet.
type video struct {
	units *nal.Parser
	// last and step are the newest decode time and its distance to the one before, for units
	// that bring no time.
	last, step uint64
	timed      bool
}

func newVideo(hevc bool) *video { return &video{units: nal.NewParser(hevc)} }

func (v *video) drop() {}

func (v *video) read(r *Reader, e *elementary, p payload) error {
	dts, offset := p.dts, Distance(p.pts-p.dts)
	switch {
	case p.timed && v.timed:
		v.step = (p.dts - v.last) & timeMask
	case p.timed:
	case !v.timed:
		r.stats.Malformed++ // nothing says when it is
		return nil
	default:
		dts, offset = (v.last+v.step)&timeMask, 0
	}
	v.last, v.timed = dts, true
	u, err := v.units.Unit(withLengths(p.data), uint32(dts/(Rate/1000)), p.random)
	switch {
	case errors.Is(err, nal.ErrMalformed):
		r.stats.Malformed++
		e.lost = true
		return nil
	case err != nil:
		return err
	}
	if u.Params != nil {
		if err := r.sink.Track(media.Track{ID: e.info.Track, Params: u.Params}, e.info); err != nil {
			return err
		}
	}
	if u.Payload == nil {
		return nil
	}
	if offset > math.MaxInt32 || offset < math.MinInt32 {
		offset = 0
	}
	return e.emit(r, Unit{Time: dts, Offset: int32(offset), Key: u.Key, Payload: u.Payload})
}

var startCode = []byte{0, 0, 1}

// withLengths copies NAL units with start codes (ITU-T H.264 annex B) to ones with
// four-byte lengths.
func withLengths(b []byte) []byte {
	out := make([]byte, 0, len(b)+len(b)/64+16)
	i := bytes.Index(b, startCode)
	for i >= 0 {
		b = b[i+3:]
		i = bytes.Index(b, startCode)
		unit := b
		if i >= 0 {
			unit = b[:i]
		}
		unit = bytes.TrimRight(unit, "\x00") // zeros before the next start code
		if len(unit) > 0 {
			out = binary.BigEndian.AppendUint32(out, uint32(len(unit)))
			out = append(out, unit...)
		}
	}
	return out
}
