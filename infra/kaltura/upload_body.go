package kaltura

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"mime/multipart"
	"net/http"
	"net/url"
	"slices"
	"sync"
	"time"
)

// upload is a piece of a file that goes with a call's form. It is read while it is sent.
type upload struct {
	field, name string
	file        io.Reader
	size        int64     // of the piece
	seeker      io.Seeker // file, when it is one; at is where the piece begins
	at          int64
	timeout     time.Duration
	sent        *pieceBody // of the attempt before; nil before the first
	attempts    int
}

// request makes the multipart request of one attempt (contract §1.2).
func (u *upload) request(ctx context.Context, endpoint string, form url.Values) (*http.Request, error) {
	var head bytes.Buffer
	w := multipart.NewWriter(&head)
	names := make([]string, 0, len(form))
	for name := range form {
		names = append(names, name)
	}
	slices.Sort(names)
	for _, name := range names {
		if err := w.WriteField(name, form.Get(name)); err != nil {
			return nil, err
		}
	}
	if _, err := w.CreateFormFile(u.field, u.name); err != nil {
		return nil, err
	}
	tail := "\r\n--" + w.Boundary() + "--\r\n"
	length := int64(head.Len()) + u.size + int64(len(tail))
	u.attempts++
	piece := &pieceReader{file: u.file, left: u.size}
	u.sent = &pieceBody{piece: piece, all: io.MultiReader(&head, piece, bytes.NewReader([]byte(tail)))}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, endpoint, u.sent)
	if err != nil {
		return nil, err
	}
	req.ContentLength = length
	req.Header.Set("Content-Type", w.FormDataContentType())
	return req, nil
}

// rewind makes the piece ready to be sent once more, and says whether it can be.
func (u *upload) rewind() bool {
	if u.sent == nil {
		return true
	}
	u.sent.Close() // its request may still be reading
	if u.sent.piece.failed != nil {
		return false
	}
	if u.seeker != nil {
		_, err := u.seeker.Seek(u.at, io.SeekStart)
		return err == nil
	}
	return u.sent.piece.left == u.size // nothing was taken yet
}

// failed is why the file itself could not be read; nil when it could.
func (u *upload) failed() error {
	if u == nil || u.sent == nil {
		return nil
	}
	u.sent.Close()
	return u.sent.piece.failed
}

// pieceReader reads exactly left bytes of a file, or fails.
type pieceReader struct {
	file   io.Reader
	left   int64
	failed error
}

// Read implements [io.Reader].
func (r *pieceReader) Read(p []byte) (int, error) {
	if r.left == 0 {
		return 0, io.EOF
	}
	n, err := r.file.Read(p[:min(int64(len(p)), r.left)])
	r.left -= int64(n)
	if err == nil || r.left == 0 {
		return n, nil
	}
	if errors.Is(err, io.EOF) {
		err = fmt.Errorf("the file ends %d bytes early", r.left)
	}
	r.failed = err
	return n, err
}

// pieceBody is a request's body. The transport may read it until it is closed, from a
// goroutine of its own; nothing is read afterwards.
type pieceBody struct {
	mu     sync.Mutex // guards the fields below
	piece  *pieceReader
	all    io.Reader
	closed bool
}

// Read implements [io.Reader].
func (b *pieceBody) Read(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.closed {
		return 0, http.ErrBodyReadAfterClose
	}
	return b.all.Read(p)
}

// Close implements [io.Closer].
func (b *pieceBody) Close() error {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.closed = true
	return nil
}
