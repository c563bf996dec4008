package bus

import (
	"context"
	"errors"
	"fmt"
	"hash/fnv"
	"log/slog"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/nats-io/nats.go/jetstream"
	"github.com/prometheus/client_golang/prometheus"
)

const (
	defaultShards           = 4
	maxShards               = 64
	defaultStreamTotalBytes = 1 << 30

	// repeatWindow is how long the servers know a message again.
	repeatWindow = 2 * time.Minute
	// wantPayload is the message size that every part fits in.
	wantPayload = 8 << 20
	// ensureEvery keeps those who miss a stream from all making it at once.
	ensureEvery = 250 * time.Millisecond

	shardsKey = "klive_shards" // of a shard's metadata: how many there are

	mediaStream   = "klive_media_" // a shard's stream, before its number
	mediaSubjects = "klive.media." // its subjects, before its number
)

// StreamsConfig is what [NewStreams] needs. All processes on a bus say the same.
type StreamsConfig struct {
	// Replicas is how many servers hold each message, 1, 3 or 5; 0 means the
	// connection's. Streams that have more keep them.
	Replicas int
	// Shards is the number of streams that the subjects are spread over, 1 to 64; 0
	// means 4. When the bus has media streams already, their number counts, and the
	// log says so.
	Shards int
	// MaxAge is how long a message is kept; 0 means 30 s.
	MaxAge time.Duration
	// MaxBytes bounds the wire forms kept for one subject; 0 means 64 MiB. The
	// publisher sees to it, by what it has published or found.
	MaxBytes int64
	// MaxTotalBytes bounds all that is kept, headers included; each shard gets an
	// equal share and drops its oldest messages beyond it. The servers set this much
	// memory aside on each replica. 0 means 1 GiB.
	MaxTotalBytes int64
	// Decode reads the wire form of a body. The body may keep the bytes.
	Decode func(wire []byte) (Body, error)
	// Registerer takes the metrics; nil means none are exported.
	Registerer prometheus.Registerer
	// Logger takes what operators must know; nil drops it.
	Logger *slog.Logger
}

// Streams is the media plane of a cluster: JetStream streams in the servers'
// memory. What Publish has acknowledged is held by most of the replicas.
//
// A subject lies on the shard that the hash of its first two parts names, under
// klive.media.<shard>.<subject>. Messages are numbered by their publisher: each
// carries its number and id in headers, and "<subject> <number>" is the id by
// which the servers refuse a second one. So a publish whose answer was lost may be
// repeated, a number is used once however many publish, and numbers survive the
// loss of a stream, which publishers and followers make again.
//
// Release is ignored: messages leave by age and bytes. A publisher that has been
// silent for so long that none of its subject's messages is left must be the same
// process to go on counting: another one would begin at 1.
type Streams struct {
	control *Control
	config  StreamsConfig
	shards  []*shard
	metrics *streamMetrics
	log     *slog.Logger
	buffers sync.Pool // *[]byte: wire forms on their way out

	exported []prometheus.Collector // set once by NewStreams

	ctx    context.Context // ends with Close and with the connection
	cancel context.CancelFunc

	// mu guards the fields below.
	mu         sync.Mutex
	publishers map[string]*publisher
	followers  map[*streamFollower]struct{}
	warned     time.Time // when the log last told of a message that cannot be read
	closed     bool
}

var _ Media = (*Streams)(nil)

// shard is one stream.
type shard struct {
	streams *Streams
	name    string
	stream  jetstream.Stream
	// replicas is how many copies it should have: bus.replicas, or more; guarded by the token.
	replicas int

	making  chan struct{} // a token: held by whoever makes the stream
	made    time.Time     // when that was last tried; guarded by the token
	created time.Time     // when the servers made it; guarded by the token

	trouble trouble // of those who publish to it
}

