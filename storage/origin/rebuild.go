package origin

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"klive/infra/bus"
	"klive/infra/live"
	"klive/infra/media"
	"klive/infra/media/mp4"
	"klive/storage"
	"klive/storage/playlist"
	"klive/storage/timeline"
)

// Media is where an origin reads the parts of segments that are not in the store yet; the
// bus's media planes implement it.
type Media interface {
	// Follow reads a subject from the first kept message whose number is at least from.
	Follow(ctx context.Context, subject string, from uint64) (bus.Follower, error)
}

// Limits of making media from parts.
const (
	maxRebuilds    = 8               // at a time
	rebuildTimeout = 5 * time.Second // viewers wait less
	// followTry is how long the bus has to begin with a segment's parts, and partTry how long
	// it has for the next one: all of them are there. Then it is asked again.
	followTry    = time.Second
	partTry      = 500 * time.Millisecond
	maxMadeBytes = 64 << 20 // kept in memory
	maxParts     = 4096     // of a segment
)

// errNoParts says that the parts of a segment are no longer on the bus, errStored that they
// need not be there: the media has been stored.
var (
	errNoParts = errors.New("its parts have left the bus")
	errStored  = errors.New("it was stored")
)

// rebuilder makes media from parts: each object once, however many ask, a few at a time.
type rebuilder struct {
	timelines Timelines
	bus       Media
	results   *prometheus.CounterVec
	turns     chan struct{}

	// mu guards the fields below.
	mu    sync.Mutex
	under map[string]*rebuilding // by key
	kept  kept
}

// rebuilding is an object that is being made while somebody waits for it.
type rebuilding struct {
	making
	cancel  context.CancelFunc
	waiting int // who waits for it; guarded by rebuilder.mu
}

func newRebuilder(t Timelines, m Media, results *prometheus.CounterVec) *rebuilder {
	return &rebuilder{
		timelines: t, bus: m, results: results, turns: make(chan struct{}, maxRebuilds),
		under: map[string]*rebuilding{}, kept: newKept(maxMadeBytes),
	}
}

// cached returns an object that was made before, or nil.
func (b *rebuilder) cached(key string) *made {
	b.mu.Lock()
	defer b.mu.Unlock()
	m := b.kept.get(key)
	if m != nil {
		b.results.WithLabelValues("cached").Inc()
	}
	return m
}

// get makes an object, or waits for who is making it. The error wraps storage.ErrNotFound
// when the timeline does not name it.
func (b *rebuilder) get(ctx context.Context, a mediaAddress) (*made, error) {
	b.mu.Lock()
	if m := b.kept.get(a.key); m != nil { // it was made since the caller looked
		b.mu.Unlock()
		return m, nil
	}
	m := b.under[a.key]
	if m == nil {
		m = &rebuilding{making: making{done: make(chan struct{})}}
		b.under[a.key] = m
		var bound context.Context
		bound, m.cancel = context.WithTimeout(context.WithoutCancel(ctx), rebuildTimeout)
		go b.run(bound, a, m) // who leaves last waits for its end
	}
	m.waiting++
	b.mu.Unlock()
	select {
	case <-m.done:
		return m.made, m.err
	case <-ctx.Done():
		b.leave(a.key, m)
		return nil, ctx.Err()
	}
}

// leave is said by who does not wait any longer. What nobody waits for is not made.
func (b *rebuilder) leave(key string, m *rebuilding) {
	b.mu.Lock()
	m.waiting--
	last := m.waiting == 0
	if last && b.under[key] == m {
		delete(b.under, key) // who comes now begins anew
	}
	b.mu.Unlock()
	if last {
		m.cancel()
		<-m.done
	}
}

// run makes an object. Others wait for it, so it does not end with one viewer's patience.
func (b *rebuilder) run(ctx context.Context, a mediaAddress, m *rebuilding) {
	defer m.cancel()
	m.made, m.err = b.make(ctx, a)
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.under[a.key] == m {
		delete(b.under, a.key)
	}
	if m.err == nil {
		b.kept.put(a.key, m.made)
		b.results.WithLabelValues("made").Inc()
	} else {
		b.results.WithLabelValues("failed").Inc()
	}
	close(m.done)
}

// make finds the object in the timeline and makes it when its turn has come.
func (b *rebuilder) make(ctx context.Context, a mediaAddress) (*made, error) {
	state, err := b.timelines.State(ctx, a.entry)
	if errors.Is(err, timeline.ErrNoTimeline) {
		return nil, fmt.Errorf("%w: %w", storage.ErrNotFound, err)
	}
	if err != nil {
		return nil, err
	}
	rendition, m := a.find(state)
	if m == nil {
		return nil, fmt.Errorf("%w: the timeline does not name %s, or it is a gap", storage.ErrNotFound, a.key)
	}
	select {
	case b.turns <- struct{}{}:
		defer func() { <-b.turns }()
	case <-ctx.Done():
		return nil, fmt.Errorf("too many segments are being made: %w", ctx.Err())
	}
	out, err := b.assemble(ctx, a, rendition, m)
	if errors.Is(err, errNoParts) && m.Stored {
		return nil, fmt.Errorf("%w; %w", errStored, err)
	}
	return out, err
}

