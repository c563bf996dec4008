package workers

import "time"

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
