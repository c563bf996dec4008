package timelinetest

import (
	"fmt"
	"strconv"
	"time"

	"klive/infra/live"
	"klive/infra/media"
	"klive/storage/timeline"
)

// Names that scripts use.
const (
	Entry     = "0_rkij47dr"
	Broadcast = "Zm9vYmFyYmF6"
	Video     = Entry + "_32"
	Audio     = Entry + "_a1"
)

// Start is the media time at which scripts begin: 2026-01-02 03:04:05 UTC.
const Start = media.Time(1767323045 * int64(time.Second))

// VideoRendition describes the encoder's own picture, 720p30.
func VideoRendition(inits int) timeline.Rendition {
	return timeline.Rendition{
		Name: Video, Kind: media.Video, Audio: Audio, Groups: []string{"all", "mobile"}, Inits: inits,
		Rung:   live.Rung{ParamsID: 32, Name: "source", Video: live.VideoRung{Mode: live.ModePassThrough}},
		Codecs: "avc1.64001f", Width: 1280, Height: 720, FrameRate: 30,
	}
}

// AudioRendition describes the encoder's own sound.
func AudioRendition(inits int) timeline.Rendition {
	return timeline.Rendition{
		Name: Audio, Kind: media.Audio, Groups: []string{"all", "mobile"}, Inits: inits,
		Codecs: "mp4a.40.2", Channels: 2, SampleRate: 48000,
	}
}

// Script makes the records of a broadcast. At is where the next item starts.
type Script struct {
	At     media.Time
	Target int
	Epoch  uint64
	// Renditions are the names that items have, [Video] and [Audio] to begin with.
	Renditions []string
	// Init is the init of the items' media.
	Init int
	// Rate is what media weigh, in bytes a second.
	Rate int64

	next uint64
	last timeline.Item
}

// NewScript begins at [Start] with item 1.
func NewScript() *Script {
	return &Script{At: Start, Target: 4, Epoch: 7, Renditions: []string{Video, Audio}, Init: 1, Rate: 640_000, next: 1}
}

// Open is the records with which a broadcast begins: its start and two renditions.
func (s *Script) Open(id string, dvr time.Duration) []timeline.Record {
	return []timeline.Record{
		&timeline.Started{ID: id, Start: s.At, DVRWindow: dvr},
		&timeline.Described{Rendition: VideoRendition(s.Init)},
		&timeline.Described{Rendition: AudioRendition(s.Init)},
	}
}

// Adopt is the record that adds an item of the given length.
func (s *Script) Adopt(length time.Duration, discontinuity bool) *timeline.Adopted {
	name := strconv.FormatInt(s.At.Micros(), 10) + "-" + strconv.FormatUint(s.Epoch, 10)
	it := timeline.Item{Seq: s.next, Start: s.At, Duration: length, Discontinuity: discontinuity}
	for _, r := range s.Renditions {
		it.Media = append(it.Media, timeline.Media{
			Rendition: r, Name: name, Start: s.At, Duration: length, Init: s.Init,
			Feed: live.Feed{FeedID: live.FeedID{Entry: Entry, Suffix: 1}, Epoch: s.Epoch}, FirstPart: s.next, LastPart: s.next,
		})
	}
	s.next++
	s.last = it
	s.At = s.At.Add(length)
	return &timeline.Adopted{Item: it, Target: s.Target, Independent: true}
}

// Store is the record that says that the item adopted last is stored in these renditions,
// in all of them when there are none.
func (s *Script) Store(renditions ...string) *timeline.Stored {
	return s.settle(renditions, func(m *timeline.Media) { m.Stored = true })
}

// Hold is the record that says that a spool keeps the item adopted last.
func (s *Script) Hold(renditions ...string) *timeline.Stored {
	return s.settle(renditions, func(m *timeline.Media) { m.Held = true })
}

// Gap is the record that says that the item adopted last never will be stored.
func (s *Script) Gap(renditions ...string) *timeline.Stored {
	return s.settle(renditions, func(m *timeline.Media) { m.Gap = true })
}

func (s *Script) settle(renditions []string, how func(*timeline.Media)) *timeline.Stored {
	if len(renditions) == 0 {
		renditions = s.Renditions
	}
	r := &timeline.Stored{Seq: s.last.Seq}
	for _, name := range renditions {
		m := *s.last.Of(name)
		if how(&m); !m.Gap {
			m.Size = max(1, int64(m.Duration.Seconds()*float64(s.Rate)))
		}
		r.Media = append(r.Media, m)
	}
	return r
}

// Fold applies records that an owner with epoch 1 writes to a new state of [Entry].
func Fold(records ...timeline.Record) (*timeline.State, error) {
	s := timeline.New(Entry)
	return Apply(s, append([]timeline.Record{&timeline.Claimed{Epoch: 1, Owner: "test"}}, records...)...)
}

// Apply folds records into a state as its owner would.
func Apply(s *timeline.State, records ...timeline.Record) (*timeline.State, error) {
	for i, r := range records {
		epoch := s.Epoch
		if c, ok := r.(*timeline.Claimed); ok {
			epoch = c.Epoch
		}
		next, err := s.Apply(timeline.Envelope{Epoch: epoch, Prev: s.LogSeq, Record: r}, s.LogSeq+1)
		if err != nil {
			return s, fmt.Errorf("record %d, %T: %w", i, r, err)
		}
		s = next
	}
	return s, nil
}
