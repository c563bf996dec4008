package controlplane

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"time"

	"klive/infra/bus"
	"klive/infra/kaltura"
)

// vodFlavor is one flavor of a recorded entry: what viewers get.
type vodFlavor struct {
	Params int `json:"params"`
	// Joined counts the appended files that are in it.
	Joined int `json:"joined"`
	// Chunks are its bytes: those of the only appended file, or, when Own is set, of a file that
	// was joined from several.
	Chunks []chunk `json:"chunks"`
	Own    bool    `json:"own,omitempty"`
}

// sizeOf is the size of a file that lies in pieces.
func sizeOf(chunks []chunk) (n int64) {
	for _, c := range chunks {
		n += c.Size
	}
	return n
}

// group is the files of one flavor of one recorded entry, in the order of their appends. Files
// of the backup are kept and not joined (row 103).
type group struct {
	vod    string
	params int
}

func groups(doc *entryDoc) (order []group, files map[group][]recordedSegment) {
	files = map[group][]recordedSegment{}
	if doc.Recording == nil {
		return nil, files
	}
	for _, g := range doc.Recording.Segments {
		if g.Index != kaltura.IndexPrimary || g.VOD == "" {
			continue
		}
		k := group{g.VOD, g.Params}
		if files[k] == nil {
			order = append(order, k)
		}
		files[k] = append(files[k], g)
	}
	return order, files
}

// nudgeJoins lets the joiner look at once.
func (s *Server) nudgeJoins() {
	select {
	case s.joins <- struct{}{}:
	default:
	}
}

const (
	// joinRest is how much longer than a join the joiner rests: each join takes all files of a
	// flavor anew, and a long broadcast appends many.
	joinRest = 3
	// maxRest bounds it: files that were encoded anew take long, and are not encoded again.
	maxRest = time.Minute
)

// joinAll makes recorded entries of appended files until the context ends.
func (s *Server) joinAll(ctx context.Context) {
	tick := time.NewTicker(s.config.Sweep)
	defer tick.Stop()
	for {
		began := time.Now()
		s.joinOnce(ctx)
		rest := time.NewTimer(min(joinRest*time.Since(began), maxRest))
		select {
		case <-ctx.Done():
			rest.Stop()
			return
		case <-rest.C:
		}
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		case <-s.joins:
		}
	}
}

// joinOnce does what is to be done, but for what failed a moment ago.
func (s *Server) joinOnce(ctx context.Context) {
	all, err := loadAll[entryDoc](ctx, s.state, everyEntry)
	s.setbacks.tried(ctx, task{}, err, time.Now())
	if err != nil {
		return
	}
	there := map[task]bool{{}: true}
	for i := range all {
		entry := &all[i]
		order, files := groups(entry)
		for _, g := range order {
			t := task{entry.Entry.ID, g}
			if there[t] = true; s.setbacks.waits(t, time.Now()) {
				continue
			}
			err := s.joinGroup(ctx, entry, g, files[g])
			s.setbacks.tried(ctx, t, err, time.Now())
		}
		t := task{entry: entry.Entry.ID}
		there[t] = true
		err := s.prune(ctx, entry)
		s.setbacks.tried(ctx, t, err, time.Now())
	}
	s.setbacks.keep(there)
}

// joinGroup brings a flavor up to date.
func (s *Server) joinGroup(ctx context.Context, entry *entryDoc, g group, files []recordedSegment) error {
	vod, err := load[entryDoc](ctx, s.state, entryKey(g.vod))
	if errors.Is(err, bus.ErrNotFound) {
		return errRemoved
	}
	if err != nil {
		return err
	}
	at := slices.IndexFunc(vod.Flavors, func(f vodFlavor) bool { return f.Params == g.params })
	if at >= 0 && vod.Flavors[at].Joined >= len(files) {
		return nil
	}
	made := vodFlavor{Params: g.params, Joined: len(files), Chunks: files[0].Chunks}
	if len(files) > 1 {
		if at < 0 {
			// What is there can be watched while the rest is joined (row 102).
			if err := s.publish(ctx, entry, g, vodFlavor{Params: g.params, Joined: 1, Chunks: files[0].Chunks}, files[:1]); err != nil {
				return err
			}
		}
		began := time.Now()
		fitting, err := s.fit(ctx, entry, g, files)
		if err != nil {
			return err
		}
		f, err := s.join(ctx, fitting)
		if err != nil {
			return err
		}
		defer func() {
			if !f.kept {
				s.drop(ctx, map[string]*incoming{"": f})
			}
		}()
		made.Own, made.Chunks = true, []chunk{{f.key, f.size}}
		if err := s.publish(ctx, entry, g, made, files); err != nil {
			return err
		}
		s.claimed(ctx, f)
		s.log.Info("a recording is joined", "entry", entry.Entry.ID, "vod", g.vod, "flavor", g.params, "files", len(files), "bytes", f.size, "took", time.Since(began))
		return nil
	}
	return s.publish(ctx, entry, g, made, files)
}

