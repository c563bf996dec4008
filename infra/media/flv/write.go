package flv

import (
	"encoding/binary"
	"fmt"

	"github.com/bluenviron/mediacommon/v2/pkg/codecs/h264"

	"klive/infra/media"
)

// AppendSequence appends the body of the tag that announces a track's parameters. H.264
// and AAC are written in Adobe's form, all others as Enhanced RTMP.
func AppendSequence(b []byte, params media.Params) ([]byte, error) {
	switch p := params.(type) {
	case *media.H264:
		b = append(b, frameKey<<4|codecAVC, 0, 0, 0, 0)
		return appendAVCConfig(b, p), nil
	case *media.HEVC:
		b = append(b, 0x80|frameKey<<4|exSequenceStart)
		b = binary.BigEndian.AppendUint32(b, uint32(fourHEVC))
		return appendHEVCConfig(b, p)
	case *media.AV1:
		b = append(b, 0x80|frameKey<<4|exSequenceStart)
		b = binary.BigEndian.AppendUint32(b, uint32(fourAV1))
		return append(b, p.Config...), nil
	case *media.VP9:
		b = append(b, 0x80|frameKey<<4|exSequenceStart)
		b = binary.BigEndian.AppendUint32(b, uint32(fourVP9))
		chroma := p.Depth<<4 | p.Chroma<<1
		if p.FullRange {
			chroma |= 1
		}
		const unspecified = 2 // of colour (ISO/IEC 23091-2)
		return append(b, p.Profile, p.Level, chroma, unspecified, unspecified, unspecified, 0, 0), nil
	case *media.AAC:
		return append(append(b, aacTag, 0), p.Config...), nil
	case *media.Opus:
		b = append(b, soundEx<<4|exSequenceStart)
		b = binary.BigEndian.AppendUint32(b, uint32(fourOpus))
		b = append(b, "OpusHead\x01"...)
		b = append(b, byte(p.ChannelCount), 0, 0)
		b = binary.LittleEndian.AppendUint32(b, p.SampleRate())
		return append(b, 0, 0, 0), nil
	}
	return nil, fmt.Errorf("%w: %T can't be written", ErrCodec, params)
}

// aacTag is the first byte of an AAC tag: 44 kHz, 16 bits, stereo, whatever the true
// format (FLV annex E.4.2.1).
const aacTag = soundAAC<<4 | 3<<2 | 1<<1 | 1

// AppendFrame appends the body of the tag of one access unit, whose payload is as in
// [media.Frame]; offset is presentation minus decode time in milliseconds, within 24 bits.
func AppendFrame(b []byte, params media.Params, payload []byte, offset int32, key bool) ([]byte, error) {
	frame := byte(2)
	if key {
		frame = frameKey
	}
	switch params.(type) {
	case *media.H264:
		b = append(b, frame<<4|codecAVC, 1, byte(offset>>16), byte(offset>>8), byte(offset))
	case *media.HEVC:
		b = append(b, 0x80|frame<<4|exCodedFrames)
		b = binary.BigEndian.AppendUint32(b, uint32(fourHEVC))
		b = append(b, byte(offset>>16), byte(offset>>8), byte(offset))
	case *media.AV1:
		b = append(b, 0x80|frame<<4|exCodedFrames)
		b = binary.BigEndian.AppendUint32(b, uint32(fourAV1))
	case *media.VP9:
		b = append(b, 0x80|frame<<4|exCodedFrames)
		b = binary.BigEndian.AppendUint32(b, uint32(fourVP9))
	case *media.MP3:
		b = append(b, soundEx<<4|exCodedFrames)
		b = binary.BigEndian.AppendUint32(b, uint32(fourMP3))
	case *media.AC3:
		b = append(b, soundEx<<4|exCodedFrames)
		b = binary.BigEndian.AppendUint32(b, uint32(fourAC3))
	case *media.AAC:
		b = append(b, aacTag, 1)
	case *media.Opus:
		b = append(b, soundEx<<4|exCodedFrames)
		b = binary.BigEndian.AppendUint32(b, uint32(fourOpus))
	default:
		return nil, fmt.Errorf("%w: %T can't be written", ErrCodec, params)
	}
	return append(b, payload...), nil
}

func appendAVCConfig(b []byte, p *media.H264) []byte {
	b = append(b, 1, p.SPS[0][1], p.SPS[0][2], p.SPS[0][3], 0xfc|3, 0xe0|byte(len(p.SPS)))
	b = appendUnits(b, p.SPS)
	b = append(b, byte(len(p.PPS)))
	return appendUnits(b, p.PPS)
}

// hevcVPS is the NAL unit type of the first kind of parameter set; SPS and PPS follow it
// (ITU-T H.265 table 7-1).
const hevcVPS = 32

// appendHEVCConfig writes the record with the profile bytes of the SPS. What it repeats
// beyond them (chroma format, bit depth) is given as 4:2:0 with 8 bits: decoders read the SPS.
func appendHEVCConfig(b []byte, p *media.HEVC) ([]byte, error) {
	sps := h264.EmulationPreventionRemove(p.SPS[0]) // the same in H.265
	if len(sps) < 15 {
		return nil, fmt.Errorf("%w: HEVC SPS of %d bytes", ErrMalformed, len(sps))
	}
	b = append(b, 1)
	b = append(b, sps[3:15]...)                            // profile, compatibility, constraints, level
	b = append(b, 0xf0, 0, 0xfc, 0xfc|1, 0xf8, 0xf8, 0, 0) // segmentation, parallelism, format, rate
	b = append(b, 1<<3|1<<2|3, 3)                          // one layer, four-byte lengths; three arrays
	for i, units := range [][][]byte{p.VPS, p.SPS, p.PPS} {
		b = append(b, 0x80|byte(hevcVPS+i))
		b = binary.BigEndian.AppendUint16(b, uint16(len(units)))
		b = appendUnits(b, units)
	}
	return b, nil
}

func appendUnits(b []byte, units [][]byte) []byte {
	for _, u := range units {
		b = binary.BigEndian.AppendUint16(b, uint16(len(u)))
		b = append(b, u...)
	}
	return b
}
