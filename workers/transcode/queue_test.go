package transcode

import (
	"context"
	"errors"
	"log/slog"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"klive/infra/bus"
)

// brokenQueue can't be read.
type brokenQueue struct {
	Queue
	asked atomic.Int64
}

func (q *brokenQueue) Take(context.Context) (*bus.Task, error) {
	q.asked.Add(1)
	return nil, errors.New("the consumer was deleted")
}

func (q *brokenQueue) State(context.Context) (bus.QueueState, error) { return bus.QueueState{}, nil }

// noLog and noMedia are there, and not used.
type (
	noLog   struct{ Log }
	noMedia struct{ bus.Media }
)

// TestBrokenQueueIsTold: all slots go on asking a queue that can't be read, and the worker says so once in ten minutes.
func TestBrokenQueueIsTold(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var log strings.Builder
		q := &brokenQueue{}
		w, err := New(Config{Name: "w", Queue: q, Ends: noLog{}, Dead: noLog{}, Media: noMedia{}, FFmpeg: "ffmpeg", Encoder: Encoders()[0],
			Jobs: 4, Log: slog.New(slog.NewTextHandler(&log, nil))})
		if err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithTimeout(t.Context(), 15*time.Minute)
		defer cancel()
		if err := w.Run(ctx); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("it ended with %v", err)
		}
		if n := strings.Count(log.String(), "can't be read"); n != 2 || !strings.Contains(log.String(), "the consumer was deleted") {
			t.Errorf("said %d times, want twice:\n%s", n, &log)
		}
		if n := q.asked.Load(); n < 4*800 {
			t.Errorf("asked %d times", n)
		}
	})
}
