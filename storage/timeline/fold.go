package timeline

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"klive/infra/media"
)

// ErrHole is returned by [State.Apply] when records are missing between the state and the
// record: load the head again.
var ErrHole = errors.New("timeline: records are missing before this one")

// Limits of a timeline.
const (
	maxRenditions = 64
	maxTarget     = 60   // seconds
	maxRuns       = 4096 // of a broadcast, 50 bytes each in the head
)

// New returns the timeline of an entry that never was on the air.
func New(entry string) *State {
	return &State{Version: wireVersion, Entry: entry, NextSeq: 1, NextDiscontinuity: 1}
}

// Current returns the latest broadcast, or nil.
func (s *State) Current() *Broadcast {
	if len(s.Broadcasts) == 0 {
		return nil
	}
	return s.Broadcasts[len(s.Broadcasts)-1]
}

// Rendition returns the rendition with the given name, or nil.
func (b *Broadcast) Rendition(name string) *Rendition {
	for i := range b.Renditions {
		if b.Renditions[i].Name == name {
			return &b.Renditions[i]
		}
	}
	return nil
}

// Of returns the item's media in a rendition, or nil.
func (it *Item) Of(rendition string) *Media {
	for i := range it.Media {
		if it.Media[i].Rendition == rendition {
			return &it.Media[i]
		}
	}
	return nil
}

// Settled reports whether all media of the item are stored or gaps.
func (it *Item) Settled() bool {
	return !slices.ContainsFunc(it.Media, func(m Media) bool { return !m.Settled() })
}

// End is where the item ends on the media clock.
func (it *Item) End() media.Time { return it.Start.Add(it.Duration) }

// Apply folds the record at log position seq in and returns the new state; s stays as it
// is. A record that is in the state already, or whose writer has been fenced, changes
// nothing but the position. The error wraps ErrHole when records are missing and ErrRecord
// when the record can't be.
func (s *State) Apply(e Envelope, seq uint64) (*State, error) {
	// The chain comes first: in a log that was made anew, numbers begin again.
	if e.Prev != s.LogSeq {
		if seq <= s.LogSeq {
			return s, nil
		}
		return nil, fmt.Errorf("%w: it follows %d, the state stands at %d", ErrHole, e.Prev, s.LogSeq)
	}
	n := *s
	n.Broadcasts = slices.Clone(s.Broadcasts)
	n.LogSeq = seq
	if e.Epoch < s.Epoch {
		return &n, nil
	}
	if _, claim := e.Record.(*Claimed); !claim && e.Epoch != s.Epoch {
		return nil, bad("epoch %d writes but epoch %d holds the claim", e.Epoch, s.Epoch)
	}
	if err := n.fold(e); err != nil {
		return nil, err
	}
	return &n, nil
}

func (s *State) fold(e Envelope) error {
	switch r := e.Record.(type) {
	case *Claimed:
		return s.claim(e.Epoch, r)
	case *Started:
		return s.start(r)
	case *Described:
		return s.describe(r)
	case *Adopted:
		return s.adopt(r)
	case *Stored:
		return s.store(r)
	case *Closed:
		return s.closeChapter(r)
	case *Ended:
		return s.end(r)
	case *Expired:
		return s.expire(r)
	}
	return bad("unknown type %T", e.Record)
}

func bad(format string, args ...any) error {
	return fmt.Errorf("%w: "+format, append([]any{ErrRecord}, args...)...)
}

// edit gives the i-th broadcast of a state that is being made a copy of its own. Slices
// in it are still shared.
func (s *State) edit(i int) *Broadcast {
	b := *s.Broadcasts[i]
	s.Broadcasts[i] = &b
	return &b
}

// open returns the current broadcast for changing.
func (s *State) open() (*Broadcast, error) {
	if b := s.Current(); b == nil || b.Ended {
		return nil, bad("no broadcast is open")
	}
	return s.edit(len(s.Broadcasts) - 1), nil
}

func (s *State) index(broadcast string) int {
	return slices.IndexFunc(s.Broadcasts, func(b *Broadcast) bool { return b.ID == broadcast })
}

func (s *State) claim(epoch uint64, r *Claimed) error {
	if r.Epoch != epoch || epoch == 0 {
		return bad("claim of epoch %d in a record of epoch %d", r.Epoch, epoch)
	}
	if epoch == s.Epoch && r.Owner != s.Owner {
		return bad("epoch %d is claimed by another owner", epoch)
	}
	s.Epoch, s.Owner = epoch, r.Owner
	s.NextSeq = max(s.NextSeq, r.NextSeq)
	s.NextDiscontinuity = max(s.NextDiscontinuity, r.NextDiscontinuity)
	return nil
}

func (s *State) start(r *Started) error {
	if b := s.Current(); b != nil && !b.Ended {
		return bad("broadcast %s has not ended", b.ID)
	}
	if !validBroadcast(r.ID) {
		return bad("broadcast id %.80q: 8 to 64 letters, digits, - or _ are allowed", r.ID)
	}
	if s.index(r.ID) >= 0 {
		return bad("broadcast %s is there already", r.ID)
	}
	if r.DVRWindow < 0 {
		return bad("DVR window %v", r.DVRWindow)
	}
	s.Broadcasts = append(s.Broadcasts, &Broadcast{ID: r.ID, Start: r.Start, DVRWindow: r.DVRWindow})
	return nil
}

func validBroadcast(id string) bool {
	return len(id) >= 8 && len(id) <= 64 && !strings.ContainsFunc(id, func(c rune) bool {
		return (c < '0' || c > '9') && (c < 'a' || c > 'z') && (c < 'A' || c > 'Z') && c != '-' && c != '_'
	})
}

func (s *State) describe(r *Described) error {
	b, err := s.open()
	if err != nil {
		return err
	}
	d := r.Rendition
	if !strings.HasPrefix(d.Name, s.Entry+"_") || len(d.Name) > 40 || strings.Contains(d.Name, "/") {
		return bad("rendition name %.80q: it must begin with %s_", d.Name, s.Entry)
	}
	if d.Kind != media.Video && d.Kind != media.Audio {
		return bad("rendition %s has no kind", d.Name)
	}
	b.Renditions = slices.Clone(b.Renditions)
	if old := b.Rendition(d.Name); old != nil {
		if d.Inits < old.Inits || d.Kind != old.Kind {
			return bad("rendition %s: inits and kind can't go back", d.Name)
		}
		d.First, d.Peak, d.Bytes, d.Duration = old.First, old.Peak, old.Bytes, old.Duration
		*old = d
		return nil
	}
	if len(b.Renditions) >= maxRenditions {
		return bad("more than %d renditions", maxRenditions)
	}
	d.First, d.Peak, d.Bytes, d.Duration = 0, 0, 0, 0
	at := len(b.Renditions)
	if d.Kind == media.Video {
		at = slices.IndexFunc(b.Renditions, func(o Rendition) bool { return o.Kind == media.Audio })
		if at < 0 {
			at = len(b.Renditions)
		}
	}
	b.Renditions = slices.Insert(b.Renditions, at, d)
	return nil
}

func (s *State) end(r *Ended) error {
	b, err := s.open()
	if err != nil {
		return err
	}
	b.Ended, b.End = true, r.End
	return nil
}
