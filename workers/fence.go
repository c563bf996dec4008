package workers

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"time"

	"klive/infra/bus"
	"klive/infra/live"
	"klive/storage"
	"klive/storage/playlist"
	"klive/storage/timeline"
	"klive/workers/packager"
	"klive/workers/registrar"
)

// guard stands before what an owner changes. An owner that was stopped or cut off does not
// know whether its entry is another's by now; the guard makes it ask first.
type guard struct {
	lease *bus.Lease
	// within is how old the last renewal may be: younger than what others need to steal.
	within time.Duration
}

// check returns nil when nobody can have taken the entry yet, or when the bus has just said
// that nobody has.
func (g *guard) check(ctx context.Context) error { return g.lease.Check(ctx, g.within) }

// watch calls lost when the lease is.
func (g *guard) watch(ctx context.Context, lost func(error)) {
	select {
	case <-g.lease.Lost():
		lost(errors.Join(bus.ErrLeaseLost, g.lease.Err()))
	case <-ctx.Done():
	}
}

// fencedStore is the store as an entry's owner writes to it. Objects that are written once
// under a condition pass; the head's condition is the fence itself. Playlists are written
// under the condition that nobody else has written them since, and carry the owner's epoch
// as a comment, which also makes the ETags of two owners' playlists differ.
type fencedStore struct {
	storage.Store
	guard *guard
	entry string
	epoch uint64

	// mu guards the fields below.
	mu    sync.Mutex
	etags map[string]string // of playlists, as this owner last saw them; "" when there was none
}

func newFencedStore(s storage.Store, g *guard, entry string, epoch uint64) *fencedStore {
	return &fencedStore{Store: s, guard: g, entry: entry, epoch: epoch, etags: map[string]string{}}
}

// Put implements storage.Store.
func (f *fencedStore) Put(ctx context.Context, key string, data [][]byte, opt storage.PutOptions) (storage.Info, error) {
	if opt.IfAbsent {
		return f.Store.Put(ctx, key, data, opt)
	}
	if err := f.guard.check(ctx); err != nil {
		return storage.Info{}, err
	}
	if opt.IfMatch != "" {
		return f.Store.Put(ctx, key, data, opt)
	}
	return f.replace(ctx, key, f.signed(key, data), opt)
}

// shelf is what keeps media while the store is away: the store below, if it can. Media are
// written once, under names of their own, so they need no fence.
func shelf(s storage.Store) packager.Shelf {
	if s, ok := s.(packager.Shelf); ok {
		return s
	}
	return nil
}

// Delete implements storage.Store.
func (f *fencedStore) Delete(ctx context.Context, keys ...string) error {
	if len(keys) == 0 {
		return nil
	}
	if err := f.guard.check(ctx); err != nil {
		return err
	}
	return f.Store.Delete(ctx, keys...)
}

// overwrites is how often a write is tried anew behind another owner's: one that is about to
// be fenced may still be writing.
const overwrites = 8

// replace writes an object that this owner wrote or saw last.
func (f *fencedStore) replace(ctx context.Context, key string, data [][]byte, opt storage.PutOptions) (storage.Info, error) {
	etag, err := f.known(ctx, key)
	for range overwrites {
		if err != nil {
			return storage.Info{}, err
		}
		opt.IfMatch, opt.IfAbsent = etag, etag == ""
		var info storage.Info
		info, err = f.Store.Put(ctx, key, data, opt)
		if err == nil {
			f.remember(key, info.ETag)
			return info, nil
		}
		if !errors.Is(err, storage.ErrPrecondition) {
			return storage.Info{}, err
		}
		if err = f.fenced(ctx); err == nil {
			etag, err = f.look(ctx, key)
		}
	}
	return storage.Info{}, errors.Join(fmt.Errorf("%s: others keep writing it: %w", key, storage.ErrPrecondition), err)
}

