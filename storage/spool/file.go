package spool

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"

	"klive/storage"
)

// A spooled object is one file: a line of JSON, the header, and the object's bytes behind
// it. The file's name is the object's number in the spool, so that names sort as they came.
const (
	fileVersion = 1
	maxHeader   = 4 << 10
	suffix      = ".obj"
	tempPrefix  = "tmp-"
	damagedDir  = "damaged"
)

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// errDamaged says that a file in the folder is no whole spooled object.
var errDamaged = errors.New("spool: damaged file")

// header is a file's first line.
type header struct {
	Version      int       `json:"v"`
	Key          string    `json:"key"`
	ContentType  string    `json:"contentType,omitempty"`
	CacheControl string    `json:"cacheControl,omitempty"`
	IfAbsent     bool      `json:"ifAbsent,omitempty"`
	Size         int64     `json:"size"`
	CRC          uint32    `json:"crc"` // Castagnoli, of the object
	At           time.Time `json:"at"`
}

func sizeOf(data [][]byte) int64 {
	var n int64
	for _, p := range data {
		n += int64(len(p))
	}
	return n
}

func fileName(number uint64) string { return fmt.Sprintf("%016x%s", number, suffix) }

// writeFile puts an item and its bytes into the folder: whole, or not at all. It sets the
// item's checksum and the length of its header.
func writeFile(dir string, it *item, data [][]byte) error {
	for _, p := range data {
		it.crc = crc32.Update(it.crc, castagnoli, p)
	}
	line, err := json.Marshal(header{
		Version: fileVersion, Key: it.key, ContentType: it.opt.ContentType, CacheControl: it.opt.CacheControl,
		IfAbsent: it.opt.IfAbsent, Size: it.size, CRC: it.crc, At: it.at,
	})
	if err != nil {
		return err
	}
	line = append(line, '\n')
	it.offset = int64(len(line))
	name := fileName(it.number)
	temp := filepath.Join(dir, tempPrefix+name)
	if err = writeTemp(temp, line, data); err == nil {
		err = os.Rename(temp, filepath.Join(dir, name))
	}
	if err != nil {
		os.Remove(temp)
	}
	if errors.Is(err, syscall.ENOSPC) || errors.Is(err, syscall.EDQUOT) {
		return fmt.Errorf("%w: the disk of the spool's folder (%w)", storage.ErrFull, err)
	}
	return err
}

func writeTemp(path string, line []byte, data [][]byte) error {
	f, err := os.OpenFile(path, os.O_CREATE|os.O_TRUNC|os.O_WRONLY, 0o644)
	if err != nil {
		return err
	}
	w := bufio.NewWriterSize(f, 256<<10)
	w.Write(line)
	for _, p := range data {
		w.Write(p) // errors stay until Flush
	}
	err = w.Flush()
	if e := f.Close(); err == nil {
		err = e // some file systems report a full disk only here
	}
	return err
}

// readHeader reads the item that a file holds. The error wraps errDamaged when it holds none.
func readHeader(path string) (*item, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	fi, err := f.Stat()
	if err != nil {
		return nil, err
	}
	start, err := io.ReadAll(io.LimitReader(f, maxHeader))
	if err != nil {
		return nil, err
	}
	line, _, ok := bytes.Cut(start, []byte{'\n'})
	var h header
	if !ok || json.Unmarshal(line, &h) != nil {
		return nil, fmt.Errorf("%w: it has no header", errDamaged)
	}
	number, err := strconv.ParseUint(strings.TrimSuffix(filepath.Base(path), suffix), 16, 64)
	switch {
	case h.Version != fileVersion:
		return nil, fmt.Errorf("%w: version %d is unknown, another release wrote it", errDamaged, h.Version)
	case err != nil || storage.CheckKey(h.Key) != nil || h.Size < 0:
		return nil, fmt.Errorf("%w: its header makes no sense", errDamaged)
	case fi.Size() != int64(len(line))+1+h.Size:
		return nil, fmt.Errorf("%w: it has %d bytes and should have %d", errDamaged, fi.Size(), int64(len(line))+1+h.Size)
	}
	return &item{
		number: number, key: h.Key, size: h.Size, crc: h.CRC, at: h.At, offset: int64(len(line)) + 1,
		opt: storage.PutOptions{ContentType: h.ContentType, CacheControl: h.CacheControl, IfAbsent: h.IfAbsent},
	}, nil
}

// load reads an item's bytes and checks them.
func (it *item) load(dir string) ([]byte, error) {
	f, err := os.Open(filepath.Join(dir, fileName(it.number)))
	if err != nil {
		return nil, err
	}
	defer f.Close()
	data := make([]byte, it.size)
	if _, err := io.ReadFull(io.NewSectionReader(f, it.offset, it.size), data); err != nil {
		return nil, fmt.Errorf("%w: %w", errDamaged, err)
	}
	if crc32.Checksum(data, castagnoli) != it.crc {
		return nil, fmt.Errorf("%w: its bytes are not those that were written", errDamaged)
	}
	return data, nil
}

// scan takes in what a process before this one left in the folder.
func (s *Spool) scan() error {
	files, err := os.ReadDir(s.cfg.Dir) // in the order of names
	if err != nil {
		return fmt.Errorf("spool: %w", err)
	}
	for _, e := range files {
		name := e.Name()
		path := filepath.Join(s.cfg.Dir, name)
		switch {
		case strings.HasPrefix(name, tempPrefix):
			if err := os.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
				return fmt.Errorf("spool: %w", err)
			}
		case e.Type().IsRegular() && strings.HasSuffix(name, suffix):
			it, err := readHeader(path)
			if errors.Is(err, errDamaged) {
				s.setAside(name, err)
				continue
			}
			if err != nil {
				return fmt.Errorf("spool: %w", err)
			}
			s.adopt(it)
		}
	}
	if n := len(s.shelf.byKey); n > 0 {
		s.log.Info("spool: media of a process before this one are being stored", "objects", n, "bytes", s.shelf.bytes)
	}
	return nil
}

// adopt puts an item from the folder on the shelf. The newer one of a key stays.
func (s *Spool) adopt(it *item) {
	if old := s.shelf.byKey[it.key]; old != nil {
		s.shelf.remove(old)
		s.removeFile(old)
	}
	s.shelf.bytes += it.size
	s.shelf.add(it)
}

// setAside moves a damaged file out of the way, where an operator finds it.
func (s *Spool) setAside(name string, why error) {
	dir := filepath.Join(s.cfg.Dir, damagedDir)
	err := os.MkdirAll(dir, 0o755)
	if err == nil {
		err = os.Rename(filepath.Join(s.cfg.Dir, name), filepath.Join(dir, name))
	}
	s.log.Error("spool: a damaged file is set aside; what it held is lost unless it was stored", "file", filepath.Join(dir, name), "err", errors.Join(why, err))
}

func (s *Spool) removeFile(it *item) {
	if err := os.Remove(filepath.Join(s.cfg.Dir, fileName(it.number))); err != nil && !errors.Is(err, fs.ErrNotExist) {
		s.log.Warn("spool: a file that is not needed any more can't be removed", "err", err)
	}
}
