// Package bustest holds what tests of the bus share: the conformance suite of the
// media plane ([RunMedia]) and a control plane to test against ([Start]).
//
// # Virtual time
//
// A bus runs inside a testing/synctest bubble, server and all, and an idle hour
// of it costs some ten milliseconds:
//
//	func TestScenario(t *testing.T) {
//		bustest.Prepare(t) // outside the bubble
//		synctest.Test(t, func(t *testing.T) {
//			control := bustest.Start(t) // closed by t.Cleanup, inside the bubble
//			media := bus.NewRing(bus.RingConfig{})
//			t.Cleanup(media.Close)
//			...
//		})
//	}
//
// What makes it work, and must stay so:
//   - Prepare starts the server library's process-wide clock outside the bubble.
//     Started inside it would block on a channel of outside, and virtual time
//     would stand still.
//   - The node keeps everything in memory ([bus.NodeConfig] without Dir). A file
//     store compares message ages with that outside clock and would expire all
//     that has a maximum age at once.
//   - The connection is a net.Pipe, and no call with a plain timeout is made on it:
//     the client library pools their timers across bubbles.
package bustest

import (
	"bytes"
	"context"
	"errors"
	"testing"
	"time"

	"klive/infra/bus"
)

// Body is the body that media tests publish.
type Body []byte

// Size implements [bus.Body].
func (b Body) Size() int { return len(b) }

// AppendBinary implements [bus.Body]; the wire form is the bytes themselves.
func (b Body) AppendBinary(p []byte) ([]byte, error) { return append(p, b...), nil }

// DecodeBody is the inverse of [Body.AppendBinary]; it copies p.
func DecodeBody(p []byte) (bus.Body, error) { return Body(bytes.Clone(p)), nil }

// patience is how long a follower is given to show that it has nothing.
const patience = 2 * time.Second

func publish(t *testing.T, m bus.Media, subject, id string, body bus.Body) uint64 {
	t.Helper()
	seq, err := m.Publish(t.Context(), subject, id, body)
	if err != nil {
		t.Fatalf("publish %s %s: %v", subject, id, err)
	}
	return seq
}

func follow(t *testing.T, m bus.Media, subject string, from uint64) bus.Follower {
	t.Helper()
	f, err := m.Follow(t.Context(), subject, from)
	if err != nil {
		t.Fatalf("follow %s from %d: %v", subject, from, err)
	}
	t.Cleanup(f.Close)
	return f
}

func text(t *testing.T, m bus.Message) string {
	t.Helper()
	b, err := m.AppendBinary(nil)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

func want(t *testing.T, f bus.Follower, seq uint64, body string) {
	t.Helper()
	m, err := f.Next(t.Context())
	if err != nil {
		t.Fatalf("message %d: %v", seq, err)
	}
	if got := text(t, m); m.Seq != seq || got != body {
		t.Fatalf("got message %d %.20q, want %d %.20q", m.Seq, got, seq, body)
	}
}

func wantNothing(t *testing.T, f bus.Follower) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	if m, err := f.Next(ctx); !errors.Is(err, context.DeadlineExceeded) {
		t.Fatalf("got message %d, %v; want none", m.Seq, err)
	}
}

// readAhead bounds what a follower has of messages that were not asked for yet.
const readAhead = 8

// wantAgedBehind is wantAged for a follower that may have some of the messages already.
func wantAgedBehind(t *testing.T, f bus.Follower, from, first uint64) {
	t.Helper()
	for want := from; ; want++ {
		m, err := f.Next(t.Context())
		var aged *bus.AgedOutError
		switch {
		case err == nil && m.Seq == want && want < from+readAhead && want < first:
		case errors.As(err, &aged) && aged.Want == want && aged.First == first:
			return
		default:
			t.Fatalf("got message %d, %v; want messages %d to %d reported as dropped", m.Seq, err, want, first-1)
		}
	}
}

func wantAged(t *testing.T, f bus.Follower, from, first uint64) {
	t.Helper()
	var aged *bus.AgedOutError
	if m, err := f.Next(t.Context()); !errors.As(err, &aged) || aged.Want != from || aged.First != first {
		t.Fatalf("got message %d, %v; want messages %d to %d reported as dropped", m.Seq, err, from, first-1)
	}
}
