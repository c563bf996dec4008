package flv

import (
	"fmt"

	"klive/infra/media"
)

// VideoParser reads the video tags of one track. The zero value is ready. It is not safe
// for concurrent use.
type VideoParser struct {
	sets   paramSets
	params media.VideoParams
	// lengthSize is the width of the NAL length fields in bytes, 0 before the first
	// sequence header.
	lengthSize int
	hevc       bool
	refresh    refreshWatch
}

// Parse reads the body of a video tag; ms is the tag's timestamp. It takes the body over:
// the access unit may lie in it, and bytes may be moved within it. Errors are ErrMalformed,
// ErrCodec and ErrNoKeyframes.
func (p *VideoParser) Parse(body []byte, ms uint32) (Unit, error) {
	h, err := readVideoHeader(body)
	if err != nil {
		return Unit{}, err
	}
	switch h.packet {
	case packetSequence:
		return p.sequence(h)
	case packetFrame:
		return p.frame(h, ms)
	}
	return Unit{}, nil
}

// videoHeader is a tag's header, of either kind.
type videoHeader struct {
	hevc   bool
	packet packet
	// flagged is the tag's own claim that this is a keyframe.
	flagged bool
	offset  int32
	body    []byte
}

const (
	codecAVC  = 7
	codecHEVC = 12 // not Adobe's, but what many encoders send

	frameKey     = 1
	frameCommand = 5

	exCodedFramesX    = 3
	exVideoMetadata   = 4
	exVideoMultitrack = 6
)

func readVideoHeader(b []byte) (videoHeader, error) {
	if len(b) == 0 {
		return videoHeader{}, fmt.Errorf("%w: empty video tag", ErrMalformed)
	}
	if b[0]&0x80 != 0 {
		return readExVideoHeader(b)
	}
	h := videoHeader{flagged: b[0]>>4 == frameKey}
	codec := b[0] & 0x0f
	if b[0]>>4 == frameCommand {
		return h, nil
	}
	switch codec {
	case codecAVC:
	case codecHEVC:
		h.hevc = true
	default:
		return h, fmt.Errorf("%w: video codec %s; send H.264 or HEVC", ErrCodec, videoCodecName(codec))
	}
	if len(b) < 5 {
		return h, fmt.Errorf("%w: video tag of %d bytes", ErrMalformed, len(b))
	}
	h.body = b[5:]
	switch b[1] {
	case 0:
		h.packet = packetSequence
	case 1:
		h.packet, h.offset = packetFrame, int24(b[2:])
	case 2:
		h.packet = packetEnd
	default:
		return h, fmt.Errorf("%w: AVC packet type %d", ErrMalformed, b[1])
	}
	return h, nil
}

func readExVideoHeader(b []byte) (videoHeader, error) {
	h := videoHeader{flagged: b[0]>>4&7 == frameKey}
	rest, typ, err := skipModEx(b[1:], b[0]&0x0f)
	if err != nil {
		return h, err
	}
	if typ == exVideoMetadata || b[0]>>4&7 == frameCommand {
		return h, nil
	}
	cc, typ, body, ok, err := readCodec(rest, typ, exVideoMultitrack)
	if err != nil || !ok {
		return h, err
	}
	switch cc {
	case fourAVC:
	case fourHEVC:
		h.hevc = true
	default:
		return h, fmt.Errorf("%w: video codec %v; send H.264 (avc1) or HEVC (hvc1)", ErrCodec, cc)
	}
	h.body = body
	switch typ {
	case exSequenceStart:
		h.packet = packetSequence
	case exCodedFrames:
		if len(body) < 3 {
			return h, fmt.Errorf("%w: coded frame of %d bytes", ErrMalformed, len(body))
		}
		h.packet, h.offset, h.body = packetFrame, int24(body), body[3:]
	case exCodedFramesX:
		h.packet = packetFrame
	case exSequenceEnd:
		h.packet = packetEnd
	}
	return h, nil
}

func videoCodecName(id byte) string {
	switch id {
	case 2:
		return "Sorenson H.263"
	case 3:
		return "Screen video"
	case 4, 5:
		return "VP6"
	case 6:
		return "Screen video 2"
	case 13:
		return "AV1"
	}
	return fmt.Sprintf("%d", id)
}

// sequence takes a decoder configuration record over.
func (p *VideoParser) sequence(h videoHeader) (Unit, error) {
	read := readAVCConfig
	if h.hevc {
		read = readHEVCConfig
	}
	sets, size, err := read(h.body)
	if err != nil {
		return Unit{}, err
	}
	p.lengthSize, p.hevc = size, h.hevc
	if sets.empty() {
		// The parameter sets will come within the stream.
		return Unit{}, nil
	}
	params, err := sets.params(h.hevc)
	if err != nil {
		return Unit{}, fmt.Errorf("%w: %v", ErrMalformed, err)
	}
	p.sets = sets
	if p.params != nil && p.params.Equal(params) {
		return Unit{}, nil
	}
	p.params = params
	return Unit{Params: params}, nil
}

// frame reads an access unit.
func (p *VideoParser) frame(h videoHeader, ms uint32) (Unit, error) {
	if p.lengthSize == 0 || h.hevc != p.hevc {
		// A frame before its sequence header can't be decoded.
		return Unit{}, nil
	}
	body := h.body
	if p.lengthSize != 4 {
		var err error
		if body, err = widenLengths(body, p.lengthSize); err != nil {
			return Unit{}, err
		}
	}
	scan, err := p.scan(body)
	if err != nil {
		return Unit{}, err
	}
	u := Unit{Params: p.adopt(scan.changed), Offset: h.offset, Key: scan.key}
	if p.params == nil || len(scan.payload) == 0 {
		return u, nil
	}
	u.Payload = scan.payload
	if !p.refresh.watch(ms, scan.key, scan.recovery || h.flagged) {
		return Unit{}, fmt.Errorf("%w: it refreshes by recovery points; set the encoder to closed GOPs with IDR frames (x264: no intra-refresh, no open-gop)", ErrNoKeyframes)
	}
	return u, nil
}

// adopt takes changed in-band parameter sets over and returns the new parameters, or nil
// when nothing has changed or the sets make no sense.
func (p *VideoParser) adopt(changed *paramSets) media.Params {
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
