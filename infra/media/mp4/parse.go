package mp4

import (
	"bytes"
	"errors"
	"fmt"

	"github.com/Eyevinn/mp4ff/bits"
	"github.com/Eyevinn/mp4ff/mp4"

	"klive/infra/media"
)

// ErrFile is returned for bytes that are no MP4 file of the kind that was asked for.
var ErrFile = errors.New("mp4: the file can't be read")

// Bounds of what Parse reads.
const (
	maxFile    = 256 << 20 // bytes of one section or segment
	maxBoxes   = 4096      // top-level boxes
	maxSamples = 1 << 20   // samples of one segment
)

// Header is what an initialization section says.
type Header struct {
	Params    media.Params
	Timescale uint32

	trex *mp4.TrexBox
}

// Sample is one frame as it stands in a segment.
type Sample struct {
	// DTS, PTS and Duration are in ticks of the header's timescale.
	DTS, PTS int64
	Duration uint32
	Key      bool
	// Size is the sample's in bytes. Data is shared with the bytes that were parsed; an [Index]
	// has none.
	Size uint32
	Data []byte
}

// Time returns ticks of the header's timescale as an instant.
func (h *Header) Time(ticks int64) media.Time { return media.TimeFromTicks(ticks, h.Timescale) }

// ParseInit reads an initialization section.
func ParseInit(b []byte) (h *Header, err error) {
	defer caught(&err)
	f, err := decode(b)
	if err != nil {
		return nil, err
	}
	if f.Init == nil || f.Init.Moov == nil || len(f.Init.Moov.Traks) != 1 || f.Init.Moov.Mvex == nil || f.Init.Moov.Mvex.Trex == nil {
		return nil, fmt.Errorf("%w: the moov lacks its track or mvex", ErrFile)
	}
	trak := f.Init.Moov.Traks[0]
	if trak.Mdia == nil || trak.Mdia.Mdhd == nil || trak.Mdia.Mdhd.Timescale == 0 || trak.Mdia.Minf == nil ||
		trak.Mdia.Minf.Stbl == nil || trak.Mdia.Minf.Stbl.Stsd == nil {
		return nil, fmt.Errorf("%w: the track lacks its media boxes", ErrFile)
	}
	params, err := paramsOf(trak.Mdia.Minf.Stbl.Stsd)
	if err != nil {
		return nil, err
	}
	params = media.WithPose(params, poseOf(trak))
	return &Header{Params: params, Timescale: trak.Mdia.Mdhd.Timescale, trex: f.Init.Moov.Mvex.Trex}, nil
}

func paramsOf(stsd *mp4.StsdBox) (media.Params, error) {
	switch {
	case stsd.AvcX != nil && stsd.AvcX.AvcC != nil:
		return media.NewH264(stsd.AvcX.AvcC.SPSnalus, stsd.AvcX.AvcC.PPSnalus)
	case stsd.HvcX != nil && stsd.HvcX.HvcC != nil:
		var sets [3][][]byte
		for _, a := range stsd.HvcX.HvcC.NaluArrays {
			if t := int(a.NaluType()) - 32; t >= 0 && t < len(sets) {
				sets[t] = append(sets[t], a.Nalus...)
			}
		}
		return media.NewHEVC(sets[0], sets[1], sets[2])
	case stsd.Av01 != nil && stsd.Av01.Av1C != nil:
		var record bytes.Buffer
		if err := stsd.Av01.Av1C.CodecConfRec.Encode(&record); err != nil {
			return nil, fmt.Errorf("%w: %w", ErrFile, err)
		}
		return media.NewAV1(record.Bytes())
	case stsd.VpXX != nil && stsd.VpXX.VppC != nil:
		return vpx(stsd.VpXX)
	case isMP3(stsd.Mp4a):
		if n := stsd.Mp4a.ChannelCount; n != 1 && n != 2 || stsd.Mp4a.SampleRate == 0 {
			return nil, fmt.Errorf("%w: MP3 with %d channels at %d Hz", ErrFile, n, stsd.Mp4a.SampleRate)
		}
		return &media.MP3{Rate: uint32(stsd.Mp4a.SampleRate), ChannelCount: int(stsd.Mp4a.ChannelCount)}, nil
	case stsd.AC3 != nil && stsd.AC3.Dac3 != nil:
		d := stsd.AC3.Dac3
		return media.NewAC3(media.AC3{
			RateCode: d.FSCod, ID: d.BSID, Mode: d.BSMod, Coding: d.ACMod, LFE: d.LFEOn != 0, BitrateCode: d.BitRateCode,
		})
	case stsd.Mp4a != nil && stsd.Mp4a.Esds != nil && stsd.Mp4a.Esds.DecConfigDescriptor != nil &&
		stsd.Mp4a.Esds.DecConfigDescriptor.DecSpecificInfo != nil:
		return media.NewAAC(stsd.Mp4a.Esds.DecConfigDescriptor.DecSpecificInfo.DecConfig)
	case stsd.Opus != nil && stsd.Opus.Dops != nil:
		return &media.Opus{ChannelCount: int(stsd.Opus.Dops.OutputChannelCount)}, nil
	}
	return nil, fmt.Errorf("%w: no known sample entry", ErrFile)
}

