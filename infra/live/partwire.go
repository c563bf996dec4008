package live

import (
	"encoding/binary"
	"errors"
	"fmt"
	"time"

	"klive/infra/media"
)

// The wire form of a part, versions 1 and 2. All numbers are varints as in encoding/binary
// (unsigned, or zigzag where marked "signed"); "bytes" is a length and that many bytes.
//
//	byte      the version: 2 when a track has a language or a pose or the part has data, else 1
//	bytes     entry id
//	byte      server index
//	unsigned  stream suffix, feed epoch, part sequence number
//	signed    segment start, ns since the Unix epoch
//	unsigned  segment number, target duration in ns
//	byte      segment flags: 1 discontinuity, 2 independent
//	unsigned  number of tracks (at most 16), then for each
//	            byte   track id
//	            byte   codec: 1 H264, 2 HEVC, 3 AAC, 4 Opus, 5 MP3, 6 AC-3,
//	                   7 AV1, 8 VP8, 9 VP9; plus 128 when a pose follows
//	            H264:  list of SPS, list of PPS; HEVC: lists of VPS, SPS, PPS; a list is
//	                   its length (at most 32) and so many bytes
//	            AAC:   bytes, the AudioSpecificConfig
//	            Opus:  byte, the number of channels
//	            AV1:   bytes, the AV1CodecConfigurationRecord
//	            VP8:   unsigned, width and height in pixels
//	            VP9:   4 bytes: profile, level, bit depth, chroma subsampling plus 128 for full
//	                   range; unsigned, width and height in pixels
//	            MP3:   unsigned, the sample rate in Hz; byte, the number of channels
//	            AC-3:  6 bytes: fscod, bsid, bsmod, acmod, lfeon, frmsizecod / 2
//	            pose:  byte, the quarter turns clockwise; unsigned, the terms of the pixels'
//	                   aspect ratio, 0 when it is not stated
//	            version 2: bytes, the language (at most 35), or nothing
//	unsigned  part number within the segment
//	byte      part flags: 1 last, 2 final
//	signed    segment end − segment start in ns; only with the flag last
//	version 2: unsigned, number of data (at most 64), then for each
//	            byte      format: 1 SCTE-35, 2 ID3
//	            signed    time − segment start, ns
//	            bytes     the datum (at most 16 KiB)
//	unsigned  number of frames (at most 65536), then for each
//	            byte      track id
//	            byte      frame flags: 1 random access point
//	            signed    DTS − DTS of the frame before (− segment start for the first), ns
//	            signed    PTS − DTS, ns
//	            unsigned  duration, ns
//	            unsigned  payload length
//	the payloads, one after the other, to the end of the message
//
// Flags that are not named here must be 0.
const (
	partVersion  = 1
	partVersion2 = 2
)

// MaxPartData bounds the timed data of one part.
const MaxPartData = 64

// Bounds of a part's wire form, in bytes and in items.
const (
	MaxPartBytes    = 64 << 20
	maxPartTracks   = 16
	maxPartFrames   = 1 << 16
	maxParamSets    = 32
	maxParamBytes   = 1 << 16
	leastFrameBytes = 6
	maxMP3Rate      = 48000
	maxVPXSide      = 1 << 16
	maxLanguage     = 35
)

// ErrPart says that bytes are no wire form of a part.
var ErrPart = errors.New("live: malformed part")

const flagKey = 1

const (
	wireH264 = iota + 1
	wireHEVC
	wireAAC
	wireOpus
	wireMP3
	wireAC3
	wireAV1
	wireVP8
	wireVP9

	// wirePosed is set in a codec's byte when a pose follows its parameters.
	wirePosed = 0x80
)

const (
	fullRange = 0x80
	// maxParTerm bounds the terms of a pixel's aspect ratio.
	maxParTerm = 1 << 16
)

