package timeline

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"time"

	"klive/infra/media"
	"klive/storage"
)

// mergeCount is how many chapters become one, so that the head stays small however long
// the DVR window is: a day in chapters of a minute is 45 merged ones and at most 31 others.
const mergeCount = 32

// maxRaces is how often a head write is tried anew behind somebody else's.
const maxRaces = 8

// Save closes the chapters that are due and writes the head with everything that has been
// appended. Its cost does not depend on how much the timeline holds. ErrFenced means stop.
func (w *Writer) Save(ctx context.Context) error {
	w.saving.Lock()
	defer w.saving.Unlock()
	return w.save(ctx)
}

func (w *Writer) save(ctx context.Context) error {
	if err := w.closeChapters(ctx); err != nil {
		return err
	}
	return w.saveHead(ctx)
}

// saveHead writes the state under the condition that the head is the one last seen. When it
// is not, the head says whose turn it is.
func (w *Writer) saveHead(ctx context.Context) error {
	id := newWriteID()
	for range maxRaces {
		state := w.State()
		err := w.fencedBy(state)
		if err != nil {
			return err
		}
		b, err := json.Marshal(head{Version: wireVersion, WriteID: id, State: state})
		if err != nil {
			return fmt.Errorf("timeline head of %s: %w", w.cfg.Entry, err)
		}
		if len(b) > maxHead {
			return fmt.Errorf("timeline head of %s: %w: it has %d bytes, at most %d are read", w.cfg.Entry, ErrHeadSize, len(b), maxHead)
		}
		opt := storage.PutOptions{ContentType: "application/json", IfAbsent: w.etag == "", IfMatch: w.etag}
		info, err := w.cfg.Store.Put(ctx, HeadKey(w.cfg.Entry), [][]byte{b}, opt)
		if err == nil {
			w.etag, w.claimed = info.ETag, 0
			return nil
		}
		if !errors.Is(err, storage.ErrPrecondition) {
			return fmt.Errorf("timeline head of %s: %w", w.cfg.Entry, err)
		}
		done, err := w.readBack(ctx, id)
		if err != nil || done {
			return err
		}
	}
	return fmt.Errorf("timeline head of %s: %d others were faster: %w", w.cfg.Entry, maxRaces, storage.ErrPrecondition)
}

// readBack looks at the head that a write ran into. It reports true when that was this very
// write, whose answer was lost.
func (w *Writer) readBack(ctx context.Context, id string) (bool, error) {
	h, info, err := loadHead(ctx, w.cfg.Store, w.cfg.Entry)
	if errors.Is(err, ErrNoTimeline) {
		w.etag = ""
		return false, nil
	}
	if err != nil {
		return false, err
	}
	if err := w.fencedBy(h.State); err != nil {
		return false, err
	}
	if w.claimed > 0 && h.State.LogSeq >= w.claimed && h.State.Epoch != w.cfg.Epoch {
		// The log that this owner began with had lost records that this head stands for.
		w.fenced.Store(true)
		return false, fmt.Errorf("entry %s, epoch %d: %w: the head holds what the log has lost; begin anew from it", w.cfg.Entry, w.cfg.Epoch, ErrFenced)
	}
	w.etag, w.claimed = info.ETag, 0
	return h.WriteID == id, nil
}

// closeChapters writes what is due as chapter objects and says so in the log.
func (w *Writer) closeChapters(ctx context.Context) error {
	for {
		b, items, merge := w.due()
		if b == nil {
			return nil
		}
		for _, c := range merge {
			list, err := LoadChapter(ctx, w.cfg.Store, b.ID, c)
			if lost(err) {
				w.log.Error("timeline: a chapter can't be read; the DVR window lacks it, and chapters are merged no more", "err", err)
				w.noMerge = true
				break
			}
			if err != nil {
				return err
			}
			items = append(items, list...)
		}
		if merge != nil && w.noMerge {
			continue
		}
		c, err := putChapter(ctx, w.cfg.Store, w.cfg.Entry, b.ID, items)
		if err != nil {
			return err
		}
		if _, err := w.Append(ctx, &Closed{Broadcast: b.ID, Chapter: c}); err != nil {
			return err
		}
	}
}

// lost reports whether an error of loading a chapter says that trying again will not help.
func lost(err error) bool {
	return errors.Is(err, ErrDamaged) || errors.Is(err, ErrVersion) || errors.Is(err, storage.ErrNotFound)
}

// due returns the next items to close, or the next chapters to merge, and their broadcast.
func (w *Writer) due() (*Broadcast, []Item, []Chapter) {
	for _, b := range w.State().Broadcasts {
		if n := w.dueItems(b); n > 0 {
			return b, b.Items[:n], nil
		}
		if merge := w.dueChapters(b); merge != nil && !w.noMerge {
			return b, nil, merge
		}
	}
	return nil, nil, nil
}

// dueItems returns how many of the oldest open items make the next chapter: the fewest that
// last a chapter, when what remains covers the live window.
func (w *Writer) dueItems(b *Broadcast) int {
	var length time.Duration
	for i := range w.keepFrom(b) {
		if length += b.Items[i].Duration; length >= w.cfg.Chapter {
			return i + 1
		}
	}
	return 0
}

