package whip

import (
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"klive/gateway"
	"klive/infra/live"
	"klive/infra/media"
)

const (
	// layersWithin is how long the first layer waits for the others, until it is said which one is
	// the largest: browsers begin with the smallest and see what the network carries.
	layersWithin = 3 * time.Second
	// layerSilent is the time without a picture, and layerAhead are the pictures of another layer
	// in it, after which a layer has stopped.
	layerSilent = time.Second
	layerAhead  = 3
	// layerSteady is how long a layer that had stopped has to be back before it is used again.
	layerSteady = 5 * time.Second
)

// layers are the sizes in which one publisher sends its pictures at a time (simulcast, RFC 8853).
// The largest is the session's own publication. Where the entry's profile takes several bitrates, the
// next ones are publications of their own, under the suffixes behind the session's. Where it takes
// one, the largest layer that comes is used, and another one from a keyframe on when it stops.
type layers struct {
	s     *session
	names []string // RIDs

	mu    sync.Mutex // guards the fields below, the layers and the slots
	list  []*layer   // that have shown their size, the largest first once ranked
	first time.Time  // when the first one has
	// slots are the publications, by suffix; there are as many as layers that have come, but one
	// where the profile takes one.
	slots  []*slot
	ranked bool
	busy   bool // slots are being published
	one    bool // the profile takes one bitrate
}

// slot is the publication under one suffix, with the layer that it has.
type slot struct {
	index int // behind the session's suffix
	pub   gateway.Publication
	out   bool // refused, or over; pub is nil
	layer *layer
	link  live.LinkStats // of what it has had; the session's lock guards it
}

// layer is where the access units of one size go. It implements outlet.
type layer struct {
	set    *layers
	t      *track
	params media.Params
	pixels int
	slot   *slot // that it has; nil while it waits for a keyframe to take one
	told   bool  // the slot's publication knows its parameters
	last   time.Time
	ahead  int       // pictures since the last one of the layer that is used
	steady time.Time // until then it is not gone back to
}

func newLayers(s *session, names []string) *layers {
	return &layers{s: s, names: names, slots: []*slot{{pub: s.pub}}}
}

// add makes the outlet of a layer's track.
func (g *layers) add(t *track) *layer { return &layer{set: g, t: t} }

// setTrack takes a layer's parameters, which come with a keyframe.
func (l *layer) setTrack(t media.Track) error {
	g := l.set
	g.mu.Lock()
	defer g.mu.Unlock()
	l.params, l.told = t.Params, false
	if v, ok := t.Params.(media.VideoParams); ok {
		w, h := v.Size()
		l.pixels = w * h
	}
	if !slices.Contains(g.list, l) {
		g.list = append(g.list, l)
		if g.first.IsZero() {
			g.first = time.Now()
		}
		if g.ranked {
			g.rank()
		}
	}
	return nil
}

// write hands on a layer's picture, when it is one of those that are used.
func (l *layer) write(u *handed) error {
	g := l.set
	g.mu.Lock()
	defer g.mu.Unlock()
	now := time.Now()
	l.came(now)
	if !g.ranked {
		if len(g.list) < len(g.names) && now.Sub(g.first) < layersWithin {
			return nil
		}
		g.rank()
	}
	if u.key && l.t.line.ready(now) {
		g.take(l, now)
	}
	if l.slot == nil || l.slot.pub == nil {
		return nil
	}
	if l.slot.index == 0 {
		for _, o := range g.list {
			o.ahead = 0
		}
	}
	var err error
	if !l.told {
		l.told = true
		err = l.slot.pub.SetTrack(media.Track{ID: media.VideoTrack, Params: l.params})
	}
	if err == nil {
		err = l.slot.pub.Write(u.accessUnit())
	}
	if err == nil || l.slot.index == 0 {
		return err
	}
	if ended := l.slot.pub.Err(); ended != nil {
		err = ended
	}
	g.leaveOut(l.slot, err)
	return nil
}

// came notes that a picture is there.
func (l *layer) came(now time.Time) {
	if !l.last.IsZero() && now.Sub(l.last) > layerSilent {
		l.steady = now.Add(layerSteady)
	}
	l.last = now
	l.ahead++
}

func (l *layer) runs(now time.Time) bool { return now.Sub(l.last) <= layerSilent }

// above orders layers: by size, else as the offer has them.
func (g *layers) above(a, b *layer) bool {
	if a.pixels != b.pixels {
		return a.pixels > b.pixels
	}
	return slices.Index(g.names, a.t.rid) < slices.Index(g.names, b.t.rid)
}

// rank puts the layers in the order of their suffixes, and has as many slots published. A layer
// that comes late may move others, each from its next keyframe on.
func (g *layers) rank() {
	g.ranked = true
	slices.SortFunc(g.list, func(a, b *layer) int {
		if g.above(a, b) {
			return -1
		}
		return 1
	})
	if g.one {
		return
	}
	for len(g.slots) < len(g.list) {
		g.slots = append(g.slots, &slot{index: len(g.slots)})
	}
	if !g.busy && len(g.slots) > 1 {
		g.busy = true
		g.s.reading.Add(1)
		go g.s.guarded(g.publish)
	}
}

