package srt

import (
	"context"
	"fmt"
	"strings"

	srt "github.com/datarhei/gosrt"
)

// handshakes hears of the handshakes that the library drops or refuses by itself, which nobody learned of otherwise:
// neither the operator nor, mostly, the caller. It does not say whose they are. It is the library's logger, of which
// all other topics cost a comparison; it is called by several goroutines and keeps nothing.
type handshakes struct {
	server *Server
	listen string // the listener's address, as configured
}

// dropped is the library's topic for them.
const dropped = "handshake:recv:error"

// HasTopic implements [srt.Logger].
func (h *handshakes) HasTopic(topic string) bool { return topic == dropped }

// Print implements [srt.Logger].
func (h *handshakes) Print(topic string, _ uint32, _ int, message func() string) {
	if topic == dropped {
		h.tell(message())
	}
}

// Listen implements [srt.Logger]: nobody listens, Print has it already.
func (h *handshakes) Listen() <-chan srt.Log { return nil }

// Close implements [srt.Logger].
func (h *handshakes) Close() {}

// tell counts a handshake and writes its line: once a minute for each thing that the library says, whoever called, because
// the sender's address may be invented.
func (h *handshakes) tell(what string) {
	reason, text := reasonHandshake, what
	if length := 0; strings.Contains(what, "EXTTYPE_SID") {
		if n, _ := fmt.Sscanf(what, "invalid extension length of %d bytes", &length); n == 1 && length > maxStreamID {
			reason, text = reasonStreamID, fmt.Sprintf("a stream id is longer than %d bytes, which SRT does not allow: the caller gets no answer; shorten it to %s", maxStreamID, example)
		}
	}
	h.server.metrics.refused.WithLabelValues(reason).Inc()
	key := what
	if i := strings.IndexAny(what, "(0123456789"); i >= 0 {
		key = what[:i] // without what differs from caller to caller
	}
	level, repeats := h.server.told.Loudness(reason, "", key)
	h.server.cfg.Logger.Log(context.Background(), level, "SRT handshake dropped", append([]any{"listener", h.listen, "reason", reason, "text", text}, repeats...)...)
}
