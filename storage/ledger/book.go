package ledger

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"sync"

	"klive/storage"
)

const (
	wireVersion = 1
	maxLedger   = 64 << 20 // bytes; MaxFiles are a fifth of it
)

// Prefix is where all ledgers lie.
const Prefix = "state/ledger/"

// Key is where an entry's ledger lies.
func Key(entry string) string { return Prefix + entry + ".json" }

// ErrNone is returned when nothing was ever recorded of an entry.
var ErrNone = errors.New("ledger: nothing was recorded of this entry")

// ErrFenced is returned to a recorder when another has claimed the ledger. It must stop.
var ErrFenced = errors.New("ledger: another recorder has claimed this entry")

// Load reads an entry's ledger. The error wraps ErrNone, ErrDamaged or ErrVersion.
func Load(ctx context.Context, store storage.Store, entry string) (*Ledger, error) {
	l, _, err := load(ctx, store, entry)
	return l, err
}

func load(ctx context.Context, store storage.Store, entry string) (*Ledger, string, error) {
	r, info, err := store.Get(ctx, Key(entry), nil)
	if errors.Is(err, storage.ErrNotFound) {
		return nil, "", fmt.Errorf("entry %s: %w", entry, ErrNone)
	}
	if err != nil {
		return nil, "", fmt.Errorf("ledger of %s: %w", entry, err)
	}
	defer r.Close()
	b, err := io.ReadAll(io.LimitReader(r, maxLedger+1))
	switch {
	case err != nil:
		return nil, "", fmt.Errorf("ledger of %s: %w", entry, err)
	case len(b) > maxLedger:
		return nil, "", fmt.Errorf("%w: %s has more than %d bytes", ErrDamaged, Key(entry), maxLedger)
	}
	var l Ledger
	if err := json.Unmarshal(b, &l); err != nil {
		return nil, "", fmt.Errorf("%w: %s: %w", ErrDamaged, Key(entry), err)
	}
	if l.Version != wireVersion {
		return nil, "", fmt.Errorf("%s, version %d: %w", Key(entry), l.Version, ErrVersion)
	}
	return &l, info.ETag, l.check(entry)
}

// Book is the ledger of one entry in the hands of its recorder. It is safe for concurrent use.
type Book struct {
	store storage.Store
	entry string
	epoch uint64
	owner string

	// mu is held while the ledger is changed, so that changes follow each other. It guards etag
	// and unsure.
	mu   sync.Mutex
	etag string
	// unsure is set after a write whose outcome is not known: the stored ledger is read first.
	unsure bool
	// now guards led, which is never changed once it is there.
	now sync.RWMutex
	led *Ledger
}

// Open claims an entry's ledger, which is made if need be. Whoever held it before is fenced.
func Open(ctx context.Context, store storage.Store, entry, owner string) (*Book, error) {
	b := &Book{store: store, entry: entry, owner: owner, unsure: true}
	for range claimAttempts {
		l, etag, err := load(ctx, store, entry)
		if errors.Is(err, ErrNone) {
			l, etag, err = &Ledger{Version: wireVersion, Entry: entry}, "", nil
		}
		if err != nil {
			return nil, err
		}
		n := l.clone()
		n.Epoch, n.Owner = l.Epoch+1, owner
		b.epoch, b.etag, b.led, b.unsure = n.Epoch, etag, l, false
		err = b.put(ctx, n)
		if err == nil {
			return b, nil
		}
		if !errors.Is(err, storage.ErrPrecondition) {
			return nil, err
		}
	}
	return nil, fmt.Errorf("ledger of %s: others keep writing it: %w", entry, ErrFenced)
}

const claimAttempts = 3

// Ledger is the ledger as it was last known to be stored. It must not be changed.
func (b *Book) Ledger() *Ledger {
	b.now.RLock()
	defer b.now.RUnlock()
	return b.led
}

// Change applies do to a copy of the ledger and stores it. When do returns an error nothing is
// stored, and Change returns it; so it is with ErrFull when the ledger would have more files than it may. After another error the change may or may not have been
// stored; the next Change, or Refresh, finds out. do may be called more than once.
func (b *Book) Change(ctx context.Context, do func(l *Ledger) error) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	var tried string
	for range claimAttempts {
		if err := b.settle(ctx); err != nil {
			return err
		}
		if tried != "" && b.led.WriteID == tried {
			return nil // the write that was refused had run into itself
		}
		n := b.led.clone()
		if err := do(n); err != nil {
			return err
		}
		if err := n.check(b.entry); err != nil {
			return err
		}
		if len(n.Files) > max(MaxFiles, len(b.led.Files)) { // one of another release may have more
			return fmt.Errorf("%w: %d files of %s", ErrFull, len(b.led.Files), Key(b.entry))
		}
		err := b.put(ctx, n)
		if !errors.Is(err, storage.ErrPrecondition) {
			return err
		}
		tried = n.WriteID
	}
	return fmt.Errorf("ledger of %s: others keep writing it: %w", b.entry, storage.ErrPrecondition)
}

// Refresh finds out what a write with an unknown outcome has left.
func (b *Book) Refresh(ctx context.Context) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.settle(ctx)
}

// settle reads the stored ledger when it may be another than the one in hand.
func (b *Book) settle(ctx context.Context) error {
	if !b.unsure {
		return nil
	}
	l, etag, err := load(ctx, b.store, b.entry)
	if err != nil {
		return err // one that was removed is not made anew: numbers would begin again
	}
	if l.Epoch != b.epoch || l.Owner != b.owner {
		return fmt.Errorf("entry %s, epoch %d: %w (epoch %d, %s)", b.entry, b.epoch, ErrFenced, l.Epoch, l.Owner)
	}
	b.hold(l, etag)
	return nil
}

func (b *Book) hold(l *Ledger, etag string) {
	b.now.Lock()
	defer b.now.Unlock()
	b.led, b.etag, b.unsure = l, etag, false
}

// put stores n on condition that the ledger in hand is the stored one.
func (b *Book) put(ctx context.Context, n *Ledger) error {
	n.WriteID = rand.Text()
	data, err := json.Marshal(n)
	if err != nil {
		return fmt.Errorf("ledger of %s: %w", b.entry, err)
	}
	opt := storage.PutOptions{ContentType: "application/json", IfMatch: b.etag, IfAbsent: b.etag == ""}
	info, err := b.store.Put(ctx, Key(b.entry), [][]byte{data}, opt)
	if err != nil {
		b.unsure = true
		return fmt.Errorf("ledger of %s: %w", b.entry, err)
	}
	b.hold(n, info.ETag)
	return nil
}
