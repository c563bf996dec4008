package whip

import (
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"klive/gateway"
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

	mu      sync.Mutex // guards the fields below, and the layers
	list    []*layer   // that have shown their size; in the order of their suffixes once ranked
	first   time.Time  // when the first one has
	ranked  bool
	waiting []*layer // to be published
	busy    bool     // one is being published
	several bool     // one has a publication of its own
	one     bool     // the profile takes one
	current *layer   // what the session's publication has
}

// layer is where the access units of one size go. It implements outlet.
type layer struct {
	set    *layers
	t      *track
	params media.Params
	pixels int
	suffix int // behind the session's
	// pub is its publication: the session's for the largest, nil while it has none. own says that
	// it is another than the session's.
	pub gateway.Publication
	own bool
	out bool // left out for good
	// running says that pub has had a keyframe of it, told that it knows its parameters.
	running, told bool
	last          time.Time // when the last picture came
	ahead         int       // pictures since the last one of the layer that is used
	steady        time.Time // until then it is not gone back to
}

func newLayers(s *session, names []string) *layers { return &layers{s: s, names: names} }

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
	if slices.Contains(g.list, l) {
		return nil
	}
	l.suffix = len(g.list)
	g.list = append(g.list, l)
	if g.first.IsZero() {
		g.first = time.Now()
	}
	if g.ranked && !g.one {
		g.enqueue(l)
	}
	return nil
}

// write hands on a layer's picture, when it is one of those that are used.
func (l *layer) write(au gateway.AccessUnit) error {
	g := l.set
	g.mu.Lock()
	defer g.mu.Unlock()
	now := time.Now()
	l.came(now)
	if !g.ranked && !g.rank(now) || !g.airs(l, au.Key, now) {
		return nil
	}
	err := error(nil)
	if !l.told {
		l.told = true
		err = l.pub.SetTrack(media.Track{ID: media.VideoTrack, Params: l.params})
	}
	if err == nil {
		err = l.pub.Write(au)
	}
	if err == nil || !l.own {
		return err
	}
	if ended := l.pub.Err(); ended != nil {
		err = ended
	}
	g.leaveOut(l, err)
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

// above reports whether a layer is better than another.
func (l *layer) above(o *layer) bool {
	return l.pixels > o.pixels || l.pixels == o.pixels && l.suffix < o.suffix
}

// rank puts the layers in the order of their suffixes, once all are there or have been waited for.
func (g *layers) rank(now time.Time) bool {
	if len(g.list) < len(g.names) && now.Sub(g.first) < layersWithin {
		return false
	}
	for _, l := range g.list {
		l.suffix = slices.Index(g.names, l.t.rid)
	}
	slices.SortFunc(g.list, func(a, b *layer) int {
		if a.above(b) {
			return -1
		}
		return 1
	})
	g.ranked = true
	for i, l := range g.list {
		if l.suffix = i; i > 0 {
			g.enqueue(l)
		}
	}
	g.current = g.list[0]
	g.current.pub = g.s.pub
	return true
}

// airs reports whether a layer's picture goes to its publication. The first one is a keyframe.
func (g *layers) airs(l *layer, key bool, now time.Time) bool {
	if g.one && l != g.current && key && g.better(l, now) {
		g.change(l)
	}
	if l.pub == nil || l.out || !l.running && !key {
		return false
	}
	l.running = true
	if l == g.current {
		for _, o := range g.list {
			o.ahead = 0
		}
	}
	return true
}

// better reports whether a layer is to be used from its next keyframe on: it is above the one
// that is, or the best of those that run when that one has stopped.
func (g *layers) better(l *layer, now time.Time) bool {
	c := g.current
	if now.Sub(l.last) > layerSilent {
		return false
	}
	if l.above(c) {
		return !now.Before(l.steady)
	}
	return now.Sub(c.last) > layerSilent && l.ahead >= layerAhead && !slices.ContainsFunc(g.list, func(o *layer) bool {
		return o != c && o.above(l) && now.Sub(o.last) <= layerSilent
	})
}

// change has the session's publication go on with another layer.
func (g *layers) change(l *layer) {
	g.current.pub, g.current.running = nil, false
	g.current = l
	l.pub, l.running, l.told = g.s.pub, false, false
	g.s.log.Info("another layer of simulcast is used", "layer", l.t.rid, "size", size(l.params))
}

func size(p media.Params) string {
	v, ok := p.(media.VideoParams)
	if !ok {
		return ""
	}
	w, h := v.Size()
	return fmt.Sprintf("%d×%d", w, h)
}

// needs says how a layer's keyframes are needed: at once, or from time to time.
func (g *layers) needs(l *layer, now time.Time) (urgent, regular bool) {
	g.mu.Lock()
	defer g.mu.Unlock()
	switch {
	case !g.ranked || l.out:
		return false, false
	case l.pub != nil:
		return !l.running, now.Sub(l.last) <= layerSilent
	}
	return g.one && g.better(l, now), false
}

// enqueue has a layer published. That may take as long as Kaltura does, and the others go on.
func (g *layers) enqueue(l *layer) {
	g.waiting = append(g.waiting, l)
	if !g.busy {
		g.busy = true
		g.s.reading.Add(1)
		go g.s.guarded(g.publish)
	}
}

// publish puts the layers that wait on the air, each as the stream that another bitrate of the
// entry would be.
func (g *layers) publish() error {
	for {
		g.mu.Lock()
		if len(g.waiting) == 0 {
			g.busy = false
			g.mu.Unlock()
			return nil
		}
		l := g.waiting[0]
		g.waiting = g.waiting[1:]
		g.mu.Unlock()
		pub, err := g.s.publishLayer(l)
		g.mu.Lock()
		if err == nil {
			l.pub, l.own, g.several = pub, true, true
			l.t.own.Store(true)
			g.s.log.Info("a layer of simulcast is a stream of its own", "layer", l.t.rid, "size", size(l.params), "suffix", l.suffix+g.s.to.ID.Suffix)
		} else {
			g.refused(l, err)
		}
		g.mu.Unlock()
	}
}

// refused hears that a layer can't be published.
func (g *layers) refused(l *layer, err error) {
	switch {
	case g.several:
		g.leaveOut(l, err)
	case !g.one:
		g.one = true
		g.waiting = nil
		g.s.log.Warn("of the layers of simulcast the largest that comes is used: the second one is refused",
			"layers", len(g.names), "used", g.current.t.rid, "size", size(g.current.params), "reason", reason(err))
	}
}

// leaveOut ends a layer; the others go on.
func (g *layers) leaveOut(l *layer, err error) {
	g.s.log.Warn("a layer of simulcast is left out", "layer", l.t.rid, "size", size(l.params), "reason", reason(err))
	pub := l.pub
	l.pub, l.out = nil, true
	l.t.idle.Store(true)
	if pub != nil {
		g.s.reading.Go(func() { pub.Close(err) })
	}
}

func reason(err error) string {
	var r *gateway.Refusal
	if errors.As(err, &r) {
		return r.Text
	}
	return err.Error()
}

// close ends the publications that are the layers' own.
func (g *layers) close(cause error) {
	g.mu.Lock()
	var list []gateway.Publication
	for _, l := range g.list {
		if l.own && l.pub != nil {
			list = append(list, l.pub)
		}
	}
	g.mu.Unlock()
	for _, pub := range list {
		pub.Close(cause)
	}
}
