package packager

import (
	"cmp"
	"slices"
	"time"

	"klive/infra/live"
	"klive/infra/media"
)

// item is one slot of the grid on its way to the timeline.
type item struct {
	// final asks for the end of the broadcast; the other fields are then empty.
	final         bool
	start, end    media.Time
	discontinuity bool
	independent   bool
	target        int // seconds
	dvr           time.Duration
	outputs       []output
	segments      []*segment // what the outputs are made of
	claims        []*claim   // on the segments' parts
	size          int        // bytes of the segments
	// gap says why the item has no media; empty when it has. joins is then where each
	// rendition goes on behind it, as far as that is known.
	gap   string
	joins map[string]media.Time
}

// output is one rendition's share of an item.
type output struct {
	rendition string
	rung      live.Rung
	groups    []string
	audio     bool
	seg       *segment
	track     media.Track
	// video or sound is set when it is encoded.
	video *live.VideoJob
	sound *live.AudioJob
}

// encoded reports whether transcode workers make it.
func (o *output) encoded() bool { return o.video != nil || o.sound != nil }

// alignment is how far the starts of two feeds' segments may lie apart in one slot, however
// short the segments are.
const alignment = 500 * time.Millisecond

// minHole is the shortest hole within a publish that gets gap items; maxGapItems bounds
// them, a longer hole becomes a discontinuity.
const (
	minHole     = 100 * time.Millisecond
	maxGapItems = 30
)

// assemble makes all the items that can be made now. With all set it waits for nothing.
func (p *Packager) assemble(now time.Time, all bool) {
	p.flushDead(now)
	for {
		p.choose(now)
		p.prune()
		slot := p.slot(now, all)
		if slot == nil {
			return
		}
		p.adopt(slot)
	}
}

// slot takes the segments of the next slot of the grid from the feeds: one of each bitrate,
// lowest suffix first. It is nil while there are none, or while others are worth waiting for.
func (p *Packager) slot(now time.Time, all bool) []*segment {
	feeds := p.of(p.choice.index)
	var lead *segment
	for _, f := range feeds {
		if len(f.ready) > 0 && (lead == nil || f.ready[0].Start() < lead.Start()) {
			lead = f.ready[0]
		}
	}
	if lead == nil {
		return nil
	}
	limit := lead.Start().Add(max(lead.Duration()/2, alignment))
	first := now
	var members []*feed
	for _, f := range feeds {
		if len(f.ready) > 0 && f.ready[0].Start() <= limit {
			members = append(members, f)
			if f.ready[0].done.Before(first) {
				first = f.ready[0].done
			}
		}
	}
	// Segments of feeds that have ended may be short: then the others are still being made.
	short := !slices.ContainsFunc(members, func(f *feed) bool { return !f.ready[0].last() })
	if !all && (short || now.Sub(first) < p.SlotWait) && slices.ContainsFunc(feeds, func(f *feed) bool { return p.expected(f, limit, now) }) {
		return nil
	}
	// Where feeds end, the other index may be about to be entered in this place.
	if !all && short && now.Sub(first) < p.SlotWait && slices.ContainsFunc(p.of(1-p.choice.index), func(f *feed) bool {
		return f.flowing(now, p.FailoverAfter) && p.undecided(f)
	}) {
		return nil
	}
	slot := make([]*segment, len(members))
	for i, f := range members {
		slot[i], f.ready = f.ready[0], f.ready[1:]
	}
	return slot
}

// expected reports whether a feed without a ready segment is about to have one that begins
// before limit.
func (p *Packager) expected(f *feed, limit media.Time, now time.Time) bool {
	if len(f.ready) > 0 {
		return false
	}
	if !f.flowing(now, p.FailoverAfter) {
		return false
	}
	if !f.heard {
		return true
	}
	if f.open != nil {
		return f.open.Start() <= limit
	}
	return (f.record.Alive(now) || f.closing(now, p.FailoverAfter)) && p.end.feeds[f.publish()]
}

