package recorder

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"klive/infra/media"
	"klive/storage/ledger"
	"klive/storage/timeline"
)

// planner cuts one broadcast into files. Planning is a function of the ledger and the
// timeline, and changes the ledger.
type planner struct {
	led     *ledger.Ledger
	session *ledger.Session
	b       *timeline.Broadcast
	// items are all of the broadcast that are needed, in order.
	items []timeline.Item
	// segment is how long a file is to be.
	segment time.Duration
	now     time.Time
	// impatient treats media that nobody has settled as if they were stored: the broadcast has
	// been over for so long that nobody will.
	impatient bool
	// remakes says that gaps of rungs are made again where their source is stored.
	remakes bool
	// say tells an operator what is not recorded and why.
	say func(text string, args ...any)
}

// run plans what can be planned, and reports whether the ledger has changed.
func (p *planner) run() (changed bool) {
	if p.session.Stopped != "" {
		return false
	}
	changed = p.tracks()
	for i := range p.session.Tracks {
		t := &p.session.Tracks[i]
		for t.Asset != "" && !t.Closed && p.next(t) {
			changed = true
		}
	}
	return changed
}

// tracks adds the live assets that the timeline names by now.
func (p *planner) tracks() (changed bool) {
	hasVideo := slices.ContainsFunc(p.b.Renditions, func(r timeline.Rendition) bool { return r.Kind == media.Video })
	for i := range p.b.Renditions {
		r := &p.b.Renditions[i]
		// Beside pictures, sound is recorded where it is a rung of its own.
		alone := !hasVideo || strings.HasSuffix(r.Name, "_"+strconv.Itoa(r.Rung.ParamsID))
		if r.Kind != media.Video && (!alone || r.Rung.Name == "" && r.Rung.AssetID == "") {
			continue
		}
		at := slices.IndexFunc(p.session.Tracks, func(t ledger.Track) bool { return t.Rendition == r.Name })
		if at < 0 {
			p.session.Tracks = append(p.session.Tracks, ledger.Track{Rendition: r.Name})
			at = len(p.session.Tracks) - 1
			changed = true
			if r.Rung.AssetID == "" {
				p.say("Kaltura names no live asset for an output, so it is not recorded; add it to the entry's conversion profile", "rendition", r.Name)
			}
		}
		if t := &p.session.Tracks[at]; t.Asset == "" && r.Rung.AssetID != "" {
			t.Asset, t.Anchor, changed = r.Rung.AssetID, slices.Contains(r.Rung.Tags, anchorTag), true
		}
		changed = p.inherit(&p.session.Tracks[at]) || changed
	}
	return changed
}

// inherit has a track go on where another one of its live asset ends: sound that begins before
// its pictures has the asset until they come, and files of an asset follow each other.
func (p *planner) inherit(t *ledger.Track) (changed bool) {
	for i := range p.session.Tracks {
		o := &p.session.Tracks[i]
		r := p.b.Rendition(o.Rendition)
		if o.Rendition == t.Rendition || t.Asset == "" || o.Asset != t.Asset || r != nil && r.Rung.AssetID == o.Asset {
			continue
		}
		p.say("pictures have come to what was sound alone; sound that is in no file yet is left out of the recording", "rendition", t.Rendition)
		t.NextSeq, o.Asset, changed = max(t.NextSeq, o.NextSeq), "", true
	}
	return changed
}

// anchorTag marks the live asset whose files count for the recording's duration (row 101).
const anchorTag = "recording_anchor"

// perSession is the recordStatus with which each broadcast has a recorded entry of its own
// (contract §4).
const perSession = 2

// next plans the track's next file if its end is decided, or closes the track. It reports
// whether it did one of them.
func (p *planner) next(t *ledger.Track) bool {
	at, _ := slices.BinarySearchFunc(p.items, t.NextSeq, func(it timeline.Item, seq uint64) int {
		return int(int64(it.Seq) - int64(seq))
	})
	run := &run{planner: p, track: t, from: -1}
	for i := at; i < len(p.items); i++ {
		use, settled := p.usable(t, &p.items[i])
		if !settled {
			return false // the store, or the spool in front of it, has not said yet
		}
		if run.from >= 0 && use.video && run.ends(i, use) {
			run.plan(false)
			return true
		}
		run.take(i, use)
	}
	if !p.b.Ended {
		return false
	}
	t.Closed = true
	if run.from >= 0 {
		run.cut = "the broadcast is over"
		run.plan(true)
	} else {
		run.tellBefore()
	}
	return true
}

// use is what a track has of an item.
type use struct {
	video, audio         bool // there are media, or will be
	key                  bool // it can be decoded without what lies before it
	remake               bool // its pictures are to be made again
	mute                 bool // the sound that goes with it is a gap
	videoInit, audioInit int
	audioName            string
}

// usable tells what of an item can be recorded; settled is false while that is not known.
func (p *planner) usable(t *ledger.Track, it *timeline.Item) (u use, settled bool) {
	r := p.b.Rendition(t.Rendition)
	u.key = !it.Dependent // of rungs too, so that all assets are cut alike
	main := it.Of(t.Rendition)
	if main != nil && !main.Settled() && !p.impatient {
		return u, false
	}
	if main != nil && !main.Gap {
		u.video, u.videoInit = true, main.Init
	}
	if s := sourceOf(p.b, it, main); s != nil && p.remakes {
		if !s.Settled() && !p.impatient {
			return u, false
		}
		u.video, u.remake = true, true
	}
	if r == nil || r.Audio == "" || r.Audio == t.Rendition {
		return u, true
	}
	sound := it.Of(r.Audio)
	if sound != nil && !sound.Settled() && !p.impatient {
		return u, false
	}
	if sound != nil && !sound.Gap {
		u.audio, u.audioInit, u.audioName = true, sound.Init, r.Audio
	}
	u.mute = sound != nil && sound.Gap
	return u, true
}

