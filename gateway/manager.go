package gateway

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"klive/infra/bus"
	"klive/infra/live"
)

// Config is what a Gateway is made of. API, Media, Feeds and Epochs have no default.
type Config struct {
	Log *slog.Logger
	// Metrics takes the gateway's metrics; may be nil.
	Metrics prometheus.Registerer
	API     API
	Media   Publisher
	// Feeds is the bucket [live.FeedsBucket], Clocks [live.ClocksBucket], Broadcasts
	// [live.BroadcastsBucket], Epochs [live.EpochsBucket]. Without Clocks, feeds on several
	// gateways align by their records alone.
	Feeds, Clocks, Broadcasts Bucket
	Epochs                    Counter
	// Subscribe brings the notices on [live.KickSubject]; nil when there are none.
	Subscribe Subscribe
	// Ready says why no encoder can be taken now; nil when one can. A nil func is always ready.
	Ready func() error
	// Used counts media that came in for a partner; may be nil.
	Used func(partner int, media time.Duration)
	// Room says why there is no room for another stream here; nil when there is. Encoders that
	// come back are let in all the same. A nil func always has room.
	Room func() error
	// PartnerStreams is how many streams a partner may have on the air in the deployment; 0 is any
	// number, and so is a nil func.
	PartnerStreams func(partner int) int
	// Address is this process's internal address, for feed records.
	Address string

	SegmentDuration time.Duration // 4 s
	PartDuration    time.Duration // 333 ms
	Resume          time.Duration // 180 s
	// Takeover is the silence after which another connect takes over a feed: 2 s.
	Takeover time.Duration
	// StandAfter is how long an encoder that is back within Resume waits for Kaltura before it
	// stands on the grant that it had: 5 s.
	StandAfter time.Duration
	// KeyframeTimeout ends a stream that has pictures but sends no keyframe: 60 s (row 58).
	KeyframeTimeout time.Duration
	// AcceptFor and RefuseFor are how long Kaltura's answers to an address hold without asking
	// again (row 33). Negative or zero is not at all.
	AcceptFor, RefuseFor time.Duration
	// EntryDigits are the digits that an entry id may begin with: "01" (row 24).
	EntryDigits string
	// MaxDVR is the longest DVR window, and that of entries that name none: 7200 s.
	MaxDVR time.Duration
}

func (c Config) withDefaults() Config {
	set := func(d *time.Duration, v time.Duration) {
		if *d == 0 {
			*d = v
		}
	}
	set(&c.SegmentDuration, 4*time.Second)
	set(&c.PartDuration, 333*time.Millisecond)
	set(&c.Resume, 180*time.Second)
	set(&c.Takeover, 2*time.Second)
	set(&c.StandAfter, 5*time.Second)
	set(&c.KeyframeTimeout, 60*time.Second)
	set(&c.MaxDVR, 7200*time.Second)
	if c.EntryDigits == "" {
		c.EntryDigits = "01"
	}
	if c.Log == nil {
		c.Log = slog.New(slog.DiscardHandler)
	}
	return c
}

func (c *Config) check() error {
	switch {
	case c.API == nil || c.Media == nil || c.Feeds == nil || c.Epochs == nil:
		return errors.New("gateway: config: API, Media, Feeds and Epochs must be set")
	case c.SegmentDuration < time.Second || c.SegmentDuration > 20*time.Second:
		return fmt.Errorf("gateway: config: segment duration %v; want 1s to 20s", c.SegmentDuration)
	case c.PartDuration < 50*time.Millisecond || c.PartDuration > c.SegmentDuration:
		return fmt.Errorf("gateway: config: part duration %v; want 50ms to the segment duration", c.PartDuration)
	}
	return nil
}

// Gateway admits encoders and holds their publications. All methods are safe for
// concurrent use.
type Gateway struct {
	cfg       Config
	admission admission
	metrics   *metrics
	told      Refusals
	unkick    func()
	// anchorMu is held while a clock anchors.
	anchorMu sync.Mutex

	mu       sync.Mutex // guards the fields below
	sessions map[live.FeedID]*Session
	opening  map[live.FeedID]chan struct{} // closed when the attempt is over
	closing  bool
}

