package bus

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

const (
	defaultLogBytes = 256 << 20

	// logRepeat is how long a log remembers the ids of its records.
	logRepeat = 2 * time.Minute
)

// LogConfig is what [Control.Log] needs. Whoever opens a log must say the same as
// whoever made it, except for the bounds.
type LogConfig struct {
	// Name is letters, digits, - and _.
	Name string
	// MaxAge is how long records are kept; 0 means until another bound is met.
	MaxAge time.Duration
	// MaxBytes bounds the log, the oldest records go first; 0 means 256 MiB.
	MaxBytes int64
	// MaxPerSubject bounds the records of one subject, the oldest go first; 0 means no bound.
	MaxPerSubject int64
	// Memory keeps the log in memory: faster, gone when the servers restart.
	Memory bool
}

// Log is a replicated sequence of records under subjects. A subject is parts
// joined by dots, like a bucket's key. Sequence numbers grow over the whole log,
// so within one subject they grow with holes.
type Log struct {
	control *Control
	name    string
	stream  jetstream.Stream
}

// Record is one record of a log.
type Record struct {
	Subject string
	Seq     uint64
	ID      string
	At      time.Time // when the log stored it
	Data    []byte
}

// Log opens a log and makes it if need be.
func (c *Control) Log(ctx context.Context, config LogConfig) (*Log, error) {
	if err := checkName(config.Name); err != nil {
		return nil, err
	}
	if config.MaxBytes <= 0 {
		config.MaxBytes = defaultLogBytes
	}
	if config.MaxPerSubject <= 0 {
		config.MaxPerSubject = -1
	}
	l := &Log{control: c, name: config.Name}
	settle := func(ctx context.Context) error {
		_, err := c.settle(ctx, l.streamName(), c.replicas, l.maker(config))
		return err
	}
	if err := settle(ctx); err != nil {
		return nil, busError("open log "+config.Name, err)
	}
	err := open(ctx, func(ctx context.Context) (err error) {
		l.stream, err = c.js.Stream(ctx, l.streamName())
		return err
	})
	if err != nil {
		return nil, busError("open log "+config.Name, err)
	}
	c.opened(l.streamName(), opened{subject: l.subject("leader"), settle: settle})
	return l, nil
}

func (l *Log) streamName() string { return "klive_" + l.name }

func (l *Log) maker(config LogConfig) streamMaker {
	repeat := logRepeat
	if config.MaxAge > 0 {
		repeat = min(repeat, config.MaxAge)
	}
	with := func(replicas int) jetstream.StreamConfig {
		return jetstream.StreamConfig{
			Name:              l.streamName(),
			Subjects:          []string{l.subject(">")},
			Storage:           l.control.storage(config.Memory),
			Replicas:          replicas,
			MaxAge:            config.MaxAge,
			MaxBytes:          config.MaxBytes,
			MaxMsgsPerSubject: config.MaxPerSubject,
			MaxMsgSize:        MaxValueBytes + 4096, // the record and its headers
			Duplicates:        repeat,
			Discard:           jetstream.DiscardOld,
		}
	}
	return streamMaker{
		create: func(ctx context.Context, replicas int) error {
			_, err := l.control.js.CreateStream(ctx, with(replicas))
			return err
		},
		update: func(ctx context.Context, replicas int) error {
			_, err := l.control.js.UpdateStream(ctx, with(replicas))
			return err
		},
	}
}

