package push

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"path"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"klive/gateway"
	"klive/infra/media/mp4"
)

// Bounds of the boxes that are held in memory, in bytes, and of what a feed keeps.
const (
	maxMoov   = 1 << 20
	maxMoof   = 4 << 20
	maxMdat   = 64 << 20
	maxMovies = 16
	maxTracks = 9 // one of video, eight of audio
)

// movie is the initialization section of one address, with the tracks that it describes.
type movie struct {
	// turn holds a token while a request brings fragments: packagers send the next segment
	// without waiting for the answer to the one before.
	turn chan struct{}
	// mu is held while a fragment is read.
	mu     sync.Mutex
	file   *mp4.Movie
	tracks map[uint32]*mergeTrack
}

// movieReader reads one body.
type movieReader struct {
	feed  *feed
	merge *merger
	in    *bufio.Reader
	path  string

	movie *movie // the body's own, or the one that its path belongs to
	at    uint64 // bytes read
	moof  []byte
	moofs uint64 // where it stood
	begun atomic.Bool
	holds bool // the movie's turn
}

// start takes the turn of the movie that the body's path belongs to, if that is known yet.
func (m *movieReader) start() error {
	if m.movie = m.feed.lookup(m.path); m.movie == nil {
		return nil
	}
	return m.take()
}

// take waits for the movie's turn.
func (m *movieReader) take() error {
	if m.holds {
		return nil
	}
	select {
	case m.movie.turn <- struct{}{}:
		m.holds = true
		return nil
	case <-time.After(m.feed.h.cfg.Turn):
		return busy(m.feed.id)
	}
}

func (m *movieReader) stop() {
	if m.holds {
		<-m.movie.turn
	}
}

// read takes the boxes of a body (ISO/IEC 14496-12 §8.8; ISO/IEC 23000-19).
func (m *movieReader) read() error {
	for {
		head, err := m.in.Peek(16)
		if len(head) == 0 {
			if errors.Is(err, io.EOF) {
				return nil
			}
			return err
		}
		box, ok, err := mp4.ReadBox(head)
		switch {
		case err != nil:
			return badMovie("%v", err)
		case !ok:
			return badMovie("the body ends within a box")
		case box.Size == 0:
			return badMovie("a %s box without a size; send boxes with sizes", box.Type)
		}
		if err := m.box(box); err != nil {
			return err
		}
	}
}

func (m *movieReader) box(box mp4.Box) error {
	switch box.Type {
	case "moov":
		b, err := m.load(box, maxMoov)
		if err != nil {
			return err
		}
		m.begun.Store(true) // an initialization section is all that its request may bring
		mv, err := m.feed.adopt(m.merge, m.path, b)
		if err != nil {
			return err
		}
		m.feed.keepSection(m.path, b)
		if mv == m.movie {
			return nil
		}
		m.stop()
		m.movie, m.holds = mv, false
		return m.take()
	case "moof":
		m.moofs = m.at
		b, err := m.load(box, maxMoof)
		m.moof = b
		return err
	case "mdat":
		if m.moof == nil {
			return m.skip(box)
		}
		b, err := m.load(box, maxMdat)
		if err != nil {
			return err
		}
		moof := m.moof
		m.moof = nil
		return m.fragment(moof, b)
	case "mfra": // the track ends (DASH-IF ingest §6.5)
		m.begun.Store(true)
		if m.movie == nil {
			m.movie = m.feed.lookup(m.path)
		}
		if err := m.skip(box); err != nil {
			return err
		}
		m.feed.finish(m.movie)
		return nil
	}
	return m.skip(box)
}

// load reads a box into memory.
func (m *movieReader) load(box mp4.Box, most uint64) ([]byte, error) {
	if box.Size > most {
		return nil, badMovie("a %s box of %d bytes is more than %d", box.Type, box.Size, most)
	}
	// Memory follows what comes, not what is claimed.
	b := make([]byte, 0, min(box.Size, 64<<10))
	for uint64(len(b)) < box.Size {
		if len(b) == cap(b) {
			b = slices.Grow(b, len(b))
		}
		part := b[len(b):min(uint64(cap(b)), box.Size)]
		n, err := io.ReadFull(m.in, part)
		b = b[:len(b)+n]
		m.at += uint64(n)
		if err != nil {
			return nil, cutOff(err)
		}
	}
	return b, nil
}

func (m *movieReader) skip(box mp4.Box) error {
	if box.Size > maxMdat {
		return badMovie("a %s box of %d bytes is more than %d", box.Type, box.Size, maxMdat)
	}
	n, err := io.CopyN(io.Discard, m.in, int64(box.Size))
	m.at += uint64(n)
	if err != nil {
		return cutOff(err)
	}
	return nil
}

