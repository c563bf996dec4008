package workers

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"io"
	"strings"
	"testing"
	"time"

	"klive/infra/bus"
	"klive/infra/bus/bustest"
	"klive/storage"
	"klive/storage/storagetest"
	"klive/storage/timeline"
	"klive/storage/timeline/buslog"
)

// contentStore gives objects ETags that depend on their content alone, as S3 does.
type contentStore struct{ *storagetest.Memory }

func (s contentStore) Put(ctx context.Context, key string, data [][]byte, opt storage.PutOptions) (storage.Info, error) {
	if opt.IfMatch != "" {
		text, info, err := readText(ctx, s.Memory, key)
		if err != nil || contentTag(text) != opt.IfMatch {
			return storage.Info{}, errors.Join(storage.ErrPrecondition, err)
		}
		opt.IfMatch = info.ETag
	}
	info, err := s.Memory.Put(ctx, key, data, opt)
	var text strings.Builder
	for _, d := range data {
		text.Write(d)
	}
	info.ETag = contentTag(text.String())
	return info, err
}

func (s contentStore) Get(ctx context.Context, key string, r *storage.Range) (body io.ReadCloser, info storage.Info, err error) {
	body, info, err = s.Memory.Get(ctx, key, r)
	if err == nil {
		var text string
		if text, _, err = readText(ctx, s.Memory, key); err == nil {
			info.ETag = contentTag(text)
		}
	}
	return body, info, err
}

func contentTag(text string) string {
	sum := sha256.Sum256([]byte(text))
	return hex.EncodeToString(sum[:8])
}

// fences are two owners of an entry, the second of which has taken it from the first.
type fences struct {
	t          *testing.T
	store      storage.Store
	log        timeline.Log
	leases     *bus.Bucket
	lease      *bus.Lease
	first      *fencedStore
	firstState *timeline.Writer
}

const listKey = "kLive/0_demolive_a1/v.m3u8"

func newFences(t *testing.T, store storage.Store) *fences {
	n := bustest.StartNode(t)
	f := &fences{t: t, store: store}
	var err error
	if f.log, err = buslog.Open(t.Context(), n.Control()); err != nil {
		t.Fatal(err)
	}
	if f.leases, err = n.Control().Bucket(t.Context(), bus.BucketConfig{Name: OwnersBucket}); err != nil {
		t.Fatal(err)
	}
	if f.lease, err = bus.AcquireLease(t.Context(), f.leases, entry, "a", 15*time.Second); err != nil {
		t.Fatal(err)
	}
	f.first, f.firstState = f.owner("a", f.lease, 1)
	return f
}

func (f *fences) owner(name string, l *bus.Lease, epoch uint64) (*fencedStore, *timeline.Writer) {
	f.t.Helper()
	s := newFencedStore(f.store, &guard{lease: l, within: 2 * time.Second}, entry, epoch)
	w, err := timeline.OpenWriter(f.t.Context(), timeline.WriterConfig{Store: s, Log: f.log, Entry: entry, Epoch: epoch, Owner: name})
	if err != nil {
		f.t.Fatal(err)
	}
	return s, w
}

func (f *fences) put(s storage.Store, text string) error {
	_, err := s.Put(f.t.Context(), listKey, [][]byte{[]byte(text)}, storage.PutOptions{})
	return err
}

func (f *fences) text() string {
	f.t.Helper()
	text, _, err := readText(f.t.Context(), f.store, listKey)
	if err != nil {
		f.t.Fatal(err)
	}
	return text
}

// TestFencedOwnerWritesNoPlaylist lets the first owner write after the second has: it is told
// to stop, even by a guard that lets it pass.
func TestFencedOwnerWritesNoPlaylist(t *testing.T) {
	bubble(t, func(t *testing.T) {
		f := newFences(t, contentStore{storagetest.NewMemory()})
		for _, text := range []string{"one\n", "two\n"} {
			if err := f.put(f.first, text); err != nil {
				t.Fatal(err)
			}
		}
		if f.text() != "two\n# written by owner epoch 1\n" {
			t.Errorf("the playlist is %q", f.text())
		}
		thief, err := bus.StealLease(t.Context(), f.leases, entry, "b", 15*time.Second, f.lease.Revision())
		if err != nil {
			t.Fatal(err)
		}
		second, _ := f.owner("b", thief, 2)
		if err := f.put(second, "two\n"); err != nil { // the same text
			t.Fatal(err)
		}
		if err := f.put(f.first, "late\n"); !errors.Is(err, timeline.ErrFenced) || f.text() != "two\n# written by owner epoch 2\n" {
			t.Errorf("the first owner's late write: %v, the playlist is %q", err, f.text())
		}
		time.Sleep(2500 * time.Millisecond) // now its guard doubts
		if err := f.put(f.first, "later\n"); !errors.Is(err, bus.ErrLeaseLost) {
			t.Errorf("the first owner's later write: %v", err)
		}
		if err := f.first.Delete(t.Context(), listKey); !errors.Is(err, bus.ErrLeaseLost) {
			t.Errorf("the first owner's delete: %v", err)
		}
		if err := thief.Release(t.Context()); err != nil {
			t.Fatal(err)
		}
	})
}

// TestSealEndsWritesOnTheirWay takes the condition from a write that the first owner sent
// before the second one came.
func TestSealEndsWritesOnTheirWay(t *testing.T) {
	bubble(t, func(t *testing.T) {
		store := contentStore{storagetest.NewMemory()}
		f := newFences(t, store)
		if err := f.put(f.first, "one\n"); err != nil {
			t.Fatal(err)
		}
		_, before, err := readText(t.Context(), store, listKey)
		if err != nil {
			t.Fatal(err)
		}
		thief, err := bus.StealLease(t.Context(), f.leases, entry, "b", 15*time.Second, f.lease.Revision())
		if err != nil {
			t.Fatal(err)
		}
		second, _ := f.owner("b", thief, 2)
		second.sealOne(t.Context(), listKey)
		if f.text() != "one\n# written by owner epoch 2\n" {
			t.Errorf("the sealed playlist is %q", f.text())
		}
		if _, err := store.Put(t.Context(), listKey, [][]byte{[]byte("late\n")}, storage.PutOptions{IfMatch: before.ETag}); !errors.Is(err, storage.ErrPrecondition) {
			t.Errorf("a write that was on its way: %v", err)
		}
		if err := f.put(second, "two\n"); err != nil || f.text() != "two\n# written by owner epoch 2\n" {
			t.Errorf("the second owner's write: %v, the playlist is %q", err, f.text())
		}
		if err := thief.Release(t.Context()); err != nil {
			t.Fatal(err)
		}
	})
}

// TestLostAnswersOfPlaylists lets a write's answer get lost: the next one goes through.
func TestLostAnswersOfPlaylists(t *testing.T) {
	bubble(t, func(t *testing.T) {
		memory := storagetest.NewMemory()
		lose := false
		memory.After = func(_ context.Context, _, key string) error {
			if lose && key == listKey {
				lose = false
				return errLost
			}
			return nil
		}
		f := newFences(t, memory)
		defer func() { _ = f.lease.Release(t.Context()) }()
		if err := f.put(f.first, "one\n"); err != nil {
			t.Fatal(err)
		}
		lose = true
		if err := f.put(f.first, "two\n"); !errors.Is(err, errLost) {
			t.Errorf("a lost answer: %v", err)
		}
		if err := f.put(f.first, "three\n"); err != nil || !strings.HasPrefix(f.text(), "three\n") {
			t.Errorf("the write after it: %v, the playlist is %q", err, f.text())
		}
	})
}
