package publisher

import (
	"errors"
	"fmt"
	"time"

	"klive/infra/media"
)

// Clip is a run of access units that can be sent over and over. It is immutable and may be
// shared by any number of players.
type Clip struct {
	// Video and Audio are nil when the clip has none.
	Video, Audio *Track
	// Meta is sent as onMetaData before the media.
	Meta []Property
}

// Track is one elementary stream of a clip. Each track repeats by itself after its own
// Period, so that repeating never leaves a hole in the audio.
type Track struct {
	Kind media.Kind
	// Config is the decoder configuration: an AVCDecoderConfigurationRecord (ISO/IEC 14496-15
	// §5.3.3) or an AudioSpecificConfig.
	Config []byte
	// Rate is the unit of all times, in ticks per second.
	Rate uint32
	// Period is the track's length in ticks: the distance from one round to the next.
	Period int64
	// Samples are in decode order.
	Samples []Sample
}

// Sample is one access unit. Times are in ticks from the clip's start.
type Sample struct {
	DTS, PTS int64
	Key      bool
	// Payload is the access unit as [media.Frame] has it, marked.
	Payload []byte

	mark int // offset of the mark's digits in Payload
}

// Unit is one access unit of a clip that plays: a sample with its number and its times
// since the player began.
type Unit struct {
	Kind media.Kind
	// Number counts the units of this kind from 0 over all rounds.
	Number uint64
	// DTS and PTS are exact to the nanosecond.
	DTS, PTS time.Duration
	Key      bool

	sample *Sample
}

// Payload returns the unit's access unit with its number in it. It is made anew by each call.
func (u *Unit) Payload() []byte {
	b := append([]byte(nil), u.sample.Payload...)
	putMark(b[u.sample.mark:u.sample.mark+markDigits], u.Number)
	return b
}

// Cursor walks through a clip without end, in the order in which encoders send: by decode
// time, video before audio at the same instant.
type Cursor struct {
	tracks []*trackCursor
}

type trackCursor struct {
	track *Track
	at    int // index of the next sample
	round int64
	count uint64
}

// ErrNoTrack is returned for a clip without a track.
var ErrNoTrack = errors.New("publisher: the clip has neither video nor audio")

// Cursor starts at the clip's beginning.
func (c *Clip) Cursor() (*Cursor, error) {
	var cur Cursor
	for _, t := range []*Track{c.Video, c.Audio} {
		if t == nil {
			continue
		}
		if err := t.check(); err != nil {
			return nil, err
		}
		cur.tracks = append(cur.tracks, &trackCursor{track: t})
	}
	if cur.tracks == nil {
		return nil, ErrNoTrack
	}
	return &cur, nil
}

func (t *Track) check() error {
	if t.Rate == 0 || len(t.Samples) == 0 {
		return fmt.Errorf("publisher: the clip's %v track is empty", t.Kind)
	}
	for i := 1; i < len(t.Samples); i++ {
		if t.Samples[i].DTS <= t.Samples[i-1].DTS {
			return fmt.Errorf("publisher: the clip's %v sample %d does not come after the one before", t.Kind, i)
		}
	}
	if end := t.Samples[len(t.Samples)-1].DTS - t.Samples[0].DTS; t.Period <= end {
		return fmt.Errorf("publisher: the clip's %v track is longer than its period", t.Kind)
	}
	return nil
}

// Next returns the next unit.
func (c *Cursor) Next() Unit {
	first := c.tracks[0]
	for _, t := range c.tracks[1:] {
		if t.dts() < first.dts() {
			first = t
		}
	}
	return first.next()
}

func (t *trackCursor) dts() time.Duration {
	return media.FromTicks(t.track.Samples[t.at].DTS+t.round*t.track.Period, t.track.Rate)
}

func (t *trackCursor) next() Unit {
	s := &t.track.Samples[t.at]
	base := t.round * t.track.Period
	u := Unit{
		Kind: t.track.Kind, Number: t.count, Key: s.Key, sample: s,
		DTS: media.FromTicks(base+s.DTS, t.track.Rate), PTS: media.FromTicks(base+s.PTS, t.track.Rate),
	}
	t.count++
	if t.at++; t.at == len(t.track.Samples) {
		t.at, t.round = 0, t.round+1
	}
	return u
}

// mark numbers all samples of the track with 0, so that a player only changes digits.
func (t *Track) mark() error {
	for i := range t.Samples {
		s := &t.Samples[i]
		var err error
		if t.Kind == media.Video {
			s.Payload, s.mark, err = MarkH264(s.Payload, 0)
		} else {
			s.Payload, s.mark = MarkAAC(s.Payload, 0)
		}
		if err != nil {
			return fmt.Errorf("sample %d: %w", i, err)
		}
	}
	return nil
}