// AppendBinary appends the part's wire form to b.
func (p *Part) AppendBinary(b []byte) ([]byte, error) {
	if len(p.Frames) > maxPartFrames || len(p.Segment.Tracks) > maxPartTracks {
		return nil, fmt.Errorf("live: part %s has %d frames and %d tracks, more than its wire form holds", p.ID(), len(p.Frames), len(p.Segment.Tracks))
	}
	if len(p.Data) > MaxPartData {
		return nil, fmt.Errorf("live: part %s has %d data, more than its wire form holds", p.ID(), len(p.Data))
	}
	version := p.version()
	b = append(b, version)
	b = appendBytes(b, []byte(p.Feed.Entry))
	b = append(b, byte(p.Feed.Index))
	b = binary.AppendUvarint(b, uint64(p.Feed.Suffix))
	b = binary.AppendUvarint(b, p.Feed.Epoch)
	b = binary.AppendUvarint(b, p.Seq)
	b, err := p.Segment.append(b, version)
	if err != nil {
		return nil, err
	}
	b = binary.AppendUvarint(b, uint64(p.Number))
	b = append(b, flags(p.Last, p.Final))
	if p.Last {
		b = binary.AppendVarint(b, int64(p.End-p.Segment.Start))
	}
	if version == partVersion2 {
		b = p.appendData(b)
	}
	return p.appendFrames(b), nil
}

func (p *Part) appendFrames(b []byte) []byte {
	b = binary.AppendUvarint(b, uint64(len(p.Frames)))
	last := p.Segment.Start
	for i := range p.Frames {
		f := &p.Frames[i]
		b = append(b, byte(f.Track), flags(f.Key, false))
		b = binary.AppendVarint(b, int64(f.DTS-last))
		b = binary.AppendVarint(b, int64(f.PTS-f.DTS))
		b = binary.AppendUvarint(b, uint64(f.Duration))
		b = binary.AppendUvarint(b, uint64(len(f.Payload)))
		last = f.DTS
	}
	for i := range p.Frames {
		b = append(b, p.Frames[i].Payload...)
	}
	return b
}

func (s *Segment) append(b []byte, version byte) ([]byte, error) {
	b = binary.AppendVarint(b, int64(s.Start))
	b = binary.AppendUvarint(b, s.Number)
	b = binary.AppendUvarint(b, uint64(s.Target))
	b = append(b, flags(s.Discontinuity, s.Independent))
	b = binary.AppendUvarint(b, uint64(len(s.Tracks)))
	for _, t := range s.Tracks {
		b = append(b, byte(t.ID))
		codec := len(b)
		switch p := t.Params.(type) {
		case *media.H264:
			b = appendLists(append(b, wireH264), p.SPS, p.PPS)
		case *media.HEVC:
			b = appendLists(append(b, wireHEVC), p.VPS, p.SPS, p.PPS)
		case *media.AV1:
			b = appendBytes(append(b, wireAV1), p.Config)
		case *media.VP8:
			b = appendUints(append(b, wireVP8), p.Width, p.Height)
		case *media.VP9:
			chroma := p.Chroma
			if p.FullRange {
				chroma |= fullRange
			}
			b = appendUints(append(b, wireVP9, p.Profile, p.Level, p.Depth, chroma), p.Width, p.Height)
		case *media.AAC:
			b = appendBytes(append(b, wireAAC), p.Config)
		case *media.Opus:
			b = append(b, wireOpus, byte(p.ChannelCount))
		case *media.MP3:
			b = append(binary.AppendUvarint(append(b, wireMP3), uint64(p.Rate)), byte(p.ChannelCount))
		case *media.AC3:
			b = append(b, wireAC3, p.RateCode, p.ID, p.Mode, p.Coding, flags(p.LFE, false), p.BitrateCode)
		default:
			return nil, fmt.Errorf("live: track %d: codec parameters %T have no wire form", t.ID, t.Params)
		}
		if v, ok := t.Params.(media.VideoParams); ok && v.Posed() != (media.Pose{}) {
			pose := v.Posed()
			b[codec] |= wirePosed
			b = appendUints(append(b, byte(pose.Turns)), pose.ParX, pose.ParY)
		}
		if version == partVersion2 {
			b = appendBytes(b, []byte(t.Language))
		}
	}
	return b, nil
}

func flags(one, two bool) (f byte) {
	if one {
		f |= 1
	}
	if two {
		f |= 2
	}
	return f
}

func appendUints(b []byte, list ...int) []byte {
	for _, n := range list {
		b = binary.AppendUvarint(b, uint64(n))
	}
	return b
}

func appendBytes(b, v []byte) []byte {
	return append(binary.AppendUvarint(b, uint64(len(v))), v...)
}

func appendLists(b []byte, lists ...[][]byte) []byte {
	for _, l := range lists {
		b = binary.AppendUvarint(b, uint64(len(l)))
		for _, v := range l {
			b = appendBytes(b, v)
		}
	}
	return b
}

