package recorder

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"

	"klive/infra/media"
	"klive/infra/media/mp4"
	"klive/storage"
	"klive/storage/ledger"
	"klive/storage/timeline"
)

// Recordings is the store that MP4s are written to.
type Recordings interface {
	storage.Store
	storage.Uploader
}

// errEmpty says that nothing of a file's media is in the store any more.
var errEmpty = errors.New("recorder: none of the file's media are in the store")

// errInitSize says that an initialization section is there and larger than any that is read: gateways take no parameters of
// such a size.
var errInitSize = fmt.Errorf("%w: its initialization section is too large", mp4.ErrFile)

// copyBuffer is what is in memory of the media that flow from store to store, in bytes.
const copyBuffer = 256 << 10

// movieWriter writes one file of a ledger: it describes the media by their headers first, and
// then lets them flow from the store into the MP4. Its memory is the table of samples and what
// the upload holds; there is no local copy.
type movieWriter struct {
	from  storage.Store
	to    Recordings
	entry string
	file  *ledger.File
	items []timeline.Item // of the file, in order
	// broadcast tells which gaps were made again; it may be nil when none were.
	broadcast *timeline.Broadcast
	log       *slog.Logger

	movie  *mp4.Progressive
	pieces []piece
	lost   int
}

// piece is a segment whose data are to be copied.
type piece struct {
	key  string
	size int64 // of the object
	runs []mp4.Run
}

