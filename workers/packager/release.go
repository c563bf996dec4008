package packager

import (
	"sync"

	"klive/infra/bus"
	"klive/infra/live"
)

// releaser frees parts on the media plane once nobody needs them. A subject's parts are
// freed from its beginning, so what is settled waits for what came before it.
type releaser struct {
	media bus.Media

	// mu guards the fields below.
	mu     sync.Mutex
	claims map[live.Feed][]*claim // oldest first
}

// claim keeps the parts of one segment, and those behind it, on the media plane.
type claim struct {
	feed live.Feed
	last uint64 // the number of the segment's last part
	done bool   // guarded by releaser.mu
}

func newReleaser(m bus.Media) *releaser { return &releaser{media: m, claims: map[live.Feed][]*claim{}} }

// claim keeps the parts up to last; the claims on a publish are made in its order.
func (r *releaser) claim(feed live.Feed, last uint64) *claim {
	r.mu.Lock()
	defer r.mu.Unlock()
	c := &claim{feed: feed, last: last}
	r.claims[feed] = append(r.claims[feed], c)
	return c
}

// release gives claims up.
func (r *releaser) release(claims ...*claim) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, c := range claims {
		c.done = true
		list := r.claims[c.feed]
		var free uint64
		for len(list) > 0 && list[0].done {
			free, list = list[0].last, list[1:]
		}
		if r.claims[c.feed] = list; len(list) == 0 {
			delete(r.claims, c.feed)
		}
		if free > 0 {
			r.media.Release(c.feed.Subject(), free)
		}
	}
}

// drop frees the parts of a segment that is not used.
func (r *releaser) drop(s *segment) { r.release(r.claim(s.Feed, s.Last)) }