// UnmarshalPart reads a part's wire form. The part keeps b: its payloads lie in it. Errors:
// ErrPart, ErrVersion.
func UnmarshalPart(b []byte) (*Part, error) {
	if len(b) > MaxPartBytes {
		return nil, fmt.Errorf("%w: %d bytes", ErrPart, len(b))
	}
	r := &partReader{b: b}
	r.version = r.byte()
	if r.err == nil && r.version != partVersion && r.version != partVersion2 {
		return nil, fmt.Errorf("part version %d: %w", r.version, ErrVersion)
	}
	p := &Part{}
	r.feed(&p.Feed)
	p.Seq = r.uint()
	r.segment(&p.Segment)
	p.Number = int(r.uintUpTo(1<<31-1, "part number"))
	p.Last, p.Final = r.flags()
	if p.Last {
		p.End = p.Segment.Start.Add(time.Duration(r.int()))
	}
	if r.version == partVersion2 {
		p.Data = r.data(p.Segment.Start)
	}
	p.Frames = r.frames(&p.Segment)
	if r.err != nil {
		return nil, r.err
	}
	return p, nil
}

// partReader reads until the first error, which it keeps.
type partReader struct {
	version byte
	b       []byte
	err     error
}

func (r *partReader) fail(format string, args ...any) {
	if r.err == nil {
		r.err = fmt.Errorf("%w: %s", ErrPart, fmt.Sprintf(format, args...))
		r.b = nil
	}
}

func (r *partReader) byte() byte {
	if len(r.b) == 0 {
		r.fail("it ends early")
		return 0
	}
	v := r.b[0]
	r.b = r.b[1:]
	return v
}

func (r *partReader) uint() uint64 {
	v, n := binary.Uvarint(r.b)
	if n <= 0 {
		r.fail("it ends within a number")
		return 0
	}
	r.b = r.b[n:]
	return v
}

func (r *partReader) int() int64 {
	v, n := binary.Varint(r.b)
	if n <= 0 {
		r.fail("it ends within a number")
		return 0
	}
	r.b = r.b[n:]
	return v
}

func (r *partReader) uintUpTo(limit uint64, what string) uint64 {
	v := r.uint()
	if v > limit {
		r.fail("%s %d is above %d", what, v, limit)
		return 0
	}
	return v
}

func (r *partReader) flags() (one, two bool) {
	f := r.byte()
	if f > 3 {
		r.fail("unknown flags %#x", f)
	}
	return f&1 != 0, f&2 != 0
}

func (r *partReader) bytes(limit uint64) []byte {
	n := r.uintUpTo(limit, "length")
	if n > uint64(len(r.b)) {
		r.fail("%d bytes are wanted where %d are left", n, len(r.b))
	}
	if r.err != nil {
		return nil
	}
	v := r.b[:n:n]
	r.b = r.b[n:]
	return v
}

func (r *partReader) feed(f *Feed) {
	f.Entry = string(r.bytes(64))
	f.Index = Index(r.byte())
	f.Suffix = int(r.uintUpTo(MaxSuffix, "suffix"))
	f.Epoch = r.uint()
	if r.err == nil && (!ValidEntryID(f.Entry) || f.Index > Backup || f.Suffix < 1) {
		r.fail("feed %.80q", f.String())
	}
}

func (r *partReader) segment(s *Segment) {
	s.Start = media.Time(r.int())
	s.Number = r.uint()
	s.Target = time.Duration(r.uintUpTo(uint64(time.Hour), "target duration"))
	s.Discontinuity, s.Independent = r.flags()
	for range r.uintUpTo(maxPartTracks, "number of tracks") {
		id := media.TrackID(r.byte())
		if _, twice := s.Track(id); twice {
			r.fail("track %d is there twice", id)
		}
		params, err := r.params()
		if err != nil {
			r.fail("track %d: %v", id, err)
		}
		language := ""
		if r.version == partVersion2 {
			language = r.language()
		}
		if r.err != nil {
			return
		}
		s.Tracks = append(s.Tracks, media.Track{ID: id, Params: params, Language: language})
	}
}

func (r *partReader) params() (media.Params, error) {
	codec := r.byte()
	params, err := r.codecParams(codec &^ wirePosed)
	if codec&wirePosed == 0 || err != nil {
		return params, err
	}
	pose := media.Pose{Turns: int(r.byte()), ParX: int(r.uintUpTo(maxParTerm, "aspect ratio")), ParY: int(r.uintUpTo(maxParTerm, "aspect ratio"))}
	if params.Kind() != media.Video || pose == (media.Pose{}) || pose != media.NewPose(pose.Turns, pose.ParX, pose.ParY) {
		return nil, fmt.Errorf("a pose of %d turns and %d:%d", pose.Turns, pose.ParX, pose.ParY)
	}
	return media.WithPose(params, pose), nil
}