// New returns a gateway that is ready for connects.
func New(cfg Config) (*Gateway, error) {
	cfg = cfg.withDefaults()
	if err := cfg.check(); err != nil {
		return nil, err
	}
	m, err := newMetrics(cfg.Metrics)
	if err != nil {
		return nil, err
	}
	g := &Gateway{
		cfg: cfg, metrics: m, unkick: func() {},
		admission: admission{
			api: cfg.API, resume: cfg.Resume, maxDVR: cfg.MaxDVR, standAfter: cfg.StandAfter,
			verdicts: newVerdicts(cfg.AcceptFor, cfg.RefuseFor),
		},
		sessions: map[live.FeedID]*Session{},
		opening:  map[live.FeedID]chan struct{}{},
	}
	if cfg.Subscribe != nil {
		if g.unkick, err = cfg.Subscribe(live.KickSubject("*"), g.kicked); err != nil {
			return nil, fmt.Errorf("gateway: listening for kicks: %w", err)
		}
	}
	return g, nil
}

// Connect asks Kaltura whether the encoder may publish the entry. The error is a *Refusal.
func (g *Gateway) Connect(ctx context.Context, c Connect) (*Permit, error) {
	log := g.cfg.Log.With("entry", c.Params.Entry, "protocol", c.Protocol, "peer", c.Peer)
	p, err := g.connect(ctx, c, log)
	if err != nil {
		return nil, g.refused(log, &c, "connect refused", err)
	}
	return p, nil
}

func (g *Gateway) connect(ctx context.Context, c Connect, log *slog.Logger) (*Permit, error) {
	if err := g.ready(); err != nil {
		return nil, err
	}
	if e := c.Params.Entry; e == "" || !strings.Contains(g.cfg.EntryDigits, e[:1]) {
		return nil, paramsRefusal("entry %s: this server takes entries whose id begins with one of the digits %s; check e=", e, g.cfg.EntryDigits)
	}
	feeds, err := g.feeds(ctx, c.Params.Entry)
	if err != nil {
		log.Warn("the feed records can't be read", "err", err)
	}
	if err := g.room(c, feeds); err != nil {
		return nil, err
	}
	p, err := g.admission.connect(ctx, c, feeds)
	if err != nil {
		return nil, err
	}
	if p.standing {
		log.Warn("connect stands on the grant of an earlier publish")
	}
	return p, nil
}

// ready refuses while the gateway can't take streams (row 19).
func (g *Gateway) ready() error {
	g.mu.Lock()
	closing := g.closing
	g.mu.Unlock()
	if closing {
		return shuttingDown()
	}
	if g.cfg.Ready != nil {
		if err := g.cfg.Ready(); errors.Is(err, ErrLeaving) {
			return shuttingDown()
		} else if err != nil {
			return &Refusal{Reason: ReasonNotReady, Text: "this server can't take a stream yet; try again in a moment", Err: err}
		}
	}
	return nil
}

// ErrLeaving is what Config.Ready says when this gateway is about to end: encoders should go to
// another one.
var ErrLeaving = errors.New("gateway: about to end")

func shuttingDown() *Refusal {
	return &Refusal{Reason: ReasonShutdown, Text: "this server is shutting down; connect again to reach another one"}
}

// Publish puts a stream of the permitted entry on the air. The error is a *Refusal.
func (g *Gateway) Publish(ctx context.Context, p *Permit, pub Publish) (Publication, error) {
	log := g.cfg.Log.With("entry", p.Entry(), "protocol", p.connect.Protocol, "peer", p.connect.Peer)
	s, err := g.publish(ctx, p, pub, log)
	if err != nil {
		return nil, g.refused(log.With("stream", shownName(pub.Name)), &p.connect, "publish refused", err)
	}
	return s, nil
}

func (g *Gateway) publish(ctx context.Context, p *Permit, pub Publish, log *slog.Logger) (*Session, error) {
	if err := g.ready(); err != nil {
		return nil, err
	}
	id, err := feedID(p, pub)
	if err != nil {
		return nil, err
	}
	grant, err := g.admission.ladder(ctx, p, id)
	if err != nil {
		return nil, err
	}
	if pub.Suits != nil {
		if err := pub.Suits(grant.Ladder); err != nil {
			return nil, err
		}
	}
	if err := g.partnerRoom(ctx, grant.PartnerID, id); err != nil {
		return nil, err
	}
	release, err := g.reserve(ctx, id)
	if err != nil {
		return nil, err
	}
	defer release()
	revision, err := g.vacate(ctx, id)
	if err != nil {
		return nil, err
	}
	return g.open(ctx, p, pub, opening{id: id, grant: grant, revision: revision, log: log})
}

