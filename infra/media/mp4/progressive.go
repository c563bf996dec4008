package mp4

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math"
	"slices"

	"github.com/Eyevinn/mp4ff/mp4"

	"klive/infra/media"
)

// Progressive describes a progressive MP4 file (ISO/IEC 14496-12 §8) with at most one video and one
// audio track, whose header stands in front of its data: the samples are described first, with
// [Progressive.Add], then the header is written, and then the data in the order of the descriptions.
// What it holds is a dozen bytes a sample. Offsets, and where need be times, have 64 bits.
type Progressive struct {
	tracks []*fileTrack // video first
	data   int64        // bytes described so far
}

// fileTrack is the table of one track's samples.
type fileTrack struct {
	params media.Params
	rate   uint32

	first    int64 // DTS of the first sample
	last     int64 // DTS of the last one
	lastDur  uint32
	earliest int64 // least PTS before the second keyframe
	keys     int

	stts   mp4.SttsBox
	counts []uint32 // with offsets: runs of equal composition offsets
	offs   []int32
	sizes  []uint32
	stss   []uint32
	chunks []uint64 // offsets from the start of the data
	runs   []uint32 // samples in each chunk
}

// ErrProgressive is returned for samples that one file can't hold.
var ErrProgressive = errors.New("mp4: the file can't hold these samples")

// MaxProgressiveSamples bounds the samples of a file, and with them the memory for its header.
const MaxProgressiveSamples = 1 << 20

// NewProgressive returns a description without samples. Either of the parameters may be nil.
func NewProgressive(video, audio media.Params) (*Progressive, error) {
	m := &Progressive{}
	for _, p := range []media.Params{video, audio} {
		if p != nil {
			m.tracks = append(m.tracks, &fileTrack{params: p, rate: Timescale(p), earliest: math.MaxInt64})
		}
	}
	if len(m.tracks) == 0 {
		return nil, fmt.Errorf("%w: there is no track", ErrProgressive)
	}
	return m, nil
}

// Add describes the next piece of data: samples of the track of a kind, one behind the other.
// Times are in ticks of [Timescale] on one line for both tracks; shift is added to them. A
// sample lasts until the next one of its track, also over a hole. One that would not lie
// behind the one before it is moved there.
func (m *Progressive) Add(kind media.Kind, shift int64, samples []Sample) error {
	i := slices.IndexFunc(m.tracks, func(t *fileTrack) bool { return t.params.Kind() == kind })
	if i < 0 {
		return fmt.Errorf("%w: it has no %v track", ErrProgressive, kind)
	}
	t := m.tracks[i]
	if m.samples()+len(samples) > MaxProgressiveSamples {
		return fmt.Errorf("%w: more than %d", ErrProgressive, MaxProgressiveSamples)
	}
	if len(samples) == 0 {
		return nil
	}
	t.chunks = append(t.chunks, uint64(m.data))
	t.runs = append(t.runs, uint32(len(samples)))
	for i := range samples {
		if err := t.add(samples[i].DTS+shift, samples[i].PTS+shift, &samples[i]); err != nil {
			return err
		}
		m.data += int64(samples[i].Size)
	}
	return nil
}

func (m *Progressive) samples() (n int) {
	for _, t := range m.tracks {
		n += len(t.sizes)
	}
	return n
}

func (t *fileTrack) add(dts, pts int64, s *Sample) error {
	if len(t.sizes) == 0 {
		t.first = dts
	} else {
		dts = max(dts, t.last+1)
		if dts-t.last > math.MaxUint32 {
			return fmt.Errorf("%w: a hole of %d ticks", ErrProgressive, dts-t.last)
		}
		t.lasts(uint32(dts - t.last))
	}
	offset := pts - dts
	if offset > math.MaxInt32/2 || offset < math.MinInt32/2 {
		return fmt.Errorf("%w: a composition offset of %d ticks", ErrProgressive, offset)
	}
	if n := len(t.offs); n > 0 && t.offs[n-1] == int32(offset) {
		t.counts[n-1]++
	} else {
		t.counts, t.offs = append(t.counts, 1), append(t.offs, int32(offset))
	}
	t.sizes = append(t.sizes, s.Size)
	if s.Key {
		t.keys++
		if t.params.Kind() == media.Video {
			t.stss = append(t.stss, uint32(len(t.sizes)))
		}
	}
	if t.keys < 2 || len(t.sizes) == 1 {
		t.earliest = min(t.earliest, pts)
	}
	t.last, t.lastDur = dts, s.Duration
	return nil
}

// lasts sets how long the newest sample lasts.
func (t *fileTrack) lasts(ticks uint32) {
	b := &t.stts
	if n := len(b.SampleTimeDelta); n > 0 && b.SampleTimeDelta[n-1] == ticks {
		b.SampleCount[n-1]++
		return
	}
	b.SampleCount, b.SampleTimeDelta = append(b.SampleCount, 1), append(b.SampleTimeDelta, ticks)
}

// length is the sum of the samples' durations in ticks.
func (t *fileTrack) length() int64 { return t.last + int64(t.lastDur) - t.first }

// Size is the length of the data that were described, in bytes.
func (m *Progressive) Size() int64 { return m.data }

