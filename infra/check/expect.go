package check

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"klive/infra/media"
)

// valueKind says what stands behind a subject.
type valueKind int

const (
	holds valueKind = iota // nothing: the subject is a statement
	count                  // a whole number
	span                   // a duration
	text
)

func (k valueKind) check(v string) error {
	var err error
	switch k {
	case count:
		_, err = strconv.ParseInt(v, 10, 64)
	case span:
		_, err = time.ParseDuration(v)
	case text:
		if v == "" {
			err = errValue
		}
	}
	if err != nil {
		return fmt.Errorf("%q is no value: %w", v, errValue)
	}
	return nil
}

// subjects are what a scenario can expect.
//
//	playlist continuous   every rendition: no media sequence left out, no GAP, each item's
//	                      PROGRAM-DATE-TIME where the one before ended unless there is a
//	                      discontinuity or another broadcast begins
//	ended, live           the playlists do, or don't, end
//	segments, broadcasts, renditions, discontinuities, target
//	                      of the video rendition (of the audio one without video)
//	frames lost, doubled, disordered
//	                      video and audio together; what follows the last stored frame counts
//	                      as lost only when the playlist has ended
//	join gap              the largest gap or overlap between audio frames, in samples
//	longest segment, shortest segment
//	                      by EXTINF; the last item of a broadcast doesn't count as shortest
//	longest wait          the longest time between two items' first listings
//	closest discontinuities
//	                      the shortest time between the first listings of two items that begin with
//	                      a discontinuity; a day when there are fewer than two
//	largest hole, largest overlap
//	                      between the end of an item and the beginning of the next, by
//	                      PROGRAM-DATE-TIME; 0 when there is none
//	first playable        from the first keyframe on the wire to the first listed segment
//	jitter                the largest distance of a video frame from its regular time
//	av offset             the largest change of video against audio
//	sizes                 the picture sizes in order, joined by commas
//	refusals              how often an encoder was refused, or its stream ended by the service
//	refusal               part of what an encoder was told when it was refused
//	api                   a file with the calls to Kaltura's API
var subjects = map[string]valueKind{
	"playlist continuous": holds, "ended": holds, "live": holds,
	"segments": count, "broadcasts": count, "renditions": count, "discontinuities": count, "target": count,
	"frames lost": count, "frames doubled": count, "frames disordered": count, "join gap": count, "refusals": count,
	"longest wait": span, "closest discontinuities": span, "largest hole": span, "largest overlap": span,
	"longest segment": span, "shortest segment": span, "first playable": span, "jitter": span, "av offset": span,
	"sizes": text, "refusal": text, "api": text,
}

func subjectNames() string {
	var names []string
	for n := range subjects {
		names = append(names, n)
	}
	slices.Sort(names)
	return strings.Join(names, ", ")
}

// Outcome is what a scenario's run left behind.
type Outcome struct {
	Sent     []Sent
	Follower *Follower
	// Broken are the rules that playlists broke.
	Broken []error
	Calls  []Call
	// Refusals are what encoders were told when they were refused or cut off.
	Refusals []error
	// FirstKey is when the first keyframe went out.
	FirstKey time.Time
	// Begin is the scenario's start.
	Begin time.Time
}

// Check holds the outcome against the expectations. Broken rules are errors in any case.
// golden reads a file of expected calls.
func (o *Outcome) Check(expects []Expect, golden func(name string) (string, error)) []error {
	errs := slices.Clone(o.Broken)
	for _, e := range expects {
		if err := o.expect(e, golden); err != nil {
			errs = append(errs, fmt.Errorf("line %d: expect %s %s %s: %w", e.Line, e.Subject, e.Op, e.Value, err))
		}
	}
	return errs
}

func (o *Outcome) expect(e Expect, golden func(string) (string, error)) error {
	switch subjects[e.Subject] {
	case holds:
		return o.statement(e.Subject)
	case count:
		want, _ := strconv.ParseInt(e.Value, 10, 64)
		return compare(e.Op, o.count(e.Subject), want, func(v int64) string { return strconv.FormatInt(v, 10) })
	case span:
		want, _ := time.ParseDuration(e.Value)
		got, err := o.span(e.Subject)
		if err != nil {
			return err
		}
		return compare(e.Op, got, want, time.Duration.String)
	}
	return o.text(e, golden)
}

func compare[T int64 | time.Duration](op string, got, want T, show func(T) string) error {
	ok := map[string]bool{"=": got == want, ">=": got >= want, "<=": got <= want, ">": got > want, "<": got < want}[op]
	if !ok {
		return fmt.Errorf("it is %s", show(got))
	}
	return nil
}

func (o *Outcome) statement(subject string) error {
	main := o.Follower.Main()
	if main == nil {
		return errNothingListed
	}
	switch subject {
	case "ended":
		if !main.Ended {
			return fmt.Errorf("the playlist has no ENDLIST")
		}
	case "live":
		if main.Ended {
			return fmt.Errorf("the playlist has ENDLIST")
		}
	case "playlist continuous":
		for path, r := range o.Follower.Renditions {
			if err := r.continuous(); err != nil {
				return fmt.Errorf("%s: %w", path, err)
			}
		}
	}
	return nil
}

