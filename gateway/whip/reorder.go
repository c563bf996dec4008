package whip

import (
	"time"
)

// packet is one RTP packet of a track. Its payload belongs to who hands it over.
type packet struct {
	seq     int64 // unwrapped
	time    uint32
	marker  bool
	payload []byte
}

const (
	// window is how far packets may lie ahead of the one that is missing: a second at 20 Mbit/s.
	window = 2048
	// patience is how long a packet may be late before it counts as missing.
	patience = 10 * time.Millisecond
	// firstAsk and leastAsk are the time between two requests for one packet while the round
	// trip is not known, and the least there is.
	firstAsk = 60 * time.Millisecond
	leastAsk = 20 * time.Millisecond
	// keptBuffers bounds the buffers that are kept for the next gap.
	keptBuffers = 64
)

// reorder puts a track's packets into their order, says which ones to ask for again, and
// which are lost. Packets that come in order pass through it untouched. It is not safe for
// concurrent use.
type reorder struct {
	latency time.Duration
	// deliver gets the packets in order; lost says that some before it never came.
	deliver func(p *packet, lost bool)

	started bool
	next    int64 // what is delivered next
	newest  int64
	slots   []packet // by seq modulo window; a nil payload is none. Made with the first gap
	missing []missingPacket
	held    int
	free    [][]byte
	stats   orderStats
}

// missingPacket is a hole. Those of one reorder rise by seq.
type missingPacket struct {
	seq   int64
	asked int
	next  time.Time // when it is asked for
	until time.Time // when it is lost
}

// orderStats count packets by what became of them. Belated ones came again or too late.
type orderStats struct {
	received, missing, recovered, belated, lost uint64
}

// push takes a packet that came now.
func (o *reorder) push(p packet, now time.Time) {
	o.stats.received++
	if !o.started {
		o.started, o.next, o.newest = true, p.seq, p.seq-1
	}
	switch ahead := p.seq - o.next; {
	case ahead < 0:
		o.stats.belated++
		return
	case ahead >= window:
		// Nobody would wait for so many: the source began anew, or was away.
		o.giveUp(p.seq)
		o.newest, o.next = p.seq, p.seq+1
		o.deliver(&p, true)
		return
	case ahead == 0 && o.held == 0:
		o.fill(p.seq)
		o.newest, o.next = max(o.newest, p.seq), p.seq+1
		o.deliver(&p, false)
		return
	}
	o.hold(p, now)
	o.drain(false)
}

// hold keeps a packet until those before it are there.
func (o *reorder) hold(p packet, now time.Time) {
	if o.slots == nil {
		o.slots = make([]packet, window)
	}
	slot := &o.slots[p.seq%window]
	if slot.payload != nil {
		o.stats.belated++
		return
	}
	buf := []byte(nil)
	if n := len(o.free); n > 0 {
		buf, o.free = o.free[n-1][:0], o.free[:n-1]
	} else {
		buf = make([]byte, 0, max(len(p.payload), 1280))
	}
	*slot = p
	slot.payload = append(buf, p.payload...)
	o.held++
	o.fill(p.seq)
	for seq := o.newest + 1; seq < p.seq; seq++ {
		o.stats.missing++
		o.missing = append(o.missing, missingPacket{seq: seq, next: now.Add(patience), until: now.Add(o.latency)})
	}
	o.newest = max(o.newest, p.seq)
}

// fill notes that a packet is not missing any more.
func (o *reorder) fill(seq int64) {
	for i := range o.missing {
		if o.missing[i].seq == seq {
			if o.missing[i].asked > 0 {
				o.stats.recovered++
			}
			o.missing = append(o.missing[:i], o.missing[i+1:]...)
			return
		}
	}
}

// drain hands out what is in order.
func (o *reorder) drain(lost bool) {
	for o.held > 0 {
		slot := &o.slots[o.next%window]
		if slot.payload == nil {
			return
		}
		o.next++
		o.held--
		o.deliver(slot, lost)
		lost = false
		if len(o.free) < keptBuffers {
			o.free = append(o.free, slot.payload)
		}
		*slot = packet{}
	}
}

// giveUp hands out all that is held before a packet, whatever is missing.
func (o *reorder) giveUp(before int64) {
	for len(o.missing) > 0 && o.missing[0].seq < before {
		o.skip()
	}
}

// skip gives up the oldest hole, with those right behind it.
func (o *reorder) skip() {
	seq := o.missing[0].seq
	for len(o.missing) > 0 && o.missing[0].seq == seq {
		o.missing = o.missing[1:]
		o.stats.lost++
		seq++
	}
	if len(o.missing) == 0 {
		o.missing = nil
	}
	o.next = seq
	o.drain(true)
}

// expire gives up what has been missing for too long.
func (o *reorder) expire(now time.Time) {
	for len(o.missing) > 0 && !now.Before(o.missing[0].until) {
		o.skip()
	}
}

// ask lists what is to be asked for again now; rtt is the round trip, 0 when it is not known.
func (o *reorder) ask(now time.Time, rtt time.Duration, into []uint16) []uint16 {
	pause := firstAsk
	if rtt > 0 {
		pause = max(leastAsk, rtt+rtt/4)
	}
	for i := range o.missing {
		m := &o.missing[i]
		if now.Before(m.next) {
			continue
		}
		m.asked++
		m.next = now.Add(pause)
		into = append(into, uint16(m.seq))
	}
	return into
}

// wake is when ask or expire has something to do; zero when nothing is missing.
func (o *reorder) wake() time.Time {
	if len(o.missing) == 0 {
		return time.Time{}
	}
	at := o.missing[0].until
	for i := range o.missing {
		if t := o.missing[i].next; t.Before(at) {
			at = t
		}
	}
	return at
}

// unwrap16 is the number that is congruent to seq and nearest to ref.
func unwrap16(seq uint16, ref int64) int64 { return ref + int64(int16(seq-uint16(ref))) }