// WriteHeader writes everything in front of the data, of which Size bytes are to follow: ftyp,
// moov and the header of an mdat of 64-bit size. Nothing can be added afterwards.
func (m *Progressive) WriteHeader(w io.Writer) error {
	moov, err := m.moov()
	if err != nil {
		return err
	}
	ftyp := mp4.NewFtyp("isom", 512, []string{"isom", "iso2", "mp41"})
	const largeHeader = 16
	start := ftyp.Size() + moov.Size() + largeHeader
	for _, trak := range moov.Traks {
		offsets := trak.Mdia.Minf.Stbl.Co64.ChunkOffset
		for i := range offsets {
			offsets[i] += start
		}
	}
	if err := ftyp.Encode(w); err != nil {
		return err
	}
	if err := moov.Encode(w); err != nil {
		return err
	}
	var h [largeHeader]byte
	binary.BigEndian.PutUint32(h[:], 1)
	copy(h[4:], "mdat")
	binary.BigEndian.PutUint64(h[8:], uint64(m.data)+largeHeader)
	_, err = w.Write(h[:])
	return err
}

func (m *Progressive) moov() (*mp4.MoovBox, error) {
	for _, t := range m.tracks {
		if len(t.sizes) == 0 {
			return nil, fmt.Errorf("%w: the %v track has none", ErrProgressive, t.params.Kind())
		}
	}
	moov := mp4.NewMoovBox()
	mvhd := mp4.CreateMvhd()
	mvhd.Version, mvhd.Timescale, mvhd.NextTrackID = 1, m.tracks[0].rate, uint32(len(m.tracks)+1)
	moov.AddChild(mvhd)
	zero := media.TimeFromTicks(m.tracks[0].earliest, m.tracks[0].rate)
	for i, t := range m.tracks {
		trak := mp4.CreateEmptyTrak(uint32(i+1), t.rate, t.params.Kind().String(), "und")
		trak.Tkhd.Version, trak.Tkhd.Flags = 1, 3 // enabled, in the movie
		if err := describe(trak, t.params); err != nil {
			return nil, fmt.Errorf("mp4 for %s: %w", t.params.Codec(), err)
		}
		duration := t.place(trak, zero.Ticks(t.rate), mvhd.Timescale)
		trak.Tkhd.Duration = duration
		mvhd.Duration = max(mvhd.Duration, duration)
		if trak.Mdia.Mdhd.Duration = uint64(t.length()); t.length() > math.MaxUint32 {
			trak.Mdia.Mdhd.Version = 1
		}
		t.fill(trak.Mdia.Minf.Stbl)
		moov.AddChild(trak)
	}
	return moov, nil
}

// place adds the edit list by which the track begins where it lies on the movie's line, whose
// zero is given in the track's ticks. It returns how long the track is on that line, in ticks of
// the movie. Composition offsets become such that no picture is shown before the track begins.
func (t *fileTrack) place(trak *mp4.TrakBox, zero int64, scale uint32) uint64 {
	if early := t.first - t.earliest; early > 0 {
		for i := range t.offs {
			t.offs[i] += int32(early)
		}
	}
	in := func(ticks int64) uint64 { return uint64(media.ToTicks(media.FromTicks(ticks, t.rate), scale)) }
	start := t.earliest - zero // where the track begins on the line
	from := max(0, t.earliest-t.first)
	edit := &mp4.ElstBox{Version: 1}
	length := t.length()
	if start > 0 {
		edit.Entries = append(edit.Entries, mp4.ElstEntry{SegmentDuration: in(start), MediaTime: -1, MediaRateInteger: 1})
	} else {
		from -= start
		length = max(0, length+start)
	}
	edit.Entries = append(edit.Entries, mp4.ElstEntry{SegmentDuration: in(length), MediaTime: from, MediaRateInteger: 1})
	edts := &mp4.EdtsBox{}
	edts.AddChild(edit)
	// The edit list stands between tkhd and mdia.
	trak.Edts = edts
	trak.Children = slices.Insert(trak.Children, 1, mp4.Box(edts))
	var total uint64
	for _, e := range edit.Entries {
		total += e.SegmentDuration
	}
	return total
}

// fill writes the table of samples.
func (t *fileTrack) fill(stbl *mp4.StblBox) {
	t.lasts(max(t.lastDur, 1))
	stsd := stbl.Stsd
	stbl.Children, stbl.Stco, stbl.Stts, stbl.Stsc, stbl.Stsz = nil, nil, nil, nil, nil
	stbl.AddChild(stsd)
	stbl.AddChild(&t.stts)
	if len(t.offs) > 1 || t.offs[0] != 0 {
		ctts := &mp4.CttsBox{Version: 1, EndSampleNr: make([]uint32, 1, len(t.offs)+1), SampleOffset: t.offs}
		for i, n := range t.counts {
			ctts.EndSampleNr = append(ctts.EndSampleNr, ctts.EndSampleNr[i]+n)
		}
		stbl.AddChild(ctts)
	}
	stsc := &mp4.StscBox{}
	stsc.SetSingleSampleDescriptionID(1)
	first := uint32(1)
	for i, n := range t.runs {
		if i == 0 || n != t.runs[i-1] {
			stsc.Entries = append(stsc.Entries, mp4.StscEntry{FirstChunk: uint32(i + 1), SamplesPerChunk: n, FirstSampleNr: first})
		}
		first += n
	}
	stbl.AddChild(stsc)
	stbl.AddChild(&mp4.StszBox{SampleNumber: uint32(len(t.sizes)), SampleSize: t.sizes})
	if t.params.Kind() == media.Video && len(t.stss) < len(t.sizes) {
		stbl.AddChild(&mp4.StssBox{SampleNumber: t.stss})
	}
	stbl.AddChild(&mp4.Co64Box{ChunkOffset: t.chunks})
}