func vpx(e *mp4.VisualSampleEntryBox) (media.Params, error) {
	w, h, c := int(e.Width), int(e.Height), e.VppC
	if e.Type() == "vp08" {
		if w == 0 || h == 0 {
			return nil, fmt.Errorf("%w: VP8 without a size", ErrFile)
		}
		return &media.VP8{Width: w, Height: h}, nil
	}
	p := &media.VP9{Profile: c.Profile, Level: c.Level, Depth: c.BitDepth, Chroma: c.ChromaSubsampling, FullRange: c.VideoFullRangeFlag != 0, Width: w, Height: h}
	return p, p.Check()
}

func isMP3(e *mp4.AudioSampleEntryBox) bool {
	if e == nil || e.Esds == nil || e.Esds.DecConfigDescriptor == nil {
		return false
	}
	t := e.Esds.DecConfigDescriptor.ObjectType
	return t == objectMP3 || t == objectMP3b
}

// Segment reads a media segment of the track that h describes.
func (h *Header) Segment(b []byte) (out []Sample, err error) {
	defer caught(&err)
	f, err := decode(b)
	if err != nil {
		return nil, err
	}
	for _, s := range f.Segments {
		for _, frag := range s.Fragments {
			if frag.Moof == nil || frag.Mdat == nil || len(frag.Moof.Trafs) != 1 {
				return nil, fmt.Errorf("%w: a fragment without moof, mdat or its one track", ErrFile)
			}
			if out, err = appendSamples(out, frag, h.trex); err != nil {
				return nil, err
			}
		}
	}
	if len(out) == 0 {
		return nil, fmt.Errorf("%w: the segment holds no samples", ErrFile)
	}
	return out, nil
}

// appendSamples adds what a fragment holds of the track that trex is of.
func appendSamples(out []Sample, frag *mp4.Fragment, trex *mp4.TrexBox) ([]Sample, error) {
	full, err := frag.GetFullSamples(trex)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrFile, err)
	}
	if len(out)+len(full) > maxSamples {
		return nil, fmt.Errorf("%w: more than %d samples", ErrFile, maxSamples)
	}
	for i := range full {
		s := &full[i]
		out = append(out, Sample{DTS: int64(s.DecodeTime), PTS: s.PresentationTime(), Duration: s.Dur, Key: s.IsSync(), Size: s.Size, Data: s.Data})
	}
	return out, nil
}

// caught turns a panic of the library into an error: it trusts offsets, and boxes to be
// there, that a damaged file can get wrong.
func caught(err *error) {
	if p := recover(); p != nil {
		*err = fmt.Errorf("%w: %v", ErrFile, p)
	}
}

// decode reads the boxes of a section or segment that is in memory as a whole.
func decode(b []byte) (*mp4.File, error) {
	if len(b) > maxFile {
		return nil, fmt.Errorf("%w: %d bytes are more than %d", ErrFile, len(b), maxFile)
	}
	if err := checkBoxes(b); err != nil {
		return nil, err
	}
	f, err := mp4.DecodeFileSR(bits.NewFixedSliceReader(b))
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrFile, err)
	}
	return f, nil
}
