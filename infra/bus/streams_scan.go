package bus

import (
	"context"
	"strconv"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

const (
	scanBatch = 256
	// scanIdle is when the servers forget a consumer that nobody reads.
	scanIdle = 30 * time.Second
)

// scanned is what a kept message's headers tell.
type scanned struct {
	id                string
	number, streamSeq uint64
	size              int64
	at                time.Time
}

// scan reads the headers of what the bus keeps of a subject, oldest first, until
// each returns false. Bodies are not sent, nor other subjects looked at.
func (sh *shard) scan(ctx context.Context, wire string, each func(scanned) bool) error {
	doing := "look through " + sh.subject(wire)
	cons, err := sh.consumer(ctx, wire, jetstream.ConsumerConfig{HeadersOnly: true})
	if err != nil {
		return busError(doing, err)
	}
	defer sh.streams.control.forget(cons)
	info := cons.CachedInfo()
	if info == nil || info.NumPending == 0 {
		return nil
	}
	messages, err := sh.streams.control.pull(cons, scanBatch, followHeartbeat)
	if err != nil {
		return busError(doing, err)
	}
	defer messages.close()
	for {
		m, err := messages.next(ctx)
		if err != nil {
			return busError(doing, err)
		}
		size, _ := strconv.ParseInt(m.Header.Get(nats.MsgSize), 10, 64)
		number := numberOf(m.Header)
		if number > 0 && !each(scanned{m.Header.Get(headerID), number, m.meta.Sequence.Stream, size, m.meta.Timestamp}) {
			return nil
		}
		if m.meta.NumPending == 0 {
			return nil
		}
	}
}

// numberOf returns the publisher's number of a media message, 0 if it has none.
func numberOf(h nats.Header) uint64 {
	n, err := strconv.ParseUint(h.Get(headerSeq), 10, 64)
	if err != nil {
		return 0
	}
	return n
}

// consumer makes a consumer of one subject, and the stream if it is missing.
func (sh *shard) consumer(ctx context.Context, wire string, c jetstream.ConsumerConfig) (jetstream.Consumer, error) {
	c.FilterSubject = sh.subject(wire)
	c.AckPolicy = jetstream.AckNonePolicy
	c.InactiveThreshold = scanIdle
	c.Replicas = 1
	c.MemoryStorage = true
	cons, err := sh.streams.control.js.CreateConsumer(ctx, sh.name, c)
	if missing(err) {
		if err := sh.again(ctx); err != nil {
			return nil, err
		}
		cons, err = sh.streams.control.js.CreateConsumer(ctx, sh.name, c)
	}
	if err != nil {
		return nil, err
	}
	if err := sh.streams.control.reach(ctx, cons); err != nil {
		sh.streams.control.forget(cons)
		return nil, err
	}
	return cons, nil
}