// write returns the MP4's size and how many segments were missing. The error wraps errEmpty, errInitSize or
// [mp4.ErrProgressive] when the file can't be made, whatever is done; others may pass.
func (w *movieWriter) write(ctx context.Context) (size int64, lost int, err error) {
	if err := w.describe(ctx); err != nil {
		return 0, w.lost, err
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	up, err := w.to.Upload(ctx, w.file.Key(w.entry), storage.PutOptions{ContentType: "video/mp4"})
	if err != nil {
		return 0, w.lost, err
	}
	defer up.Abort()
	out := &counter{w: up}
	if err := w.movie.WriteHeader(out); err != nil {
		return 0, w.lost, err
	}
	buf := make([]byte, copyBuffer)
	for i := range w.pieces {
		if err := w.copy(ctx, out, &w.pieces[i], buf); err != nil {
			return 0, w.lost, err
		}
	}
	_, err = up.Commit(ctx)
	return out.n, w.lost, err
}

type counter struct {
	w io.Writer
	n int64
}

func (c *counter) Write(p []byte) (int, error) {
	n, err := c.w.Write(p)
	c.n += int64(n)
	return n, err
}

// copy lets a segment's data flow.
func (w *movieWriter) copy(ctx context.Context, out io.Writer, p *piece, buf []byte) error {
	for _, r := range p.runs {
		if r.Size == 0 {
			continue
		}
		body, _, err := w.from.Get(ctx, p.key, &storage.Range{Offset: r.Offset, Length: r.Size})
		if err != nil {
			return fmt.Errorf("recorder: %s: %w", p.key, err)
		}
		n, err := io.CopyBuffer(struct{ io.Writer }{out}, io.LimitReader(body, r.Size), buf)
		body.Close()
		if err == nil && n != r.Size {
			err = io.ErrUnexpectedEOF
		}
		if err != nil {
			return fmt.Errorf("recorder: %s: %w", p.key, err)
		}
	}
	return nil
}

// describe reads the headers of all segments, in the order of their data in the MP4: an item's
// pictures, then its sound.
func (w *movieWriter) describe(ctx context.Context) error {
	video, err := w.header(ctx, w.file.Rendition)
	if err != nil {
		return err
	}
	var audio *mp4.Header
	if w.file.Audio != "" {
		audio, err = w.header(ctx, w.file.Audio)
		if errors.Is(err, errEmpty) || errors.Is(err, errInitSize) {
			w.loseSound(err)
			audio, err = nil, nil
		}
		if err != nil {
			return err
		}
	}
	if w.movie, err = mp4.NewProgressive(splitKinds(video, audio)); err != nil {
		return err
	}
	var lag int64 // what the holes between items add up to, in ns
	for i := range w.items {
		it := &w.items[i]
		if i > 0 {
			lag += int64(it.Start.Sub(w.items[i-1].End()))
		}
		if err := w.add(ctx, it, w.file.Rendition, video, lag); err != nil {
			return err
		}
		if audio == nil {
			continue
		}
		if err := w.add(ctx, it, w.file.Audio, audio, lag); err != nil {
			return err
		}
	}
	if len(w.pieces) == 0 {
		return errEmpty
	}
	return nil
}

// loseSound counts a file's sound as lost: nothing says how to decode it. The pictures are recorded all the same.
func (w *movieWriter) loseSound(err error) {
	n := 0
	for i := range w.items {
		if m := w.items[i].Of(w.file.Audio); m != nil && !m.Gap { // gaps are counted already
			n++
		}
	}
	w.lost += n
	w.log.Error("a recording is without sound: its initialization section can't be had", append(describeFile(w.file), "rendition", w.file.Audio, "segments", n, "error", err)...)
}

// splitKinds sorts two headers by what they describe.
func splitKinds(headers ...*mp4.Header) (video, audio media.Params) {
	for _, h := range headers {
		switch {
		case h == nil:
		case h.Params.Kind() == media.Audio:
			audio = h.Params
		default:
			video = h.Params
		}
	}
	return video, audio
}

// header reads the initialization section that goes with the file's media of a rendition.
func (w *movieWriter) header(ctx context.Context, rendition string) (*mp4.Header, error) {
	for i := range w.items {
		m := w.items[i].Of(rendition)
		if m == nil || m.Gap || m.Init == 0 {
			continue
		}
		return w.readInit(ctx, initKey(w.entry, w.file.Broadcast, rendition, m.Init))
	}
	if rendition == w.file.Rendition {
		return w.readInit(ctx, remadeInit(w.entry, w.file))
	}
	return nil, fmt.Errorf("%w: %s has none", errEmpty, rendition)
}

// readInit reads an initialization section. The error wraps errEmpty when it can't be had, errInitSize when it is too large.
func (w *movieWriter) readInit(ctx context.Context, key string) (*mp4.Header, error) {
	h, err := readInit(ctx, w.from, key)
	if !errors.Is(err, errInitSize) && (errors.Is(err, storage.ErrNotFound) || errors.Is(err, mp4.ErrFile)) {
		err = fmt.Errorf("%w: %w", errEmpty, err)
	}
	return h, err
}

func readInit(ctx context.Context, store storage.Store, key string) (*mp4.Header, error) {
	body, info, err := store.Get(ctx, key, nil)
	if err != nil {
		return nil, fmt.Errorf("recorder: %s: %w", key, err)
	}
	b, err := io.ReadAll(io.LimitReader(body, maxInit))
	body.Close()
	switch {
	case err != nil:
	case info.Size > maxInit:
		err = fmt.Errorf("%w: %d bytes, at most %d are read", errInitSize, info.Size, maxInit)
	case int64(len(b)) < info.Size:
		err = io.ErrUnexpectedEOF
	}
	if err != nil {
		return nil, fmt.Errorf("recorder: %s: %w", key, err)
	}
	h, err := mp4.ParseInit(b)
	if err != nil {
		return nil, fmt.Errorf("recorder: %s: %w", key, err)
	}
	return h, nil
}

const maxInit = 1 << 20

// add describes an item's media of a rendition. Media that are gone, or are none, are lost.
func (w *movieWriter) add(ctx context.Context, it *timeline.Item, rendition string, h *mp4.Header, lag int64) error {
	m := it.Of(rendition)
	if m == nil {
		return nil
	}
	p := piece{key: mediaKey(w.entry, w.file.Broadcast, rendition, m.Name), size: m.Size}
	if m.Gap {
		if w.file.Remade == 0 || sourceOf(w.broadcast, it, m) == nil {
			return nil
		}
		p = piece{key: remadeKey(w.entry, w.file, it.Seq)}
	}
	x, err := w.index(ctx, &p, h)
	if m.Gap && errors.Is(err, storage.ErrNotFound) {
		return nil // it is counted among the lost already
	}
	if errors.Is(err, storage.ErrNotFound) || errors.Is(err, mp4.ErrFile) {
		w.lost++
		w.log.Error("a segment is missing in a recording", append(describeFile(w.file), "segment", p.key, "error", err)...)
		return nil
	}
	if err != nil {
		return err
	}
	p.runs = x.Runs
	shift := -media.Time(lag).Ticks(h.Timescale)
	if err := w.movie.Add(h.Params.Kind(), shift, x.Samples); err != nil {
		return err
	}
	w.pieces = append(w.pieces, p)
	return nil
}

// index reads the headers of a segment.
func (w *movieWriter) index(ctx context.Context, p *piece, h *mp4.Header) (*mp4.Index, error) {
	read := func(offset, n int64) ([]byte, error) {
		body, info, err := w.from.Get(ctx, p.key, &storage.Range{Offset: offset, Length: n})
		if err != nil {
			return nil, fmt.Errorf("recorder: %s: %w", p.key, err)
		}
		defer body.Close()
		p.size = info.Size
		b, err := io.ReadAll(io.LimitReader(body, n))
		if err != nil {
			return nil, fmt.Errorf("recorder: %s: %w", p.key, err)
		}
		return b, nil
	}
	if p.size == 0 { // the timeline does not say
		if _, err := read(0, 1); err != nil {
			return nil, err
		}
	}
	return h.Index(p.size, read)
}
