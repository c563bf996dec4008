package ledger

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	"klive/infra/media"
)

// Ledger is all that is known of an entry's recordings.
type Ledger struct {
	Version int    `json:"v"`
	Entry   string `json:"entry"`
	// Epoch is the fence: it counts the recorders that have claimed the ledger. Owner names the
	// one that did last, WriteID its last write.
	Epoch   uint64 `json:"epoch"`
	Owner   string `json:"owner,omitempty"`
	WriteID string `json:"writeId,omitempty"`
	// RecordedEntry is the VOD that Kaltura said the recordings go to; empty when it is not known.
	RecordedEntry string `json:"recordedEntry,omitempty"`
	// Next holds the next number of a file for each [File.Series]. Numbers never go back.
	Next map[string]int `json:"next,omitempty"`
	// Sessions are the broadcasts that are being recorded or cut, oldest first.
	Sessions []Session `json:"sessions,omitempty"`
	// Done are the broadcasts whose sessions are over, the newest last: none is recorded twice.
	Done []string `json:"done,omitempty"`
	// Files are in the order in which they were planned; the files of a series are appended in
	// that order.
	Files []File `json:"files,omitempty"`
	// Kept are confirmed files that are older than those that are named, oldest first in each series.
	Kept []Kept `json:"kept,omitempty"`
}

// Session is one broadcast that is recorded, until its last files are planned.
type Session struct {
	Broadcast string `json:"broadcast"`
	Partner   int    `json:"partner"`
	// Record is the entry's recordStatus (contract §4) when the session began.
	Record int `json:"record"`
	// Index is the server index under which the files are appended, 0 is the primary.
	Index int `json:"index,omitempty"`
	// Stopped says in words why the session is not recorded any further; empty while it is.
	Stopped string `json:"stopped,omitempty"`
	// Splits are the instants at or after which files must end (splitRecordingNow).
	Splits []media.Time `json:"splits,omitempty"`
	Tracks []Track      `json:"tracks,omitempty"`
}

// Track is one live asset of a session.
type Track struct {
	// Asset is the live asset's id; empty when Kaltura told none, and then nothing is recorded.
	Asset     string `json:"asset"`
	Rendition string `json:"rendition"`
	Anchor    bool   `json:"anchor,omitempty"`
	// NextSeq is the timeline's item with which the next file begins; 0 before the first.
	NextSeq uint64 `json:"nextSeq,omitempty"`
	// Closed is set with the last file of the track.
	Closed bool `json:"closed,omitempty"`
}

// State is where a file is on its way.
type State string

// The states of a file, in order; a file is settled when it is confirmed or skipped.
const (
	Planned   State = "planned"   // its items are decided
	Uploaded  State = "uploaded"  // its MP4 rests in storage
	Appending State = "appending" // Kaltura was, or was about to be, told; the outcome is not known
	Confirmed State = "confirmed" // Kaltura has it
	Parked    State = "parked"    // an operator must say how to go on; later files of the series wait
	Skipped   State = "skipped"   // it is not appended, Reason says why
)

