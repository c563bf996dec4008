package mp4

import (
	"bytes"
	"errors"
	"fmt"

	"github.com/Eyevinn/mp4ff/bits"
	"github.com/Eyevinn/mp4ff/mp4"

	"klive/infra/media"
	"klive/infra/media/nal"
)

// ErrCodec is returned for a track that can't be used. Its text names what it is.
var ErrCodec = errors.New("mp4: unsupported codec")

// maxSeconds bounds decode times, as they stand and as the edit list puts them: 272 years, so that seconds since
// 1970 or 1904 fit, and nanoseconds of them into 64 bits.
const maxSeconds = 1 << 33

// maxMovieTracks bounds the tracks of a movie that is read.
const maxMovieTracks = 16

// Movie is a fragmented MP4 file as an encoder sends it (ISO/IEC 14496-12 §8.8): several
// tracks, edit lists, parameter sets within the samples. It is not safe for concurrent use.
type Movie struct {
	Tracks []*MovieTrack

	mvex *mp4.MvexBox
}

// MovieTrack is one track of a movie.
type MovieTrack struct {
	// ID is the movie's own number for it.
	ID        uint32
	Kind      media.Kind
	Timescale uint32
	// Language is an RFC 5646 tag, or empty.
	Language string

	params media.Params // announced with the first sample
	pose   media.Pose   // of pictures
	shift  int64        // presentation minus media time of the edit list, in ticks
	units  *nal.Parser  // of H264 and HEVC
	length int          // width of its NAL length fields
}

// MovieUnit is one sample of a movie as an access unit.
type MovieUnit struct {
	Track *MovieTrack
	// Params are set when the track's parameters begin or change with this unit.
	Params media.Params
	// DTS is in ticks of the track; it may be negative. Offset is presentation minus decode time.
	DTS, Offset int64
	Key         bool
	// Payload is as [media.Frame] holds it; nil when nothing can be decoded of it.
	Payload []byte
}

// ParseMovie reads a moov box. Tracks that can't be used are left out; when none can, the
// error wraps ErrCodec.
func ParseMovie(moov []byte) (m *Movie, err error) {
	defer caught(&err)
	f, err := decode(moov)
	if err != nil {
		return nil, err
	}
	if f.Moov == nil || f.Moov.Mvex == nil || len(f.Moov.Traks) == 0 {
		return nil, fmt.Errorf("%w: the moov has no tracks, or none that come in fragments (mvex)", ErrFile)
	}
	if len(f.Moov.Traks) > maxMovieTracks {
		return nil, fmt.Errorf("%w: more than %d tracks", ErrFile, maxMovieTracks)
	}
	m = &Movie{mvex: f.Moov.Mvex}
	var unusable error
	for _, trak := range f.Moov.Traks {
		t, err := movieTrack(trak, movieScale(f.Moov))
		switch {
		case errors.Is(err, ErrCodec):
			unusable = err
		case err != nil:
			return nil, err
		default:
			m.Tracks = append(m.Tracks, t)
		}
	}
	if len(m.Tracks) == 0 {
		return nil, unusable
	}
	return m, nil
}

func movieScale(moov *mp4.MoovBox) uint32 {
	if moov.Mvhd == nil || moov.Mvhd.Timescale == 0 {
		return 1
	}
	return moov.Mvhd.Timescale
}

func movieTrack(trak *mp4.TrakBox, scale uint32) (*MovieTrack, error) {
	if trak.Tkhd == nil || trak.Mdia == nil || trak.Mdia.Mdhd == nil || trak.Mdia.Mdhd.Timescale == 0 || trak.Mdia.Minf == nil ||
		trak.Mdia.Minf.Stbl == nil || trak.Mdia.Minf.Stbl.Stsd == nil {
		return nil, fmt.Errorf("%w: the track lacks its media boxes", ErrFile)
	}
	t := &MovieTrack{ID: trak.Tkhd.TrackID, Timescale: trak.Mdia.Mdhd.Timescale, Language: language(trak.Mdia)}
	t.shift = editShift(trak, scale, t.Timescale)
	if err := t.describe(trak.Mdia.Minf.Stbl.Stsd); err != nil {
		return nil, err
	}
	if t.pose = poseOf(trak); t.params != nil {
		t.params = media.WithPose(t.params, t.pose)
	}
	return t, nil
}

func language(mdia *mp4.MdiaBox) string {
	if mdia.Elng != nil {
		if l := media.Language(mdia.Elng.Language); l != "" {
			return l
		}
	}
	return media.Language(mdia.Mdhd.GetLanguage())
}

// editShift reads the simple edit lists that encoders write: an empty edit that begins the
// track later, and one that begins it after its priming or its reordering.
func editShift(trak *mp4.TrakBox, movie, rate uint32) (shift int64) {
	if trak.Edts == nil {
		return 0
	}
	for _, l := range trak.Edts.Elst {
		for _, e := range l.Entries {
			if e.MediaTime < 0 {
				shift += media.ToTicks(media.FromTicks(int64(min(e.SegmentDuration, 1<<40)), movie), rate)
				continue
			}
			return shift - e.MediaTime
		}
	}
	return shift
}

