package bus

import (
	"bytes"
	"errors"
	"log/slog"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

// A stream is in trouble from the second publish in a row that it does not take, until one is
// taken or nobody publishes any more.
func TestTrouble(t *testing.T) {
	var tr trouble
	now := time.Now()
	tr.note(nats.ErrTimeout)
	if tr.lasting(now) {
		t.Error("one failure counts")
	}
	time.Sleep(time.Millisecond)
	tr.note(jetstream.ErrNoStreamResponse)
	if !tr.lasting(time.Now()) {
		t.Error("two failures do not count")
	}
	if tr.lasting(time.Now().Add(troubleFresh + time.Second)) {
		t.Error("they count for ever")
	}
	tr.note(errors.New("too large"))
	if !tr.lasting(time.Now()) {
		t.Error("what is wrong with a message says something about the stream")
	}
	if tr.note(nil); tr.lasting(time.Now()) {
		t.Error("a success does not count")
	}
}

// What the server says of a node that is away is the same line each time; what it finds on its
// disk after an end without a word is nobody's concern, nor is that bus.password is not hashed.
func TestNodeLogNoise(t *testing.T) {
	var log bytes.Buffer
	l := &nodeLogger{log: slog.New(slog.NewTextHandler(&log, nil))}
	l.Errorf("Error trying to connect to route (attempt %v): %v", 61, "dial tcp 127.0.0.1:6222: connect: connection refused")
	l.Warnf("Filestore [KV_feeds] Stream state outdated, last block has additional entries, will rebuild")
	l.Warnf("Filestore [KV_feeds] Recovering stream state from index errored: prior state file")
	l.Warnf("Filestore [KV_feeds] TTL state is outdated; attempting to recover using linear scan (seq 1 to 9)")
	l.Warnf("Filestore [KV_feeds] Stream state too short (0 bytes)")
	l.Warnf("Catchup for stream '%s > %s' resetting first sequence: %d on catchup request", "$G", "KV_feeds", 7)
	l.Warnf("Plaintext passwords detected, use nkeys or bcrypt")
	text := log.String()
	if strings.Count(text, "\n") != 1 || !strings.Contains(text, `level=WARN msg="nats: another bus node is not reached`) || !strings.Contains(text, "connection refused") || strings.Contains(text, "attempt") {
		t.Errorf("the log:\n%s", text)
	}
}

// TestNodeLogOfMissingNodes: what stands for each stream, over and over, while most nodes are away is one line a minute that
// says what to do.
func TestNodeLogOfMissingNodes(t *testing.T) {
	var log bytes.Buffer
	l := &nodeLogger{log: slog.New(slog.NewTextHandler(&log, nil))}
	for range 3 {
		for _, name := range []string{"KV_epochs", "KV_feeds", "klive_media_0"} {
			l.Warnf("JetStream cluster stream '%s > %s' has NO quorum, stalled", "$G", name)
			l.Warnf("JetStream cluster consumer '%s > %s > %s' has NO quorum, stalled.", "$G", name, "c")
		}
	}
	if text := log.String(); strings.Count(text, "\n") != 1 || !strings.Contains(text, "nodes that are away: start those") || !strings.Contains(text, "KV_epochs") {
		t.Errorf("the log:\n%s", text)
	}
}

// TestNodeLogKnowsFailedWrites: a write that failed is known from then on, other lines say nothing.
func TestNodeLogKnowsFailedWrites(t *testing.T) {
	l := &nodeLogger{log: slog.New(slog.DiscardHandler)}
	l.Errorf("Error trying to connect to route (attempt %v): %v", 1, "connection refused")
	l.Warnf("Filestore [KV_feeds] Critical write error is a word in a warning")
	if err := l.broken(); err != nil {
		t.Errorf("nothing has failed: %v", err)
	}
	l.Errorf("Filestore [%s] Critical write error: %v", "klive_timeline", "write 1.blk: no space left on device")
	l.Errorf("Filestore [%s] Critical write error: %v", "KV_feeds", "write 2.blk: no space left on device")
	if err := l.broken(); !errors.Is(err, ErrFull) || !strings.Contains(err.Error(), "klive_timeline") || !strings.Contains(err.Error(), "free space") {
		t.Errorf("it is %v", err)
	}
}