// keepFrom returns where the items begin that stay open: those that are not settled, before
// them the newest Keep ones, and at least four target durations of them. A rendition whose
// media come late shows its live window before the first of its missing ones.
func (w *Writer) keepFrom(b *Broadcast) int {
	settled := slices.IndexFunc(b.Items, func(it Item) bool { return !it.Settled() })
	if settled < 0 {
		settled = len(b.Items)
	}
	i := settled
	var length time.Duration
	for i > 0 && (settled-i < w.cfg.Keep || length < 4*time.Duration(b.Target)*time.Second) {
		i--
		length += b.Items[i].Duration
	}
	return i
}

// dueChapters returns a run of unmerged chapters that has grown to mergeCount.
func (w *Writer) dueChapters(b *Broadcast) []Chapter {
	first := slices.IndexFunc(b.Chapters, func(c Chapter) bool { return !w.merged(c) })
	if first < 0 || len(b.Chapters)-first < mergeCount {
		return nil
	}
	return b.Chapters[first : first+mergeCount]
}

// merged tells a merged chapter by its length: a plain one lasts less than a chapter and
// one item.
func (w *Writer) merged(c Chapter) bool {
	return c.Duration >= w.cfg.Chapter+maxTarget*time.Second && c.Duration >= w.cfg.Chapter*mergeCount
}

// Dropped is what has left a timeline: objects that nothing names any more.
type Dropped struct {
	Broadcast string
	// Whole is set when nothing is left of the broadcast: its inits can go as well.
	Whole      bool
	Renditions []Rendition
	Items      []Item
}

// Expire drops the items that end at or before the given time, but not those that an open
// broadcast's live window needs. It saves the head, removes the chapters that are not needed any
// more, and returns what was dropped, so that the caller can remove the media.
func (w *Writer) Expire(ctx context.Context, before media.Time) ([]Dropped, error) {
	w.saving.Lock()
	defer w.saving.Unlock()
	var all []Dropped
	for _, b := range w.State().Broadcasts {
		d, end, err := w.expired(ctx, b, before)
		if err != nil {
			return all, err
		}
		if d.Whole {
			end = w.State().NextSeq
		} else if end <= b.FirstSeq {
			continue
		}
		if _, err := w.Append(ctx, &Expired{Broadcast: b.ID, Before: end}); err != nil {
			return all, err
		}
		all = append(all, d)
	}
	if len(all) == 0 {
		return nil, nil
	}
	if err := w.save(ctx); err != nil {
		return all, err
	}
	for _, d := range all {
		if err := w.removeChapters(ctx, d.Broadcast); err != nil {
			return all, err
		}
	}
	return all, nil
}

// expired collects the items of b that end at or before the given time, and the number
// behind the last one. What a chapter held that can't be read any more is left to the
// sweeper, who removes what no timeline names.
func (w *Writer) expired(ctx context.Context, b *Broadcast, before media.Time) (d Dropped, next uint64, err error) {
	d = Dropped{Broadcast: b.ID, Renditions: b.Renditions}
	take := func(items []Item) {
		for _, it := range items {
			if it.Seq >= b.FirstSeq && it.End() <= before {
				d.Items, next = append(d.Items, it), it.Seq+1
			}
		}
	}
	for _, c := range b.Chapters {
		if c.Start >= before {
			return d, next, nil
		}
		items, err := LoadChapter(ctx, w.cfg.Store, b.ID, c)
		if lost(err) && !errors.Is(err, ErrVersion) {
			if c.Start.Add(c.Duration) > before {
				return d, next, nil
			}
			w.log.Error("timeline: a chapter that expires can't be read; the sweeper removes its media", "err", err)
			next = c.LastSeq + 1
			continue
		}
		if err != nil {
			return d, next, err
		}
		take(items)
	}
	open := b.Items
	if !b.Ended {
		open = open[:w.keepFrom(b)]
	}
	take(open)
	end := b.End
	if n := len(b.Items); n > 0 {
		end = max(end, b.Items[n-1].End())
	}
	d.Whole = b.Ended && end <= before
	return d, next, nil
}

// removeChapters deletes the chapter objects of a broadcast that the timeline does not name:
// expired ones, and those that have been merged for a while, which a reader may still want.
func (w *Writer) removeChapters(ctx context.Context, broadcast string) error {
	named := map[string]bool{}
	s := w.State()
	i := s.index(broadcast)
	if i >= 0 {
		for _, c := range s.Broadcasts[i].Chapters {
			named[c.Key] = true
		}
	}
	var gone []string
	for o, err := range storage.All(ctx, w.cfg.Store, chapterPrefix(w.cfg.Entry, broadcast)) {
		if err != nil {
			return fmt.Errorf("timeline chapters of %s: %w", w.cfg.Entry, err)
		}
		if !named[o.Key] && (i < 0 || time.Since(o.Modified) > chapterGrace) {
			gone = append(gone, o.Key)
		}
	}
	if err := w.cfg.Store.Delete(ctx, gone...); err != nil {
		return fmt.Errorf("timeline chapters of %s: %w", w.cfg.Entry, err)
	}
	return nil
}

// chapterGrace is how long a reader may work with a chapter list from before a merge.
const chapterGrace = 10 * time.Minute
