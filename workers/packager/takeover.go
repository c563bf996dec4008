package packager

import (
	"context"
	"errors"
	"fmt"
	"io"
	"time"

	"klive/infra/bus"
	"klive/infra/live"
	"klive/infra/media"
	"klive/infra/media/mp4"
	"klive/storage"
	"klive/storage/playlist"
	"klive/storage/timeline"
)

const (
	// partWait is how long a part that lies on the media plane may take to come from there.
	partWait = time.Second
	// lookTimeout is the longest that the store is asked for an object once.
	lookTimeout = 3 * time.Second
	// lookMost is how long players wait for an object that nothing else has while the store
	// does not answer. Then the live edge goes on without it.
	lookMost = 10 * time.Second
	// heldMost is how long media are looked for that another process's spool holds, once the
	// store answers.
	heldMost = time.Minute
	// silentMost is how long players wait for media that the store lacks and whose parts the bus
	// neither gives nor says to lack: as long as it takes to elect a leader on a loaded machine.
	silentMost = 12 * time.Second
	// takeOverAtOnce is how many media are rebuilt at the same time.
	takeOverAtOnce = 4
)

// errLeft says that media which an owner before this one adopted are nowhere.
var errLeft = errors.New("it was adopted before this owner took over, its parts have left the bus, and the store does not have it")

// left is one medium that an owner before this one adopted and did not settle.
type left struct {
	broadcast *timeline.Broadcast
	seq       uint64
	media     timeline.Media
	of        *shelved
}

// unsettled lists what an owner before this one adopted and did not settle, and keeps its
// parts on the media plane.
func (w *writer) unsettled() []left {
	var list []left
	s := w.p.Timeline.State()
	for _, b := range s.Broadcasts {
		for i := range b.Items {
			list = append(list, w.leftOf(b, &b.Items[i], b != s.Current())...)
		}
	}
	w.hold(len(list))
	return list
}

// takeOver settles what is left. It does so beside the writing of new items, which don't
// wait for it.
func (w *writer) takeOver(ctx context.Context, list []left) {
	if len(list) == 0 {
		return
	}
	w.log.Info("settling what the owner before this one left", "media", len(list))
	slots := make(chan struct{}, takeOverAtOnce)
	rest := w.orderAgain(ctx, list) // before the ends are followed: those that are there count
	w.others.Go(func() {
		for _, l := range rest {
			select {
			case slots <- struct{}{}:
			case <-ctx.Done():
				return
			}
			w.others.Go(func() { w.settleLeft(ctx, l, func() { <-slots }) })
		}
	})
}

func (w *writer) leftOf(b *timeline.Broadcast, it *timeline.Item, past bool) []left {
	of := &shelved{told: past || isStored(it.Media)}
	claimed := map[live.Feed]bool{}
	var list []left
	for _, m := range it.Media {
		if m.Settled() {
			continue
		}
		list = append(list, left{broadcast: b, seq: it.Seq, media: m, of: of})
		if m.Encode == nil {
			of.source++
		} else if j := m.Encode.Job; j != nil && !claimed[j.Feed] {
			claimed[j.Feed] = true
			of.claims = append(of.claims, w.p.released.claim(j.Feed, max(j.LeadIn, 2)-1))
		}
		if m.LastPart > 0 && !claimed[m.Feed] {
			claimed[m.Feed] = true
			of.claims = append(of.claims, w.p.released.claim(m.Feed, m.LastPart))
		}
	}
	of.left = len(list)
	return list
}

// settleLeft makes one medium again from the bus's parts and stores it, or finds it in the
// store. next is called when the bus has been asked, which others may wait for.
func (w *writer) settleLeft(ctx context.Context, l left, next func()) {
	m := l.media
	err := w.remake(ctx, &l, &m)
	next()
	if err != nil {
		m, err = w.find(ctx, &l, err)
	}
	if ctx.Err() != nil {
		return
	}
	w.notify(notice{seq: l.seq, media: m, err: err, cause: "restart", of: l.of})
}

// remake makes one medium again and stores it; m then says what it is.
func (w *writer) remake(ctx context.Context, l *left, m *timeline.Media) error {
	pieces, err := w.rebuild(ctx, l)
	if err != nil {
		return err
	}
	return w.shelve(ctx, l.broadcast.ID, l.seq, m, contentTypeOf(l.broadcast.Rendition(m.Rendition).Kind), pieces, l.of)
}

// silent reports whether an error of the bus says nothing of what it holds: it elects a leader, say.
func silent(err error) bool {
	return errors.Is(err, context.DeadlineExceeded) || errors.Is(err, bus.ErrUnavailable)
}

