package bus

import (
	"context"
	"fmt"
	"strconv"
	"sync"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

const (
	// pullExpires is how long the server holds one request for messages.
	pullExpires = 30 * time.Second
	// pullSilence is for how many half beats a server may say nothing to who has asked it for messages.
	pullSilence = 5

	// Headers of what the server says between messages (ADR-13, "Pull based consumers").
	headerStatus       = "Status"
	headerDescription  = "Description"
	headerLastConsumer = "Nats-Last-Consumer"
	headerPending      = "Nats-Pending-Messages"

	statusBeat    = "100"
	statusExpired = "408"
)

// Why a puller is of no more use. All are [ErrUnavailable]: another consumer goes on.
var (
	// errPullLost is returned when a message was lost on its way, as happens to what was sent over
	// a connection that broke.
	errPullLost = fmt.Errorf("%w: a message was lost on its way", ErrUnavailable)
	// errPullSilent is returned when the server says no more that it serves.
	errPullSilent = fmt.Errorf("%w: the bus does not say any more that it serves", ErrUnavailable)
	// errPullEnded is returned when the consumer is gone: with its server, or deleted.
	errPullEnded = fmt.Errorf("%w: the consumer has ended", ErrUnavailable)
)

// pulled is a message as it came.
type pulled struct {
	*nats.Msg
	meta *nats.MsgMetadata
}

// puller reads a consumer from its first message on, in order and without holes, and never has
// more than a batch of messages unread. The server says with each beat how many messages it has
// sent, so one that was lost is missed within a beat, also when no other follows. The client
// library's own reader misses it when the next one comes; and it keeps messages and beats in one
// channel of a batch's length, and drops what does not fit.
type puller struct {
	control *Control
	subject string // where the consumer is asked
	batch   int
	beat    time.Duration
	unread  chan pulled
	broken  chan struct{} // closed when err is set

	link <-chan struct{} // of the connection that was asked over, see [Control.linked]; next's own

	// mu guards the fields below.
	mu    sync.Mutex
	sub   *nats.Subscription // what was asked over link comes here
	asked int                // messages that were asked for over link and have not come
	count uint64             // messages that have come
	heard time.Time          // when the server was last heard, or asked
	err   error
}

// pull begins to read a consumer that nobody has read. It asks for the first batch.
func (c *Control) pull(cons jetstream.Consumer, batch int, beat time.Duration) (*puller, error) {
	info := cons.CachedInfo()
	if info == nil {
		return nil, errPullEnded
	}
	p := &puller{
		control: c, subject: fmt.Sprintf("$JS.API.CONSUMER.MSG.NEXT.%s.%s", info.Stream, info.Name), batch: batch, beat: beat,
		unread: make(chan pulled, batch), broken: make(chan struct{}),
	}
	p.link, _ = c.linked()
	if err := p.relink(); err != nil {
		return nil, err
	}
	return p, nil
}

// next waits for the next message. After an error that is not ctx's the puller is of no more use.
func (p *puller) next(ctx context.Context) (pulled, error) {
	for {
		select {
		case m := <-p.unread: // also what came before it broke
			p.more()
			return m, nil
		default:
		}
		left := p.patience()
		if left <= 0 {
			p.end(errPullSilent)
		}
		select {
		case m := <-p.unread:
			p.more()
			return m, nil
		case <-p.broken:
			if len(p.unread) == 0 {
				return pulled{}, p.err
			}
		case <-p.link:
		case <-time.After(left):
		case <-ctx.Done():
			return pulled{}, ctx.Err()
		}
	}
}

// more asks for more messages, if it is time to.
func (p *puller) more() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.ask()
}

// patience is for how much longer the server may be silent. Over a new connection it is asked
// anew, and without one it says nothing. The client library is not asked whether there is one:
// while it makes one, it answers nobody.
func (p *puller) patience() time.Duration {
	link, up := p.control.linked()
	anew := link != p.link
	p.link = link
	if !up {
		return p.beat
	}
	if anew {
		_ = p.relink() // has broken the puller if it failed
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	return pullSilence*p.beat/2 - time.Since(p.heard)
}

// relink asks anew, and to have it sent elsewhere: what was asked before may be forgotten, or
// answered over a connection that is gone, or served still, beyond what is asked now.
func (p *puller) relink() error {
	p.mu.Lock()
	defer p.mu.Unlock()
	sub, err := p.control.nc.Subscribe(p.control.nc.NewInbox(), p.take)
	if err != nil {
		p.fail(err)
		return err
	}
	if p.sub != nil {
		_ = p.sub.Unsubscribe() // fails when the connection is closed
	}
	p.sub, p.asked, p.heard = sub, 0, time.Now()
	p.ask()
	return nil
}

// ask is more, with mu held: all that was asked for has come, and half of it is read. There is one
// request at a time, because the server beats for each that gets no messages. Between connections
// it does nothing, for it is asked anew over the next one; nor is it needed that a request gets
// through, for the silence is noticed.
func (p *puller) ask() {
	unread := len(p.unread)
	if p.err != nil || p.asked > 0 || unread > p.batch/2 {
		return
	}
	if _, up := p.control.linked(); !up {
		return
	}
	request := fmt.Appendf(nil, `{"expires":%d,"batch":%d,"idle_heartbeat":%d}`, pullExpires, p.batch-unread, p.beat)
	if p.control.nc.PublishRequest(p.subject, p.sub.Subject, request) == nil {
		p.asked, p.heard = p.batch-unread, time.Now()
	}
}

// take takes what the server sends.
func (p *puller) take(m *nats.Msg) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.err != nil || m.Sub != p.sub {
		return
	}
	p.heard = time.Now()
	if m.Reply == "" {
		p.told(m.Header)
		return
	}
	meta, err := m.Metadata()
	if err != nil {
		p.fail(err)
		return
	}
	if meta.Sequence.Consumer != p.count+1 {
		p.fail(errPullLost)
		return
	}
	select {
	case p.unread <- pulled{m, meta}:
		p.count++
		p.asked = max(0, p.asked-1)
	default: // more than was asked for
		p.fail(errPullLost)
	}
}

// told takes what the server says between messages. mu is held.
func (p *puller) told(h nats.Header) {
	switch status := h.Get(headerStatus); status {
	case statusBeat:
		if last, err := strconv.ParseUint(h.Get(headerLastConsumer), 10, 64); err == nil && last > p.count {
			p.fail(errPullLost)
		}
	case statusExpired: // the time of one request
		if left, err := strconv.Atoi(h.Get(headerPending)); err == nil {
			p.asked = max(0, p.asked-left)
		}
		p.ask()
	default:
		p.fail(fmt.Errorf("%w: %s %s", errPullEnded, status, h.Get(headerDescription)))
	}
}

// end ends the puller with an error.
func (p *puller) end(err error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.fail(err)
}

// fail is end, with mu held.
func (p *puller) fail(err error) {
	if p.err == nil {
		p.err = err
		close(p.broken)
	}
}

// close ends the puller. Its consumer stays, for whoever made it to delete.
func (p *puller) close() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.fail(ErrClosed)
	_ = p.sub.Unsubscribe() // fails when the connection is closed
}