func cutOff(err error) error {
	if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
		return badMovie("the body ends within a box")
	}
	return err
}

// fragment hands the access units of a fragment on.
func (m *movieReader) fragment(moof, mdat []byte) error {
	if m.movie == nil {
		if m.movie = m.feed.recall(m.merge, m.path); m.movie == nil {
			return &gateway.Refusal{Reason: gateway.ReasonMedia, Text: "a fragment came before its initialization section (moov); send that first, then this again"}
		}
	}
	if err := m.take(); err != nil {
		return err
	}
	m.feed.keepSections()
	m.movie.mu.Lock()
	defer m.movie.mu.Unlock()
	units, err := m.movie.file.Fragment(moof, mdat, m.moofs)
	if err != nil {
		return &gateway.Refusal{Reason: gateway.ReasonMedia, Text: err.Error()}
	}
	m.begun.Store(true)
	return m.merge.add(m.movie, units)
}

// adopt takes an initialization section over; one that is sent again keeps its tracks.
func (f *feed) adopt(merge *merger, path string, moov []byte) (*movie, error) {
	file, err := mp4.ParseMovie(moov)
	if err != nil {
		return nil, &gateway.Refusal{Reason: gateway.ReasonMedia, Text: err.Error()}
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	key := streamKey(path)
	m := f.movies[key]
	if m == nil {
		if len(f.movies) >= maxMovies {
			return nil, badMovie("more than %d initialization sections", maxMovies)
		}
		m = &movie{turn: make(chan struct{}, 1), tracks: map[uint32]*mergeTrack{}}
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	tracks := map[uint32]*mergeTrack{}
	for _, t := range file.Tracks {
		old := m.tracks[t.ID]
		if old == nil || old.kind != t.Kind {
			if old = merge.track(t.Kind, t.Language); old == nil {
				continue // a second picture, or too many languages
			}
		}
		old.restart(t.Language)
		tracks[t.ID] = old
	}
	m.file, m.tracks = file, tracks
	f.movies[key] = m
	close(f.adopted)
	f.adopted = make(chan struct{})
	return m, nil
}

// await looks an initialization section up that may be on its way: packagers send it and the
// first segment over two connections.
func (f *feed) await(path string, most time.Duration) *movie {
	patience := time.After(most)
	for {
		f.mu.Lock()
		adopted := f.adopted
		f.mu.Unlock()
		if m := f.lookup(path); m != nil {
			return m
		}
		select {
		case <-adopted:
		case <-f.gone:
			return nil
		case <-patience:
			f.mu.Lock()
			f.sole = true
			f.mu.Unlock()
			return f.lookup(path)
		}
	}
}

// has reports whether there is an initialization section of the stream that an address names.
func (f *feed) has(path string) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.movies[streamKey(path)] != nil
}

// lookup finds the initialization section for a segment's address: the one whose name has
// most in common with it, or the only one once no other has come in time.
func (f *feed) lookup(path string) *movie {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.sole && len(f.movies) == 1 {
		for _, m := range f.movies {
			return m
		}
	}
	key := streamKey(path)
	if m := f.movies[key]; m != nil {
		return m
	}
	var best *movie
	length := -1
	for k, m := range f.movies {
		if strings.HasPrefix(key, k) && len(k) > length {
			best, length = m, len(k)
		}
	}
	return best
}

// finish notes that a movie's tracks have ended.
func (f *feed) finish(m *movie) {
	if m == nil {
		return
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, t := range m.tracks {
		t.finish()
	}
}

// streamKey is what the addresses of one stream's sections and segments have in common:
// folder and name without the words and the number that tell them apart. So
// "a/init-stream0.m4s" and "a/chunk-stream0-00012.m4s" are both "a/stream0".
func streamKey(address string) string {
	folder, name := path.Split(address)
	name = strings.TrimSuffix(name, path.Ext(name))
	var words []string
	for _, w := range strings.FieldsFunc(name, func(r rune) bool { return r == '-' || r == '_' || r == '.' }) {
		switch strings.ToLower(w) {
		case "init", "header", "chunk", "segment", "seg", "media", "fragment", "frag":
			continue
		}
		words = append(words, w)
	}
	if n := len(words); n > 1 && strings.Trim(words[n-1], "0123456789") == "" {
		words = words[:n-1]
	}
	return folder + strings.Join(words, "-")
}

func badMovie(format string, args ...any) *gateway.Refusal {
	return &gateway.Refusal{Reason: gateway.ReasonMedia, Text: "the MP4 body can't be read: " + fmt.Sprintf(format, args...)}
}