// NewStreams returns the media plane of the bus that control is connected to. It
// makes the streams if need be. The engine ends with Close, or with the connection.
func NewStreams(ctx context.Context, control *Control, c StreamsConfig) (*Streams, error) {
	if c.Decode == nil || c.Shards < 0 || c.Shards > maxShards || c.MaxAge < 0 || c.MaxBytes < 0 || c.MaxTotalBytes < 0 {
		return nil, fmt.Errorf("%w: media streams need a decoder, at most %d shards and no negative bounds", ErrInvalid, maxShards)
	}
	c = c.withDefaults(control)
	s := &Streams{
		control: control, config: c, log: c.Logger, metrics: newStreamMetrics(),
		publishers: make(map[string]*publisher), followers: make(map[*streamFollower]struct{}),
	}
	s.buffers.New = func() any { return new([]byte) }
	count, err := s.countShards(ctx)
	if err != nil {
		return nil, err
	}
	for i := range count {
		sh := &shard{streams: s, name: mediaStream + strconv.Itoa(i), making: make(chan struct{}, 1)}
		s.shards = append(s.shards, sh)
		if err := sh.make(ctx); err != nil {
			return nil, err
		}
		control.opened(sh.name, opened{subject: sh.subject("leader"), settle: sh.make, again: sh.again})
	}
	if limit := control.nc.MaxPayload(); limit < wantPayload {
		s.log.Warn("bus: the NATS server refuses messages that parts of a high bit rate may need: set max_payload to 8MB in its configuration",
			"max_payload", limit)
	}
	s.ctx, s.cancel = context.WithCancel(control.ctx)
	if err := s.register(c.Registerer); err != nil {
		s.cancel()
		return nil, err
	}
	return s, nil
}

func (c StreamsConfig) withDefaults(control *Control) StreamsConfig {
	if c.Replicas <= 0 {
		c.Replicas = control.replicas
	}
	if c.Shards == 0 {
		c.Shards = defaultShards
	}
	if c.MaxAge == 0 {
		c.MaxAge = defaultRingAge
	}
	if c.MaxBytes == 0 {
		c.MaxBytes = defaultRingBytes
	}
	if c.MaxTotalBytes == 0 {
		c.MaxTotalBytes = defaultStreamTotalBytes
	}
	if c.Logger == nil {
		c.Logger = slog.New(slog.DiscardHandler)
	}
	return c
}

// countShards returns how many shards the bus has, or will have. Publishers and
// followers that disagree on it would not find each other.
func (s *Streams) countShards(ctx context.Context) (int, error) {
	ctx, cancel := bounded(ctx)
	defer cancel()
	first, err := s.control.js.Stream(ctx, mediaStream+"0")
	if errors.Is(err, jetstream.ErrStreamNotFound) {
		return s.config.Shards, nil
	}
	if err != nil {
		return 0, busError("look for the media streams", err)
	}
	n, err := strconv.Atoi(first.CachedInfo().Config.Metadata[shardsKey])
	if err != nil || n < 1 || n > maxShards || n == s.config.Shards {
		return s.config.Shards, nil
	}
	s.log.Warn("bus: the media plane has another number of streams than bus.shards says, and keeps it: to change it, stop klive everywhere and delete the klive_media streams",
		"streams", n, "bus.shards", s.config.Shards)
	s.config.Shards = n
	return n, nil
}

// make makes the stream, or gives it the current settings.
func (sh *shard) make(ctx context.Context) error {
	select {
	case sh.making <- struct{}{}:
		defer func() { <-sh.making }()
	case <-ctx.Done():
		return ctx.Err()
	}
	c := &sh.streams.config
	js := sh.streams.control.js
	var stream jetstream.Stream
	copies, err := sh.streams.control.settle(ctx, sh.name, c.Replicas, streamMaker{
		create: func(ctx context.Context, replicas int) (err error) {
			stream, err = js.CreateStream(ctx, sh.config(c, replicas))
			return err
		},
		update: func(ctx context.Context, replicas int) (err error) {
			stream, err = js.UpdateStream(ctx, sh.config(c, replicas))
			return err
		},
		fewer: true,
	})
	if err == nil {
		sh.replicas, sh.created = max(copies, c.Replicas), stream.CachedInfo().Created
	}
	if err == nil && sh.stream == nil {
		sh.stream = stream // knows it by name, whenever it was made
	}
	return busError(fmt.Sprintf("open media stream %s (bus.replicas %d, %d MiB of the servers' memory)",
		sh.name, c.Replicas, c.MaxTotalBytes/int64(c.Shards)>>20), err)
}

