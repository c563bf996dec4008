package rtmp

import (
	"bytes"
	"fmt"
	"io"

	"github.com/yutopp/go-rtmp/handshake"
)

const (
	versionRTMP = 3
	// greetingSize is C0 with C1.
	greetingSize = 1 + 1536
)

// shakeHands does the handshake (RTMP 1.0 §5.2). C0 and C1 are read whole before an answer,
// so that a peer is not answered that speaks something else.
func shakeHands(rw io.ReadWriter) error {
	greeting := make([]byte, greetingSize)
	if _, err := io.ReadFull(rw, greeting[:1]); err != nil {
		return err
	}
	if v := greeting[0]; v != versionRTMP {
		return fmt.Errorf("%w: %s; this port takes RTMP version 3", errProtocol, spoken(v))
	}
	if _, err := io.ReadFull(rw, greeting[1:]); err != nil {
		return err
	}
	h := &handshakeIO{rw: rw, in: bytes.NewReader(greeting)}
	// Encoders don't all echo our random bytes, so that is not asked of them.
	if err := handshake.HandshakeWithClient(h, h, &handshake.Config{SkipHandshakeVerification: true}); err != nil {
		return err
	}
	return nil
}

// spoken says what a peer speaks instead of RTMP, by its first byte.
func spoken(first byte) string {
	switch first {
	case 0x16: // a record of TLS's handshake (RFC 8446 §5.1)
		return "that is TLS: rtmps:// goes to the port of rtmps.listen"
	case 'G', 'P', 'H', 'O', 'C', 'D': // the methods of HTTP begin so
		return "that is HTTP: http:// goes to the port of http.listen"
	case 6, 8, 9:
		return fmt.Sprintf("version %d, encrypted RTMP (RTMPE), is not taken: use rtmps://", first)
	}
	return fmt.Sprintf("version %d (%q)", first, first)
}

// handshakeIO gives the library first what has been read already, and gathers what it
// writes in small pieces until it wants to read from the peer.
type handshakeIO struct {
	rw  io.ReadWriter
	in  *bytes.Reader
	out []byte
}

func (h *handshakeIO) Read(p []byte) (int, error) {
	if h.in.Len() > 0 {
		return h.in.Read(p)
	}
	if len(h.out) > 0 {
		if _, err := h.rw.Write(h.out); err != nil {
			return 0, err
		}
		h.out = nil
	}
	return h.rw.Read(p)
}

func (h *handshakeIO) Write(p []byte) (int, error) {
	h.out = append(h.out, p...)
	return len(p), nil
}