// prune forgets the appended files of recorded entries that the live entry has left behind,
// once they are joined: nothing is added to them any more.
func (s *Server) prune(ctx context.Context, entry *entryDoc) error {
	order, files := groups(entry)
	over, own := map[string]bool{}, map[group]bool{}
	for _, g := range order {
		if g.vod == entry.Entry.RecordedEntryID {
			continue
		}
		vod, err := load[entryDoc](ctx, s.state, entryKey(g.vod))
		if err != nil && !errors.Is(err, bus.ErrNotFound) {
			return err
		}
		i := slices.IndexFunc(vod.Flavors, func(f vodFlavor) bool { return f.Params == g.params && f.Joined >= len(files[g]) })
		if err == nil && i < 0 {
			return nil // not yet
		}
		over[g.vod] = true
		own[g] = err != nil || vod.Flavors[i].Own
	}
	if len(over) == 0 {
		return nil
	}
	var gone []chunk
	_, err := change(ctx, s.state, entryKey(entry.Entry.ID), func(doc *entryDoc) error {
		if doc.Recording == nil {
			return errKeep
		}
		gone = nil
		_, files := groups(doc) // with what joins have added to them meanwhile
		for g := range own {
			if !own[g] {
				continue
			}
			for _, f := range files[g] {
				gone = append(append(gone, f.Chunks...), f.Fit...)
			}
		}
		left := slices.DeleteFunc(slices.Clone(doc.Recording.Segments), func(g recordedSegment) bool { return over[g.VOD] })
		doc.Recording = &recording{Segments: left}
		return nil
	})
	if err == nil {
		s.removeChunks(ctx, gone)
	}
	return err
}

// publish makes a file the content of a recorded entry's flavor.
func (s *Server) publish(ctx context.Context, entry *entryDoc, g group, made vodFlavor, files []recordedSegment) error {
	var old []chunk
	now := time.Now().Unix()
	_, err := change(ctx, s.state, entryKey(g.vod), func(vod *entryDoc) error {
		old = nil
		vod.Flavors = slices.Clone(vod.Flavors)
		i := slices.IndexFunc(vod.Flavors, func(f vodFlavor) bool { return f.Params == g.params })
		switch {
		case i < 0:
			vod.Flavors = append(vod.Flavors, made)
		case vod.Flavors[i].Joined > made.Joined:
			return errKeep
		default:
			if vod.Flavors[i].Own {
				old = vod.Flavors[i].Chunks
			}
			vod.Flavors[i] = made
		}
		vod.flavorAsset(entry, g.params, now)
		e := &vod.Entry
		e.Status, e.ReplacementStatus, e.UpdatedAt = kaltura.EntryStatusReady, "0", now
		e.Version++
		var seconds float64
		for _, f := range files {
			seconds += f.Second
		}
		e.MsDuration = max(e.MsDuration, int64(seconds*1000))
		e.Duration = e.MsDuration / 1000
		return nil
	})
	if err != nil {
		return err
	}
	s.removeChunks(ctx, old)
	return nil
}

// flavorAsset gives a recorded entry the asset that stands for a flavor (row 102).
func (d *entryDoc) flavorAsset(entry *entryDoc, params int, now int64) {
	if slices.ContainsFunc(d.Assets, func(a kaltura.LiveAsset) bool { return a.FlavorParamsID == params }) {
		return
	}
	a := kaltura.LiveAsset{}
	if i := slices.IndexFunc(entry.Assets, func(l kaltura.LiveAsset) bool { return l.FlavorParamsID == params }); i >= 0 {
		a = entry.Assets[i]
	}
	a.ID, a.EntryID, a.FlavorParamsID, a.CreatedAt, a.UpdatedAt = newID(), d.Entry.ID, params, now, now
	a.Status, a.Container = kaltura.AssetReady, "mp4"
	a.IsOriginal = slices.Contains(a.TagList(), "source")
	d.Assets = append(slices.Clone(d.Assets), a)
}

