// Package nal reads access units of H.264 and HEVC: it finds keyframes, keeps the parameter
// sets that come within the stream, and takes out what does not belong into a frame's
// payload (ISO/IEC 14496-15). Every protocol and container that carries NAL units reads
// them here, so all of them judge a stream alike.
package nal

import (
	"errors"
	"fmt"

	"klive/infra/media"
)

var (
	// ErrMalformed is returned for an access unit or a record that contradicts itself. The
	// access units after it may be sound.
	ErrMalformed = errors.New("malformed NAL units")
	// ErrNoKeyframes is returned when a stream refreshes its picture by recovery points
	// only, so that no frame of it can begin a segment.
	ErrNoKeyframes = errors.New("the stream has no IDR keyframes")
)

// Unit is what one access unit holds.
type Unit struct {
	// Params are set when the track's parameters begin or change with this access unit.
	Params media.Params
	// Payload is the access unit as [media.Frame] holds it; nil when nothing can be decoded
	// of it.
	Payload []byte
	// Key marks a random access point, judged by the NAL unit types.
	Key bool
}

// Parser reads the access units of one video track. It is not safe for concurrent use.
type Parser struct {
	hevc    bool
	sets    paramSets
	params  media.VideoParams
	refresh refreshWatch
}

// NewParser returns a parser of H.264, or of HEVC.
func NewParser(hevc bool) *Parser { return &Parser{hevc: hevc} }

// HEVC reports whether the parser reads HEVC; it reads H.264 otherwise.
func (p *Parser) HEVC() bool { return p.hevc }

// Config reads a decoder configuration record (ISO/IEC 14496-15 §5.3.3.1.2, §8.3.3.1.2) and
// returns the new parameters, nil when they are as before or come within the stream, and
// the width of the NAL length fields in bytes. Errors wrap ErrMalformed.
func (p *Parser) Config(record []byte) (params media.Params, lengthSize int, err error) {
	read := readAVCConfig
	if p.hevc {
		read = readHEVCConfig
	}
	sets, size, err := read(record)
	if err != nil {
		return nil, 0, err
	}
	if sets.empty() {
		return nil, size, nil // they will come within the stream
	}
	v, err := sets.params(p.hevc)
	if err != nil {
		return nil, 0, fmt.Errorf("%w: %v", ErrMalformed, err)
	}
	p.sets = sets
	if p.params != nil && p.params.Equal(v) {
		return nil, size, nil
	}
	p.params = v
	return v, size, nil
}

// Unit reads an access unit of NAL units with four-byte lengths; ms is its decode time in
// milliseconds, and flagged says that the container calls it a keyframe. It takes the body
// over: the payload lies in it, and bytes may be moved within it. Errors wrap ErrMalformed
// or ErrNoKeyframes.
func (p *Parser) Unit(body []byte, ms uint32, flagged bool) (Unit, error) {
	scan, err := p.scan(body)
	if err != nil {
		return Unit{}, err
	}
	u := Unit{Params: p.adopt(scan.changed), Key: scan.key}
	if p.params == nil || len(scan.payload) == 0 {
		return u, nil
	}
	u.Payload = scan.payload
	if !p.refresh.watch(ms, scan.key, scan.recovery || flagged) {
		return Unit{}, fmt.Errorf("%w: it refreshes by recovery points; set the encoder to closed GOPs with IDR frames (x264: no intra-refresh, no open-gop)", ErrNoKeyframes)
	}
	return u, nil
}

// adopt takes changed in-band parameter sets over and returns the new parameters, or nil
// when nothing has changed or the sets make no sense.
func (p *Parser) adopt(changed *paramSets) media.Params {
	if changed == nil {
		return nil
	}
	sets := p.sets.merge(changed, p.hevc)
	params, err := sets.params(p.hevc)
	if err != nil {
		if p.params == nil {
			p.sets = sets
		}
		return nil
	}
	p.sets = sets
	if p.params != nil && p.params.Equal(params) {
		return nil
	}
	p.params = params
	return params
}

// refreshWatch finds streams without IDR frames.
type refreshWatch struct {
	sawKey  bool
	lastKey uint32
	points  int
}

// A stream is refused at the third refresh point without an IDR before it, or when refresh
// points go on for a minute after the last IDR.
const (
	maxPointsBeforeKey = 3
	maxSinceKey        = 60_000
)

// watch notes a frame; false means that the stream has no usable keyframes.
func (w *refreshWatch) watch(ms uint32, key, point bool) bool {
	switch {
	case key:
		*w = refreshWatch{sawKey: true, lastKey: ms}
		return true
	case !point:
		return true
	}
	w.points++
	if w.points < maxPointsBeforeKey {
		return true
	}
	since := int32(ms - w.lastKey)
	return w.sawKey && since >= 0 && since < maxSinceKey
}

// Renew says that the next access unit brings all parameter sets that hold from there on. Some
// sources number theirs on with each change, and the first one in the list is no more in use.
func (p *Parser) Renew() { p.sets = paramSets{} }
