package bus

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go/jetstream"
)

// copiesOf is a JetStream with one stream of so many copies.
type copiesOf struct {
	jetstream.JetStream
	copies int
}

func (j *copiesOf) Stream(context.Context, string) (jetstream.Stream, error) {
	return copiedStream{copies: j.copies}, nil
}

type copiedStream struct {
	jetstream.Stream
	copies int
}

func (s copiedStream) CachedInfo() *jetstream.StreamInfo {
	return &jetstream.StreamInfo{Config: jetstream.StreamConfig{Replicas: s.copies}}
}

// A stream that got its copies is told of once, also when the answers to the first requests for
// them came too late.
func TestMoreCopiesAreToldOnce(t *testing.T) {
	for late := range 3 {
		var log bytes.Buffer
		js := &copiesOf{copies: 1}
		c := &Control{js: js, log: slog.New(slog.NewTextHandler(&log, nil)), incomplete: map[string]struct{}{}, raising: map[string]int{}}
		answers := 0
		raise := streamMaker{update: func(_ context.Context, replicas int) error {
			js.copies = replicas
			if answers++; answers <= late {
				return context.DeadlineExceeded
			}
			return nil
		}}
		for range 2 { // who opens it again has nothing to tell
			if copies, err := c.settle(t.Context(), "KV_feeds", 3, raise); copies != 3 || err != nil {
				t.Fatalf("%d late answers: %d copies, %v", late, copies, err)
			}
		}
		if n := strings.Count(log.String(), "gets more copies, as bus.replicas says\" stream=KV_feeds from=1 to=3"); n != 1 {
			t.Errorf("%d late answers: the log says it %d times:\n%s", late, n, log.String())
		}
	}
}

// A stream that has fewer copies than it should have is given the others, also after attempts
// that failed.
func TestCopiesAreGivenAfterFailures(t *testing.T) {
	js := &copiesOf{copies: 2}
	c := &Control{js: js, log: slog.New(slog.DiscardHandler), incomplete: map[string]struct{}{}, raising: map[string]int{}, streams: map[string]opened{}}
	fails := errors.New("electing")
	answer := error(&jetstream.APIError{ErrorCode: codeNoPeers})
	raise := streamMaker{fewer: true, update: func(_ context.Context, replicas int) error {
		if answer == nil || replicas == 2 && answer != fails {
			js.copies = replicas
			return nil
		}
		return answer
	}}
	settle := func(ctx context.Context) error {
		_, err := c.settle(ctx, "klive_media_0", 3, raise)
		return err
	}
	c.opened("klive_media_0", opened{settle: settle})
	if err := settle(t.Context()); err != nil || js.copies != 2 {
		t.Fatalf("without the third server: %d copies, %v", js.copies, err)
	}
	for _, answer = range []error{fails, answer, fails, nil} {
		c.completed = time.Time{} // the last attempt was a while ago
		c.Complete(t.Context())
	}
	if js.copies != 3 {
		t.Errorf("the third server is there, and the stream has %d copies", js.copies)
	}
}