// join makes one MP4 of several: each is remuxed to MPEG-TS without transcoding, on a time line
// of its own place, and those behind each other are one stream (contract §3.6, effects 3 and 5).
func (s *Server) join(ctx context.Context, files []recordedSegment) (*incoming, error) {
	var size int64
	for _, f := range files {
		size += sizeOf(f.content())
	}
	dir, err := s.workFolder(2*size + size/4) // one MPEG-TS, which is a little larger, and one MP4
	if err != nil {
		return nil, err
	}
	defer os.RemoveAll(dir)
	whole, out := filepath.Join(dir, "all.ts"), filepath.Join(dir, "out.mp4")
	if err := s.remux(ctx, files, whole); err != nil {
		return nil, err
	}
	if err := s.ffmpeg(ctx, prompt, nil, nil, "-i", whole, "-map", "0", "-c", "copy", "-movflags", "+faststart", out); err != nil {
		return nil, err
	}
	joined, err := os.Open(out)
	if err != nil {
		return nil, err
	}
	defer joined.Close()
	f := &incoming{}
	if err := s.storeFile(ctx, f, joined, func() {}); err != nil {
		s.drop(ctx, map[string]*incoming{"": f})
		return nil, err
	}
	return f, nil
}

// workFolder makes a folder for ffmpeg's files, of about so many bytes. Who gets it removes it.
func (s *Server) workFolder(bytes int64) (string, error) {
	if s.config.FFmpeg == "" || s.config.Recorded == nil || s.config.Files == nil {
		return "", errors.New("no ffmpeg here: install it, or name it in the PATH")
	}
	if s.config.WorkRoom != nil {
		if err := s.config.WorkRoom(bytes); err != nil {
			return "", err
		}
	}
	if s.config.Work != "" {
		if err := os.MkdirAll(s.config.Work, 0o700); err != nil {
			return "", err
		}
	}
	return os.MkdirTemp(s.config.Work, "join-")
}

// tsStart keeps sound that begins before the pictures above zero.
const tsStart = 10.0

// content is what is joined of a file: what it was encoded to, where it had to be.
func (f *recordedSegment) content() []chunk {
	if len(f.Fit) > 0 {
		return f.Fit
	}
	return f.Chunks
}

// remux writes all files into one MPEG-TS.
func (s *Server) remux(ctx context.Context, files []recordedSegment, path string) error {
	w, err := os.Create(path)
	if err != nil {
		return err
	}
	defer w.Close()
	at := tsStart
	for i, f := range files {
		offset := at
		if len(f.Fit) > 0 {
			offset = at - tsStart
		}
		body := &chunkReader{ctx: ctx, files: s.config.Recorded, chunks: f.content()}
		err := s.ffmpeg(ctx, prompt, body, w, "-copyts", "-i", "pipe:0", "-map", "0", "-c", "copy", "-muxdelay", "0", "-muxpreload", "0",
			"-output_ts_offset", strconv.FormatFloat(offset, 'f', 6, 64), "-f", "mpegts", "pipe:1")
		body.Close()
		if err != nil {
			return fmt.Errorf("file %d of %d: %w", i+1, len(files), err)
		}
		at += f.Second
	}
	return w.Close()
}

// chunkReader reads a file that lies in pieces, from any place.
type chunkReader struct {
	ctx    context.Context
	files  RecordedFiles
	chunks []chunk
	at     int64
	body   io.ReadCloser
	left   int64 // of the piece that is open
}

// Read implements [io.Reader].
func (r *chunkReader) Read(p []byte) (int, error) {
	if r.body == nil {
		if err := r.open(); err != nil {
			return 0, err
		}
	}
	n, err := r.body.Read(p[:min(int64(len(p)), r.left)])
	r.at, r.left = r.at+int64(n), r.left-int64(n)
	switch {
	case r.left == 0:
		r.Close()
		err = nil
	case errors.Is(err, io.EOF):
		err = io.ErrUnexpectedEOF
	}
	return n, err
}

// open opens the piece that holds the present place.
func (r *chunkReader) open() error {
	start := int64(0)
	for _, c := range r.chunks {
		if r.at < start+c.Size {
			body, err := r.files.Open(r.ctx, fileKey(c.File), r.at-start)
			if err != nil {
				return err
			}
			r.body, r.left = body, start+c.Size-r.at
			return nil
		}
		start += c.Size
	}
	return io.EOF
}

// Seek implements [io.Seeker].
func (r *chunkReader) Seek(offset int64, whence int) (int64, error) {
	switch whence {
	case io.SeekCurrent:
		offset += r.at
	case io.SeekEnd:
		for _, c := range r.chunks {
			offset += c.Size
		}
	}
	if offset < 0 {
		return 0, errors.New("control plane: seek before the file")
	}
	r.Close()
	r.at = offset
	return offset, nil
}

// Close ends the reading for now.
func (r *chunkReader) Close() error {
	if r.body == nil {
		return nil
	}
	body := r.body
	r.body = nil
	return body.Close()
}