// adopt turns a slot into an item, with gap items before it when the publish lost something.
func (p *Packager) adopt(slot []*segment) {
	base := baseOf(slot)
	it := &item{
		start: base.Start(), end: base.End(), independent: true,
		target:   int((base.Segment.Target + time.Second - 1) / time.Second),
		outputs:  p.outputs(slot),
		segments: slot,
	}
	if f := p.feeds[base.Feed.FeedID]; f != nil {
		it.dvr = f.record.Grant.DVRWindow
	}
	known := false
	for i := range it.outputs {
		o := &it.outputs[i]
		from, ok := p.tracks[o.rendition]
		known = known || ok
		if ok && (from != o.seg.Feed || o.seg.Segment.Discontinuity) {
			it.discontinuity = true
		}
		if !o.audio {
			it.independent = it.independent && (o.seg.Segment.Independent || o.seg.From != 0)
		}
	}
	it.discontinuity = it.discontinuity || !known
	for _, s := range slot {
		it.size += s.Size()
	}
	if hole := it.start.Sub(p.end.at); known && !it.discontinuity && hole >= minHole {
		it.discontinuity = !p.fill(it)
	}
	p.enqueue(it)
	p.choice.fixed = true
	p.adopted++
	clear(p.end.feeds)
	for _, o := range it.outputs {
		p.tracks[o.rendition] = o.seg.Feed
		p.end.feeds[o.seg.Feed] = true
	}
	p.end.at, p.end.target = it.end, it.target
}

// baseOf returns the segment that gives the item its time: the lowest bitrate's that was
// not cut short by the end of its feed.
func baseOf(slot []*segment) *segment {
	longest := slices.MaxFunc(slot, func(a, b *segment) int { return cmp.Compare(a.Duration(), b.Duration()) })
	return slot[slices.IndexFunc(slot, func(s *segment) bool { return s.Duration() > longest.Duration()/2 })]
}

// fill covers the hole before an item with gap items; false when it is too long for that.
func (p *Packager) fill(next *item) bool {
	step := time.Duration(max(1, p.end.target)) * time.Second
	hole := next.start.Sub(p.end.at)
	if hole > maxGapItems*step {
		return false
	}
	p.log.Warn("media of a running feed was lost; the playlists show a gap", "duration", hole)
	// They are of one length: a last one of what a step leaves over could be too short to be one.
	from, n := p.end.at, (hole+step-1)/step
	for i := range n {
		it := &item{start: p.end.at, end: from.Add(hole * (i + 1) / n), independent: true, target: p.end.target, dvr: next.dvr, gap: "lost"}
		if i == n-1 {
			it.joins, _ = spans(next.outputs)
		}
		p.Metrics.gaps.WithLabelValues("lost").Inc()
		p.enqueue(it)
		p.end.at = it.end
	}
	return true
}

// enqueue puts an item on the way to the writer. When too much waits for the store, the
// item goes without its media.
func (p *Packager) enqueue(it *item) {
	if it.size > 0 && p.backlogBytes+it.size > p.MaxBacklogBytes {
		p.log.Error("the store does not keep up; a segment is given up", "start", it.start.Std(), "waiting", len(p.backlog))
		p.Metrics.gaps.WithLabelValues("backlog").Inc()
		for _, s := range it.segments {
			p.released.drop(s)
		}
		_, it.joins = spans(it.outputs)
		it.gap, it.outputs, it.segments, it.size = "backlog", nil, nil, 0
	}
	for _, s := range it.segments {
		it.claims = append(it.claims, p.claim(it, s))
	}
	p.backlog, p.backlogBytes = append(p.backlog, it), p.backlogBytes+it.size
}

