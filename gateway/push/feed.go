package push

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"net/http"
	"sync"
	"sync/atomic"
	"time"

	"klive/gateway"
	"klive/infra/live"
)

// feed is one publish over one or many requests.
type feed struct {
	h     *Handler
	id    live.FeedID
	first target // of the request that began it
	peer  string

	admitted chan struct{} // closed when the first request was decided on
	refusal  error         // set before admitted is closed
	permit   *gateway.Permit

	gone  chan struct{} // closed when the feed ends
	onAir atomic.Bool   // whether its record says where it is
	turn  chan struct{} // holds a token while a transport stream is read

	// mu guards the fields below.
	mu       sync.Mutex
	requests int
	idle     *time.Timer
	ended    bool
	pub      gateway.Publication
	format   format
	merge    *merger
	movies   map[string]*movie
	sole     bool          // the only movie is that of every segment
	adopted  chan struct{} // closed, and made anew, with each initialization section
	users    int           // requests that feed pub
	complete bool          // its playlist or manifest says that no more will come
	off      chan struct{} // closed when pub goes off the air
	late     *lateness
	sections *sections
}

var (
	errEnded = &gateway.Refusal{Reason: gateway.ReasonNotReady, Text: "the stream has ended meanwhile; send again"}
	errIdle  = errors.New("no request came in time")
	// errAnother says that a feed was refused for what another request showed.
	errAnother = errors.New("another request was refused")
)

// farewell is how long a feed that is said to be over waits for what is still on its way.
const farewell = 2 * time.Second

func newFeed(h *Handler, to target) *feed {
	return &feed{h: h, id: to.ID, first: to, admitted: make(chan struct{}), gone: make(chan struct{}), turn: make(chan struct{}, 1), movies: map[string]*movie{}, adopted: make(chan struct{}), late: &lateness{}, sections: &sections{}}
}

// authenticate decides on the feed by its first request.
func (f *feed) authenticate(ctx context.Context, r *http.Request) error {
	f.peer = r.RemoteAddr
	p := f.first.Params
	if f.first.AnyPartner {
		if f.h.cfg.Partner == nil {
			return refuse("the address lacks p=, the partner")
		}
		var err error
		if p.Partner, err = f.h.cfg.Partner(ctx, p.Entry); err != nil {
			return err
		}
	}
	var err error
	f.permit, err = f.h.cfg.Gateway.Connect(ctx, gateway.Connect{Protocol: "push", Peer: f.peer, Params: p})
	return err
}

// begin decides on the feed, and lets the requests in that wait for it; after a fault too.
func (f *feed) begin(ctx context.Context, r *http.Request) {
	f.refusal = errEnded
	defer func() {
		if f.refusal != nil {
			f.h.forget(f)
		} else {
			f.mu.Lock()
			f.wait() // its request may have run out of patience
			f.mu.Unlock()
		}
		close(f.admitted)
	}()
	f.refusal = f.authenticate(ctx, r)
	// Only what may publish claims the feed, and what ends one claims none.
	c := f.h.cfg.Elsewhere
	if c == nil || f.refusal != nil || r.Method == http.MethodDelete {
		return
	}
	if !c.Claim(ctx, r, f.id) {
		f.refusal = errElsewhere
		return
	}
	f.h.running.Go(f.keep)
}

// keepEvery is how often a feed that is not on the air renews its claim.
const keepEvery = live.ClaimLife / 3

// keep holds on to a feed whose media may come long after its first request, until it ends. While it is on the air its
// record says where it is.
func (f *feed) keep() {
	tick := time.NewTicker(keepEvery)
	defer tick.Stop()
	for {
		select {
		case <-f.gone:
			return
		case <-tick.C:
		}
		if f.onAir.Load() {
			continue
		}
		ctx, cancel := context.WithTimeout(context.Background(), keepEvery)
		kept := f.h.cfg.Elsewhere.Keep(ctx, f.id)
		cancel()
		if !kept && !f.onAir.Load() {
			f.end(errElsewhere)
		}
	}
}

