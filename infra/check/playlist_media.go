package check

import (
	"path"
	"strconv"
	"strings"
	"time"
)

// mediaHistory is what the versions of one playlist so far have said.
type mediaHistory struct {
	path     string
	versions int
	last     *scannedPlaylist
	// The fields below are of the broadcast on the air.
	first     uint64 // the media sequence that was listed first
	segments  map[uint64]scannedSegment
	discs     map[uint64]uint64 // discontinuity sequence by media sequence
	names     map[string]uint64 // of all broadcasts
	dependent bool
}

// itemFact is what a rendition said first of an item.
type itemFact struct {
	path string
	pdt  time.Time
	disc uint64
	// first says that the rendition was first seen with it.
	first bool
}

// maxLead is how long before its first picture a broadcast's sound may begin.
const maxLead = 250 * time.Millisecond

func (p *Playlist) checkMedia(h *mediaHistory, s *scannedPlaylist, r reporter) {
	p.checkAlone(s, r)
	if len(s.segments) == 0 {
		r.report(RuleSyntax, "no segment")
		return
	}
	if h.last == nil || h.anotherBroadcast(s, r) {
		h.segments, h.discs, h.last, h.dependent, h.first = map[uint64]scannedSegment{}, map[uint64]uint64{}, nil, false, s.sequence
	}
	if h.last != nil {
		checkAgainstLast(h.last, s, r)
	}
	p.checkSegments(h, s, r)
	if s.independent && h.dependent {
		r.report(RuleIndependent, "EXT-X-INDEPENDENT-SEGMENTS is back")
	}
	h.dependent = h.dependent || !s.independent
	h.last = s
}

// anotherBroadcast reports whether s begins a new broadcast at the same address: its segments
// lie in another folder. Numbers go on above the old ones.
func (h *mediaHistory) anotherBroadcast(s *scannedPlaylist, r reporter) bool {
	old := h.last
	n := len(old.segments)
	if n == 0 || path.Dir(old.segments[0].uri) == path.Dir(s.segments[0].uri) {
		return false
	}
	if last := old.sequence + uint64(n) - 1; s.sequence <= last {
		r.report(RuleSequence, "a new broadcast begins with segment %d, the old one had %d", s.sequence, last)
	}
	if last := h.discs[old.sequence+uint64(n)-1]; s.discontinuity <= last {
		r.report(RuleDiscontinuity, "a new broadcast begins with discontinuity sequence %d, the old one had %d", s.discontinuity, last)
	}
	return true
}

// checkAlone holds what one version must keep.
func (p *Playlist) checkAlone(s *scannedPlaylist, r reporter) {
	need := 1
	if s.tags["#EXTINF"] > 0 {
		need = 3
	}
	if s.tags["#EXT-X-MAP"] > 0 {
		need = 6
	}
	if s.tags["#EXT-X-GAP"] > 0 { // not a tag of version 7 (RFC 8216)
		need = 8
	}
	if s.version < need {
		r.report(RuleVersion, "EXT-X-VERSION is %d, the tags need %d", s.version, need)
	}
	if s.target <= 0 {
		r.report(RuleTarget, "no EXT-X-TARGETDURATION")
	}
	if s.tags["#EXT-X-MEDIA-SEQUENCE"] == 0 || s.sequence == 0 {
		r.report(RuleSequence, "no EXT-X-MEDIA-SEQUENCE from 1")
	}
	if s.tags["#EXT-X-DISCONTINUITY-SEQUENCE"] == 0 {
		r.report(RuleDiscontinuity, "no EXT-X-DISCONTINUITY-SEQUENCE")
	}
	folder := ""
	for i, seg := range s.segments {
		seq := s.sequence + uint64(i)
		if rounded := int(seg.duration.Round(time.Second) / time.Second); rounded > s.target {
			r.report(RuleTarget, "segment %d lasts %v, the target is %d s", seq, seg.duration, s.target)
		}
		if seg.init == "" && !seg.gap && path.Ext(seg.uri) != ".ts" {
			r.report(RuleMap, "segment %d has no EXT-X-MAP", seq)
		}
		if i == 0 {
			folder = path.Dir(seg.uri)
		} else if path.Dir(seg.uri) != folder {
			r.report(RuleName, "segment %d lies in %s, others in %s", seq, path.Dir(seg.uri), folder)
		}
	}
	checkTimes(s, r)
}

// checkTimes holds PROGRAM-DATE-TIME against the durations between two discontinuities.
func checkTimes(s *scannedPlaylist, r reporter) {
	var base time.Time
	var sum time.Duration
	for i, seg := range s.segments {
		seq := s.sequence + uint64(i)
		if i == 0 || seg.disc {
			if seg.pdt.IsZero() {
				r.report(RulePDT, "segment %d begins a stretch without EXT-X-PROGRAM-DATE-TIME", seq)
			}
			if i > 0 && !seg.pdt.IsZero() && !base.IsZero() && seg.pdt.Before(base) {
				r.report(RulePDT, "segment %d lies before what went before it", seq)
			}
			base, sum = seg.pdt, 0
		}
		if !seg.pdt.IsZero() && !base.IsZero() {
			// Both ends are rounded to milliseconds, and each duration to microseconds.
			slack := time.Millisecond + time.Duration(i+1)*time.Microsecond
			if off := seg.pdt.Sub(base.Add(sum)); off.Abs() > slack {
				r.report(RulePDT, "segment %d is %v off the sum of the durations", seq, off)
				base, sum = seg.pdt, 0
			}
		}
		sum += seg.duration
	}
}