// File is one MP4 of one live asset.
type File struct {
	Asset     string `json:"asset"`
	Index     int    `json:"index,omitempty"`
	N         int    `json:"n"`
	Partner   int    `json:"partner"`
	Broadcast string `json:"broadcast"`
	// Rendition is the picture's (or of a broadcast without pictures the sound's), Audio that of
	// the sound that goes with it; empty when there is none.
	Rendition string `json:"rendition"`
	Audio     string `json:"audio,omitempty"`
	Anchor    bool   `json:"anchor,omitempty"`
	// FirstSeq to LastSeq are the timeline's items. Start is where the first begins, Duration the
	// sum of their durations.
	FirstSeq uint64        `json:"firstSeq"`
	LastSeq  uint64        `json:"lastSeq"`
	Start    media.Time    `json:"start"`
	Duration time.Duration `json:"duration"`
	// Last is set on the file with which the asset's session ends (isLastChunk).
	Last bool `json:"last,omitempty"`
	// Fresh is set on the file with which a recorded entry of its own begins (PER_SESSION): the
	// duration before it says nothing of the one after it.
	Fresh bool `json:"fresh,omitempty"`
	// Cut says why the file ends where it does, for people. Split asks for media.cancelReplace.
	Cut   string `json:"cut,omitempty"`
	Split bool   `json:"split,omitempty"`

	State  State  `json:"state"`
	Reason string `json:"reason,omitempty"`
	// Size is the MP4's in bytes, once uploaded.
	Size int64 `json:"size,omitempty"`
	// Token is the upload token that Kaltura has the whole file under.
	// TokenAt is when that was.
	Token   string    `json:"token,omitempty"`
	TokenAt time.Time `json:"tokenAt,omitzero"`
	// Attempts counts the calls that were begun for the present append. Before is what the live
	// entry's msDuration was when the first of them was, -1 when that is not known.
	Attempts int   `json:"attempts,omitempty"`
	Before   int64 `json:"before,omitempty"`
	// Lost counts the items whose media were missing. Remake is how many more are to be made again
	// before the file is written, Remade how many were.
	Lost    int       `json:"lost,omitempty"`
	Remake  int       `json:"remake,omitempty"`
	Remade  int       `json:"remade,omitempty"`
	Changed time.Time `json:"changed"`
}

// Series tells the files that Kaltura joins: the asset and the server index.
func (f *File) Series() string { return Series(f.Asset, f.Index) }

// Series is the key of [Ledger.Next].
func Series(asset string, index int) string { return asset + "." + strconv.Itoa(index) }

// Name is the MP4's file name (contract row 89).
func (f *File) Name(entry string) string {
	return fmt.Sprintf("%s.%s.%d_%d.mp4", entry, f.Asset, f.Index, f.N)
}

// Key is where the MP4 rests in the store of recordings.
func (f *File) Key(entry string) string { return "recordings/" + f.Name(entry) }

// ID names the file to operators: "<asset>.<index>_<n>".
func (f *File) ID() string { return f.Series() + "_" + strconv.Itoa(f.N) }

// Settled reports whether nothing more will be told of the file.
func (f *File) Settled() bool { return f.State == Confirmed || f.State == Skipped }

// Written reports whether the file needs no more media of the timeline.
func (f *File) Written() bool { return f.Settled() || f.Size > 0 }

// File returns the file with the given id, or nil.
func (l *Ledger) File(id string) *File {
	for i := range l.Files {
		if l.Files[i].ID() == id {
			return &l.Files[i]
		}
	}
	return nil
}

// Session returns the session of a broadcast, or nil.
func (l *Ledger) Session(broadcast string) *Session {
	for i := range l.Sessions {
		if l.Sessions[i].Broadcast == broadcast {
			return &l.Sessions[i]
		}
	}
	return nil
}

// Finish ends a session: its broadcast is not recorded again.
func (l *Ledger) Finish(broadcast string) {
	l.Sessions = slices.DeleteFunc(l.Sessions, func(s Session) bool { return s.Broadcast == broadcast })
	l.Done = append(l.Done, broadcast)
	l.Done = l.Done[max(0, len(l.Done)-maxSessions):]
}

// Knows reports whether a broadcast is, or was, recorded.
func (l *Ledger) Knows(broadcast string) bool {
	return l.Session(broadcast) != nil || slices.Contains(l.Done, broadcast)
}

// Due returns the file of a series that is to be appended next: the first that is not settled.
func (l *Ledger) Due(series string) *File {
	for i := range l.Files {
		if f := &l.Files[i]; !f.Settled() && f.Series() == series {
			return f
		}
	}
	return nil
}

// AllDue returns the file that is to be appended next of each series that has one, in the ledger's order.
func (l *Ledger) AllDue() (due []*File) {
	type series struct {
		asset string
		index int
	}
	seen := map[series]bool{}
	for i := range l.Files {
		f := &l.Files[i]
		if s := (series{f.Asset, f.Index}); !f.Settled() && !seen[s] {
			seen[s] = true
			due = append(due, f)
		}
	}
	return due
}