// feedID checks a stream name against the permitted entry (rows 23 to 27).
func feedID(p *Permit, pub Publish) (live.FeedID, error) {
	if c := pub.Clock; c.Rate == 0 || c.Rate > 1e9 || c.Bits < 8 || c.Bits > 64 {
		return live.FeedID{}, &Refusal{Reason: ReasonMedia, Text: fmt.Sprintf("the stream's clock (%d Hz, %d bits) can't be used", c.Rate, c.Bits)}
	}
	entry, suffix, err := live.ParseStreamName(pub.Name)
	if err != nil {
		return live.FeedID{}, &Refusal{Reason: ReasonParams,
			Text: fmt.Sprintf("stream name %q: %v", shownName(pub.Name), live.ErrStreamName)}
	}
	if entry != p.Entry() {
		return live.FeedID{}, &Refusal{Reason: ReasonParams,
			Text: fmt.Sprintf("stream name %s belongs to entry %s, but the connection is for entry %s", pub.Name, entry, p.Entry())}
	}
	return live.FeedID{Entry: entry, Index: p.connect.Params.Index, Suffix: suffix}, nil
}

// feeds reads the records of an entry's feeds. Those that can't be read are left out.
func (g *Gateway) feeds(ctx context.Context, entry string) ([]live.FeedRecord, error) {
	return g.matching(ctx, entry+".*.*")
}

// matching reads the feed records whose keys match; all with an empty pattern.
func (g *Gateway) matching(ctx context.Context, pattern string) ([]live.FeedRecord, error) {
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	kvs, err := g.cfg.Feeds.List(ctx, pattern)
	if err != nil {
		return nil, err
	}
	var feeds []live.FeedRecord
	for _, kv := range kvs {
		if r, err := live.UnmarshalFeedRecord(kv.Value); err == nil {
			feeds = append(feeds, r)
		}
	}
	return feeds, nil
}

// broadcast reads the entry's current broadcast; nil when there is none.
func (g *Gateway) broadcast(ctx context.Context, entry string) (*live.BroadcastRecord, error) {
	if g.cfg.Broadcasts == nil {
		return nil, nil
	}
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	kv, err := g.cfg.Broadcasts.Get(ctx, entry)
	if errors.Is(err, bus.ErrNotFound) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	r, err := live.UnmarshalBroadcastRecord(kv.Value)
	if err != nil {
		return nil, err
	}
	return &r, nil
}

// kicked hears that an entry's publishers are to be dropped.
func (g *Gateway) kicked(subject string, data []byte) {
	entry := subject[strings.LastIndexByte(subject, '.')+1:]
	g.Kick(entry, live.ParseKick(data).Reason)
}

// Kick ends every publication of an entry and returns how many there were. The reason is
// for the encoder's operator.
func (g *Gateway) Kick(entry, reason string) int {
	g.admission.verdicts.forget(entry) // what Kaltura said before holds no more
	n := 0
	for _, s := range g.sessionList() {
		if s.feed.Entry == entry {
			s.kick(reason)
			n++
		}
	}
	return n
}

// KickFeed ends the publication of one feed and reports whether it was on the air here. The
// reason is for the encoder's operator.
func (g *Gateway) KickFeed(id live.FeedID, reason string) bool {
	s := g.session(id)
	if s == nil {
		return false
	}
	s.kick(reason)
	return true
}

// Sessions returns the records of the feeds that are on the air here, by name.
func (g *Gateway) Sessions() []live.FeedRecord {
	list := g.sessionList()
	records := make([]live.FeedRecord, len(list))
	for i, s := range list {
		records[i] = s.last()
	}
	slices.SortFunc(records, func(a, b live.FeedRecord) int { return strings.Compare(a.Feed.String(), b.Feed.String()) })
	return records
}

func (g *Gateway) sessionList() []*Session {
	g.mu.Lock()
	defer g.mu.Unlock()
	return slices.Collect(maps.Values(g.sessions))
}

// Close ends every publication in order and returns when their last parts are on the bus,
// or when ctx ends.
func (g *Gateway) Close(ctx context.Context) error {
	g.mu.Lock()
	g.closing = true
	g.mu.Unlock()
	g.unkick()
	list := g.sessionList()
	for _, s := range list {
		s.end(shuttingDown())
	}
	for _, s := range list {
		select {
		case <-s.finished:
		case <-ctx.Done():
			return fmt.Errorf("gateway: closing feed %s: %w", s.feed, ctx.Err())
		}
	}
	return nil
}
