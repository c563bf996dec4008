package spool

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"klive/storage"
)

// readWait is how long the store has to open an object while it is away.
const readWait = time.Second

// write is a write of something other than media.
type write struct {
	ctx    context.Context
	cancel context.CancelCauseFunc
	began  time.Time
	size   int64
	timer  *time.Timer
	trial  bool // let through although the store is away
}

// Put implements [storage.Store]. While the store is away it returns ErrAway at once; but
// when nothing is spooled by which the store could be tried, one write a second goes through.
func (s *Spool) Put(ctx context.Context, key string, data [][]byte, opt storage.PutOptions) (storage.Info, error) {
	if err := storage.CheckKey(key); err != nil {
		return storage.Info{}, err
	}
	w, err := s.admit(ctx, sizeOf(data))
	if err != nil {
		return storage.Info{}, err
	}
	info, err := s.cfg.Store.Put(w.ctx, key, data, opt)
	return info, s.finish(ctx, w, err)
}

// admit lets a write go ahead, or says that the store is away.
func (s *Spool) admit(caller context.Context, size int64) (*write, error) {
	if err := caller.Err(); err != nil {
		return nil, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	h := &s.health
	now := time.Now()
	if h.away {
		if h.probing || s.draining > 0 || now.Before(h.nextTrial) || !s.wantsTrial(now) {
			return nil, s.isAway()
		}
		h.probing, h.nextTrial = true, now.Add(trialEvery)
	}
	w := &write{began: now, size: size, trial: h.away}
	w.ctx, w.cancel = context.WithCancelCause(caller)
	w.timer = time.AfterFunc(h.patience+stretch(size), func() { w.cancel(errSlow) })
	s.writes[w] = struct{}{}
	return w, nil
}

// wantsTrial reports whether spooled objects are no way to find out if the store is back:
// there is none, or a single one that may be what the store does not like. s.mu is held.
func (s *Spool) wantsTrial(now time.Time) bool {
	it, _ := s.shelf.next(now)
	return it == nil || len(s.shelf.byKey) == 1 && s.health.probes > stubborn
}

// finish notes how a write ended and returns its error for the caller.
func (s *Spool) finish(caller context.Context, w *write, err error) error {
	w.timer.Stop()
	cause := context.Cause(w.ctx)
	w.cancel(nil)
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.writes, w)
	if w.trial {
		s.health.probing = false
		s.nudge()
	}
	switch {
	case final(err):
		s.well(w.began, w.size)
		return err
	case caller.Err() != nil:
		return err
	case cause == errSlow:
		s.ill(errSlow)
		return fmt.Errorf("%w: %w", s.isAway(), err)
	case cause == errOthers:
		return fmt.Errorf("%w: %w", ErrAway, err)
	}
	s.ill(err)
	return err
}

// Get implements [storage.Store]. Spooled objects are found first. While the store is away,
// it has a second to open an object.
func (s *Spool) Get(ctx context.Context, key string, r *storage.Range) (io.ReadCloser, storage.Info, error) {
	s.mu.Lock()
	it, away := s.shelf.byKey[key], s.health.away
	s.mu.Unlock()
	if it != nil && ctx.Err() == nil {
		if body, info, err := it.open(s.cfg.Dir, r); !errors.Is(err, fs.ErrNotExist) {
			return body, info, err
		}
	}
	if !away {
		return s.cfg.Store.Get(ctx, key, r)
	}
	body, info, err := storage.GetWithin(ctx, s.cfg.Store, key, r, readWait)
	if errors.Is(err, storage.ErrSlow) {
		err = fmt.Errorf("%w: %w", ErrAway, err)
	}
	return body, info, err
}

// open opens a spooled object, or a range of it.
func (it *item) open(dir string, r *storage.Range) (io.ReadCloser, storage.Info, error) {
	info := storage.Info{
		Key: it.key, Size: it.size, ETag: fmt.Sprintf(`"spool-%08x-%x"`, it.crc, it.size), Modified: it.at,
		ContentType: it.opt.ContentType, CacheControl: it.opt.CacheControl,
	}
	from, length := int64(0), it.size
	if r != nil {
		if r.Offset < 0 || r.Offset >= it.size {
			return nil, storage.Info{}, fmt.Errorf("%s: %w", it.key, storage.ErrRange)
		}
		from, length = r.Offset, it.size-r.Offset
		if r.Length >= 0 {
			length = min(length, r.Length)
		}
	}
	f, err := os.Open(filepath.Join(dir, fileName(it.number)))
	if err != nil {
		return nil, storage.Info{}, err
	}
	return &section{io.NewSectionReader(f, it.offset+from, length), f}, info, nil
}

// section is a stretch of an open file.
type section struct {
	io.Reader
	file *os.File
}

func (s *section) Close() error { return s.file.Close() }

// List implements [storage.Store]. It lists what rests in the store, not what is spooled.
func (s *Spool) List(ctx context.Context, prefix, after string, limit int) ([]storage.Info, error) {
	return s.cfg.Store.List(ctx, prefix, after, limit)
}

// Delete implements [storage.Store]. Spooled objects are given up; while the store is away,
// it then returns ErrAway.
func (s *Spool) Delete(ctx context.Context, keys ...string) error {
	if err := s.drop(keys); err != nil {
		return err
	}
	return s.cfg.Store.Delete(ctx, keys...)
}

// drop gives spooled objects up, and says whether the store is away.
func (s *Spool) drop(keys []string) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, key := range keys {
		if it := s.shelf.byKey[key]; it != nil {
			s.settle(it, fmt.Errorf("%w (deleted)", ErrGivenUp))
			s.removeFile(it)
		}
	}
	if s.health.away {
		return s.isAway()
	}
	return nil
}

// Upload implements [storage.Uploader] where the store does. What is uploaded is not spooled.
func (s *Spool) Upload(ctx context.Context, key string, opt storage.PutOptions) (storage.Upload, error) {
	u, ok := s.cfg.Store.(storage.Uploader)
	if !ok {
		return nil, fmt.Errorf("spool: %T takes no uploads", s.cfg.Store)
	}
	if err := s.drop(nil); err != nil {
		return nil, err
	}
	return u.Upload(ctx, key, opt)
}