// assemble reads the object's parts and puts them together.
func (b *rebuilder) assemble(ctx context.Context, a mediaAddress, rendition *timeline.Rendition, m *timeline.Media) (*made, error) {
	subject, first, last, from, ok := m.Parts(a.entry)
	if !ok || last-first >= maxParts {
		return nil, errNoParts
	}
	if a.init > 0 {
		last = first // each part names the parameters of its tracks
	}
	segment, err := b.gather(ctx, subject, first, last, from)
	if err != nil {
		return nil, err
	}
	return a.mux(segment, rendition, m)
}

// gather reads the parts of a segment from the number first to last.
func (b *rebuilder) gather(ctx context.Context, subject string, first, last uint64, from media.Time) (*live.Assembly, error) {
	r := &partReader{bus: b.bus, subject: subject, next: first}
	defer r.close()
	segment, err := live.Gather(ctx, r.read, first, last, from)
	var aged *bus.AgedOutError
	if errors.As(err, &aged) || errors.Is(err, context.DeadlineExceeded) || errors.Is(err, live.ErrAssembly) {
		return nil, fmt.Errorf("%w (%w)", errNoParts, err)
	}
	return segment, err
}

// mux makes the object's bytes.
func (a mediaAddress) mux(segment *live.Assembly, d *timeline.Rendition, m *timeline.Media) (*made, error) {
	var pieces [][]byte
	var err error
	if a.init > 0 {
		pieces = make([][]byte, 1)
		pieces[0], err = mp4.InitOf(segment, d.Name, d.Kind)
	} else {
		pieces, err = mp4.SegmentOf(segment, d.Name, d.Kind)
	}
	if err != nil {
		return nil, err
	}
	data := bytes.Join(pieces, nil)
	if a.init == 0 && m.Size != 0 && m.Size != int64(len(data)) {
		return nil, fmt.Errorf("%s should have %d bytes and its parts make %d; do all nodes run the same release?", a.key, m.Size, len(data))
	}
	return &made{data: data, info: storage.Info{
		Key: a.key, Size: int64(len(data)), ETag: tag(data), Modified: m.Start.Std(),
	}}, nil
}

// find returns the media that the address names, or for an initialization section the newest
// media that it goes with, and their rendition. It is nil for gaps and for what is not named.
func (a mediaAddress) find(s *timeline.State) (*timeline.Rendition, *timeline.Media) {
	for _, b := range slices.Backward(s.Broadcasts) {
		if b.ID != a.broadcast {
			continue
		}
		rendition := b.Rendition(a.rendition)
		if rendition == nil {
			return nil, nil
		}
		for i := range slices.Backward(b.Items) {
			m := b.Items[i].Of(a.rendition)
			if m == nil || m.Gap {
				continue
			}
			if m.Name == a.name || a.init > 0 && m.Init == a.init {
				return rendition, m
			}
		}
		if a.init > 0 && a.init <= rendition.Inits || a.chaptered(b) {
			return rendition, &timeline.Media{Rendition: a.rendition, Stored: true} // of which parts is not known any more
		}
	}
	return nil, nil
}

// chaptered reports whether the media lie in the time of a closed chapter, whose items do not
// say any more what they were made of.
func (a mediaAddress) chaptered(b *timeline.Broadcast) bool {
	return slices.ContainsFunc(b.Chapters, a.within)
}

// within reports whether the media lie in the time of one chapter; a start may be a little off.
func (a mediaAddress) within(c timeline.Chapter) bool {
	return a.init == 0 && a.start >= c.Start-media.Time(time.Second) && a.start < c.Start.Add(c.Duration)
}

// mediaAddress is a media object's address, taken apart.
type mediaAddress struct {
	key, entry, rendition, broadcast string
	name                             string     // "<start>-<epoch>", empty for an initialization section
	start                            media.Time // of media
	init                             int        // from 1, 0 for media
}

// parseMedia takes the segments of a key apart.
func parseMedia(key string, segments []string) (mediaAddress, bool) {
	sel, ok := playlist.ParseFolder(segments[1])
	if !ok || sel.Rendition == "" {
		return mediaAddress{}, false
	}
	a := mediaAddress{key: key, entry: sel.Entry, rendition: sel.Rendition, broadcast: segments[2]}
	return a, a.parseName(segments[3])
}