// Unfinished reports whether a recorder has something to do: a session that is open, or a file
// that is neither settled nor waits for an operator.
func (l *Ledger) Unfinished() bool {
	if len(l.Sessions) > 0 {
		return true
	}
	blocked := map[string]bool{}
	for i := range l.Files {
		f := &l.Files[i]
		switch {
		case f.Settled():
		case f.State == Parked:
			blocked[f.Series()] = true
		case !f.Written() || !blocked[f.Series()]:
			return true
		}
	}
	return false
}

// Floor is the instant before which no media are needed any more for recordings: that of the
// first item that is to be cut or is not in an MP4 yet. ok is false when nothing is needed.
// start tells where an item of a broadcast begins; of what it does not know nothing is needed.
func (l *Ledger) Floor(start func(broadcast string, seq uint64) (media.Time, bool)) (at media.Time, ok bool) {
	need := func(t media.Time) {
		if !ok || t < at {
			at, ok = t, true
		}
	}
	for i := range l.Files {
		if f := &l.Files[i]; !f.Written() {
			need(f.Start)
		}
	}
	for i := range l.Sessions {
		s := &l.Sessions[i]
		if s.Stopped != "" {
			continue
		}
		if len(s.Tracks) == 0 {
			if t, known := start(s.Broadcast, 0); known {
				need(t)
			}
		}
		for _, t := range s.Tracks {
			if t.Closed || t.Asset == "" {
				continue
			}
			if from, known := start(s.Broadcast, t.NextSeq); known {
				need(from)
			}
		}
	}
	return at, ok
}

// Plan adds a file of a track and gives it its number. The items after it are the track's next.
func (l *Ledger) Plan(f File, now time.Time) *File {
	if l.Next == nil {
		l.Next = map[string]int{}
	}
	f.N, f.State, f.Changed = l.Next[f.Series()], Planned, now
	l.Next[f.Series()]++
	l.Files = append(l.Files, f)
	return &l.Files[len(l.Files)-1]
}

// Forget drops settled files, whose MP4s are gone or stay for good.
func (l *Ledger) Forget(ids ...string) {
	which := set(ids)
	l.Files = slices.DeleteFunc(l.Files, func(f File) bool { return f.Settled() && which[f.ID()] })
}

// clone returns a copy that shares nothing.
func (l *Ledger) clone() *Ledger {
	n := *l
	n.Next, n.Done = maps.Clone(l.Next), slices.Clone(l.Done)
	n.Files, n.Kept = slices.Clone(l.Files), slices.Clone(l.Kept)
	n.Sessions = slices.Clone(l.Sessions)
	for i := range n.Sessions {
		n.Sessions[i].Tracks = slices.Clone(n.Sessions[i].Tracks)
		n.Sessions[i].Splits = slices.Clone(n.Sessions[i].Splits)
	}
	return &n
}

// ErrDamaged is returned for a ledger that can't be read or contradicts itself. Nothing is
// appended, and no media of the entry expire, until it is put right.
var ErrDamaged = errors.New("ledger: the stored ledger is damaged; bring it back from a copy, or repair what is named")

// ErrVersion is returned for a ledger that a newer release wrote.
var ErrVersion = errors.New("ledger: unknown version; a newer release writes this ledger, upgrade this process")

// ErrFull is returned to whoever would add to a ledger that has as many files as it may. It says what to do.
var ErrFull = errors.New("ledger: as many recorded files wait for Kaltura as may; nothing more is recorded of this entry " +
	"until some are handed over or given up (klive recording list, retry, skip)")

// Limits of a ledger.
const (
	// MaxFiles bounds the files that are named, most of which are not settled then: those of 40 days of five assets
	// without a break.
	MaxFiles    = 20_000
	maxSessions = 64
	maxTracks   = 64
	// MaxSplits bounds the splits that wait for their item.
	MaxSplits = 100
)