// maxFeedRequests bounds a feed's requests at a time: one encoder must not take the room of all
// others. Packagers need one or two for each track.
const maxFeedRequests = 64

// hold counts a request in. Each needs a release. A request that shows something else than the
// feed's first one does not share its refusal, and keeps no feed alive.
func (f *feed) hold(ctx context.Context, to *target) error {
	select {
	case <-f.admitted:
	case <-ctx.Done():
		return ctx.Err()
	}
	switch same := to.Shows(&f.first.HTTPAddress); {
	case f.refusal != nil && !same:
		return errAnother
	case f.refusal != nil:
		return f.refusal
	case !same:
		return &gateway.Refusal{Reason: gateway.ReasonAuth, Err: errOther, Text: fmt.Sprintf("stream %s was begun with another token or partner", to.ID.StreamName())}
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.ended {
		return errEnded
	}
	if f.requests >= maxFeedRequests {
		return &gateway.Refusal{Reason: gateway.ReasonLimit, Text: fmt.Sprintf("stream %s has %d requests under way; end some first", to.ID.StreamName(), f.requests)}
	}
	f.requests++
	if f.idle != nil {
		f.idle.Stop()
		f.idle = nil
	}
	return nil
}

// release counts a request out. A feed without requests ends after a while.
func (f *feed) release() {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.requests--
	if f.requests > 0 || f.ended {
		return
	}
	if f.complete || f.merge != nil && f.merge.finished() {
		own := f.sections
		f.idle = time.AfterFunc(min(farewell, f.h.cfg.Idle), func() {
			f.end(nil)
			f.forgetSections(own)
		})
		return
	}
	f.wait()
}

// wait gives the feed up when no request comes in time. The caller holds f.mu.
func (f *feed) wait() { f.idle = time.AfterFunc(f.h.cfg.Idle, func() { f.end(errIdle) }) }

// end closes the publication. It may be called more than once.
func (f *feed) end(cause error) {
	f.mu.Lock()
	if f.ended {
		f.mu.Unlock()
		return
	}
	f.ended = true
	close(f.gone)
	if f.idle != nil {
		f.idle.Stop()
	}
	f.h.forget(f)
	f.swap(cause)
	f.mu.Unlock()
}

// publication puts the feed on the air with its first media, and anew when these are of
// another format. Each call that succeeds needs a leave.
func (f *feed) publication(r *http.Request, is format) (gateway.Publication, error) {
	ctx, cancel := f.h.patience(r)
	defer cancel()
	f.mu.Lock()
	defer f.mu.Unlock()
	switch {
	case f.ended:
		return nil, errEnded
	case f.pub != nil && f.format == is:
		f.users++
		return f.pub, nil
	case f.pub != nil && f.users > 0:
		return nil, busy(f.id)
	}
	f.swap(nil)
	clock := gateway.TransportClock()
	if is == formatMovie {
		clock = movieClock
	}
	pub, err := f.h.cfg.Gateway.Publish(ctx, f.permit, gateway.Publish{Name: f.id.StreamName(), Encoder: agent(r), Clock: clock})
	if err != nil {
		return nil, err
	}
	f.users++
	f.onAir.Store(true)
	f.pub, f.format, f.off = pub, is, make(chan struct{})
	if is == formatMovie {
		f.merge = newMerger(pub, f.h.metrics)
	}
	off := f.off
	f.h.running.Go(func() { // the gateway may end it by itself
		select {
		case <-pub.Done():
			f.end(pub.Err())
		case <-off:
		}
	})
	return pub, nil
}

func (f *feed) leave() {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.users--
}

// swap takes the publication off the air, if there is one. The caller holds f.mu.
func (f *feed) swap(cause error) {
	if f.pub == nil {
		return
	}
	close(f.off)
	f.onAir.Store(false)
	if f.merge != nil {
		_ = f.merge.flush()
	}
	f.pub.Close(cause)
	f.pub, f.merge = nil, nil
	clear(f.movies)
	f.sole, f.complete = false, false
	f.late, f.sections = &lateness{}, &sections{}
}

func busy(id live.FeedID) *gateway.Refusal {
	return &gateway.Refusal{Reason: gateway.ReasonBusy, Text: fmt.Sprintf("stream %s (%s) is already being published; stop the other encoder or use another index", id.StreamName(), id.Index)}
}

// agent is what the encoder calls itself.
func agent(r *http.Request) string {
	if a := r.UserAgent(); a != "" && a != "Lavf" {
		return a
	}
	return "HTTP"
}

// transport reads a body that is a transport stream. One without a path of its own is the
// whole feed: it ends with it.
func (f *feed) transport(r *http.Request, b *body, in *bufio.Reader, to target) (err error) {
	select {
	case f.turn <- struct{}{}:
		defer func() { <-f.turn }()
	case <-time.After(f.h.cfg.Turn):
		return busy(f.id)
	}
	pub, err := f.publication(r, formatTransport)
	if err != nil {
		return err
	}
	defer f.leave()
	head, _ := in.Peek(markSize)
	filter := &segment{Publication: pub, late: f.memory(), h: f.h, path: to.path}
	filter.anew = filter.late.anew(mark{to.path, crc32.ChecksumIEEE(head)})
	stream := gateway.NewTransport(filter)
	b.watch(pub, f.gone, f.limit(to), filter.begun.Load)
	_, err = io.Copy(writerOnly{stream}, in)
	if err == nil {
		err = stream.Flush(true) // a body that was cut off ends in an error
	}
	f.h.metrics.damaged.Add(float64(stream.Stats().Damaged))
	filter.late.over(err == nil)
	err = b.explain(err)
	var refusal *gateway.Refusal
	switch {
	case to.path == "":
		f.end(err)
	case errors.As(err, &refusal) && refusal.Reason == gateway.ReasonMedia:
		f.end(err)
	}
	return err
}

// text reads a playlist or manifest. The segments say it all but for one thing: that no more
// will come (RFC 8216 §4.3.3.4; ISO/IEC 23009-1 §5.3.1.2).
func (f *feed) text(in io.Reader) error {
	b, err := io.ReadAll(io.LimitReader(in, maxText+1))
	if err != nil {
		return err
	}
	if len(b) > maxText {
		return &gateway.Refusal{Reason: gateway.ReasonMedia, Text: fmt.Sprintf("a playlist or manifest may have %d MiB; have the packager list fewer segments", maxText>>20)}
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	f.complete = bytes.Contains(b, []byte("#EXT-X-ENDLIST")) || bytes.Contains(b, []byte("<MPD")) && bytes.Contains(b, []byte(`type="static"`))
	return nil
}

// limit is the time within which a body has to bring media. Packagers open a segment when it
// begins and write it when it ends.
func (f *feed) limit(to target) time.Duration {
	if to.path == "" {
		return f.h.cfg.Publish
	}
	return f.h.cfg.Idle
}

// markSize is how much of a segment's beginning is compared with another's.
const markSize = 4096

// merger is what the tracks of the movie that is on the air go through; nil when none is.
func (f *feed) merger() *merger {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.merge
}

func (f *feed) memory() *lateness {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.late
}

// writerOnly hides what else a writer can do.
type writerOnly struct{ io.Writer }

// movie reads a body that is fragmented MP4.
func (f *feed) movie(r *http.Request, b *body, in *bufio.Reader, to target) error {
	pub, err := f.publication(r, formatMovie)
	if err != nil {
		return err
	}
	defer f.leave()
	m := &movieReader{feed: f, merge: f.merger(), in: in, path: to.path}
	if m.merge == nil {
		return errEnded
	}
	b.watch(pub, f.gone, f.limit(to), m.begun.Load)
	defer m.stop()
	if err := m.start(); err != nil {
		return err
	}
	return m.read()
}
