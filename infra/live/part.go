package live

import (
	"strconv"
	"time"

	"klive/infra/media"
)

// Part is a run of frames of one feed, in decode order with the tracks interleaved: the
// message of the media plane. Parts of a feed epoch follow each other without a hole.
type Part struct {
	Feed Feed
	// Seq numbers the parts of the feed epoch from 1.
	Seq uint64
	// Segment is the segment that the part belongs to; all parts of a segment carry an equal one.
	Segment Segment
	// Number counts the parts of the segment from 0. Part n holds the frames whose DTS lies
	// in [n, n+1) part durations after the segment's start; part 0 those before it too. A
	// part that would hold no frame is left out, with its number.
	Number int
	// Frames have their durations set. Within a track they join, with one exception: when a
	// video track pauses for more than 1.25 s while others go on, its last frame is given the
	// time until it was sent on, and the DTS of the next one tells the truth.
	Frames []media.Frame
	// Data came with these frames, at most [MaxPartData] of them. Its times are its own: splices
	// are announced ahead.
	Data []media.Data
	// Last marks the segment's last part. End is then the presentation time at which the
	// segment ends: the next segment's start when that continues it, else the latest end of
	// its video frames (of its audio frames when there is no video, or when one begins after
	// the video has ended).
	Last bool
	End  media.Time
	// Final marks the feed's last part, which is also Last.
	Final bool
}

// ID is the part's id on the media plane, unique within the feed's subject.
func (p *Part) ID() string {
	return strconv.FormatUint(p.Feed.Epoch, 10) + "-" + strconv.FormatUint(p.Seq, 10)
}

// Size is the part's memory in bytes, for budgets.
func (p *Part) Size() int {
	n := 256 + len(p.Frames)*64
	for i := range p.Frames {
		n += len(p.Frames[i].Payload)
	}
	for i := range p.Data {
		n += 64 + len(p.Data[i].Payload)
	}
	return n
}

// Segment describes a run of parts that starts at a keyframe: the unit of transcoding and
// of HLS.
type Segment struct {
	// Start is the PTS of the first video frame (the first audio frame when there is no
	// video). Audio frames belong to the segment when their PTS lies in [Start, End); the first
	// segment of a broadcast also has those from up to 250 ms before Start.
	Start media.Time
	// Number counts the segments of the feed epoch from 1.
	Number uint64
	// Tracks are in force for the whole segment; the slice is shared and must not be changed.
	Tracks []media.Track
	// Discontinuity says that the segment does not continue the one before it in this feed:
	// codec parameters changed or time jumped. A feed epoch's first segment has it set.
	Discontinuity bool
	// Independent says that the segment begins with a random access point.
	Independent bool
	// Target is the playlist's target duration, fixed once for a broadcast: no segment of the
	// feed is longer, rounded to whole seconds.
	Target time.Duration
}

// Name is the segment's name within <rendition>/<broadcast>: "<start in µs>-<feed epoch>".
func (s *Segment) Name(f Feed) string {
	return strconv.FormatInt(s.Start.Micros(), 10) + "-" + strconv.FormatUint(f.Epoch, 10)
}

// Track returns the track with the given id.
func (s *Segment) Track(id media.TrackID) (media.Track, bool) {
	for _, t := range s.Tracks {
		if t.ID == id {
			return t, true
		}
	}
	return media.Track{}, false
}
