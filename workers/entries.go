package workers

import (
	"cmp"
	"slices"
	"time"

	"klive/storage/timeline"
)

// EntryState is what an operator wants to know of a live entry's ownership.
type EntryState struct {
	Entry string `json:"entry"`
	// Holder is the worker that owns the entry, empty while none does. Mine says that it is this
	// process; the fields after Lag are known then only.
	Holder string `json:"holder"`
	Mine   bool   `json:"mine"`
	// Lag is the time since the end of the broadcast's newest item that rests in the store (of
	// the newest item, where another worker owns the entry); zero when no broadcast is open.
	Lag time.Duration `json:"lag"`
	// Epoch is the fence that this owner writes under, Since when it took the entry.
	Epoch uint64    `json:"epoch,omitempty"`
	Since time.Time `json:"since,omitzero"`
	// Broadcast is the open broadcast's id, NextSeq its next media sequence number.
	Broadcast string `json:"broadcast,omitempty"`
	NextSeq   uint64 `json:"nextSeq,omitempty"`
	// Pending counts the open broadcast's items whose media do not rest in the store yet, Held
	// those of them that wait on the owner's disk because the store is away.
	Pending int `json:"pending"`
	Held    int `json:"held"`
	// Error says why the entry can't be packaged; empty while it is.
	Error string `json:"error,omitempty"`
	// MovingTo is the worker that the entry is being handed to.
	MovingTo string `json:"movingTo,omitempty"`
}

// Entries lists the live entries of the deployment as this process sees them, by name.
func (p *Pool) Entries() []EntryState {
	now := time.Now()
	p.mu.Lock()
	out := make([]EntryState, 0, len(p.owners))
	for entry, o := range p.owners {
		s := EntryState{Entry: entry}
		if end, ok := p.ends[entry]; ok {
			s.Lag = now.Sub(end)
		}
		if l, ok := p.leases.get(entry); ok {
			s.Holder = l.holder
		}
		o.describe(&s, now)
		out = append(out, s)
	}
	p.mu.Unlock()
	slices.SortFunc(out, func(a, b EntryState) int { return cmp.Compare(a.Entry, b.Entry) })
	return out
}

// describe adds what is known of an entry that this process owns.
func (o *owner) describe(s *EntryState, now time.Time) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.tenure == nil {
		return
	}
	s.Holder, s.Mine = o.p.Name, true
	s.Epoch, s.Since, s.MovingTo = o.tenure.epoch, o.tenure.since, o.tenure.moving
	if s.Error = o.tenure.failure; o.tenure.writer == nil {
		return
	}
	st := o.tenure.writer.State()
	b := st.Current()
	if b == nil || b.Ended {
		s.Lag = 0
		return
	}
	s.Broadcast, s.NextSeq = b.ID, st.NextSeq
	stored := b.Start
	for i := range b.Items {
		if b.Items[i].Settled() {
			stored = max(stored, b.Items[i].End())
		} else {
			s.Pending++
			if slices.ContainsFunc(b.Items[i].Media, func(m timeline.Media) bool { return m.Held }) {
				s.Held++
			}
		}
	}
	if n := len(b.Chapters); n > 0 {
		c := &b.Chapters[n-1]
		stored = max(stored, c.Start.Add(c.Duration))
	}
	s.Lag = now.Sub(stored.Std())
}
