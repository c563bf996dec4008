package whip

import "time"

const (
	// keptReports are those of a track that count.
	keptReports = 5
	// newWall is the difference of two reports from which on the sender's wall clock was set anew.
	newWall = 3 * ticks
)

// reports are the last of a track: each is the sender's wall clock minus the track's own time, in
// common ticks.
type reports struct {
	list [keptReports]int64
	n    int
}

func (r *reports) add(base int64) {
	if r.known() && !near(base-r.base(), newWall) {
		r.n = 0
	}
	r.list[r.n%keptReports] = base
	r.n++
}

func (r *reports) known() bool { return r.n > 0 }

// base is the least of them. Many senders make a report of the last packet that they sent, and of
// when: one that was sent late says too much, none says too little.
func (r *reports) base() int64 {
	least := r.list[0]
	for _, b := range r.list[:min(r.n, keptReports)] {
		least = min(least, b)
	}
	return least
}

// leastFor is how long a least counts.
const leastFor = 10 * time.Second

// least is the least of what was seen within leastFor or twice as long.
type least struct {
	now, before int64
	since       time.Time
}

func (m *least) add(v int64, at time.Time) {
	switch {
	case m.since.IsZero():
		m.now, m.before, m.since = v, v, at
	case at.Sub(m.since) >= leastFor:
		m.now, m.before, m.since = v, m.now, at
	}
	m.now = min(m.now, v)
}

func (m *least) value() int64 { return min(m.now, m.before) }

// ntpTicks turns an NTP time into common ticks.
func ntpTicks(t uint64) int64 {
	return int64(t>>32)*ticks + int64((t&0xffffffff)*ticks>>32)
}
