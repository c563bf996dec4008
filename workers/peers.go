package workers

import (
	"cmp"
	"hash/fnv"
	"slices"
	"time"

	"klive/infra/bus"
	"klive/infra/live"
)

// turnStep is what a worker waits for each one that should have a free entry before it.
// mostTurns bounds that.
const (
	turnStep  = 100 * time.Millisecond
	mostTurns = 10
)

// maxUnread bounds how many peers are remembered whose beats can't be read.
const maxUnread = 1024

// worker is a process that owns entries, as its last beat told.
type worker struct {
	name string
	live.WorkerBeat
	// open says that it takes entries: it is ready and was not asked to end.
	open bool
}

// peers are the workers that were heard lately, this one aside, by name.
func (p *Pool) peers(now time.Time) []worker {
	if p.Beats == nil {
		return nil
	}
	var out []worker
	for _, peer := range p.Beats.Peers() {
		if peer.Name == p.Name || now.Sub(peer.Heard) >= p.StealAfter {
			continue
		}
		if w, ok := p.readBeat(peer); ok {
			out = append(out, w)
		}
	}
	return out
}

// readBeat reads a peer's beat; ok is false when it is no worker's.
func (p *Pool) readBeat(peer bus.Peer) (w worker, ok bool) {
	b, err := live.UnmarshalBeat(peer.Data)
	if err != nil {
		if p.newlyUnread(peer.Name) {
			p.Log.Warn("the beats of a process can't be read and are ignored", "from", peer.Name, "error", err)
		}
		return w, false
	}
	if b.Worker == nil {
		return w, false
	}
	return worker{name: peer.Name, WorkerBeat: *b.Worker, open: b.Ready && !b.Draining}, true
}

// newlyUnread reports whether a peer's beats could be read until now.
func (p *Pool) newlyUnread(name string) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.unread[name] || len(p.unread) >= maxUnread {
		return false
	}
	p.unread[name] = true
	return true
}

// ready reports whether this process called itself ready in its last beat. Before the first
// one it is taken to be.
func (p *Pool) ready() bool {
	if p.Beats == nil {
		return true
	}
	for _, peer := range p.Beats.Peers() {
		if peer.Name == p.Name {
			b, err := live.UnmarshalBeat(peer.Data)
			return err != nil || b.Ready
		}
	}
	return true
}

// silent reports whether the holder of a lease has given no sign of life for so long that
// another may take it: no beat that this process could have heard, and no renewal.
func (p *Pool) silent(l seenLease, now time.Time) bool {
	return p.Beats != nil && gone(p.Beats.Silence(l.holder), now.Sub(l.at), p.StealAfter)
}

// gone decides it by the time since the last beat and since the last renewal. A holder that renewed long
// after its last beat lives, and is not heard here: nodes of the bus that lost their route to each other
// still share its records. Then only renewals count, which come more seldom than beats. Before the first
// of them it may be robbed, as a dead one is at once; whoever is not heard then is left alone, so entries
// don't go to and fro.
func gone(unheard, unrenewed, limit time.Duration) bool {
	if unheard-unrenewed >= limit {
		limit += bus.MostRenewWait
	}
	return unheard >= limit && unrenewed >= limit
}

// hearing tells the packager for how long this process has heard the bus without a hole, and
// the bus has taken what feeds write; nil where there is nothing to tell it by.
func (p *Pool) hearing() func() time.Duration {
	switch {
	case p.Beats == nil:
		return nil
	case p.Answering == nil:
		return p.Beats.Hearing
	}
	return func() time.Duration { return min(p.Beats.Hearing(), p.Answering()) }
}

// Share is what this process says in its beats of the entries it owns or is about to, and
// whether it was asked to end.
func (p *Pool) Share() (w live.WorkerBeat, draining bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.share(), p.closing
}

// share is Share's with p.mu held.
func (p *Pool) share() (w live.WorkerBeat) {
	for _, o := range p.owners {
		if busy, load := o.busy(); busy {
			w.Owned++
			w.Load += load
		}
	}
	return w
}

// turn returns how long the owner has to wait until it may try to take the entry, which has
// been free since the given moment; 0 counts it as being taken. Workers with less to do
// come first, among equals a different one for each entry.
func (p *Pool) turn(o *owner, free, now time.Time) time.Duration {
	peers, ready := p.peers(now), p.ready()
	p.mu.Lock()
	defer p.mu.Unlock()
	mine := worker{name: p.Name, WorkerBeat: p.share(), open: ready}
	rank := 0
	for _, peer := range peers {
		if peer.open && before(&peer, &mine, o.entry) {
			rank++
		}
	}
	if wait := free.Add(time.Duration(min(rank, mostTurns)) * turnStep).Sub(now); wait > 0 {
		return wait
	}
	o.take()
	return 0
}

// before reports whether a should have the entry rather than b.
func before(a, b *worker, entry string) bool {
	if a.open != b.open {
		return a.open
	}
	if c := cmp.Compare(a.Weight(), b.Weight()); c != 0 {
		return c < 0
	}
	return lot(a.name, entry) < lot(b.name, entry)
}

// lot orders workers differently for each entry.
func lot(name, entry string) uint64 {
	h := fnv.New64a()
	h.Write([]byte(entry))
	h.Write([]byte{0})
	h.Write([]byte(name))
	return h.Sum64()
}

// least returns the open worker with the least to do; nil when there is none.
func least(peers []worker) *worker {
	var best *worker
	for i := range peers {
		w := &peers[i]
		if w.open && (best == nil || w.Weight() < best.Weight()) {
			best = w
		}
	}
	return best
}

// successors names for each of the entries a worker to hand it to, so that their load
// becomes even. It is empty when there is no other worker.
func successors(entries []*owner, peers []worker) map[*owner]string {
	peers = slices.Clone(peers)
	out := map[*owner]string{}
	for _, o := range entries {
		w := least(peers)
		if w == nil {
			break
		}
		_, load := o.busy()
		w.Owned++
		w.Load += load
		out[o] = w.name
	}
	return out
}