// Append adds a record on condition that the subject's last record is number last
// (0: that it has none), and returns its number once every replica that must have it
// has it. Otherwise it returns [ErrConflict]. A repeat of the append that wrote the last
// record returns that record's number, at any time; one whose id the subject has seen
// within two minutes is not stored again.
func (l *Log) Append(ctx context.Context, subject, id string, data []byte, last uint64) (seq uint64, err error) {
	wire, err := encodeKey(subject)
	if err != nil {
		return 0, err
	}
	if id == "" || len(id) > maxKeyBytes || strings.ContainsAny(id, "\r\n") {
		return 0, fmt.Errorf("%w: record id %.40q: want one line of 1 to %d bytes", ErrInvalid, id, maxKeyBytes)
	}
	if len(data) > MaxValueBytes {
		return 0, fmt.Errorf("%w: record %s of log %s: %d bytes, at most %d", ErrTooLarge, id, l.name, len(data), MaxValueBytes)
	}
	m := &nats.Msg{Subject: l.subject(wire), Data: data}
	ctx, cancel := bounded(ctx)
	defer cancel()
	when := &condition{last, func(ctx context.Context) (*jetstream.RawStreamMsg, error) { return l.last(ctx, subject) }}
	seq, err = l.control.publish(ctx, m, jetstream.MsgIDHeader, messageID(wire, id), when)
	return seq, busError(fmt.Sprintf("append %s to %s of log %s", id, subject, l.name), err)
}

// LastSeq returns the number of a subject's last record, 0 if it has none. It
// sees every record whose Append has returned.
func (l *Log) LastSeq(ctx context.Context, subject string) (uint64, error) {
	raw, err := l.last(ctx, subject)
	if err != nil || raw == nil {
		return 0, err
	}
	return raw.Sequence, nil
}

// last returns a subject's last record, nil if it has none.
func (l *Log) last(ctx context.Context, subject string) (*jetstream.RawStreamMsg, error) {
	wire, err := encodeKey(subject)
	if err != nil {
		return nil, err
	}
	ctx, cancel := bounded(ctx)
	defer cancel()
	var raw *jetstream.RawStreamMsg
	err = l.control.insist(ctx, func(ctx context.Context) (err error) {
		raw, err = l.stream.GetLastMsgForSubject(ctx, l.subject(wire))
		return err
	})
	if errors.Is(err, jetstream.ErrMsgNotFound) {
		return nil, nil
	}
	return raw, busError(fmt.Sprintf("find the last record of %s in log %s", subject, l.name), err)
}

// LogFollower returns a log's records in order, each once, and goes on over
// reconnects. It is not safe for concurrent use.
type LogFollower struct {
	log  *Log
	pump *pump
}

// Follow reads the records of a subject, or of every subject that matches a
// pattern as in [Bucket.List], from the first kept one whose number is at least
// from. Records may have been dropped before it: whoever must know numbers them
// in their data. ctx bounds the opening only.
func (l *Log) Follow(ctx context.Context, pattern string, from uint64) (*LogFollower, error) {
	wire, err := encodePattern(pattern)
	if err != nil {
		return nil, err
	}
	start := jetstream.ConsumerConfig{DeliverPolicy: jetstream.DeliverAllPolicy}
	if from > 1 {
		start = jetstream.ConsumerConfig{DeliverPolicy: jetstream.DeliverByStartSequencePolicy, OptStartSeq: from}
	}
	ctx, cancel := bounded(ctx)
	defer cancel()
	p, err := l.control.openPump(ctx, l.stream, l.subject(wire), start)
	if err != nil {
		return nil, busError("follow "+pattern+" of log "+l.name, err)
	}
	return &LogFollower{log: l, pump: p}, nil
}

// Next waits for the next record. It returns [ErrClosed] once the follower or its
// connection was closed, and [ErrAnew] once the log is another one.
func (f *LogFollower) Next(ctx context.Context) (Record, error) {
	for {
		m, err := f.pump.next(ctx)
		if err != nil {
			return Record{}, err
		}
		if m.Msg == nil {
			continue
		}
		wire := strings.TrimPrefix(m.Subject, f.log.subject(""))
		return Record{
			Subject: decodeKey(wire),
			Seq:     m.meta.Sequence.Stream,
			ID:      strings.TrimPrefix(m.Header.Get(jetstream.MsgIDHeader), messageID(wire, "")),
			At:      m.meta.Timestamp,
			Data:    m.Data,
		}, nil
	}
}

// Close ends the follower and wakes a waiting Next.
func (f *LogFollower) Close() { f.pump.stop() }

func (l *Log) subject(wire string) string { return "klive.log." + l.name + "." + wire }

// messageID makes a record's id unique in its log, by which the server knows it.
func messageID(wire, id string) string { return wire + " " + id }
