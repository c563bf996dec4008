package mp4

import (
	"fmt"

	"github.com/Eyevinn/mp4ff/bits"
	"github.com/Eyevinn/mp4ff/mp4"

	"klive/infra/media"
)

// Stream is a track with its frames, in decode order.
type Stream struct {
	Track  media.Track
	Frames []*media.Frame
}

// File returns a fragmented file with several tracks, numbered from 1, one fragment each, as
// pieces to be written one after the other. Times are counted from base, a whole second.
func File(streams []Stream, base media.Time) ([][]byte, error) {
	seg := mp4.NewMP4Init()
	seg.AddChild(mp4.NewFtyp("iso6", 0, []string{"iso6", "cmfc"}))
	moov := mp4.NewMoovBox()
	seg.AddChild(moov)
	moov.AddChild(mp4.CreateMvhd())
	moov.AddChild(mp4.NewMvexBox())
	for _, s := range streams {
		trak := seg.AddEmptyTrack(Timescale(s.Track.Params), s.Track.Params.Kind().String(), "und")
		if err := describe(trak, s.Track.Params); err != nil {
			return nil, fmt.Errorf("mp4 file with %s: %w", s.Track.Params.Codec(), err)
		}
	}
	sw := bits.NewFixedSliceWriter(int(seg.Size()))
	if err := seg.EncodeSW(sw); err != nil {
		return nil, fmt.Errorf("mp4 file: %w", err)
	}
	pieces := [][]byte{sw.Bytes()}
	for i, s := range streams {
		if len(s.Frames) == 0 {
			continue
		}
		rate := Timescale(s.Track.Params)
		samples, size, err := samplesOf(s.Frames, rate)
		if err != nil {
			return nil, err
		}
		start := s.Frames[0].DTS.Ticks(rate) - base.Ticks(rate)
		if start < 0 {
			return nil, fmt.Errorf("%w: it begins before the file's time", ErrFrames)
		}
		header, err := segmentHeader(samples, uint64(start), size, uint32(i+1), uint32(i+1))
		if err != nil {
			return nil, err
		}
		pieces = append(pieces, header)
		for _, f := range s.Frames {
			pieces = append(pieces, f.Payload)
		}
	}
	return pieces, nil
}

// ParsedTrack is one track of a file with several.
type ParsedTrack struct {
	Params    media.Params
	Timescale uint32
	Samples   []Sample
}

// ParseFile reads a fragmented file with any number of tracks that is in memory as a whole.
// Tracks stand in the order of the file. One without samples has nil Params when the file does
// not say them.
func ParseFile(b []byte) (tracks []ParsedTrack, err error) {
	defer caught(&err)
	f, err := decode(b)
	if err != nil {
		return nil, err
	}
	if f.Init == nil || f.Init.Moov == nil || f.Init.Moov.Mvex == nil || len(f.Init.Moov.Mvex.Trexs) != len(f.Init.Moov.Traks) {
		return nil, fmt.Errorf("%w: the moov lacks its tracks", ErrFile)
	}
	for i, trak := range f.Init.Moov.Traks {
		params, err := paramsOf(trak.Mdia.Minf.Stbl.Stsd)
		if err != nil {
			return nil, fmt.Errorf("track %d: %w", i+1, err)
		}
		t := ParsedTrack{Params: params, Timescale: trak.Mdia.Mdhd.Timescale}
		if t.Samples, err = samplesOfTrack(f, f.Init.Moov.Mvex.Trexs[i]); err != nil {
			return nil, err
		}
		tracks = append(tracks, t)
	}
	return tracks, nil
}

func samplesOfTrack(f *mp4.File, trex *mp4.TrexBox) (out []Sample, err error) {
	for _, s := range f.Segments {
		for _, frag := range s.Fragments {
			if frag.Moof == nil || frag.Mdat == nil {
				return nil, fmt.Errorf("%w: a fragment without moof or mdat", ErrFile)
			}
			if out, err = appendSamples(out, frag, trex); err != nil {
				return nil, err
			}
		}
	}
	return out, nil
}