func (r *partReader) codecParams(codec byte) (media.Params, error) {
	switch codec {
	case wireH264:
		return media.NewH264(r.list(), r.list())
	case wireHEVC:
		return media.NewHEVC(r.list(), r.list(), r.list())
	case wireAV1:
		return media.NewAV1(r.bytes(maxParamBytes))
	case wireVP8:
		p := &media.VP8{Width: int(r.uintUpTo(maxVPXSide, "width")), Height: int(r.uintUpTo(maxVPXSide, "height"))}
		if p.Width == 0 || p.Height == 0 {
			return nil, errors.New("a VP8 track without a size")
		}
		return p, nil
	case wireVP9:
		p := &media.VP9{Profile: r.byte(), Level: r.byte(), Depth: r.byte(), Chroma: r.byte()}
		p.FullRange, p.Chroma = p.Chroma&fullRange != 0, p.Chroma&^fullRange
		p.Width, p.Height = int(r.uintUpTo(maxVPXSide, "width")), int(r.uintUpTo(maxVPXSide, "height"))
		return p, p.Check()
	case wireAAC:
		return media.NewAAC(r.bytes(maxParamBytes))
	case wireOpus:
		if n := int(r.byte()); n == 1 || n == 2 {
			return &media.Opus{ChannelCount: n}, nil
		}
		return nil, errors.New("an Opus track has 1 or 2 channels")
	case wireMP3:
		p := &media.MP3{Rate: uint32(r.uintUpTo(maxMP3Rate, "sample rate")), ChannelCount: int(r.byte())}
		if p.Rate == 0 || p.ChannelCount < 1 || p.ChannelCount > 2 {
			return nil, fmt.Errorf("an MP3 track with %d channels at %d Hz", p.ChannelCount, p.Rate)
		}
		return p, nil
	case wireAC3:
		return media.NewAC3(media.AC3{
			RateCode: r.byte(), ID: r.byte(), Mode: r.byte(), Coding: r.byte(), LFE: r.byte() == 1, BitrateCode: r.byte(),
		})
	default:
		return nil, fmt.Errorf("unknown codec %d", codec)
	}
}

func (r *partReader) list() [][]byte {
	n := r.uintUpTo(maxParamSets, "number of parameter sets")
	var l [][]byte
	for range n {
		l = append(l, r.bytes(maxParamBytes))
	}
	return l
}

// frames reads the frame table and gives each frame its payload.
func (r *partReader) frames(s *Segment) []media.Frame {
	n := r.uintUpTo(maxPartFrames, "number of frames")
	if n > uint64(len(r.b)/leastFrameBytes) {
		r.fail("%d frames are wanted in %d bytes", n, len(r.b))
	}
	if r.err != nil || n == 0 {
		if r.err == nil && len(r.b) > 0 {
			r.fail("%d bytes behind the end", len(r.b))
		}
		return nil
	}
	frames, sizes := make([]media.Frame, n), make([]uint64, n)
	last := s.Start
	for i := range frames {
		f := &frames[i]
		f.Track = media.TrackID(r.byte())
		flag := r.byte()
		f.Key = flag == flagKey
		f.DTS = last.Add(time.Duration(r.int()))
		f.PTS = f.DTS.Add(time.Duration(r.int()))
		f.Duration = time.Duration(r.uintUpTo(uint64(time.Hour), "frame duration"))
		sizes[i] = r.uintUpTo(MaxPartBytes, "payload length")
		if _, ok := s.Track(f.Track); !ok || flag > flagKey {
			r.fail("frame %d of unknown track %d or with unknown flags %#x", i, f.Track, flag)
		}
		if r.err != nil {
			return nil
		}
		last = f.DTS
	}
	for i := range frames {
		size := sizes[i]
		if size > uint64(len(r.b)) {
			r.fail("frame %d ends behind the end", i)
			return nil
		}
		frames[i].Payload = r.b[:size:size]
		r.b = r.b[size:]
	}
	if len(r.b) > 0 {
		r.fail("%d bytes behind the end", len(r.b))
	}
	return frames
}
