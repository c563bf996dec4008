package rtmp

import (
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

var (
	// errTimeout is returned when a peer has missed a deadline.
	errTimeout = errors.New("deadline missed")
	// errStuck is an errTimeout: there is no use in telling the peer.
	errStuck = fmt.Errorf("%w: the peer does not read what it is sent", errTimeout)
)

// netConn sets the deadlines of every read and write, and can be woken while it reads.
type netConn struct {
	conn        net.Conn
	idle, write time.Duration
	received    prometheus.Counter
	// onWake runs on the reading goroutine after wake; its error ends the read.
	onWake func() error

	// stage and what belong to the reading goroutine: the instant by which the peer must
	// have done what is awaited; zero when nothing is.
	stage time.Time
	what  string
	// gather is set for plain TCP, whose bytes wait in the kernel; batch counts what was read
	// since the last pause. Both belong to the reading goroutine.
	gather  bool
	batch   int
	drained bool

	// mu guards the fields below.
	mu    sync.Mutex
	woken bool
}

// await sets the instant by which the peer must have done something.
func (c *netConn) await(d time.Duration, what string) {
	c.stage, c.what = time.Now().Add(d), what
}

// awaitNothing leaves only the idle deadline.
func (c *netConn) awaitNothing() { c.stage = time.Time{} }

// wake interrupts the read that is under way, or the next one, without losing a byte.
func (c *netConn) wake() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.woken = true
	// A failure means that the connection is gone; the read sees that.
	_ = c.conn.SetReadDeadline(time.Unix(1, 0))
}

// arm sets the deadline of a read unless the connection has been woken.
func (c *netConn) arm() (woken bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if woken, c.woken = c.woken, false; woken {
		return true
	}
	deadline := time.Now().Add(c.idle)
	if !c.stage.IsZero() && c.stage.Before(deadline) {
		deadline = c.stage
	}
	_ = c.conn.SetReadDeadline(deadline)
	return false
}

// gatherTick is how long the bytes of publishers gather in the kernel. It is short beside a
// part, and all connections wake at the same ticks: one pass through the scheduler reads
// many streams. Waking for every frame of every stream costs more CPU than all else that is
// done with them. A tick is also little beside what a socket buffers, so no stream is held up.
const gatherTick = 50 * time.Millisecond

// pause lets bytes gather when the last read has emptied the socket of a publisher, unless a
// buffer full of them has come since the last pause: such reads are large as they are.
func (c *netConn) pause() {
	if c.gather && c.drained && c.stage.IsZero() && c.batch < readBuffer {
		now := time.Now()
		time.Sleep(now.Truncate(gatherTick).Add(gatherTick).Sub(now))
	}
	if c.drained {
		c.batch, c.drained = 0, false
	}
}

func (c *netConn) Read(p []byte) (int, error) {
	c.pause()
	for {
		if c.arm() {
			if err := c.onWake(); err != nil {
				return 0, err
			}
			continue
		}
		n, err := c.conn.Read(p)
		c.received.Add(float64(n))
		c.batch += n
		c.drained = n < len(p)
		if n > 0 || err == nil || !errors.Is(err, os.ErrDeadlineExceeded) {
			return n, err
		}
		if c.isWoken() {
			continue
		}
		if !c.stage.IsZero() && !time.Now().Before(c.stage) {
			return 0, fmt.Errorf("%w: no %s in time", errTimeout, c.what)
		}
		return 0, fmt.Errorf("%w: nothing received for %v", errTimeout, c.idle)
	}
}

func (c *netConn) isWoken() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.woken
}

func (c *netConn) Write(p []byte) (int, error) {
	_ = c.conn.SetWriteDeadline(time.Now().Add(c.write))
	n, err := c.conn.Write(p)
	if errors.Is(err, os.ErrDeadlineExceeded) {
		err = errStuck
	}
	return n, err
}

const (
	lingerTime  = time.Second
	lingerBytes = 4 << 20
)

// linger closes the sending side and reads for a moment: closing a TCP connection that has
// unread bytes resets it, and the peer would lose what it was told last.
func (c *netConn) linger() {
	half, ok := c.conn.(interface{ CloseWrite() error })
	if ok && half.CloseWrite() != nil {
		return
	}
	_ = c.conn.SetReadDeadline(time.Now().Add(lingerTime))
	_, _ = io.CopyN(io.Discard, c.conn, lingerBytes)
}
