package mp4

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math"

	"github.com/Eyevinn/mp4ff/bits"
	"github.com/Eyevinn/mp4ff/mp4"

	"klive/infra/media"
)

// ErrFrames is returned for frames that a segment can't hold: none at all, of several
// tracks, not in decode order, or more than 4 GB.
var ErrFrames = errors.New("mp4: frames don't make a segment")

const (
	mdatHeader = 8
	maxMdat    = math.MaxUint32 - mdatHeader
)

// Segment returns a media segment (one moof and one mdat) with frames of one track in
// decode order, as pieces to be written one after the other: a header, then each frame's
// payload, shared with the frame.
//
// The segment is a function of its arguments alone. Decode times are absolute ticks of
// [Timescale]; a sample lasts until the tick of the next one's decode time, so rounding
// never adds up; the last one lasts until the tick of its DTS + Duration, which is where
// the next segment begins. Composition offsets are signed (trun version 1).
func Segment(params media.Params, frames []*media.Frame, seq uint32) ([][]byte, error) {
	if len(frames) == 0 {
		return nil, fmt.Errorf("%w: there are none", ErrFrames)
	}
	samples, size, err := samplesOf(frames, Timescale(params))
	if err != nil {
		return nil, err
	}
	header, err := segmentHeader(samples, uint64(frames[0].DTS.Ticks(Timescale(params))), size, seq, trackID)
	if err != nil {
		return nil, err
	}
	pieces := make([][]byte, 1, 1+len(frames))
	pieces[0] = header
	for _, f := range frames {
		pieces = append(pieces, f.Payload)
	}
	return pieces, nil
}

// samplesOf returns the table of samples and the sum of their sizes in bytes.
func samplesOf(frames []*media.Frame, rate uint32) ([]mp4.Sample, uint64, error) {
	samples := make([]mp4.Sample, len(frames))
	var size uint64
	dts := frames[0].DTS.Ticks(rate)
	for i, f := range frames {
		if f.Track != frames[0].Track {
			return nil, 0, fmt.Errorf("%w: tracks %d and %d are mixed", ErrFrames, frames[0].Track, f.Track)
		}
		next := f.DTS.Add(f.Duration).Ticks(rate)
		if i+1 < len(frames) {
			next = frames[i+1].DTS.Ticks(rate)
		} else if f.Duration <= 0 && i > 0 {
			next = dts + int64(samples[i-1].Dur)
		}
		if next < dts || next-dts > math.MaxUint32 {
			return nil, 0, fmt.Errorf("%w: frame %d lasts %d ticks", ErrFrames, i, next-dts)
		}
		samples[i] = mp4.Sample{
			Flags:                 flags(f.Key),
			Dur:                   uint32(next - dts),
			Size:                  uint32(len(f.Payload)),
			CompositionTimeOffset: int32(f.PTS.Ticks(rate) - dts),
		}
		size += uint64(len(f.Payload))
		dts = next
	}
	if size > maxMdat {
		return nil, 0, fmt.Errorf("%w: %d bytes", ErrFrames, size)
	}
	return samples, size, nil
}

func flags(key bool) uint32 {
	if key {
		return mp4.SyncSampleFlags
	}
	return mp4.NonSyncSampleFlags | mp4.SampleDependsOn1
}

// segmentHeader encodes the moof and the header of the mdat behind it.
func segmentHeader(samples []mp4.Sample, base, size uint64, seq, track uint32) ([]byte, error) {
	frag, err := mp4.CreateFragment(seq, track)
	if err != nil {
		return nil, err
	}
	traf := frag.Moof.Traf
	traf.Tfdt.SetBaseMediaDecodeTime(base)
	traf.Trun.Samples = samples
	length := frag.Moof.Size() + mdatHeader
	traf.Trun.DataOffset = int32(length)
	buf := make([]byte, length)
	sw := bits.NewFixedSliceWriterFromSlice(buf[:length-mdatHeader])
	if err := frag.Moof.EncodeSW(sw); err != nil {
		return nil, fmt.Errorf("mp4 segment: %w", err)
	}
	binary.BigEndian.PutUint32(buf[length-mdatHeader:], uint32(size)+mdatHeader)
	copy(buf[length-4:], "mdat")
	return buf, nil
}