// describe reads the sample entry.
func (t *MovieTrack) describe(stsd *mp4.StsdBox) (err error) {
	t.length = 4
	var record bytes.Buffer
	switch {
	case stsd.AvcX != nil && stsd.AvcX.AvcC != nil:
		t.Kind, t.units = media.Video, nal.NewParser(false)
		err = stsd.AvcX.AvcC.DecConfRec.Encode(&record)
	case stsd.HvcX != nil && stsd.HvcX.HvcC != nil:
		t.Kind, t.units = media.Video, nal.NewParser(true)
		err = stsd.HvcX.HvcC.DecConfRec.Encode(&record)
	default:
		if t.params, err = paramsOf(stsd); err != nil {
			if len(stsd.Children) > 0 {
				return fmt.Errorf("%w: %s (%w); send H.264 or HEVC with AAC", ErrCodec, stsd.Children[0].Type(), err)
			}
			return err
		}
		if _, vp8 := t.params.(*media.VP8); vp8 {
			return fmt.Errorf("%w: VP8, which players of HLS and DASH do not take; send H.264 or HEVC with AAC", ErrCodec)
		}
		t.Kind = t.params.Kind()
		return nil
	}
	if err != nil {
		return fmt.Errorf("%w: %w", ErrFile, err)
	}
	if t.params, t.length, err = t.units.Config(record.Bytes()); err != nil {
		return fmt.Errorf("%w: %w", ErrFile, err)
	}
	return nil
}

// Fragment reads one fragment: a moof box and the mdat box behind it. at is the moof's place
// in the file, for offsets that count from the file's beginning. Units come in the order of
// the file, track by track, and keep mdat. Errors wrap ErrFile or nal.ErrNoKeyframes.
func (m *Movie) Fragment(moof, mdat []byte, at uint64) (units []MovieUnit, err error) {
	defer caught(&err)
	all := append(append(make([]byte, 0, len(moof)+len(mdat)), moof...), mdat...)
	if err := checkBoxes(all); err != nil {
		return nil, err
	}
	f, err := mp4.DecodeFileSR(bits.NewFixedSliceReader(all))
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrFile, err)
	}
	for _, s := range f.Segments {
		for _, frag := range s.Fragments {
			if frag.Moof == nil || frag.Mdat == nil || len(frag.Moof.Trafs) > maxMovieTracks {
				return nil, fmt.Errorf("%w: a fragment without its boxes", ErrFile)
			}
			for _, traf := range frag.Moof.Trafs {
				if traf.Tfhd.HasBaseDataOffset() {
					traf.Tfhd.BaseDataOffset -= at
				}
			}
			for _, t := range m.Tracks {
				more, err := m.samples(frag, t)
				if err != nil {
					return nil, err
				}
				units = append(units, more...)
			}
		}
	}
	return units, nil
}

func (m *Movie) samples(frag *mp4.Fragment, t *MovieTrack) ([]MovieUnit, error) {
	trex, ok := m.mvex.GetTrex(t.ID)
	if !ok {
		return nil, fmt.Errorf("%w: track %d has no trex", ErrFile, t.ID)
	}
	full, err := frag.GetFullSamples(trex)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrFile, err)
	}
	if len(full) > maxSamples {
		return nil, fmt.Errorf("%w: more than %d samples", ErrFile, maxSamples)
	}
	var out []MovieUnit
	for i := range full {
		s := &full[i]
		dts := int64(s.DecodeTime) + t.shift
		if s.DecodeTime/uint64(t.Timescale) > maxSeconds || dts/int64(t.Timescale) > maxSeconds || dts/int64(t.Timescale) < -maxSeconds {
			return nil, fmt.Errorf("%w: a decode time of %d s, which the edit list makes %d s", ErrFile, s.DecodeTime/uint64(t.Timescale), dts/int64(t.Timescale))
		}
		u, err := t.unit(s)
		if err != nil {
			return nil, err
		}
		u.DTS, u.Offset = dts, int64(s.CompositionTimeOffset)
		out = append(out, u)
	}
	return out, nil
}

// unit makes an access unit of a sample.
func (t *MovieTrack) unit(s *mp4.FullSample) (MovieUnit, error) {
	u := MovieUnit{Track: t, Params: t.params, Key: true, Payload: s.Data}
	t.params = nil
	if t.units == nil {
		u.Key = t.Kind == media.Audio || s.IsSync()
		return u, nil
	}
	body := s.Data
	if t.length != 4 {
		var err error
		if body, err = nal.WidenLengths(body, t.length); err != nil {
			return u, fmt.Errorf("%w: %w", ErrFile, err)
		}
	}
	ms := uint32(media.ToTicks(media.FromTicks(int64(s.DecodeTime&(1<<40-1)), t.Timescale), 1000))
	n, err := t.units.Unit(body, ms, s.IsSync())
	switch {
	case errors.Is(err, nal.ErrMalformed):
		return u, fmt.Errorf("%w: %w", ErrFile, err)
	case err != nil:
		return u, err
	}
	u.Key, u.Payload = n.Key, n.Payload
	if n.Params != nil {
		u.Params = media.WithPose(n.Params, t.pose)
	}
	return u, nil
}

// Again has parameters announced with the track's next unit: the one that brought them was
// left out.
func (t *MovieTrack) Again(p media.Params) {
	if t.params == nil {
		t.params = p
	}
}
