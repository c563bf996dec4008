package packager

import (
	"maps"
	"time"

	"klive/infra/live"
	"klive/infra/media"
)

// plan is what is encoded for a rendition as long as its source stays the same.
type plan struct {
	source media.Params
	rung   live.VideoRung
	job    live.VideoJob
	ok     bool
}

// encode is the output that a rung makes of a segment; nil when it makes none.
func (p *Packager) encode(s *segment, r *live.Rung, name string) *output {
	t, ok := s.Track(media.Video)
	if !ok {
		return nil
	}
	if p.Jobs == nil || p.Ends == nil {
		p.once(name, "a rung needs encoding and is left out: there is no queue for transcode workers", "rendition", name, "rung", r.Name)
		return nil
	}
	old := p.plans[name]
	if old == nil || !old.source.Equal(t.Params) || old.rung != r.Video {
		old = p.plan(s, r, name, t)
		p.plans[name] = old
	}
	if !old.ok {
		p.once(name, "a rung can't be encoded and is left out", "rendition", name, "rung", r.Name, "codec", r.Video.Codec)
		return nil
	}
	job := old.job
	return &output{rendition: name, rung: *r, seg: s, track: t, video: &job}
}

func (p *Packager) plan(s *segment, r *live.Rung, name string, t media.Track) *plan {
	v := t.Params.(media.VideoParams)
	w, h := v.DisplaySize()
	var m rateMeter
	m.add(s.Frames(t.ID))
	pl := &plan{source: t.Params, rung: r.Video}
	pl.job, pl.ok = live.RungOf(r, name, w, h, m.result(v.FrameRate()), s.Segment.Target, p.Upscale)
	return pl
}

// sound is the output that carries a segment's sound: as it came, or as AAC when the rung
// asks for that and it is not.
func (p *Packager) sound(s *segment, r *live.Rung, t media.Track) *output {
	o := &output{rendition: live.SoundRendition(p.Entry, 1), rung: *r, audio: true, seg: s, track: t}
	if j, ok := live.AudioOf(r, o.rendition, t.Params.(media.AudioParams)); ok && p.Jobs != nil && p.Ends != nil {
		o.sound = &j
	}
	return o
}

const (
	// leadParts is how many parts before a segment its job reads: the sound in them lasts at
	// least 200 ms, however short the last one is.
	leadParts = 2
	// leadMost bounds how far back a keyframe is looked for, in parts.
	leadMost = 200
)

// lead is the first part that a job for the segment reads. The loop calls it once for each
// segment, in their order.
func (p *Packager) lead(s *segment) uint64 {
	start, known := p.leads[s.Feed]
	if s.Segment.Independent || !known || s.Last-start > leadMost {
		// Other publishes of the place are over, or begin anew.
		maps.DeleteFunc(p.leads, func(f live.Feed, _ uint64) bool { return f.FeedID == s.Feed.FeedID })
		p.leads[s.Feed] = s.First
		start = s.First
	}
	if s.Segment.Independent || s.From != 0 {
		return max(1, s.First-min(leadParts, s.First-1))
	}
	return min(start, max(1, s.First-min(leadParts, s.First-1)))
}

// claim keeps the parts of an item's segment on the media plane. Where something is encoded,
// what the next segment's job reads is kept as well.
func (p *Packager) claim(it *item, s *segment) *claim {
	last := s.Last
	for i := range it.outputs {
		if o := &it.outputs[i]; o.encoded() && o.seg == s {
			s.lead = p.lead(s)
			last = min(p.leads[s.Feed], s.Last-min(leadParts, s.Last-1)) - 1
			break
		}
	}
	return p.released.claim(s.Feed, last)
}

// jobOf is the job for one output of an item.
func jobOf(it *item, o *output, now time.Time) *live.Job {
	s := o.seg
	target := time.Duration(it.target) * time.Second
	j := &live.Job{
		Feed: s.Feed, Number: s.Number(), LeadIn: s.lead, First: s.First, Last: s.Last, From: s.From,
		Start: s.Start(), End: s.End(), Continues: !s.Final(),
		Follows: s.From == 0 && s.lead < s.First && !s.Segment.Discontinuity,
		Target:  target, Put: now, Deadline: now.Add(deadlineTargets * target),
	}
	if o.video != nil {
		j.Video = []live.VideoJob{*o.video}
	}
	return soundsOf(j, o)
}

// soundsOf adds an output's sound to its job: that of the pictures has a place of its own.
func soundsOf(j *live.Job, o *output) *live.Job {
	switch {
	case o.sound == nil:
	case o.rendition == live.SoundRendition(o.seg.Feed.Entry, 1):
		j.Audio = o.sound
	default:
		j.Sounds = []live.AudioJob{*o.sound}
	}
	return j
}

// deadlineTargets is how many target durations a rung may be late; playlists tell players to
// stay that much further back.
const deadlineTargets = 2
