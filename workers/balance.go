package workers

import (
	"math"
	"time"

	"klive/infra/live"
)

const (
	// unfair is how many entries more than another a worker has before it gives one away.
	unfair = 2
	// settle is how long that must have been so: beats are half a second old, and an entry that
	// moves is counted at neither end for a moment.
	settle = 2 * time.Second
)

// standing is what the decision to move an entry is made from.
type standing struct {
	owned, theirs int
	to            string
}

// balancer decides when this worker gives an entry to another one. Of several workers with
// too many only the one with the most gives at a time, so that they don't all give to the
// same. It belongs to one goroutine.
type balancer struct {
	last  standing
	since time.Time // since when it is so
	moved time.Time // when the last entry was given away
}

// candidate is an owned entry with its bitrate.
type candidate struct {
	owner *owner
	load  int64
}

// decide returns the entry to give away and to whom; nil when nothing is to move now.
func (b *balancer) decide(now time.Time, me worker, mine []candidate, peers []worker, every time.Duration) (*owner, string) {
	to := fewest(peers)
	if to == nil || me.Owned < to.Owned+unfair || !most(&me, peers) {
		b.last = standing{}
		return nil, ""
	}
	if s := (standing{me.Owned, to.Owned, to.name}); s != b.last {
		b.last, b.since = s, now
	}
	if now.Sub(b.since) < settle || !b.moved.IsZero() && now.Sub(b.moved) < every {
		return nil, ""
	}
	o := lightens(mine, me.Weight()-to.Weight())
	if o == nil {
		return nil, ""
	}
	b.moved, b.last = now, standing{}
	return o, to.name
}

// fewest returns the open worker with the fewest entries.
func fewest(peers []worker) *worker {
	var best *worker
	for i := range peers {
		w := &peers[i]
		if w.open && (best == nil || w.Owned < best.Owned || w.Owned == best.Owned && w.Weight() < best.Weight()) {
			best = w
		}
	}
	return best
}

// most reports whether no other has more entries than me; among equals the first name counts.
func most(me *worker, peers []worker) bool {
	for i := range peers {
		if w := &peers[i]; w.Owned > me.Owned || w.Owned == me.Owned && w.name < me.name {
			return false
		}
	}
	return true
}

// lightens returns the entry whose move makes two workers' weights most alike; nil when each
// would only turn their difference round.
func lightens(mine []candidate, difference float64) *owner {
	var best *owner
	rest := math.Inf(1)
	for _, c := range mine {
		w := live.WorkerBeat{Owned: 1, Load: c.load}.Weight()
		if w >= difference {
			continue
		}
		if r := math.Abs(difference - 2*w); r < rest {
			best, rest = c.owner, r
		}
	}
	return best
}

// balance gives one entry away when this worker has too many.
func (p *Pool) balance(b *balancer, now time.Time) {
	peers := p.peers(now)
	p.mu.Lock()
	me := worker{name: p.Name, WorkerBeat: p.share(), open: !p.closing}
	var mine []candidate
	for _, o := range p.owners {
		if load, ok := o.movable(); ok {
			mine = append(mine, candidate{o, load})
		}
	}
	p.mu.Unlock()
	if !me.open {
		return
	}
	if o, to := b.decide(now, me, mine, peers, p.MoveEvery); o != nil && o.move(to) {
		p.Log.Info("giving an entry to a worker with fewer", "entry", o.entry, "to", to, "owned", me.Owned)
		p.metrics.moves.Inc()
	}
}
