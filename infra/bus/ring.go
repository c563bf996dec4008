package bus

import (
	"context"
	"fmt"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

const (
	defaultRingAge        = 30 * time.Second
	defaultRingBytes      = 64 << 20
	defaultRingTotalBytes = 1 << 30

	// maxRingMessages bounds the messages of one subject however small they are.
	maxRingMessages = 1 << 16
	// minSubjectMemory is the least time for which the ring remembers how far an
	// empty subject had counted.
	minSubjectMemory = 10 * time.Minute
	// ringSweepEvery keeps the janitor from running once per message.
	ringSweepEvery = 250 * time.Millisecond
)

// RingConfig is what [NewRing] needs. The zero value works.
type RingConfig struct {
	// MaxAge is how long a message is kept; 0 means 30 s.
	MaxAge time.Duration
	// MaxBytes bounds the bodies kept for one subject; 0 means 64 MiB.
	MaxBytes int64
	// MaxTotalBytes bounds the bodies kept in all; 0 means 1 GiB.
	MaxTotalBytes int64
	// Registerer takes the ring's metrics; nil means none are exported.
	Registerer prometheus.Registerer
}

// Ring is the media plane of a single process: it hands every follower the very
// body that was published. Messages leave when they are older than MaxAge, when
// their subject or the whole ring is over its bytes (the oldest go first), or
// when they are released.
//
// A subject without messages and followers takes no room but its counter and the
// ids of the last MaxAge. These are forgotten after ten minutes or MaxAge,
// whichever is longer; a subject that is published to after that counts from 1
// again. So whoever resumes a subject by number must do so within that time, or
// never use a subject name twice, as feeds do by their epoch.
type Ring struct {
	maxAge, memory     time.Duration
	maxBytes, maxTotal int64
	metrics            *ringMetrics

	// mu guards the fields below and every ringSubject and ringFollower.
	mu       sync.Mutex
	subjects map[string]*ringSubject
	kept     ringList // every kept message, oldest first
	idle     idleList // subjects without message and follower, longest idle first
	bytes    int64
	janitor  *time.Timer // runs sweep; the only timer of the ring
	sweepAt  time.Time   // when janitor is due; zero while it is not running
	closed   bool
}

var _ Media = (*Ring)(nil)

// NewRing returns an empty ring. It panics when Registerer already holds the
// metrics of another ring.
func NewRing(c RingConfig) *Ring {
	if c.MaxAge <= 0 {
		c.MaxAge = defaultRingAge
	}
	if c.MaxBytes <= 0 {
		c.MaxBytes = defaultRingBytes
	}
	if c.MaxTotalBytes <= 0 {
		c.MaxTotalBytes = defaultRingTotalBytes
	}
	r := &Ring{
		maxAge:   c.MaxAge,
		memory:   max(c.MaxAge, minSubjectMemory),
		maxBytes: c.MaxBytes,
		maxTotal: c.MaxTotalBytes,
		metrics:  newRingMetrics(c.Registerer),
		subjects: make(map[string]*ringSubject),
	}
	r.janitor = time.AfterFunc(time.Hour, r.sweep)
	r.janitor.Stop()
	return r
}

// Publish implements [Media]. Ids are remembered for MaxAge, released or not.
// A body that can never fit is refused with [ErrTooLarge].
func (r *Ring) Publish(ctx context.Context, subject, id string, body Body) (uint64, error) {
	if err := ctx.Err(); err != nil {
		return 0, err
	}
	if subject == "" || id == "" || body == nil {
		return 0, fmt.Errorf("%w: a media message needs a subject, an id and a body", ErrInvalid)
	}
	size := int64(body.Size())
	if limit := min(r.maxBytes, r.maxTotal); size > limit {
		return 0, fmt.Errorf("%w: %s: a body of %d bytes, at most %d fit: make parts smaller or the ring larger",
			ErrTooLarge, subject, size, limit)
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.closed {
		return 0, ErrClosed
	}
	now := time.Now()
	r.expire(now)
	s := r.subject(subject)
	s.forgetIDs(now.Add(-r.maxAge))
	if seq, ok := s.ids[id]; ok {
		r.settle(s, now)
		return seq, nil
	}
	n := &ringNode{subject: s, size: size, msg: Message{Seq: s.last + 1, ID: id, At: now, Body: body}}
	r.makeRoom(s, size)
	r.kept.push(n)
	s.push(n)
	r.account(s, size, 1)
	r.metrics.published.Inc()
	r.arm(now)
	s.wake()
	return n.msg.Seq, nil
}

// Follow implements [Media]. A from above 1 that has left the ring makes the
// first Next return an [AgedOutError].
func (r *Ring) Follow(ctx context.Context, subject string, from uint64) (Follower, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	if subject == "" {
		return nil, fmt.Errorf("%w: a follower needs a subject", ErrInvalid)
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.closed {
		return nil, ErrClosed
	}
	r.expire(time.Now())
	s := r.subject(subject)
	if from <= 1 {
		from = s.first()
	}
	f := &ringFollower{ring: r, subject: s, next: from, notify: make(chan struct{}, 1)}
	s.followers = append(s.followers, f)
	return f, nil
}

// Release implements [Media]: the messages are freed at once. A follower that
// had not read them gets an [AgedOutError].
func (r *Ring) Release(subject string, seq uint64) {
	r.mu.Lock()
	defer r.mu.Unlock()
	s := r.subjects[subject]
	if s == nil {
		return
	}
	for s.len > 0 && s.first() <= seq {
		r.drop(s.oldest())
	}
	r.settle(s, time.Now())
}

// Close frees everything and wakes every follower with [ErrClosed].
func (r *Ring) Close() {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.closed {
		return
	}
	r.closed = true
	r.janitor.Stop()
	for n := r.kept.head; n != nil; n = r.kept.head {
		r.drop(n)
	}
	for _, s := range r.subjects {
		s.wake()
	}
	r.metrics.subjects.Set(0)
	r.subjects, r.idle = nil, idleList{}
}

// subject returns the record of a subject that is about to be used.
func (r *Ring) subject(name string) *ringSubject {
	s := r.subjects[name]
	if s == nil {
		s = &ringSubject{name: name, ids: make(map[string]uint64)}
		r.subjects[name] = s
		r.metrics.subjects.Inc()
	}
	r.idle.remove(s)
	return s
}

// settle puts a subject that holds nothing and is followed by nobody on the way
// to being forgotten.
func (r *Ring) settle(s *ringSubject, now time.Time) {
	if r.closed || s.len > 0 || len(s.followers) > 0 || s.idle {
		return
	}
	s.shrink()
	s.idleSince = now
	r.idle.push(s)
	r.arm(now)
}

// makeRoom drops the oldest messages until size more bytes fit.
func (r *Ring) makeRoom(s *ringSubject, size int64) {
	for s.len > 0 && (s.bytes+size > r.maxBytes || s.len >= maxRingMessages) {
		r.drop(s.oldest())
		r.metrics.droppedBytes.Inc()
	}
	for r.kept.head != nil && r.bytes+size > r.maxTotal {
		victim := r.kept.head.subject
		r.drop(r.kept.head)
		r.metrics.droppedTotal.Inc()
		if victim != s {
			r.settle(victim, time.Now())
		}
	}
}

// drop frees one message, which must be the oldest of its subject, and tells its
// followers, who may be waiting behind it.
func (r *Ring) drop(n *ringNode) {
	s := n.subject
	r.kept.remove(n)
	s.pop()
	r.account(s, -n.size, -1)
	s.wake()
}

func (r *Ring) account(s *ringSubject, bytes int64, messages float64) {
	s.bytes += bytes
	r.bytes += bytes
	r.metrics.bytes.Set(float64(r.bytes))
	r.metrics.messages.Add(messages)
}

// expire frees what is too old: work in proportion to what it frees.
func (r *Ring) expire(now time.Time) {
	for n := r.kept.head; n != nil && now.Sub(n.msg.At) >= r.maxAge; n = r.kept.head {
		s := n.subject
		r.drop(n)
		r.metrics.droppedAge.Inc()
		r.settle(s, now)
	}
	for s := r.idle.head; s != nil && now.Sub(s.idleSince) >= r.memory; s = r.idle.head {
		r.idle.remove(s)
		delete(r.subjects, s.name)
		r.metrics.subjects.Dec()
	}
}

// arm sees to it that the janitor runs when the next message or subject is due.
func (r *Ring) arm(now time.Time) {
	due, ok := r.due()
	if !ok || r.closed {
		return
	}
	if t := now.Add(ringSweepEvery); due.Before(t) {
		due = t
	}
	if r.sweepAt.IsZero() || due.Before(r.sweepAt) {
		r.sweepAt = due
		r.janitor.Reset(due.Sub(now))
	}
}

// due is when the oldest message or the longest idle subject must go.
func (r *Ring) due() (at time.Time, ok bool) {
	if n := r.kept.head; n != nil {
		at, ok = n.msg.At.Add(r.maxAge), true
	}
	if s := r.idle.head; s != nil {
		if t := s.idleSince.Add(r.memory); !ok || t.Before(at) {
			at, ok = t, true
		}
	}
	return at, ok
}

// sweep is the janitor's turn. It runs in the timer's goroutine, which ends with it.
func (r *Ring) sweep() {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.closed {
		return
	}
	now := time.Now()
	r.sweepAt = time.Time{}
	r.expire(now)
	r.arm(now)
}
