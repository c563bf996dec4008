package timeline

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"strconv"

	"klive/infra/live"
	"klive/storage"
)

// Limits of stored objects, in bytes.
const (
	maxHead    = 8 << 20
	maxChapter = 32 << 20
)

// HeadKey is where an entry's head object lies.
func HeadKey(entry string) string { return "state/" + entry + "/head.json" }

// ChapterKey is where the chapter of items first to last lies. The range is in the name, so
// two owners who write the same key write the same bytes.
func ChapterKey(entry, broadcast string, first, last uint64) string {
	return chapterPrefix(entry, broadcast) + strconv.FormatUint(first, 10) + "-" + strconv.FormatUint(last, 10) + ".json"
}

func chapterPrefix(entry, broadcast string) string {
	return "state/" + entry + "/" + broadcast + "/chapter-"
}

// head is the head object: a state, and which write it came with.
type head struct {
	Version int    `json:"v"`
	WriteID string `json:"writeId"`
	State   *State `json:"state"`
}

// chapter is a chapter object.
type chapter struct {
	Version   int    `json:"v"`
	Broadcast string `json:"broadcast"`
	Items     []Item `json:"items"`
}

// ErrDamaged is returned for a head or chapter that can't be read: cut short, or not an
// object of this timeline. Nothing overwrites it. Bring it back from a copy; only who can do
// without the entry's past moves a damaged head away, and the timeline begins anew.
var ErrDamaged = errors.New("timeline: a stored object is damaged; restore it from a copy of the store")

// ErrHeadSize is returned by Save for a head so large that nobody would read it: too many items
// wait for the store. The head as it was stays until they are stored or given up.
var ErrHeadSize = errors.New("timeline: the head is too large; see why media don't reach the store, or lower spool.age")

// LoadHead reads an entry's head. It returns ErrNoTimeline when there is none, and an error
// that wraps ErrDamaged or ErrVersion when there is one that can't be used.
func LoadHead(ctx context.Context, store storage.Store, entry string) (*State, error) {
	h, _, err := loadHead(ctx, store, entry)
	return h.State, err
}

func loadHead(ctx context.Context, store storage.Store, entry string) (head, storage.Info, error) {
	b, info, err := read(ctx, store, HeadKey(entry), maxHead)
	if errors.Is(err, storage.ErrNotFound) {
		return head{}, info, fmt.Errorf("entry %s: %w", entry, ErrNoTimeline)
	}
	if err != nil {
		return head{}, info, fmt.Errorf("timeline head of %s: %w", entry, err)
	}
	var h head
	if err := json.Unmarshal(b, &h); err != nil {
		return head{}, info, fmt.Errorf("%w: %s: %w", ErrDamaged, HeadKey(entry), err)
	}
	if h.Version != wireVersion {
		return head{}, info, fmt.Errorf("%s, version %d: %w", HeadKey(entry), h.Version, ErrVersion)
	}
	if h.State == nil || h.State.Entry != entry || h.State.NextSeq == 0 || h.State.NextDiscontinuity == 0 {
		return head{}, info, fmt.Errorf("%w: %s holds no state of this entry", ErrDamaged, HeadKey(entry))
	}
	return h, info, nil
}

// read gets a whole object of at most limit bytes.
func read(ctx context.Context, store storage.Store, key string, limit int64) ([]byte, storage.Info, error) {
	r, info, err := store.Get(ctx, key, nil)
	if err != nil {
		return nil, info, err
	}
	defer r.Close()
	if info.Size > limit {
		return nil, info, fmt.Errorf("%w: %s has %d bytes, at most %d are read", ErrDamaged, key, info.Size, limit)
	}
	b, err := io.ReadAll(io.LimitReader(r, limit))
	return b, info, err
}

func newWriteID() string {
	var b [8]byte
	rand.Read(b[:]) // never fails
	return hex.EncodeToString(b[:])
}

// LoadChapter reads the items of a chapter of the given broadcast.
func LoadChapter(ctx context.Context, store storage.Store, broadcast string, c Chapter) ([]Item, error) {
	b, _, err := read(ctx, store, c.Key, maxChapter)
	if err != nil {
		return nil, fmt.Errorf("timeline chapter: %w", err)
	}
	var w chapter
	if err := json.Unmarshal(b, &w); err != nil {
		return nil, fmt.Errorf("%w: chapter %s: %w", ErrDamaged, c.Key, err)
	}
	if w.Version != wireVersion {
		return nil, fmt.Errorf("timeline chapter %s, version %d: %w", c.Key, w.Version, ErrVersion)
	}
	n := len(w.Items)
	if w.Broadcast != broadcast || n == 0 || w.Items[0].Seq != c.FirstSeq || w.Items[n-1].Seq != c.LastSeq {
		return nil, fmt.Errorf("%w: chapter %s does not hold items %d to %d", ErrDamaged, c.Key, c.FirstSeq, c.LastSeq)
	}
	intern(w.Items)
	return w.Items, nil
}

// intern makes equal rendition names share memory: a chapter repeats few of them often.
func intern(items []Item) {
	names := map[string]string{}
	for i := range items {
		for j := range items[i].Media {
			m := &items[i].Media[j]
			if s, ok := names[m.Rendition]; ok {
				m.Rendition = s
			} else {
				names[m.Rendition] = m.Rendition
			}
		}
	}
}

// putChapter stores items as a chapter object. An object under the same key has the same
// content, so finding one is as good as writing it.
func putChapter(ctx context.Context, store storage.Store, entry, broadcast string, items []Item) (Chapter, error) {
	first, last := &items[0], &items[len(items)-1]
	c := Chapter{
		Key: ChapterKey(entry, broadcast, first.Seq, last.Seq), FirstSeq: first.Seq, LastSeq: last.Seq, Start: first.Start,
	}
	w := chapter{Version: wireVersion, Broadcast: broadcast, Items: make([]Item, len(items))}
	for i := range items {
		c.Duration += items[i].Duration
		w.Items[i] = withoutParts(items[i])
	}
	b, err := json.Marshal(w)
	if err != nil {
		return c, fmt.Errorf("timeline chapter: %w", err)
	}
	_, err = store.Put(ctx, c.Key, [][]byte{b}, storage.PutOptions{ContentType: "application/json", IfAbsent: true})
	if err != nil && !errors.Is(err, storage.ErrPrecondition) {
		return c, fmt.Errorf("timeline chapter: %w", err)
	}
	return c, nil
}

// withoutParts drops what only matters while the media plane still holds the parts. The feed of
// what a gap could be made again from stays: names of an encoder's bitrates may be equal.
func withoutParts(it Item) Item {
	list := make([]Media, len(it.Media))
	for i, m := range it.Media {
		if !slices.ContainsFunc(it.Media, func(gap Media) bool { return gap.remade() && gap.Encode.Feed == m.Feed }) {
			m.Feed = live.Feed{}
		}
		m.FirstPart, m.LastPart, m.From = 0, 0, 0
		list[i] = m
	}
	it.Media = list
	return it
}