// outputs lists the renditions that the slot's segments make: each rung of each bitrate's
// ladder, and the audio of the lowest bitrate that has any.
func (p *Packager) outputs(slot []*segment) []output {
	var out []output
	var audio *output
	for _, s := range slot {
		grant := &p.feeds[s.Feed.FeedID].record.Grant
		ladder := &grant.Ladder
		for i := range ladder.Rungs {
			r := &ladder.Rungs[i]
			name := r.Rendition(p.Entry)
			if r.Video.Mode == live.ModeEncode {
				if o := p.encode(s, r, name); o != nil && !slices.ContainsFunc(out, func(o output) bool { return o.rendition == name }) {
					o.groups = groups(ladder, r)
					out = append(out, *o)
				}
			} else if t, ok := s.Track(media.Video); ok && r.PassThrough() && !slices.ContainsFunc(out, func(o output) bool { return o.rendition == name }) {
				out = append(out, output{rendition: name, rung: *r, groups: groups(ladder, r), seg: s, track: t})
			}
			if t, ok := s.Track(media.Audio); ok && r.Audio.Mode != live.ModeDisable {
				if audio == nil {
					audio = p.sound(s, r, t)
				}
				if audio.seg == s {
					audio.groups = union(audio.groups, groups(ladder, r))
				}
			}
		}
	}
	if audio == nil {
		if silent := p.silence(slot, out); silent != nil {
			out = append(out, *silent)
		}
		return out
	}
	alone := p.soundRungs(slot, len(out) > 0)
	if len(out) > 0 {
		audio.rung = live.Rung{}
	}
	for _, o := range out {
		audio.groups = union(audio.groups, o.groups)
	}
	out = append(append(out, *audio), p.others(audio)...)
	return append(out, alone...)
}

// soundRungs lists the rungs that are sound without pictures, each under its own name. Where the
// feed has no pictures either, the first one's sound is the broadcast's already.
func (p *Packager) soundRungs(slot []*segment, pictures bool) (out []output) {
	first := !pictures
	for _, s := range slot {
		ladder := &p.feeds[s.Feed.FeedID].record.Grant.Ladder
		t, ok := s.Track(media.Audio)
		if !ok {
			continue
		}
		for i := range ladder.Rungs {
			r := &ladder.Rungs[i]
			if r.Audio.Mode == live.ModeDisable {
				continue
			}
			stands := first
			first = false
			name := r.Rendition(p.Entry)
			if stands || r.Video.Mode != live.ModeDisable || slices.ContainsFunc(out, func(o output) bool { return o.rendition == name }) {
				continue
			}
			o := p.sound(s, r, t)
			o.rendition, o.groups = name, groups(ladder, r)
			if o.sound != nil {
				o.sound.Rendition = name
			}
			out = append(out, *o)
		}
	}
	return out
}

// others lists what is made of the other tracks of sound beside the first, each as it came: other
// languages, say. A track that has become the first, because the one before it fell silent, goes
// on under its own name too.
func (p *Packager) others(first *output) (out []output) {
	for _, t := range first.seg.Segment.Tracks {
		name := live.SoundRendition(p.Entry, int(t.ID))
		_, known := p.tracks[name]
		if t.Params.Kind() != media.Audio || name == first.rendition || t.ID == first.track.ID && !known {
			continue
		}
		codec := first.track.Params.Codec()
		if first.sound != nil {
			codec = "AAC"
		}
		if t.Params.Codec() != codec {
			p.once(name, "a track of sound is coded otherwise than the first; HLS playlists don't list it, DASH manifests and its own address do",
				"rendition", name, "codec", t.Params.Codec(), "first", codec)
		}
		out = append(out, output{rendition: name, groups: first.groups, audio: true, seg: first.seg, track: t})
	}
	return out
}

// groups names the playlist groups that list the rung.
func groups(l *live.Ladder, r *live.Rung) []string {
	out := union([]string{"all"}, r.Tags)
	for _, g := range l.Groups {
		if l.InGroup(r, g.Name) {
			out = union(out, []string{g.Name})
		}
	}
	return out
}

func union(a, b []string) []string {
	for _, s := range b {
		if !slices.Contains(a, s) {
			a = append(a, s)
		}
	}
	return a
}

// once logs a line about what is left out, the first time for each key.
func (p *Packager) once(key, text string, args ...any) {
	if !p.Said[key] {
		p.Said[key] = true
		p.log.Warn(text, args...)
	}
}
