package recorder

import (
	"context"
	"crypto/rand"
	"errors"
	"slices"
	"strings"
	"sync"
	"time"

	"klive/infra/bus"
	"klive/infra/live"
	"klive/storage/ledger"
	"klive/storage/timeline"
)

// takeUp loads what there is of backup feeds, before anything is made of their sessions.
func (r *Recorder) takeUp(ctx context.Context) bool {
	for ctx.Err() == nil {
		err := r.loadBackups(ctx)
		if err == nil || r.over(ctx, err) {
			break
		}
		r.note(err)
		pause(ctx, r.Options.Poll)
	}
	return ctx.Err() == nil
}

// followBackups follows the backup encoder's feeds as they come and go, until the context ends.
func (r *Recorder) followBackups(ctx context.Context) {
	var wg sync.WaitGroup
	defer wg.Wait()
	for ctx.Err() == nil {
		if r.Options.Backup && r.Media != nil {
			for _, f := range r.recorded() {
				if f.Feed.Index == live.Backup {
					r.followBackup(ctx, &wg, f)
				}
			}
		}
		for _, b := range r.allBackups() {
			if err := b.settle(ctx); err != nil && !r.over(ctx, err) {
				r.Log.Warn("what is stored of a backup feed could not be settled, trying again", "feed", b.id, "error", err)
			}
		}
		pause(ctx, r.Options.Poll)
	}
}

func (r *Recorder) allBackups() (out []*backup) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, b := range r.backups {
		out = append(out, b)
	}
	for _, b := range r.coming {
		out = append(out, b)
	}
	return out
}