// checkAgainstLast holds what must be so between two versions.
func checkAgainstLast(old, s *scannedPlaylist, r reporter) {
	if old.target != s.target {
		r.report(RuleTarget, "the target was %d s and is %d s", old.target, s.target)
	}
	if s.sequence < old.sequence {
		r.report(RuleSequence, "the first segment was %d and is %d", old.sequence, s.sequence)
	}
	oldEnd, end := old.sequence+uint64(len(old.segments)), s.sequence+uint64(len(s.segments))
	if end < oldEnd {
		r.report(RuleSequence, "the last segment was %d and is %d", oldEnd-1, end-1)
	}
	if old.ended && (!s.ended || end != oldEnd || s.sequence != old.sequence) {
		r.report(RuleEndlist, "it changed after EXT-X-ENDLIST")
	}
	if s.sequence > old.sequence && !s.ended {
		var length time.Duration
		for _, seg := range s.segments {
			length += seg.duration
		}
		if need := 3 * time.Duration(s.target) * time.Second; length < need {
			r.report(RuleWindow, "segments left although only %v remain, %v are needed", length, need)
		}
	}
}

// checkSegments holds every segment against what was said of its number before, here and
// in other renditions.
func (p *Playlist) checkSegments(h *mediaHistory, s *scannedPlaylist, r reporter) {
	disc := s.discontinuity
	at := time.Time{}
	for i, seg := range s.segments {
		seq := s.sequence + uint64(i)
		if seg.disc {
			disc++
		}
		if !seg.pdt.IsZero() {
			at = seg.pdt
		}
		old, seen := h.segments[seq]
		if !seen {
			h.checkName(seq, seg.uri, r)
			h.segments[seq], h.discs[seq] = seg, disc
		} else {
			compareSegments(seq, old, seg, r)
			if was := h.discs[seq]; was != disc {
				r.report(RuleDiscontinuity, "segment %d had discontinuity sequence %d and has %d", seq, was, disc)
			}
		}
		p.checkAligned(seq, itemFact{h.path, at, disc, seq == h.first}, seg.gap, r)
		if !at.IsZero() {
			at = at.Add(seg.duration)
		}
	}
}

func compareSegments(seq uint64, old, seg scannedSegment, r reporter) {
	var what []string
	note := func(differs bool, name string) {
		if differs {
			what = append(what, name)
		}
	}
	note(old.uri != seg.uri, "URI")
	note(old.duration != seg.duration, "EXTINF")
	note(old.disc != seg.disc, "EXT-X-DISCONTINUITY")
	note(old.gap != seg.gap, "EXT-X-GAP")
	note(!old.pdt.IsZero() && !seg.pdt.IsZero() && !old.pdt.Equal(seg.pdt), "EXT-X-PROGRAM-DATE-TIME")
	note(old.init != seg.init && !seg.gap, "EXT-X-MAP")
	if len(what) > 0 {
		r.report(RuleImmutable, "segment %d changed its %s: it was %+v and is %+v", seq, strings.Join(what, ", "), old, seg)
	}
}

// checkAligned holds an item against what other renditions say of it.
func (p *Playlist) checkAligned(seq uint64, fact itemFact, gap bool, r reporter) {
	old, ok := p.items[seq]
	if !ok {
		p.items[seq] = fact
		return
	}
	if old.disc != fact.disc {
		r.report(RuleAligned, "segment %d has discontinuity sequence %d, in %s it has %d", seq, fact.disc, old.path, old.disc)
	}
	if gap || old.pdt.IsZero() || fact.pdt.IsZero() {
		return
	}
	limit := p.cfg.Frame
	if old.first || fact.first {
		limit = max(limit, maxLead+time.Millisecond)
	}
	if off := fact.pdt.Sub(old.pdt); off.Abs() > limit {
		r.report(RuleAligned, "segment %d is %v off the same in %s", seq, off, old.path)
	}
}

// checkName holds the name of a segment that is seen for the first time.
func (h *mediaHistory) checkName(seq uint64, uri string, r reporter) {
	start, ok := nameStart(uri)
	if !ok {
		r.report(RuleName, "segment %d is called %.80q, not <start>-<epoch>", seq, uri)
		return
	}
	if other, twice := h.names[uri]; twice {
		r.report(RuleName, "segments %d and %d are both called %s", other, seq, uri)
	}
	h.names[uri] = seq
	if before, ok := h.segments[seq-1]; ok {
		if last, ok := nameStart(before.uri); ok && start <= last {
			r.report(RuleName, "segment %d (%s) does not start after the one before it (%s)", seq, uri, before.uri)
		}
	}
}

// nameStart reads the start in µs from a segment's name.
func nameStart(uri string) (int64, bool) {
	name, _, _ := strings.Cut(path.Base(uri), ".")
	start, epoch, ok := strings.Cut(name, "-")
	n, err := strconv.ParseInt(start, 10, 64)
	_, err2 := strconv.ParseUint(epoch, 10, 64)
	return n, ok && err == nil && err2 == nil
}