// fenced says whether a later owner has claimed the entry.
func (f *fencedStore) fenced(ctx context.Context) error {
	head, err := timeline.LoadHead(ctx, f.Store, f.entry)
	if errors.Is(err, timeline.ErrNoTimeline) {
		return nil
	}
	if err == nil && head.Epoch > f.epoch {
		err = &timeline.FencedError{Entry: f.entry, Epoch: f.epoch, ByEpoch: head.Epoch, ByWorker: head.Owner}
	}
	return err
}

func (f *fencedStore) known(ctx context.Context, key string) (string, error) {
	f.mu.Lock()
	etag, ok := f.etags[key]
	f.mu.Unlock()
	if ok {
		return etag, nil
	}
	return f.look(ctx, key)
}

func (f *fencedStore) remember(key, etag string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.etags[key] = etag
}

// look returns the ETag of the object as it stands, "" when there is none.
func (f *fencedStore) look(ctx context.Context, key string) (string, error) {
	r, info, err := f.Get(ctx, key, nil)
	if err == nil {
		r.Close()
	} else if !errors.Is(err, storage.ErrNotFound) {
		return "", err
	}
	f.remember(key, info.ETag)
	return info.ETag, nil
}

const (
	playlistSuffix = ".m3u8"
	epochMark      = "# written by owner epoch "
)

// signed puts the epoch behind a playlist.
func (f *fencedStore) signed(key string, data [][]byte) [][]byte {
	if !strings.HasSuffix(key, playlistSuffix) {
		return data
	}
	return append(data[:len(data):len(data)], fmt.Appendf(nil, "%s%d\n", epochMark, f.epoch))
}

// seal writes the entry's stored playlists anew, as they stand, under this owner's epoch: a
// write of the owner before this one that is still on its way finds its condition gone.
func (f *fencedStore) seal(ctx context.Context, s *timeline.State, window int) {
	keys := map[string]bool{}
	for _, file := range playlist.Stored(s, window) {
		keys[file.Key] = true
	}
	for _, b := range s.Broadcasts {
		for i := range b.Renditions {
			keys[playlist.DVRKey(b.Renditions[i].Name)] = true
		}
	}
	var wg sync.WaitGroup
	defer wg.Wait()
	for key := range keys {
		wg.Go(func() { f.sealOne(ctx, key) })
	}
}

// sealOne leaves a playlist alone that this owner has written meanwhile, or that can't be
// read: the next write meets the same condition.
func (f *fencedStore) sealOne(ctx context.Context, key string) {
	text, info, err := readText(ctx, f.Store, key)
	if err != nil || f.guard.check(ctx) != nil {
		return
	}
	if i := strings.LastIndex(text, epochMark); i >= 0 {
		text = text[:i]
	}
	opt := storage.PutOptions{ContentType: info.ContentType, CacheControl: info.CacheControl, IfMatch: info.ETag}
	if info, err = f.Store.Put(ctx, key, f.signed(key, [][]byte{[]byte(text)}), opt); err == nil {
		f.remember(key, info.ETag)
	}
}

// fencedBroadcasts and fencedAPI put the guard before the broadcast's record and before calls
// to Kaltura.
type fencedBroadcasts struct {
	packager.Bucket
	guard *guard
}

func (f fencedBroadcasts) Put(ctx context.Context, key string, value []byte) (uint64, error) {
	if err := f.guard.check(ctx); err != nil {
		return 0, err
	}
	return f.Bucket.Put(ctx, key, value)
}

type fencedAPI struct {
	registrar.API
	guard *guard
}

func (f fencedAPI) RegisterMediaServer(ctx context.Context, c registrar.Call) (live.EntryFacts, error) {
	if err := f.guard.check(ctx); err != nil {
		return live.EntryFacts{}, err
	}
	return f.API.RegisterMediaServer(ctx, c)
}

func (f fencedAPI) UnregisterMediaServer(ctx context.Context, c registrar.Call) error {
	if err := f.guard.check(ctx); err != nil {
		return err
	}
	return f.API.UnregisterMediaServer(ctx, c)
}

func (f fencedAPI) SetBroadcastStart(ctx context.Context, partner int, entry string, at time.Time) error {
	if err := f.guard.check(ctx); err != nil {
		return err
	}
	return f.API.SetBroadcastStart(ctx, partner, entry, at)
}
