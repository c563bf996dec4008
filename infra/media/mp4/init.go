package mp4

import (
	"fmt"
	"slices"
	"strings"

	"github.com/Eyevinn/mp4ff/av1"
	"github.com/Eyevinn/mp4ff/bits"
	"github.com/Eyevinn/mp4ff/mp4"

	"klive/infra/media"
)

// Init returns the initialization section (ftyp and moov) of a file that holds the track
// alone. It depends on the track's parameters and language only.
func Init(t media.Track) ([]byte, error) {
	seg := mp4.NewMP4Init()
	seg.AddChild(mp4.NewFtyp("iso6", 0, []string{"iso6", "cmfc"}))
	moov := mp4.NewMoovBox()
	seg.AddChild(moov)
	moov.AddChild(mp4.CreateMvhd())
	moov.AddChild(mp4.NewMvexBox())
	trak := seg.AddEmptyTrack(Timescale(t.Params), t.Params.Kind().String(), media.LanguageISO3(t.Language))
	if strings.Contains(t.Language, "-") {
		trak.Mdia.AddChild(mp4.CreateElng(t.Language)) // the code alone says less
	}
	if err := describe(trak, t.Params); err != nil {
		return nil, fmt.Errorf("mp4 init for %s: %w", t.Params.Codec(), err)
	}
	sw := bits.NewFixedSliceWriter(int(seg.Size()))
	if err := seg.EncodeSW(sw); err != nil {
		return nil, fmt.Errorf("mp4 init for %s: %w", t.Params.Codec(), err)
	}
	return sw.Bytes(), nil
}

// The object types of layer III audio in an elementary stream descriptor (ISO/IEC 14496-1
// table 5): MPEG-1's, which is written for all rates, and MPEG-2's.
const (
	objectMP3  = 0x6b
	objectMP3b = 0x69
)

// describe adds the sample entry.
func describe(trak *mp4.TrakBox, params media.Params) error {
	var err error
	switch p := params.(type) {
	case *media.H264:
		err = trak.SetAVCDescriptor("avc1", p.SPS, p.PPS, true)
	case *media.HEVC:
		err = trak.SetHEVCDescriptor("hvc1", p.VPS, p.SPS, p.PPS, nil, true)
	case *media.AV1:
		var record av1.CodecConfRec
		if record, err = av1.DecodeAV1CodecConfRec(p.Config); err == nil {
			w, h := p.Size()
			trak.Mdia.Minf.Stbl.Stsd.AddChild(mp4.CreateVisualSampleEntryBox("av01", uint16(w), uint16(h), &mp4.Av1CBox{CodecConfRec: record}))
		}
	case *media.VP8:
		err = trak.SetVPxDescriptor("vp08", &mp4.VppCBox{Version: 1, Level: 10, BitDepth: 8, ChromaSubsampling: 1,
			ColourPrimaries: unspecified, TransferCharacteristics: unspecified, MatrixCoefficients: unspecified}, uint16(p.Width), uint16(p.Height))
	case *media.VP9:
		c := &mp4.VppCBox{Version: 1, Profile: p.Profile, Level: p.Level, BitDepth: p.Depth, ChromaSubsampling: p.Chroma,
			ColourPrimaries: unspecified, TransferCharacteristics: unspecified, MatrixCoefficients: unspecified}
		if p.FullRange {
			c.VideoFullRangeFlag = 1
		}
		err = trak.SetVPxDescriptor("vp09", c, uint16(p.Width), uint16(p.Height))
	case *media.AAC:
		addAudioEntry(trak, "mp4a", p, mp4.CreateEsdsBox(slices.Clone(p.Config)))
	case *media.MP3:
		esds := mp4.CreateEsdsBox(nil)
		esds.DecConfigDescriptor.ObjectType = objectMP3
		esds.DecConfigDescriptor.DecSpecificInfo = nil
		addAudioEntry(trak, "mp4a", p, esds)
	case *media.AC3:
		lfe := byte(0)
		if p.LFE {
			lfe = 1
		}
		addAudioEntry(trak, "ac-3", p, &mp4.Dac3Box{
			FSCod: p.RateCode, BSID: p.ID, BSMod: p.Mode, ACMod: p.Coding, LFEOn: lfe, BitRateCode: p.BitrateCode,
		})
	case *media.Opus:
		addAudioEntry(trak, "Opus", p, &mp4.DopsBox{
			OutputChannelCount: byte(p.ChannelCount),
			InputSampleRate:    p.SampleRate(),
		})
	default:
		return fmt.Errorf("no sample entry for %T", params)
	}
	if v, ok := params.(media.VideoParams); ok && err == nil {
		w, h := v.Size()
		trak.Tkhd.Width, trak.Tkhd.Height = mp4.Fixed32(uint32(w)<<16), mp4.Fixed32(uint32(h)<<16)
		writePose(trak, v)
	}
	return err
}

// unspecified is a colour property that is not stated (ISO/IEC 23091-2).
const unspecified = 2

// addAudioEntry adds a sample entry; its 16-bit rate field is 0 for rates that don't fit
// (ISO/IEC 14496-12 §12.2.3 leaves the codec's own configuration to say it).
func addAudioEntry(trak *mp4.TrakBox, name string, p media.AudioParams, config mp4.Box) {
	rate := p.SampleRate()
	if rate > 0xffff {
		rate = 0
	}
	entry := mp4.CreateAudioSampleEntryBox(name, uint16(p.Channels()), 16, uint16(rate), config)
	trak.Mdia.Minf.Stbl.Stsd.AddChild(entry)
}
