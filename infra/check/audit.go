package check

import (
	"fmt"
	"math"
	"slices"
	"strings"
	"time"

	"klive/infra/media"
)

// Sent is one access unit as an encoder put it on the wire.
type Sent struct {
	Kind   media.Kind
	Number uint64
	// DTS and PTS are on the encoder's own clock, before rounding.
	DTS, PTS time.Duration
	// Run counts the stretches of one unbroken source clock: a new connect or a jump begins
	// another run.
	Run int
}

// Stored is one access unit as it was read back from a segment.
type Stored struct {
	Kind media.Kind
	// Number is the unit's mark; Marked is false when it has none.
	Number uint64
	Marked bool
	// DTS, PTS and Duration are in ticks of Rate.
	DTS, PTS int64
	Duration uint32
	Rate     uint32
	Key      bool
	// First is set on the first unit of a segment, Discontinuity when the playlist has one
	// before it.
	First, Discontinuity bool
}

// Audit is the outcome of holding what was stored against what was sent.
type Audit struct {
	Video, Audio TrackAudit
	// Offsets is how far video moved against audio between encoder and segments: once for
	// the first and once for the last minute of each run.
	Offsets []time.Duration
}

// TrackAudit is the outcome for one kind of track.
type TrackAudit struct {
	Sent, Stored int
	// Lost, Doubled and Disordered are the numbers of units that are missing, stand there
	// more than once, or come after a later one. Unknown counts units that nobody sent, Tail
	// those that were sent after the last one that is stored: lost or still on the way.
	Lost, Doubled, Disordered []uint64
	Unknown, Tail             int
	// Jitter is the largest distance of a unit's time from its regular place: from the
	// middle of its run's distances between encoder clock and media clock.
	Jitter time.Duration
	// JoinGap is the largest gap (or, negative, overlap) between the end of one unit and the
	// start of the next within a discontinuity, in ticks of the track's rate.
	JoinGap int64
}

// Compare audits one rendition's video and its audio; both lists are in stored order.
func Compare(sent []Sent, video, audio []Stored) Audit {
	v := newTrackAudit(media.Video, sent, video)
	a := newTrackAudit(media.Audio, sent, audio)
	out := Audit{Video: v.TrackAudit, Audio: a.TrackAudit}
	for run, vs := range v.shifts {
		as := a.shifts[run]
		if len(vs) == 0 || len(as) == 0 {
			continue
		}
		out.Offsets = append(out.Offsets,
			middle(firstMinute(vs))-middle(firstMinute(as)),
			middle(lastMinute(vs))-middle(lastMinute(as)))
	}
	return out
}

// MaxOffset is the largest of the offsets, without sign.
func (a *Audit) MaxOffset() time.Duration {
	var worst time.Duration
	for _, o := range a.Offsets {
		worst = max(worst, o.Abs())
	}
	return worst
}

// shift is how far a unit's media time lies behind its encoder time.
type shift struct {
	at time.Duration // encoder time
	by time.Duration
}

type trackAudit struct {
	TrackAudit
	shifts map[int][]shift // by run
	last   uint64          // the largest number stored
}

// newTrackAudit audits one kind of track.
func newTrackAudit(kind media.Kind, sent []Sent, stored []Stored) *trackAudit {
	t := &trackAudit{shifts: map[int][]shift{}}
	t.Stored = len(stored)
	byNumber := map[uint64]Sent{}
	for _, s := range sent {
		if s.Kind == kind {
			byNumber[s.Number] = s
			t.Sent++
		}
	}
	t.match(byNumber, stored)
	for n := range byNumber {
		if n > t.last {
			t.Tail++
		} else {
			t.Lost = append(t.Lost, n)
		}
	}
	slices.Sort(t.Lost)
	t.measure()
	t.joins(stored)
	return t
}

// match crosses each stored unit off the list of those that were sent.
func (t *trackAudit) match(want map[uint64]Sent, stored []Stored) {
	seen := map[uint64]bool{}
	for _, s := range stored {
		switch from, ok := want[s.Number]; {
		case !s.Marked:
			t.Unknown++
			continue
		case ok:
			delete(want, s.Number)
			at := time.Duration(media.TimeFromTicks(s.PTS, s.Rate))
			t.shifts[from.Run] = append(t.shifts[from.Run], shift{from.PTS, at - from.PTS})
		case seen[s.Number]:
			t.Doubled = append(t.Doubled, s.Number)
		default:
			t.Unknown++
		}
		if seen[s.Number] || s.Number < t.last {
			t.Disordered = append(t.Disordered, s.Number)
		}
		seen[s.Number], t.last = true, max(t.last, s.Number)
	}
}

func (t *trackAudit) measure() {
	for _, shifts := range t.shifts {
		m := middle(shifts)
		for _, s := range shifts {
			t.Jitter = max(t.Jitter, (s.by - m).Abs())
		}
	}
}

func (t *trackAudit) joins(stored []Stored) {
	for i := 1; i < len(stored); i++ {
		before, s := stored[i-1], stored[i]
		if s.Discontinuity || s.Rate != before.Rate {
			continue
		}
		gap := s.DTS - before.DTS - int64(before.Duration)
		if math.Abs(float64(gap)) > math.Abs(float64(t.JoinGap)) {
			t.JoinGap = gap
		}
	}
}

// middle is the point halfway between the smallest and the largest shift.
func middle(shifts []shift) time.Duration {
	lo, hi := shifts[0].by, shifts[0].by
	for _, s := range shifts {
		lo, hi = min(lo, s.by), max(hi, s.by)
	}
	return lo + (hi-lo)/2
}

func firstMinute(shifts []shift) []shift {
	end := shifts[0].at + time.Minute
	return filter(shifts, func(s shift) bool { return s.at < end })
}

func lastMinute(shifts []shift) []shift {
	begin := shifts[len(shifts)-1].at - time.Minute
	return filter(shifts, func(s shift) bool { return s.at > begin })
}

func filter(shifts []shift, keep func(shift) bool) []shift {
	var out []shift
	for _, s := range shifts {
		if keep(s) {
			out = append(out, s)
		}
	}
	return out
}

// String is the audit in two lines.
func (a Audit) String() string {
	line := func(name string, t TrackAudit) string {
		return fmt.Sprintf("%s: %d sent, %d stored, lost %s, tail %d, doubled %s, disordered %s, unknown %d, jitter %v, join gap %d ticks",
			name, t.Sent, t.Stored, numbers(t.Lost), t.Tail, numbers(t.Doubled), numbers(t.Disordered), t.Unknown, t.Jitter, t.JoinGap)
	}
	return line("video", a.Video) + "\n" + line("audio", a.Audio) + fmt.Sprintf("\nA/V offset at most %v", a.MaxOffset())
}

// numbers writes a list of frame numbers with runs put together.
func numbers(list []uint64) string {
	if len(list) == 0 {
		return "none"
	}
	var b strings.Builder
	fmt.Fprintf(&b, "%d (", len(list))
	for i := 0; i < len(list); {
		j := i
		for j+1 < len(list) && list[j+1] == list[j]+1 {
			j++
		}
		if i > 0 {
			b.WriteString(", ")
		}
		if b.Len() > 120 {
			b.WriteString("…")
			break
		}
		fmt.Fprintf(&b, "%d", list[i])
		if j > i {
			fmt.Fprintf(&b, "–%d", list[j])
		}
		i = j + 1
	}
	return b.String() + ")"
}