// run is a file that is being put together.
type run struct {
	*planner
	track    *ledger.Track
	from, to int // items, from < 0: there is none yet
	length   time.Duration
	first    use
	cut      string
	split    bool
	before   int // gaps in front of the first item
	gaps     int
	remake   int
}

// take adds the item. A file begins with one that has media and begins with a keyframe; later
// ones may lack either.
func (r *run) take(i int, u use) {
	if r.from < 0 {
		if u.video && !u.key {
			r.say("pictures before a keyframe are left out of a recording: nothing can decode them", "rendition", r.track.Rendition, "from", r.items[i].Start.Std())
		}
		if d := r.b.Rendition(r.track.Rendition); !u.video && d != nil && d.First > 0 && d.First <= r.items[i].Seq {
			r.before++
		}
		if !u.video || !u.key {
			return
		}
		r.from, r.first = i, u
	}
	if u.video && !u.mute && r.first.mute {
		// The file began with a gap in its sound: what comes next says whether it has any.
		r.first.mute, r.first.audio, r.first.audioInit, r.first.audioName = false, u.audio, u.audioInit, u.audioName
	}
	switch {
	case !u.video:
		r.gaps++
	case u.remake:
		r.remake++
	case r.first.videoInit == 0:
		r.first.videoInit = u.videoInit // the first that was made in its time
	}
	if u.video && u.mute {
		r.gaps++
	}
	r.to = i
	r.length += r.items[i].Duration
}

// ends reports whether the file must end before an item that has media.
func (r *run) ends(i int, u use) bool {
	it := &r.items[i]
	switch {
	case u.videoInit != r.first.videoInit && u.videoInit > 0 && r.first.videoInit > 0 || u.audio && r.first.audio && u.audioInit != r.first.audioInit:
		r.cut = "the codec's parameters change"
	case !u.key:
		return false // the next file must begin with a keyframe
	case u.audio != r.first.audio && !u.mute && !r.first.mute:
		r.cut = "sound begins or ends"
	case slices.ContainsFunc(r.session.Splits, func(at media.Time) bool { return at > r.items[r.from].Start && at <= it.Start }):
		r.cut, r.split = "a split was asked for", true
	case r.length >= r.segment || 2*(r.segment-r.length) <= it.Duration:
		r.cut = "it is as long as files are"
	default:
		return false
	}
	return true
}

// tellBefore tells of gaps that are in no file.
func (r *run) tellBefore() {
	if r.before > 0 {
		r.say("segments could not be had or stored before a recording could begin; they are in no file", "rendition", r.track.Rendition, "segments", r.before)
	}
}

// plan puts the file into the ledger.
func (r *run) plan(last bool) {
	from, to := &r.items[r.from], &r.items[r.to]
	r.tellBefore()
	if r.gaps > 0 {
		r.say("segments are missing in a recording; its last picture stands meanwhile, or it is silent", "rendition", r.track.Rendition, "segments", r.gaps, "from", from.Start.Std())
	}
	f := r.led.Plan(ledger.File{
		Asset: r.track.Asset, Index: r.session.Index, Partner: r.session.Partner, Broadcast: r.b.ID,
		Rendition: r.track.Rendition, Audio: r.first.audioName, Anchor: r.track.Anchor,
		FirstSeq: from.Seq, LastSeq: to.Seq, Start: from.Start, Duration: r.length,
		Fresh: r.track.NextSeq == 0 && r.session.Record == perSession,
		Last:  last, Cut: r.cut, Split: r.split, Lost: r.gaps, Remake: r.remake,
	}, r.now)
	r.track.NextSeq = to.Seq + 1
	if f.Duration <= 0 {
		f.State, f.Reason = ledger.Skipped, "it has no length (row 95)"
	}
}

// stop ends the recording of a session in words: what is not appended yet never is.
func stop(l *ledger.Ledger, broadcast, reason string, now time.Time) {
	s := l.Session(broadcast)
	if s != nil {
		s.Stopped = reason
	}
	for i := range l.Files {
		if f := &l.Files[i]; f.Broadcast == broadcast && !f.Settled() && f.State != ledger.Appending {
			f.State, f.Reason, f.Changed = ledger.Skipped, reason, now
		}
	}
}

// closed reports whether nothing more will be planned of a session.
func closed(s *ledger.Session, b *timeline.Broadcast) bool {
	if b == nil || s.Stopped != "" {
		return b == nil || b.Ended // until then it keeps the broadcast from being begun anew
	}
	return b.Ended && !slices.ContainsFunc(s.Tracks, func(t ledger.Track) bool { return t.Asset != "" && !t.Closed })
}

// describeFile names a file in logs.
func describeFile(f *ledger.File) []any {
	return []any{"file", f.ID(), "items", fmt.Sprintf("%d-%d", f.FirstSeq, f.LastSeq), "duration", f.Duration}
}