func (sh *shard) config(c *StreamsConfig, replicas int) jetstream.StreamConfig {
	return jetstream.StreamConfig{
		Name:       sh.name,
		Subjects:   []string{sh.subject(">")},
		Storage:    jetstream.MemoryStorage,
		Replicas:   replicas,
		MaxAge:     c.MaxAge,
		MaxBytes:   c.MaxTotalBytes / int64(c.Shards),
		Duplicates: min(repeatWindow, c.MaxAge),
		Discard:    jetstream.DiscardOld,
		Metadata:   map[string]string{shardsKey: strconv.Itoa(c.Shards)},
	}
}

// again makes a stream that has vanished: a single server that restarts keeps
// nothing in memory. Of those who miss it at once, one asks.
func (sh *shard) again(ctx context.Context) error {
	select {
	case sh.making <- struct{}{}:
		defer func() { <-sh.making }()
	case <-ctx.Done():
		return ctx.Err()
	}
	if time.Since(sh.made) < ensureEvery {
		return nil
	}
	sh.made = time.Now()
	ctx, cancel := bounded(ctx)
	defer cancel()
	var stream jetstream.Stream
	copies, err := sh.streams.control.withPeers(ctx, sh.name, sh.replicas, func(ctx context.Context, replicas int) (err error) {
		stream, err = sh.streams.control.js.CreateStream(ctx, sh.config(&sh.streams.config, replicas))
		return err
	})
	switch {
	case err == nil && stream.CachedInfo().Created.Equal(sh.created):
		return nil // it is still there, without a leader
	case err == nil:
		sh.created = stream.CachedInfo().Created
		sh.streams.control.lacking(sh.name, copies < sh.replicas)
		sh.streams.log.Warn("bus: a media stream was missing; it is there again, without what it held", "stream", sh.name)
	case errors.Is(err, jetstream.ErrStreamNameAlreadyInUse):
		sh.streams.control.lacking(sh.name, true) // another process made it, with other settings
		return nil
	}
	return busError("make media stream "+sh.name, err)
}

// subject is a subject of the shard on the wire: klive.media.<shard>.<subject>.
func (sh *shard) subject(wire string) string {
	return mediaSubjects + strings.TrimPrefix(sh.name, mediaStream) + "." + wire
}

// shard picks the stream of a subject by the hash of its first two parts.
func (s *Streams) shard(wire string) *shard {
	head := wire
	if i := strings.IndexByte(wire, '.'); i >= 0 {
		if j := strings.IndexByte(wire[i+1:], '.'); j >= 0 {
			head = wire[:i+1+j]
		}
	}
	h := fnv.New32a()
	_, _ = h.Write([]byte(head)) // never fails
	return s.shards[h.Sum32()%uint32(len(s.shards))]
}

// Release implements [Media]. It does nothing.
func (s *Streams) Release(string, uint64) {}

// Close ends the engine and wakes every follower with [ErrClosed]. What was
// published stays on the bus.
func (s *Streams) Close() {
	s.mu.Lock()
	if s.closed {
		s.mu.Unlock()
		return
	}
	s.closed = true
	followers := s.followers
	s.followers = nil
	s.mu.Unlock()
	s.cancel()
	for f := range followers {
		f.Close()
	}
	for _, sh := range s.shards {
		s.control.forgotten(sh.name)
	}
	s.unregister()
}

// within bounds a call by the engine's life and by the time a request may take.
func (s *Streams) within(ctx context.Context) (context.Context, context.CancelFunc) {
	ctx, cancel := bounded(ctx)
	stop := context.AfterFunc(s.ctx, cancel)
	return ctx, func() { stop(); cancel() }
}

// ended says that a call failed because the engine was closed.
func (s *Streams) ended(err error) error {
	if err != nil && s.ctx.Err() != nil {
		return ErrClosed
	}
	return err
}
