package mp4

import (
	"fmt"

	"github.com/Eyevinn/mp4ff/bits"
	"github.com/Eyevinn/mp4ff/mp4"
)

// Index is what the headers of a segment say: its samples without their data, and where in
// the segment the data lie.
type Index struct {
	Samples []Sample
	// Runs are the pieces of the segment that hold the samples' data, in order.
	Runs []Run
}

// Run is a piece of a segment.
type Run struct{ Offset, Size int64 }

// maxMoof bounds the headers of one fragment, in bytes.
const maxMoof = 16 << 20

// Index reads the headers of a segment without its payload. read returns n bytes of the
// segment from an offset, fewer at its end; size is the segment's. Headers are read in pieces
// of a few kilobytes, so a segment's payload is never in memory.
func (h *Header) Index(size int64, read func(offset, n int64) ([]byte, error)) (x *Index, err error) {
	defer caught(&err)
	x = &Index{}
	for at, boxes := int64(0), 0; at < size; boxes++ {
		if boxes == maxBoxes {
			return nil, fmt.Errorf("%w: more than %d boxes", ErrFile, maxBoxes)
		}
		b, err := read(at, min(headerPiece, size-at))
		if err != nil {
			return nil, err
		}
		box, err := wholeBox(b, uint64(size-at))
		if err != nil {
			return nil, err
		}
		if box.Type == "moof" {
			if err := h.fragment(x, at, int64(box.Size), b, read); err != nil {
				return nil, err
			}
		}
		at += int64(box.Size)
	}
	if len(x.Samples) == 0 {
		return nil, fmt.Errorf("%w: the segment holds no samples", ErrFile)
	}
	if last := x.Runs[len(x.Runs)-1]; last.Offset+last.Size > size {
		return nil, fmt.Errorf("%w: samples lie behind the end", ErrFile)
	}
	return x, nil
}

// headerPiece holds the moof of a usual segment.
const headerPiece = 16 << 10

// fragment adds what a moof at an offset of the segment says; b holds its first bytes.
func (h *Header) fragment(x *Index, at, size int64, b []byte, read func(offset, n int64) ([]byte, error)) error {
	if size > maxMoof {
		return fmt.Errorf("%w: a moof of %d bytes", ErrFile, size)
	}
	if int64(len(b)) < size {
		var err error
		if b, err = read(at, size); err != nil {
			return err
		}
		if int64(len(b)) < size {
			return fmt.Errorf("%w: the moof is cut", ErrFile)
		}
	}
	box, err := mp4.DecodeBoxSR(0, bits.NewFixedSliceReader(b[:size]))
	if err != nil {
		return fmt.Errorf("%w: %w", ErrFile, err)
	}
	moof, ok := box.(*mp4.MoofBox)
	if !ok || len(moof.Trafs) != 1 || moof.Traf.Tfhd == nil || moof.Traf.Tfdt == nil {
		return fmt.Errorf("%w: a moof without its one track", ErrFile)
	}
	dts := int64(moof.Traf.Tfdt.BaseMediaDecodeTime())
	end := at + size + mdatHeader
	for _, trun := range moof.Traf.Truns {
		trun.AddSampleDefaultValues(moof.Traf.Tfhd, h.trex)
		if trun.HasDataOffset() {
			end = at + int64(trun.DataOffset)
		}
		run := Run{Offset: end}
		if len(x.Samples)+len(trun.Samples) > maxSamples {
			return fmt.Errorf("%w: more than %d samples", ErrFile, maxSamples)
		}
		for i := range trun.Samples {
			s := &trun.Samples[i]
			x.Samples = append(x.Samples, Sample{DTS: dts, PTS: dts + int64(s.CompositionTimeOffset), Duration: s.Dur, Key: s.IsSync(), Size: s.Size})
			run.Size += int64(s.Size)
			dts += int64(s.Dur)
		}
		end += run.Size
		if run.Offset < at+size {
			return fmt.Errorf("%w: samples lie within the header", ErrFile)
		}
		x.Runs = append(x.Runs, run)
	}
	return nil
}
