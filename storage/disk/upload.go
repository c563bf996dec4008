package disk

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strconv"

	"klive/storage"
)

// Upload implements [storage.Uploader]: a temporary file that Commit gives its name.
func (s *Store) Upload(ctx context.Context, key string, opt storage.PutOptions) (storage.Upload, error) {
	if err := storage.CheckKey(key); err != nil {
		return nil, err
	}
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	if err := s.room(smallObject); err != nil {
		return nil, fmt.Errorf("storage: disk: upload %s: %w", key, err)
	}
	u := &upload{store: s, ctx: ctx, key: key, opt: opt, temp: s.tempName()}
	f, err := os.OpenFile(u.temp, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o644)
	if err != nil {
		return nil, fmt.Errorf("storage: disk: upload %s: %w", key, s.unwritten(err))
	}
	u.file = f
	return u, nil
}

// tempName returns the path of a temporary file that nobody else uses.
func (s *Store) tempName() string {
	return filepath.Join(s.temp, s.run+"-"+strconv.FormatUint(s.files.Add(1), 36))
}

// upload is a temporary file.
type upload struct {
	store *Store
	ctx   context.Context
	key   string
	opt   storage.PutOptions
	temp  string
	file  *os.File // nil when the upload is over
	size  int64
	room  int64 // the size up to which there was room when that was looked at last
	err   error // the first of a write; sticky
}

// uploadStep is how much an upload grows between two looks whether there is room: a file system may
// have to ask another host.
const uploadStep = 1 << 20

// Write implements [storage.Upload].
func (u *upload) Write(p []byte) (int, error) {
	if u.file == nil {
		return 0, storage.ErrUploadOver
	}
	if u.err == nil {
		u.err = u.ctx.Err()
	}
	if u.err == nil {
		u.err = u.grow(int64(len(p)))
	}
	if u.err != nil {
		return 0, u.err
	}
	n, err := writeAll(u.file, [][]byte{p})
	u.size += n
	if err != nil {
		u.err = fmt.Errorf("storage: disk: upload %s: %w", u.key, u.store.unwritten(err))
	}
	return int(n), u.err
}

// grow makes sure that there is room for so many bytes more: what grows for long would otherwise take
// the disk's reserve, whatever was free when it began.
func (u *upload) grow(n int64) error {
	if u.size+n <= u.room {
		return nil
	}
	step := max(n, uploadStep)
	if err := u.store.room(step); err != nil {
		return fmt.Errorf("storage: disk: upload %s: %w", u.key, err)
	}
	u.room = u.size + step
	return nil
}

// Commit implements [storage.Upload].
func (u *upload) Commit(ctx context.Context) (storage.Info, error) {
	if u.file == nil {
		return storage.Info{}, storage.ErrUploadOver
	}
	for _, err := range []error{u.err, u.ctx.Err(), ctx.Err()} {
		if err != nil {
			u.Abort()
			return storage.Info{}, err
		}
	}
	f := u.file
	u.file = nil
	err := u.store.finish(f)
	if err == nil {
		var info storage.Info
		if info, err = u.store.publish(u.temp, u.key, u.size, u.opt); err == nil {
			return info, nil
		}
	}
	os.Remove(u.temp)
	return storage.Info{}, fmt.Errorf("storage: disk: upload %s: %w", u.key, err)
}

// Abort implements [storage.Upload].
func (u *upload) Abort() {
	if u.file == nil {
		return
	}
	u.file.Close()
	u.file = nil
	os.Remove(u.temp)
}