// followBackup sees to it that somebody follows a feed. One that comes back while its broadcast
// is open continues it.
func (r *Recorder) followBackup(ctx context.Context, wg *sync.WaitGroup, f live.FeedRecord) {
	var b *backup
	for _, x := range r.allBackups() {
		if x.id == f.Feed.FeedID && !x.broadcast().Ended {
			b = x
		}
	}
	if b == nil {
		b = &backup{r: r, id: f.Feed.FeedID, name: backupPrefix + strings.ToLower(rand.Text())}
		r.mu.Lock()
		r.coming[b.id] = b
		r.mu.Unlock()
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.following || b.doc.Feed == f.Feed && b.doc.Over {
		return
	}
	b.following = true
	wg.Go(func() {
		err := b.follow(ctx, f)
		b.mu.Lock()
		b.following = false
		none := b.doc.Broadcast.ID == ""
		b.mu.Unlock()
		if none && !b.onAir(f.Feed) {
			r.mu.Lock()
			delete(r.coming, b.id) // nothing has come of it
			r.mu.Unlock()
		}
		if err != nil && ctx.Err() == nil && !r.over(ctx, err) {
			r.Log.Warn("the backup's own feed could not be followed, trying again", "feed", f.Feed, "error", err)
		}
	})
}

// quietAfter is how long without a part a feed that is over is listened to: what is on its way still
// comes, and what was lost of it is asked for anew.
const quietAfter = max(3*time.Second, bus.FollowerPatience)

// follow stores a feed's segments as they are completed, until the feed is over.
func (b *backup) follow(ctx context.Context, f live.FeedRecord) error {
	from := uint64(1)
	if d := b.next(); d.Feed == f.Feed {
		from = d.LastPart + 1
	}
	in, err := b.r.Media.Follow(ctx, f.Feed.Subject(), from)
	if err != nil {
		return err
	}
	defer in.Close()
	var a *live.Assembly
	for {
		seq, p, err := b.part(ctx, in)
		var aged *bus.AgedOutError
		switch {
		case ctx.Err() != nil:
			return ctx.Err()
		case errors.As(err, &aged):
			b.r.Log.Error("the recorder was too slow for the backup's own feed; a part of it is not recorded", "feed", f.Feed, "error", err)
			a = nil
			continue
		case errors.Is(err, context.DeadlineExceeded):
			if b.onAir(f.Feed) {
				continue
			}
			return b.keep(ctx, a, &f.Grant, true)
		case err != nil:
			return err
		}
		if a, err = b.gather(a, p, seq); err != nil {
			b.r.Log.Error("a segment of the backup's own feed is not recorded", "feed", f.Feed, "error", err)
		}
		if a == nil || !a.Complete() {
			continue
		}
		if err := b.keep(ctx, a, &f.Grant, a.Final()); err != nil || a.Final() {
			return err
		}
		a = nil
	}
}

// part reads the next part, and waits for it until the feed is quiet.
func (b *backup) part(ctx context.Context, in bus.Follower) (uint64, *live.Part, error) {
	ctx, cancel := context.WithTimeout(ctx, quietAfter)
	defer cancel()
	msg, err := in.Next(ctx)
	if err != nil {
		return 0, nil, err
	}
	p, ok := any(msg.Body).(*live.Part)
	if !ok {
		return 0, nil, live.ErrAssembly
	}
	return msg.Seq, p, nil
}

// gather adds a part to a segment, or begins one with it. Parts whose segment's beginning was
// missed are left out.
func (b *backup) gather(a *live.Assembly, p *live.Part, seq uint64) (*live.Assembly, error) {
	var err error
	if a != nil {
		if err = a.Add(p, seq); err == nil && a.Size() <= maxBackupInMind {
			return a, nil
		}
		if err == nil {
			err = errors.New("it is too large")
		}
	}
	if p.Number != 0 {
		return nil, err
	}
	next, nextErr := live.NewAssembly(p, seq)
	return next, errors.Join(err, nextErr)
}

func (b *backup) onAir(f live.Feed) bool {
	return slices.ContainsFunc(b.r.Live(), func(o live.FeedRecord) bool { return o.Feed == f })
}

// keep stores a segment, again and again while the store does not take it. over says that the feed
// has no more.
func (b *backup) keep(ctx context.Context, a *live.Assembly, g *live.Grant, over bool) error {
	for wait := b.r.Options.Retry; ; wait = min(2*wait, b.r.Options.RetryMost) {
		err := b.keepOnce(ctx, a, g, over)
		if err == nil || b.r.over(ctx, err) {
			return err
		}
		b.r.Log.Warn("a segment of the backup's own feed could not be stored, trying again", "feed", b.id, "in", wait, "error", err)
		if !pause(ctx, wait) {
			return ctx.Err()
		}
	}
}

func (b *backup) keepOnce(ctx context.Context, a *live.Assembly, g *live.Grant, over bool) error {
	d := b.next()
	d.Over = over
	if a != nil && a.Duration() > 0 {
		if !b.stopped(d.Broadcast.ID) {
			if err := b.add(ctx, d, a, g); err != nil {
				return err
			}
		}
		d.Feed, d.LastPart = a.Feed, a.Last
	}
	if d.Broadcast.ID == "" {
		return nil // nothing has come of the feed
	}
	gone := b.trim(d)
	d.At = time.Now()
	if err := b.save(ctx, d); err != nil {
		return err
	}
	for _, key := range gone {
		if err := b.r.Store.Delete(ctx, key); err != nil {
			break // it goes with the broadcast
		}
	}
	b.r.mu.Lock()
	delete(b.r.coming, b.id)
	b.r.mu.Unlock()
	return b.r.beginBackup(ctx, b)
}

// stopped reports whether a broadcast is not recorded any further, though it may be on the air.
func (b *backup) stopped(broadcast string) bool {
	s := b.r.book.Ledger().Session(broadcast)
	return s != nil && s.Stopped != ""
}

// add makes an item of a segment, unless it lies before what there is or can't be one.
func (b *backup) add(ctx context.Context, d *backupDoc, a *live.Assembly, g *live.Grant) error {
	if a.Start() < d.Broadcast.End {
		b.r.Log.Warn("a segment of the backup's own feed lies before the end of the one before it and is not recorded", "feed", a.Feed, "start", a.Start().Std())
		return nil
	}
	err := b.item(ctx, d, a, g)
	if errors.Is(err, errBackupSegment) {
		b.r.Log.Error("a segment of the backup's own feed is not recorded", "feed", a.Feed, "start", a.Start().Std(), "error", err)
		return nil
	}
	return err
}

// trim drops items that are in files, and returns the keys of their media.
func (b *backup) trim(d *backupDoc) (gone []string) {
	x := &d.Broadcast
	l := b.r.book.Ledger()
	s := l.Session(x.ID)
	if s == nil || len(s.Tracks) == 0 {
		return nil
	}
	floor := d.NextSeq
	for _, t := range s.Tracks {
		if s.Stopped == "" && t.Asset != "" && !t.Closed { // of a stopped session nothing is cut any more
			floor = min(floor, t.NextSeq)
		}
	}
	for i := range l.Files {
		if f := &l.Files[i]; f.Broadcast == x.ID && !f.Written() {
			floor = min(floor, f.FirstSeq)
		}
	}
	// Whoever makes rungs again looks back at the item before, and to the last keyframe.
	first, _ := slices.BinarySearchFunc(x.Items, floor, func(it timeline.Item, seq uint64) int { return int(int64(it.Seq) - int64(seq)) })
	for first > 0 && first < len(x.Items) && x.Items[first].Dependent {
		first--
	}
	first = max(0, first-1)
	for i := range x.Items[:first] {
		for _, m := range x.Items[i].Media {
			if m.Stored {
				gone = append(gone, mediaKey(b.r.Entry, x.ID, m.Rendition, m.Name))
			}
		}
	}
	x.Items = x.Items[first:]
	return gone
}

// settle ends a broadcast whose feed has been gone for long enough, and removes one whose files
// are written.
func (b *backup) settle(ctx context.Context) error {
	b.mu.Lock()
	following, d := b.following, b.doc
	b.mu.Unlock()
	x := &d.Broadcast
	switch {
	case following:
		return nil
	case x.ID == "":
		b.giveUp()
		return nil
	}
	if !x.Ended {
		if time.Since(d.At) < b.r.Options.Resume {
			return nil
		}
		n := b.next()
		n.Broadcast.Ended = true
		return b.save(ctx, n)
	}
	l := b.r.book.Ledger()
	needed := l.Session(x.ID) != nil || slices.ContainsFunc(l.Files, func(f ledger.File) bool { return f.Broadcast == x.ID && !f.Written() })
	if needed || !l.Knows(x.ID) {
		return nil
	}
	if err := b.r.forget(ctx, backupFolder(b.r.Entry, x.ID)); err != nil {
		return err
	}
	if err := b.r.Store.Delete(ctx, backupKey(b.r.Entry, x.ID)); err != nil {
		return err
	}
	b.r.mu.Lock()
	defer b.r.mu.Unlock()
	delete(b.r.backups, x.ID)
	return nil
}

// giveUp drops a backup that nothing is stored of and whose feed is not on the air any more: it
// may have gone after it could not be followed, before that was tried again.
func (b *backup) giveUp() {
	if slices.ContainsFunc(b.r.Live(), func(f live.FeedRecord) bool { return f.Feed.FeedID == b.id }) {
		return
	}
	b.r.mu.Lock()
	defer b.r.mu.Unlock()
	if b.r.coming[b.id] == b {
		delete(b.r.coming, b.id)
	}
}