// place is the slot that a layer is to have now; nil for none.
func (g *layers) place(l *layer, now time.Time) *slot {
	if g.one {
		if l.slot != nil || g.better(l, now) {
			return g.slots[0]
		}
		return nil
	}
	if i := slices.Index(g.list, l); i >= 0 && i < len(g.slots) && g.slots[i].pub != nil {
		return g.slots[i]
	}
	return nil
}

// take gives a layer that has a keyframe the slot that it is to have.
func (g *layers) take(l *layer, now time.Time) {
	to := g.place(l, now)
	if to == nil || to == l.slot {
		return
	}
	if l.slot != nil {
		l.slot.layer = nil
	}
	if before := to.layer; before != nil {
		before.slot = nil
		g.s.log.Info("another layer of simulcast is used", "layer", l.t.rid, "size", size(l.params), "before", before.t.rid, "suffix", g.suffix(to))
	}
	l.slot, l.told, to.layer = to, false, l
	if to.index > 0 {
		l.t.slot.Store(to)
	} else {
		l.t.slot.Store(nil)
	}
}

// better reports whether a layer is to be used in the place of the one that is: it is above it,
// or the best of those that run when that one has stopped.
func (g *layers) better(l *layer, now time.Time) bool {
	c := g.slots[0].layer
	switch {
	case !l.runs(now):
		return false
	case c == nil:
		return l == g.list[0]
	case g.above(l, c):
		return !now.Before(l.steady)
	}
	return !c.runs(now) && l.ahead >= layerAhead && !slices.ContainsFunc(g.list, func(o *layer) bool {
		return o != c && g.above(o, l) && o.runs(now)
	})
}

// needs says how a layer's keyframes are needed: at once, because it waits for one to take a
// slot, and from time to time.
func (g *layers) needs(l *layer, now time.Time) (urgent, regular bool) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if !g.ranked {
		return false, false
	}
	to := g.place(l, now)
	return to != nil && to != l.slot && l.t.line.ready(now), l.runs(now) && (l.slot != nil || to != nil && !g.one)
}

// publish puts the slots behind the first on the air, each as the stream that another bitrate
// of the entry would be. That may take as long as Kaltura does, and the first one goes on.
func (g *layers) publish() error {
	for {
		to := g.unpublished()
		if to == nil {
			return nil
		}
		pub, err := g.s.publishSlot(to)
		g.mu.Lock()
		if err == nil {
			to.pub = pub
			g.s.log.Info("a layer of simulcast is a stream of its own", "suffix", g.suffix(to))
		} else {
			g.refused(to, err)
		}
		g.mu.Unlock()
	}
}

// unpublished is the next slot to be published; nil when there is none.
func (g *layers) unpublished() *slot {
	g.mu.Lock()
	defer g.mu.Unlock()
	for _, to := range g.slots {
		if to.pub == nil && !to.out {
			return to
		}
	}
	g.busy = false
	return nil
}

// refused hears that a slot can't be published. When it is the first of them, the entry gets one
// layer at a time.
func (g *layers) refused(to *slot, err error) {
	if to.index > 1 {
		g.leaveOut(to, err)
		return
	}
	g.one = true
	g.slots = g.slots[:1]
	g.s.log.Warn("of the layers of simulcast the largest that comes is used: the second one is refused",
		"layers", len(g.names), "size", size(g.list[0].params), "reason", reason(err))
}

// leaveOut ends a slot, and the layer that has it goes nowhere.
func (g *layers) leaveOut(to *slot, err error) {
	g.s.log.Warn("a layer of simulcast is left out", "suffix", g.suffix(to), "reason", reason(err))
	pub := to.pub
	to.pub, to.out = nil, true
	if to.layer != nil {
		to.layer.slot, to.layer = nil, nil
	}
	if pub != nil {
		g.s.reading.Go(func() { pub.Close(err) })
	}
}

func (g *layers) suffix(of *slot) int { return g.s.to.ID.Suffix + of.index }

// size is that of pictures, for the log.
func size(p media.Params) string {
	v, ok := p.(media.VideoParams)
	if !ok {
		return ""
	}
	w, h := v.Size()
	return fmt.Sprintf("%d×%d", w, h)
}

func reason(err error) string {
	var r *gateway.Refusal
	if errors.As(err, &r) {
		return r.Text
	}
	return err.Error()
}

// close ends the publications behind the first.
func (g *layers) close(cause error) {
	g.mu.Lock()
	list := slices.Clone(g.slots[1:])
	g.mu.Unlock()
	for _, to := range list {
		if to.pub != nil {
			to.pub.Close(cause)
		}
	}
}