// rebuild makes the media's object from the parts on the bus: the same bytes as the owner
// did that adopted it. Its initialization section, which that owner may not have stored
// either, is stored with it.
func (w *writer) rebuild(ctx context.Context, l *left) ([][]byte, error) {
	m := &l.media
	d := l.broadcast.Rendition(m.Rendition)
	subject, first, last, from, ok := m.Parts(w.p.Entry)
	if d == nil || !ok {
		return nil, errLeft
	}
	a, err := w.gather(ctx, subject, first, last, from)
	if err != nil {
		return nil, err
	}
	init, err := mp4.InitOf(a, d.Name, d.Kind)
	if err != nil {
		return nil, err
	}
	held, err := w.put(ctx, playlist.InitKey(m.Rendition, l.broadcast.ID, m.Init), contentTypeOf(d.Kind), [][]byte{init}, func(err error) {
		w.notify(notice{rendition: m.Rendition, err: err})
	})
	if held {
		w.hold(1)
	}
	if err != nil && !errors.Is(err, storage.ErrPrecondition) {
		return nil, err
	}
	return mp4.SegmentOf(a, d.Name, d.Kind)
}

// gather puts together what the parts numbered first to last of a subject hold.
func (w *writer) gather(ctx context.Context, subject string, first, last uint64, from media.Time) (*live.Assembly, error) {
	f, err := w.p.Media.Follow(ctx, subject, first)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	next := func(ctx context.Context) (uint64, *live.Part, error) {
		ctx, cancel := context.WithTimeout(ctx, partWait)
		defer cancel()
		msg, err := f.Next(ctx)
		if err != nil {
			return 0, nil, err
		}
		part, ok := any(msg.Body).(*live.Part)
		if !ok {
			return 0, nil, fmt.Errorf("message %d of %s is no part", msg.Seq, subject)
		}
		return msg.Seq, part, nil
	}
	return live.Gather(ctx, next, first, last, from)
}

// find looks for media in the store that can't be made again for the given reason. What a
// spool of another process holds is waited for; the rest is a gap when the store does not
// have it. A store that does not answer says nothing: the media may have been stored and not
// said to be, so they count as held until it does. A bus that was silent is asked again.
func (w *writer) find(ctx context.Context, l *left, reason error) (timeline.Media, error) {
	m := l.media
	began := time.Now()
	var missing time.Time // since when the store says that it does not have it
	for wait := retryFirst; ; wait = min(2*wait, retryMost) {
		err := w.ask(ctx, l, &m)
		now := time.Now()
		if errors.Is(err, storage.ErrNotFound) && missing.IsZero() {
			missing = now
		}
		again := silent(reason) && now.Sub(began) < silentMost
		if err != nil && again {
			if reason = w.remake(ctx, l, &m); reason == nil {
				return m, nil
			}
		}
		switch {
		case err == nil:
			return m, nil
		case !m.Held && !missing.IsZero() && again:
		case !m.Held && !missing.IsZero(),
			m.Held && !missing.IsZero() && now.Sub(missing) >= heldMost:
			m.Held, m.Gap = false, true
			return m, fmt.Errorf("%w (bus: %w; store: %w)", errLeft, reason, err)
		case !m.Held && now.Sub(began) >= lookMost:
			m.Held = true
			w.hold(1)
			w.notify(notice{seq: l.seq, media: m, of: l.of})
		}
		if !sleep(ctx, wait) {
			return m, context.Cause(ctx)
		}
	}
}

// ask looks for the object in the store; m then says that it is stored. With a shelf in
// front of the store the object may be there and not in the store yet: then it is shelved
// again, and m says held.
func (w *writer) ask(ctx context.Context, l *left, m *timeline.Media) error {
	try, cancel := context.WithTimeout(ctx, lookTimeout)
	defer cancel()
	r, info, err := w.p.Store.Get(try, playlist.MediaKey(m.Rendition, l.broadcast.ID, m.Name), nil)
	if err != nil {
		return err
	}
	defer r.Close()
	if w.p.Shelf == nil {
		m.Held, m.Stored, m.Size = false, true, info.Size
		return nil
	}
	data, err := io.ReadAll(io.LimitReader(r, int64(w.p.MaxSegmentBytes)))
	if err != nil {
		return err
	}
	m.Held = false
	return w.shelve(ctx, l.broadcast.ID, l.seq, m, contentTypeOf(l.broadcast.Rendition(m.Rendition).Kind), [][]byte{data}, l.of)
}
