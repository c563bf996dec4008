package workers

import (
	"sync"
	"time"

	"klive/infra/bus"
)

// leaseView is what this process has seen of the leases on entries.
type leaseView struct {
	// mu guards the fields below.
	mu    sync.Mutex
	seen  map[string]seenLease // by entry
	known map[string]uint64    // by entry: the newest revision seen, of a removal too
}

// seenLease is a lease's newest record, and when this process saw it: a renewal is a sign
// of life.
type seenLease struct {
	holder   string
	revision uint64
	at       time.Time
}

func newLeaseView() *leaseView {
	return &leaseView{seen: map[string]seenLease{}, known: map[string]uint64{}}
}

// change folds in a change of the bucket and returns who holds the lease now, "" for nobody.
func (v *leaseView) change(c bus.Change) (holder string) {
	if !c.Deleted {
		// What is no lease record holds nothing that could be taken; acquiring says why.
		holder, _ = bus.LeaseHolder(c.KeyValue)
	}
	v.mu.Lock()
	defer v.mu.Unlock()
	if c.Revision < v.known[c.Key] {
		return v.seen[c.Key].holder
	}
	v.known[c.Key] = c.Revision
	if holder == "" {
		delete(v.seen, c.Key)
		return ""
	}
	if v.seen[c.Key].revision != c.Revision {
		v.seen[c.Key] = seenLease{holder: holder, revision: c.Revision, at: time.Now()}
	}
	return holder
}

// reset forgets everything: the bucket was made anew, and its revisions count from 1 again.
func (v *leaseView) reset() {
	v.mu.Lock()
	defer v.mu.Unlock()
	clear(v.seen)
	clear(v.known)
}

// drop forgets an entry that nobody holds and nobody here stands by for.
func (v *leaseView) drop(entry string) {
	v.mu.Lock()
	defer v.mu.Unlock()
	if _, held := v.seen[entry]; !held {
		delete(v.known, entry)
	}
}

// held folds in what an attempt to take the lease has run into.
func (v *leaseView) held(e *bus.HeldError) {
	v.mu.Lock()
	defer v.mu.Unlock()
	if e.Revision > v.known[e.Key] {
		v.known[e.Key] = e.Revision
		v.seen[e.Key] = seenLease{holder: e.Holder, revision: e.Revision, at: time.Now()}
	}
}

// get returns the lease on the entry; ok is false while nobody holds it.
func (v *leaseView) get(entry string) (l seenLease, ok bool) {
	v.mu.Lock()
	defer v.mu.Unlock()
	l, ok = v.seen[entry]
	return l, ok
}
