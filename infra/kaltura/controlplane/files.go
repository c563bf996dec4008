package controlplane

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"time"

	"klive/infra/kaltura"
)

// Files is where uploaded files are kept. Keys are paths.
type Files interface {
	// Create begins a file. The context holds for all of it.
	Create(ctx context.Context, key string) (FileWriter, error)
	// Delete removes a file; one that does not exist is no error.
	Delete(ctx context.Context, key string) error
}

// FileWriter is one file on its way, in bounded memory. Nothing is seen under its key
// before Commit. Abort after Commit does nothing.
type FileWriter interface {
	io.Writer
	Commit(ctx context.Context) error
	Abort()
}

// storeError says that the store did not take a file.
type storeError struct{ err error }

func (e *storeError) Error() string { return "the file could not be stored: " + e.err.Error() }
func (e *storeError) Unwrap() error { return e.err }

// incoming is a file of a request until an action takes it.
type incoming struct {
	name string
	size int64
	// key is where the store has it. Empty: it is data, because it came without a session.
	key  string
	data []byte
	// kept says that an action took it.
	kept bool
}

// unclaimed is the document of a stored file that belongs to nothing yet. It is written
// before the file, so that a file whose request died is found.
type unclaimed struct {
	Since int64 `json:"since"`
}

const (
	// filePrefix is where the files of uploads lie in the store: not where players look.
	filePrefix      = "state/upload/"
	unclaimedPrefix = "unclaimed."
	everyUnclaimed  = unclaimedPrefix + "*"
)

func fileKey(id string) string      { return filePrefix + id }
func unclaimedKey(id string) string { return unclaimedPrefix + id }

// receiver takes the files of one HTTP request. Who has a session streams into the store;
// without one a file must fit into the bounds of the parameters.
func (s *Server) receiver(w http.ResponseWriter, r *http.Request) takeFile {
	conn := http.NewResponseController(w)
	return func(sessions []string, p *part) (*incoming, error) {
		ok, err := s.anySession(r.Context(), originOf(r), sessions)
		if err != nil {
			return nil, &storeError{err}
		}
		f := &incoming{name: p.FileName()}
		if !ok || s.config.Files == nil {
			f.data, err = io.ReadAll(p)
			f.size = int64(len(f.data))
			return f, err
		}
		p.large()
		err = s.storeFile(r.Context(), f, p, func() {
			// A connection whose deadline can't be set has none.
			_ = conn.SetReadDeadline(time.Now().Add(s.config.UploadIdle))
		})
		return f, err
	}
}

// anySession says whether one of the sessions is good.
func (s *Server) anySession(ctx context.Context, from origin, sessions []string) (bool, error) {
	for _, ks := range sessions {
		params := kaltura.Node{Kind: kaltura.KindObject, Members: []kaltura.Member{{Name: "ks", Value: kaltura.TextNode(ks)}}}
		err := s.readSession(ctx, &call{from: from, params: params, now: time.Now()})
		if err == nil {
			return true, nil
		}
		var refused *kaltura.APIError
		if !errors.As(err, &refused) {
			return false, err
		}
	}
	return false, nil
}

// storeFile copies a file into the store. alive is called before each read.
func (s *Server) storeFile(ctx context.Context, f *incoming, from io.Reader, alive func()) error {
	select {
	case s.uploads <- struct{}{}:
		defer func() { <-s.uploads }()
	case <-ctx.Done():
		return &storeError{ctx.Err()}
	}
	id := randomHex(16)
	if err := create(ctx, s.state, unclaimedKey(id), unclaimed{Since: time.Now().Unix()}); err != nil {
		return &storeError{err}
	}
	f.key = id
	w, err := s.config.Files.Create(ctx, fileKey(id))
	if err != nil {
		return &storeError{err}
	}
	defer w.Abort()
	buf := make([]byte, 64<<10)
	for err != io.EOF {
		alive()
		var n int
		n, err = from.Read(buf)
		if err != nil && err != io.EOF {
			return err
		}
		f.size += int64(n)
		if _, writeErr := w.Write(buf[:n]); writeErr != nil {
			return &storeError{fmt.Errorf("after %d bytes: %w", f.size, writeErr)}
		}
	}
	if err := w.Commit(ctx); err != nil {
		return &storeError{err}
	}
	return nil
}

// claim makes the file an object of the store that belongs to something, and returns the
// id in its key. What belongs is to be written before claimed is called.
func (s *Server) claim(ctx context.Context, f *incoming) (id string, err error) {
	if f.key != "" {
		return f.key, nil
	}
	data := f.data
	f.size = 0
	err = s.storeFile(ctx, f, bytes.NewReader(data), func() {})
	return f.key, err
}

// claimed notes that a document names the file.
func (s *Server) claimed(ctx context.Context, f *incoming) {
	f.kept = true
	if err := s.state.Delete(ctx, unclaimedKey(f.key), 0); err != nil {
		s.log.Warn("the note of an uploaded file stays for the sweeper", "file", fileKey(f.key), "err", err)
	}
}

// drop removes a file that no action took.
func (s *Server) drop(ctx context.Context, files map[string]*incoming) {
	for _, f := range files {
		if f == nil || f.kept || f.key == "" {
			continue
		}
		// The caller may have gone: what is left to do is ours.
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), 10*time.Second)
		if err := s.removeFile(ctx, f.key); err != nil {
			s.log.Warn("an uploaded file that nobody took stays for the sweeper", "file", fileKey(f.key), "err", err)
		}
		cancel()
	}
}

// removeFile removes a file and its note.
func (s *Server) removeFile(ctx context.Context, id string) error {
	if err := s.config.Files.Delete(ctx, fileKey(id)); err != nil {
		return err
	}
	return s.state.Delete(ctx, unclaimedKey(id), 0)
}
