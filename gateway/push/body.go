package push

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"sync"
	"time"

	"klive/gateway"
)

// errSilent is the refusal of a body that does not go on.
var errSilent = &gateway.Refusal{Reason: gateway.ReasonMedia, Text: "the body did not go on in time; send without pauses, or one request for each segment"}

// body reads a request's body with an eye on the clock. Another goroutine may cut it.
type body struct {
	h    *Handler
	r    io.Reader
	ctl  *http.ResponseController
	done chan struct{}
	// watching is the goroutine that may cut it.
	watching sync.WaitGroup

	// mu guards the fields below.
	mu  sync.Mutex
	cut error // why it was cut
}

func newBody(w http.ResponseWriter, r *http.Request, h *Handler) *body {
	return &body{h: h, r: r.Body, ctl: http.NewResponseController(w), done: make(chan struct{})}
}

func (b *body) Read(p []byte) (int, error) {
	b.mu.Lock()
	if b.cut != nil {
		b.mu.Unlock()
		return 0, b.cut
	}
	_ = b.ctl.SetReadDeadline(time.Now().Add(b.h.cfg.Idle))
	b.mu.Unlock()
	n, err := b.r.Read(p)
	b.h.metrics.bytes.Add(float64(n))
	return n, err
}

// watch cuts the body when the publication ends, and when nothing of it has become media
// within a limit.
func (b *body) watch(pub gateway.Publication, gone <-chan struct{}, limit time.Duration, started func() bool) {
	b.watching.Go(func() {
		patience := time.NewTimer(limit)
		defer patience.Stop()
		for {
			select {
			case <-b.done:
				return
			case <-pub.Done():
				b.stopWith(pub.Err())
				return
			case <-gone:
				b.stopWith(errEnded)
				return
			case <-patience.C:
				if !started() {
					b.stopWith(errSilent)
					return
				}
			}
		}
	})
}

// stopWith ends the read that is under way, and all others.
func (b *body) stopWith(why error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.cut == nil {
		b.cut = why
	}
	_ = b.ctl.SetReadDeadline(time.Now())
}

func (b *body) stop() {
	close(b.done)
	b.watching.Wait()
}

// explain says why a body ended; nil for one that is whole.
func (b *body) explain(err error) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	var r *gateway.Refusal
	switch {
	case err == nil:
		return nil
	case errors.As(err, &r):
		return r
	case b.cut != nil:
		return b.cut
	case errors.Is(err, os.ErrDeadlineExceeded):
		return errSilent
	}
	return fmt.Errorf("reading the body: %w", err)
}

// format is what a body is.
type format int

const (
	formatUnknown format = iota
	formatTransport
	formatMovie
	formatText
)

// sniff tells by a body's first bytes what it is: encoders send all kinds of content types.
func sniff(head []byte, in *bufio.Reader) format {
	switch {
	case bytes.HasPrefix(head, []byte("#EXTM3U")), bytes.HasPrefix(head, []byte("<?xml")), bytes.HasPrefix(head, []byte("<MPD")),
		bytes.HasPrefix(head, []byte("\xef\xbb\xbf")):
		return formatText
	case len(head) >= 8 && isBox(string(head[4:8])):
		return formatMovie
	case head[0] == 0x47:
		return formatTransport
	}
	// A transport stream may begin within a packet.
	if more, _ := in.Peek(min(in.Buffered(), 3*188)); len(more) > 2*188 {
		for i := range 188 {
			if more[i] == 0x47 && more[i+188] == 0x47 {
				return formatTransport
			}
		}
	}
	return formatUnknown
}

// isBox names the boxes that a fragmented MP4 file may begin with.
func isBox(name string) bool {
	switch name {
	case "ftyp", "styp", "moov", "moof", "sidx", "prft", "emsg", "free", "skip", "mfra", "uuid":
		return true
	}
	return false
}