var errNothingListed = fmt.Errorf("no playlist ever listed a segment")

// maxTimeSlip is how far an item's PROGRAM-DATE-TIME may lie from the end of the one
// before it: the tag is written in milliseconds.
const maxTimeSlip = 2 * time.Millisecond

func (r *Rendition) continuous() error {
	for i, item := range r.Items {
		if item.Gap {
			return fmt.Errorf("item %d is a GAP", item.Seq)
		}
		if i == 0 {
			continue
		}
		before := r.Items[i-1]
		if item.Seq != before.Seq+1 {
			return fmt.Errorf("after item %d comes %d", before.Seq, item.Seq)
		}
		if item.Discontinuity || item.Time.IsZero() || item.Broadcast != before.Broadcast {
			continue
		}
		if slip := item.Time.Sub(before.Time.Add(before.Duration)); slip.Abs() > maxTimeSlip {
			return fmt.Errorf("item %d begins %v after the end of the one before it", item.Seq, slip)
		}
	}
	return nil
}

func (o *Outcome) count(subject string) int64 {
	audit := o.Follower.Audit(o.Sent)
	main := o.Follower.Main()
	if main == nil {
		main = &Rendition{}
	}
	switch subject {
	case "segments":
		return int64(len(main.Items))
	case "renditions":
		return int64(len(o.Follower.Renditions))
	case "target":
		return int64(main.Target)
	case "discontinuities":
		return countItems(main, func(i Item) bool { return i.Discontinuity })
	case "refusals":
		return int64(len(o.Refusals))
	case "broadcasts":
		seen := map[string]bool{}
		for _, i := range main.Items {
			seen[i.Broadcast] = true
		}
		return int64(len(seen))
	case "frames lost":
		lost := len(audit.Video.Lost) + len(audit.Audio.Lost)
		if main.Ended {
			lost += audit.Video.Tail + audit.Audio.Tail
		}
		return int64(lost)
	case "frames doubled":
		return int64(len(audit.Video.Doubled) + len(audit.Audio.Doubled))
	case "frames disordered":
		return int64(len(audit.Video.Disordered) + len(audit.Audio.Disordered) + audit.Video.Unknown + audit.Audio.Unknown)
	case "join gap":
		return max(audit.Audio.JoinGap, -audit.Audio.JoinGap)
	}
	panic("check: no count for " + subject)
}

func countItems(r *Rendition, is func(Item) bool) int64 {
	n := int64(0)
	for _, i := range r.Items {
		if is(i) {
			n++
		}
	}
	return n
}

func (o *Outcome) span(subject string) (time.Duration, error) {
	main := o.Follower.Main()
	if main == nil || len(main.Items) == 0 {
		return 0, errNothingListed
	}
	audit := o.Follower.Audit(o.Sent)
	switch subject {
	case "longest segment":
		return slices.MaxFunc(main.Items, byDuration).Duration, nil
	case "shortest segment":
		if len(main.Items) == 1 {
			return main.Items[0].Duration, nil
		}
		return slices.MinFunc(main.Items[:len(main.Items)-1], byDuration).Duration, nil
	case "longest wait":
		return longestWait(main.Items), nil
	case "closest discontinuities":
		return closestDiscontinuities(main.Items), nil
	case "largest hole":
		hole, _ := holes(main.Items)
		return hole, nil
	case "largest overlap":
		_, overlap := holes(main.Items)
		return overlap, nil
	case "first playable":
		return main.Items[0].FirstListed.Sub(o.FirstKey), nil
	case "jitter":
		return audit.Video.Jitter, nil
	case "av offset":
		return audit.MaxOffset(), nil
	}
	panic("check: no span for " + subject)
}

func byDuration(a, b Item) int { return int(a.Duration - b.Duration) }

func (o *Outcome) text(e Expect, golden func(string) (string, error)) error {
	switch e.Subject {
	case "sizes":
		if got := strings.Join(o.sizes(), ","); got != e.Value {
			return fmt.Errorf("they are %s", got)
		}
	case "refusal":
		for _, r := range o.Refusals {
			if strings.Contains(r.Error(), e.Value) {
				return nil
			}
		}
		return fmt.Errorf("encoders were told %q", o.Refusals)
	case "api":
		want, err := golden(e.Value)
		if err != nil {
			return err
		}
		return compareCalls(want, o.Calls, o.Begin)
	}
	return nil
}

// sizes lists the picture sizes of the video rendition, each change once.
func (o *Outcome) sizes() []string {
	var out []string
	video := o.Follower.Kind(media.Video)
	if video == nil {
		return nil
	}
	for _, i := range video.Items {
		if p, ok := i.Params.(media.VideoParams); ok {
			w, h := p.Size()
			if s := fmt.Sprintf("%dx%d", w, h); len(out) == 0 || out[len(out)-1] != s {
				out = append(out, s)
			}
		}
	}
	return out
}