// check holds a ledger against itself: people edit what they can open.
func (l *Ledger) check(entry string) error {
	bad := func(format string, args ...any) error {
		return fmt.Errorf("%w: %s: "+format, append([]any{ErrDamaged, Key(entry)}, args...)...)
	}
	switch {
	case l.Entry != entry:
		return bad("it is of entry %.60q", l.Entry)
	case len(l.Sessions) > maxSessions || len(l.Kept) > maxKept:
		return bad("%d sessions and %d runs of kept files are more than %d and %d", len(l.Sessions), len(l.Kept), maxSessions, maxKept)
	}
	for i, k := range l.Kept {
		if !validAsset(k.Asset) || k.Index < 0 || k.Index > 1 || k.From < 0 || k.To < k.From || k.To-k.From >= keptRun || k.To >= l.Next[Series(k.Asset, k.Index)] {
			return bad("run %d of kept files: %+v can't be", i, k)
		}
	}
	last := map[string]*File{}
	for i := range l.Files {
		f := &l.Files[i]
		if err := f.check(entry); err != nil {
			return bad("file %d (%.80s): %w", i, f.ID(), err)
		}
		before := last[f.Series()]
		if before != nil && f.N <= before.N {
			return bad("file %s stands behind %s", f.ID(), before.ID())
		}
		if before != nil && f.Broadcast == before.Broadcast && f.FirstSeq <= before.LastSeq {
			return bad("files %s and %s both hold item %d", before.ID(), f.ID(), f.FirstSeq)
		}
		if f.N >= l.Next[f.Series()] {
			return bad("the next number of %s is %d, but file %s has been given", f.Series(), l.Next[f.Series()], f.ID())
		}
		last[f.Series()] = f
	}
	seen := map[string]bool{}
	for i := range l.Sessions {
		s := &l.Sessions[i]
		if s.Broadcast == "" || seen[s.Broadcast] || len(s.Tracks) > maxTracks || len(s.Splits) > MaxSplits {
			return bad("session %d has no broadcast, one that is there twice, or more than %d tracks or %d splits", i, maxTracks, MaxSplits)
		}
		seen[s.Broadcast] = true
		for _, t := range s.Tracks {
			f := last[Series(t.Asset, s.Index)]
			if f != nil && t.Asset != "" && f.Broadcast == s.Broadcast && t.NextSeq <= f.LastSeq {
				return bad("the next item of %s is %d, but file %s holds up to %d", t.Asset, t.NextSeq, f.ID(), f.LastSeq)
			}
		}
	}
	return nil
}

func (f *File) check(entry string) error {
	switch f.State {
	case Planned, Uploaded, Appending, Confirmed, Parked, Skipped:
	default:
		return fmt.Errorf("state %.20q is none of planned, uploaded, appending, confirmed, parked, skipped", f.State)
	}
	switch {
	case !validAsset(f.Asset) || f.Index < 0 || f.Index > 1 || f.N < 0:
		return fmt.Errorf("asset %.40q, index %d or number %d can't be", f.Asset, f.Index, f.N)
	case f.FirstSeq == 0 || f.LastSeq < f.FirstSeq || f.Duration < 0 || f.Size < 0 || f.Remake < 0:
		return fmt.Errorf("items %d to %d, duration %v or size %d can't be", f.FirstSeq, f.LastSeq, f.Duration, f.Size)
	case (f.State == Uploaded || f.State == Appending) && f.Size == 0:
		return fmt.Errorf("state %s without a size", f.State)
	case f.Broadcast == "" || f.Rendition == "":
		return errors.New("it has no broadcast or no rendition")
	}
	return nil
}

// validAsset keeps asset ids fit for file names.
func validAsset(id string) bool {
	return id != "" && len(id) <= 40 && !strings.ContainsFunc(id, func(c rune) bool {
		return (c < '0' || c > '9') && (c < 'a' || c > 'z') && (c < 'A' || c > 'Z') && c != '_'
	})
}
