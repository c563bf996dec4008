package ts

import (
	"errors"
	"fmt"

	"klive/infra/media"
)

// framer finds the frames of one audio codec in its bytes.
type framer interface {
	// next reads the frame at the beginning of b. Errors: errShort when b ends within it,
	// errNoFrame when none begins there, others for streams that can't be used.
	next(b []byte) (audioFrame, error)
}

// audioFrame is one frame as the codec's transport has it.
type audioFrame struct {
	size   int // bytes, header included
	params media.AudioParams
	// units are access units one after the other, parts of the bytes or not.
	units [][]byte
}

var (
	errShort   = errors.New("ts: the frame is not whole")
	errNoFrame = errors.New("ts: no frame begins here")
)

// maxFrame bounds a frame of any codec in bytes: what the length field of ADTS can say.
const maxFrame = 1 << 13

// audio reads the frames of an audio stream. Frames may reach across PES packets; the time of
// a packet is that of the first frame that begins in it.
type audio struct {
	framer framer
	params media.AudioParams
	carry  []byte
	timed  bool
	base   uint64 // the time of the last frame that had one
	since  int64  // samples since then
	synced bool
}

func (a *audio) drop() { a.carry, a.timed, a.synced = nil, false, false }

func (a *audio) read(r *Reader, e *elementary, p payload) error {
	from := len(a.carry)
	b := make([]byte, 0, from+len(p.data))
	b = append(append(b, a.carry...), p.data...)
	a.carry = nil
	pos, anchored, skipped := 0, !p.timed, false
	for pos < len(b) {
		f, err := a.framer.next(b[pos:])
		if err == nil && !a.synced && !a.confirmed(b[pos:], f.size) {
			err = errNoFrame
		}
		if err != nil && !errors.Is(err, errShort) && !a.synced && a.params != nil {
			err = errNoFrame // what chance makes of bytes behind a loss says nothing of the stream
		}
		switch {
		case errors.Is(err, errShort):
			if len(b)-pos > maxFrame {
				r.stats.Malformed++
				return nil
			}
			a.carry = append([]byte(nil), b[pos:]...)
			return nil
		case errors.Is(err, errNoFrame):
			if !skipped {
				r.stats.Malformed++
			}
			skipped, a.synced, e.lost = true, false, true
			pos++
			continue
		case err != nil:
			return err
		}
		a.synced = true
		if !anchored && pos >= from {
			a.base, a.since, a.timed, anchored = p.pts, 0, true, true
		}
		if err := a.hand(r, e, &f); err != nil {
			return err
		}
		pos += f.size
	}
	return nil
}

// confirmed reports whether another frame begins behind one that may be chance.
func (a *audio) confirmed(b []byte, size int) bool {
	if size >= len(b) {
		return true
	}
	_, err := a.framer.next(b[size:])
	return err == nil || errors.Is(err, errShort)
}

// hand gives the units of a frame out.
func (a *audio) hand(r *Reader, e *elementary, f *audioFrame) error {
	if f.params != nil && (a.params == nil || !a.params.Equal(f.params)) {
		if a.timed { // samples are of another length from here
			a.base, a.since = a.now(), 0
		}
		a.params = f.params
		if err := r.sink.Track(media.Track{ID: e.info.Track, Params: f.params}, e.info); err != nil {
			return err
		}
	}
	if a.params == nil || !a.timed {
		return nil
	}
	for _, u := range f.units {
		if len(u) == 0 {
			continue
		}
		if err := e.emit(r, Unit{Time: a.now(), Key: true, Payload: u[:len(u):len(u)]}); err != nil {
			return err
		}
		samples := a.params.FrameSamples()
		if samples == 0 {
			samples = int(media.ToTicks(media.OpusPacketDuration(u), a.params.SampleRate()))
		}
		a.since += int64(samples)
	}
	return nil
}

// now is the time of the next frame.
func (a *audio) now() uint64 {
	if a.params == nil {
		return a.base
	}
	return (a.base + uint64(a.since*Rate/int64(a.params.SampleRate()))) & timeMask
}

// unusable makes an error of parameters that players refuse.
func unusable(codec string, err error) error {
	if errors.Is(err, media.ErrUnplayable) {
		return fmt.Errorf("%w: %w", ErrCodec, err)
	}
	return fmt.Errorf("%w: %s: %w", errNoFrame, codec, err)
}
