package disk

import (
	"context"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"klive/storage"
)

// Get implements [storage.Store].
func (s *Store) Get(ctx context.Context, key string, r *storage.Range) (io.ReadCloser, storage.Info, error) {
	if err := storage.CheckKey(key); err != nil {
		return nil, storage.Info{}, err
	}
	if err := ctx.Err(); err != nil {
		return nil, storage.Info{}, err
	}
	f, err := os.Open(s.path(key))
	if err != nil {
		return nil, storage.Info{}, fmt.Errorf("storage: disk: %w", s.unread(err))
	}
	fi, err := f.Stat()
	if err == nil && !fi.Mode().IsRegular() {
		err = fmt.Errorf("%s: %w", key, storage.ErrNotFound)
	}
	if err != nil {
		f.Close()
		return nil, storage.Info{}, err
	}
	out := info(key, fi)
	out.ContentType = contentType(key)
	if r == nil {
		return f, out, nil
	}
	if r.Offset < 0 || r.Offset >= out.Size {
		f.Close()
		return nil, storage.Info{}, fmt.Errorf("%s: %w", key, storage.ErrRange)
	}
	length := out.Size - r.Offset
	if r.Length >= 0 {
		length = min(length, r.Length)
	}
	if _, err := f.Seek(r.Offset, io.SeekStart); err != nil {
		f.Close()
		return nil, storage.Info{}, err
	}
	return &section{LimitedReader: io.LimitedReader{R: f, N: length}, file: f}, out, nil
}

// section is a range of an open file. It stays an *io.LimitedReader over an *os.File, which
// lets the kernel send it without a copy.
type section struct {
	io.LimitedReader
	file *os.File
}

func (s *section) Close() error { return s.file.Close() }

// WriteTo hands the limited file to w's own ReadFrom.
func (s *section) WriteTo(w io.Writer) (int64, error) { return io.Copy(w, &s.LimitedReader) }

// contentType follows from the extension.
func contentType(key string) string {
	switch filepath.Ext(key) {
	case ".m3u8":
		return "application/vnd.apple.mpegurl"
	case ".mpd":
		return "application/dash+xml"
	case ".m4s", ".mp4":
		return "video/mp4"
	case ".ts":
		return "video/mp2t"
	case ".json":
		return "application/json"
	}
	return "application/octet-stream"
}

// List implements [storage.Store].
func (s *Store) List(ctx context.Context, prefix, after string, limit int) ([]storage.Info, error) {
	folder, _ := splitLast(prefix)
	if folder != "" && storage.CheckKey(strings.TrimSuffix(folder, "/")) != nil {
		return nil, fmt.Errorf("prefix %.64q: %w", prefix, storage.ErrKey)
	}
	l := lister{ctx: ctx, store: s, prefix: prefix, after: after, limit: limit}
	if limit <= 0 {
		return nil, ctx.Err()
	}
	if err := l.walk(folder); err != nil {
		return nil, fmt.Errorf("storage: disk: list %s: %w", prefix, err)
	}
	return l.out, nil
}

// splitLast cuts a key behind its last slash.
func splitLast(key string) (folder, name string) {
	i := strings.LastIndexByte(key, '/')
	return key[:i+1], key[i+1:]
}

type lister struct {
	ctx           context.Context
	store         *Store
	prefix, after string
	limit         int
	out           []storage.Info
}

// walk adds the objects in a folder ("" or ending with "/") in key order, which is that of
// the names when folders count with their slash.
func (l *lister) walk(folder string) error {
	if err := l.ctx.Err(); err != nil {
		return err
	}
	entries, err := os.ReadDir(l.store.path(folder))
	if err != nil {
		if isMissing(err) {
			return l.store.gone() // a folder without objects is none
		}
		return err
	}
	names := make([]string, 0, len(entries))
	for _, e := range entries {
		switch {
		case e.IsDir():
			names = append(names, folder+e.Name()+"/")
		case e.Type().IsRegular():
			names = append(names, folder+e.Name())
		}
	}
	slices.Sort(names)
	for _, name := range names {
		if len(l.out) >= l.limit {
			return nil
		}
		if err := l.visit(name); err != nil {
			return err
		}
	}
	return nil
}

func (l *lister) visit(name string) error {
	isDir := strings.HasSuffix(name, "/")
	if !strings.HasPrefix(name, l.prefix) && (!isDir || !strings.HasPrefix(l.prefix, name)) {
		return nil
	}
	if isDir {
		// All keys in the folder lie between its name and its name with the last byte raised.
		if l.after >= name && !strings.HasPrefix(l.after, name) {
			return nil
		}
		return l.walk(name)
	}
	if name <= l.after {
		return nil
	}
	fi, err := os.Lstat(l.store.path(name))
	if isMissing(err) {
		return nil // deleted since
	}
	if err != nil {
		return err
	}
	// A file that somebody else put there may have a name that is no key.
	if fi.Mode()&fs.ModeType == 0 && storage.CheckKey(name) == nil {
		l.out = append(l.out, info(name, fi))
	}
	return nil
}
