package bus

import (
	"context"
	"slices"
	"time"
)

// minRingSlots is the first size of a subject's ring; sizes are powers of two.
const minRingSlots = 16

// ringNode is one kept message, in its subject's ring and in the list of all.
type ringNode struct {
	msg        Message
	size       int64
	subject    *ringSubject
	prev, next *ringNode
}

// ringList is every kept message in the order of arrival.
type ringList struct{ head, tail *ringNode }

func (l *ringList) push(n *ringNode) {
	n.prev = l.tail
	if l.tail == nil {
		l.head = n
	} else {
		l.tail.next = n
	}
	l.tail = n
}

func (l *ringList) remove(n *ringNode) {
	if n.prev == nil {
		l.head = n.next
	} else {
		n.prev.next = n.next
	}
	if n.next == nil {
		l.tail = n.prev
	} else {
		n.next.prev = n.prev
	}
	n.prev, n.next = nil, nil
}

// ringSubject is one subject. The kept messages have consecutive numbers, so a
// message is found by arithmetic. The ring's mutex guards it.
type ringSubject struct {
	name  string
	last  uint64 // number of the newest message ever
	bytes int64

	slots []*ringNode // a circle of len messages from start; len(slots) is a power of two
	start int
	len   int

	ids   map[string]uint64 // id → number, of the messages of the last MaxAge
	idLog []idStamp         // the same ids, oldest first

	followers []*ringFollower

	idle          bool // in the ring's idle list
	idleSince     time.Time
	before, after *ringSubject
}

type idStamp struct {
	id string
	at time.Time
}

// first is the number of the oldest kept message, or of the next one to come.
func (s *ringSubject) first() uint64 { return s.last - uint64(s.len) + 1 }

func (s *ringSubject) oldest() *ringNode { return s.slots[s.start] }

func (s *ringSubject) at(seq uint64) *ringNode {
	return s.slots[(s.start+int(seq-s.first()))&(len(s.slots)-1)]
}

// push adds the message numbered last+1.
func (s *ringSubject) push(n *ringNode) {
	if s.len == len(s.slots) {
		s.resize(max(minRingSlots, 2*len(s.slots)))
	}
	s.slots[(s.start+s.len)&(len(s.slots)-1)] = n
	s.len++
	s.last = n.msg.Seq
	s.ids[n.msg.ID] = n.msg.Seq
	s.idLog = append(s.idLog, idStamp{n.msg.ID, n.msg.At})
}

// pop forgets the oldest message and gives back slots that a burst had needed.
func (s *ringSubject) pop() {
	s.slots[s.start] = nil
	s.start = (s.start + 1) & (len(s.slots) - 1)
	s.len--
	if len(s.slots) > minRingSlots && s.len <= len(s.slots)/8 {
		s.resize(len(s.slots) / 4)
	}
}

func (s *ringSubject) resize(n int) {
	n = max(n, minRingSlots)
	slots := make([]*ringNode, n)
	for i := range s.len {
		slots[i] = s.slots[(s.start+i)&(len(s.slots)-1)]
	}
	s.slots, s.start = slots, 0
}

// shrink gives back the slots of an empty subject.
func (s *ringSubject) shrink() { s.slots, s.start = nil, 0 }

// forgetIDs forgets the ids of messages published before t, and the oldest ones
// beyond maxRingMessages.
func (s *ringSubject) forgetIDs(t time.Time) {
	n := 0
	for n < len(s.idLog) && (!s.idLog[n].at.After(t) || len(s.idLog)-n >= maxRingMessages) {
		delete(s.ids, s.idLog[n].id)
		n++
	}
	clear(s.idLog[:n]) // the strings must not live on in the array's front
	s.idLog = s.idLog[n:]
}

func (s *ringSubject) wake() {
	for _, f := range s.followers {
		select {
		case f.notify <- struct{}{}:
		default:
		}
	}
}

// idleList is the subjects that hold nothing, longest idle first.
type idleList struct{ head, tail *ringSubject }

func (l *idleList) push(s *ringSubject) {
	s.idle, s.before = true, l.tail
	if l.tail == nil {
		l.head = s
	} else {
		l.tail.after = s
	}
	l.tail = s
}

// remove takes s out if it is in.
func (l *idleList) remove(s *ringSubject) {
	if !s.idle {
		return
	}
	if s.before == nil {
		l.head = s.after
	} else {
		s.before.after = s.after
	}
	if s.after == nil {
		l.tail = s.before
	} else {
		s.after.before = s.before
	}
	s.idle, s.before, s.after = false, nil, nil
}

// ringFollower reads one subject. The ring's mutex guards next and closed.
type ringFollower struct {
	ring    *Ring
	subject *ringSubject
	next    uint64
	closed  bool
	notify  chan struct{} // holds a token when there may be news
}

func (f *ringFollower) Next(ctx context.Context) (Message, error) {
	for {
		m, ok, err := f.try()
		if ok || err != nil {
			return m, err
		}
		select {
		case <-f.notify:
		case <-ctx.Done():
			return Message{}, ctx.Err()
		}
	}
}

// try reads the next message if it is there.
func (f *ringFollower) try() (Message, bool, error) {
	f.ring.mu.Lock()
	defer f.ring.mu.Unlock()
	if f.closed || f.ring.closed {
		return Message{}, false, ErrClosed
	}
	f.ring.expire(time.Now())
	s := f.subject
	if first := s.first(); f.next < first {
		err := &AgedOutError{Subject: s.name, Want: f.next, First: first}
		f.next = first
		return Message{}, false, err
	}
	if f.next > s.last {
		return Message{}, false, nil
	}
	m := s.at(f.next).msg
	f.next++
	return m, true, nil
}

func (f *ringFollower) Close() {
	f.ring.mu.Lock()
	defer f.ring.mu.Unlock()
	if f.closed {
		return
	}
	f.closed = true
	s := f.subject
	if i := slices.Index(s.followers, f); i >= 0 {
		s.followers = slices.Delete(s.followers, i, i+1)
	}
	f.ring.settle(s, time.Now())
	select {
	case f.notify <- struct{}{}:
	default:
	}
}
