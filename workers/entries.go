package workers

import (
	"context"
	"maps"
	"slices"
	"time"

	"klive/infra/live"
	"klive/infra/media"
	"klive/storage/timeline"
)

// Tenure is what an operator wants to know of an entry that this process owns.
type Tenure struct {
	// Since is when the entry was taken.
	Since time.Time
	// MovingTo is the worker that the entry is being handed to; empty while it stays.
	MovingTo string
	// Error says why the entry can't be packaged, or what it is packaged to can't be stored;
	// nil while all is well.
	Error error
}

// Owned returns the entries that this process owns.
func (p *Pool) Owned() map[string]Tenure {
	p.mu.Lock()
	defer p.mu.Unlock()
	out := map[string]Tenure{}
	for entry, o := range p.owners {
		if t, ok := o.describe(); ok {
			out[entry] = t
		}
	}
	return out
}

// describe tells of an entry that this process owns; ok is false when it does not.
func (o *owner) describe() (s Tenure, ok bool) {
	o.mu.Lock()
	defer o.mu.Unlock()
	t := o.tenure
	if t == nil {
		return s, false
	}
	s = Tenure{Since: t.since, MovingTo: t.moving, Error: t.failure}
	if s.Error == nil && o.packager != nil {
		s.Error = o.packager.Problem()
	}
	return s, true
}

// OwnedFeeds returns the feed records of the entries that this process owns.
func (p *Pool) OwnedFeeds() map[string][]live.FeedRecord {
	p.mu.Lock()
	defer p.mu.Unlock()
	out := map[string][]live.FeedRecord{}
	for entry, o := range p.owners {
		o.mu.Lock()
		if o.tenure != nil {
			out[entry] = slices.Collect(maps.Values(o.records))
		}
		o.mu.Unlock()
	}
	return out
}

// FeedsOf returns the feed records of an entry, whoever owns it.
func (p *Pool) FeedsOf(entry string) (out []live.FeedRecord) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for id, r := range p.records {
		if id.Entry == entry {
			out = append(out, r)
		}
	}
	return out
}

// floor protects the media that are still to be recorded, as far as the entry's owner knows.
type floor struct {
	o *owner
	w *timeline.Writer
}

// Floor implements [packager.Floor].
func (f floor) Floor(ctx context.Context, _ string) (at media.Time, ok bool, err error) {
	if f.o.p.Keep == nil {
		return 0, false, nil
	}
	f.o.mu.Lock()
	recorded := false
	for _, r := range f.o.records {
		recorded = recorded || r.Grant.Record != 0
	}
	f.o.mu.Unlock()
	return f.o.p.Keep(ctx, f.w.State(), recorded)
}
