package gateway

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"klive/infra/bus"
	"klive/infra/live"
	"klive/infra/media"
)

// callTimeout bounds one call to the control plane.
const callTimeout = 3 * time.Second

// errEnded is what Write returns after the publication was closed by its own protocol.
var errEnded = errors.New("gateway: the publication has ended")

// Session is one publish, open to close. It implements [Publication].
//
// A goroutine of its own (run) keeps the feed record fresh and ends the session; another
// one carries parts to the media plane. Both are gone when finished is closed.
type Session struct {
	gw      *Gateway
	log     *slog.Logger
	feed    live.Feed
	partner int                   // whose it is
	link    func() live.LinkStats // nil where the protocol has none
	out     *outbox

	done     chan struct{} // closed when the gateway ends the session
	stop     chan struct{} // closed when the session is to end, for whatever reason
	touch    chan struct{} // asks for the record to be written now
	finished chan struct{} // closed when everything is done
	stopOnce sync.Once

	mu      sync.Mutex // guards the fields below
	cut     *cutter
	meter   meter
	health  health
	counted time.Duration // of what it brought, as its partner's
	// keyframe is when the last keyframe of a picture came, or its track was announced; zero
	// without pictures.
	keyframe time.Time
	picture  time.Time // when the last picture came; zero before it
	ended    bool
	target   time.Duration
	logged   [dropCauses]uint64

	stateMu sync.Mutex // guards the fields below
	clock   live.ClockRecord
	err     error // why the gateway ended it
	record  live.FeedRecord

	revision uint64          // of the record in the bucket; run's own
	lost     bool            // the record belongs to another feed now; run's own
	told     live.FeedRecord // what was written last, zero when that failed; run's own
	forced   forcedCuts      // what was said of cuts without a keyframe; run's own
	late     uint64          // the part that was called late in the log; the outbox's own
}

// SetTrack announces a track, or its new parameters, for the access units that follow.
func (s *Session) SetTrack(t media.Track) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.ended {
		return s.why()
	}
	if err := s.cut.setTrack(t); err != nil {
		return err
	}
	s.meter.track(t)
	if _, picture := t.Params.(media.VideoParams); picture && s.keyframe.IsZero() {
		s.keyframe = time.Now()
	}
	return nil
}

// Expect says of which kinds the tracks are that the encoder has announced.
func (s *Session) Expect(kinds ...media.Kind) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.cut.expect(kinds...)
}

// Write takes one access unit. It waits for the bus only when the clock has to anchor.
func (s *Session) Write(au AccessUnit) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.ended {
		return s.why()
	}
	came := au.Came
	if came.IsZero() {
		came = time.Now()
	}
	if err := s.cut.write(&au, media.At(came)); err != nil {
		return err
	}
	if t := s.cut.track(au.Track); t != nil {
		s.meter.add(t.lane.kind, &au)
		if t.lane.kind == media.Video {
			s.notePicture(au.Key, time.Now())
		}
	}
	record := s.cut.clock.record()
	s.health.arrive(record.LastMedia, time.Now())
	s.stateMu.Lock()
	s.clock = record
	s.stateMu.Unlock()
	return nil
}

// Data takes timed data that goes along with the media.
func (s *Session) Data(d Datum) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.ended {
		return s.why()
	}
	s.cut.data(&d)
	return nil
}

// Done is closed when the gateway ends the publication by itself.
func (s *Session) Done() <-chan struct{} { return s.done }

// Err is why the gateway ended the publication; nil while it has not.
func (s *Session) Err() error {
	s.stateMu.Lock()
	defer s.stateMu.Unlock()
	return s.err
}

// Close ends the publication and returns when its last part is on the bus, or has been
// given up.
func (s *Session) Close(cause error) {
	s.stopOnce.Do(func() {
		if cause != nil {
			s.log.Info("the encoder is gone", "cause", cause)
		} else {
			s.log.Info("the encoder has stopped")
		}
		close(s.stop)
	})
	<-s.finished
}

// end ends the session by the gateway's own will. It does not wait.
func (s *Session) end(r *Refusal) {
	s.stopOnce.Do(func() {
		s.stateMu.Lock()
		s.err = r
		s.stateMu.Unlock()
		s.log.Warn("publication ended", "reason", r.Reason, "text", r.Text)
		close(s.done)
		close(s.stop)
	})
}

// kick ends the session by the will of Kaltura or of an operator.
func (s *Session) kick(reason string) {
	s.end(&Refusal{Reason: ReasonKicked, Text: "this stream was ended by the service: " + Printable(reason, 200)})
}

func (s *Session) why() error {
	if err := s.Err(); err != nil {
		return err
	}
	return errEnded
}

// run owns the session's life.
func (s *Session) run() {
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	published := make(chan struct{})
	go func() {
		defer close(published)
		s.out.run(ctx)
	}()
	look := time.NewTimer(untilLook(time.Now()))
	defer look.Stop()
	for running := true; running; {
		select {
		case <-look.C:
			s.beat(false)
			look.Reset(untilLook(time.Now()))
		case <-s.touch:
			s.beat(true)
		case <-s.stop:
			running = false
		}
	}
	s.mu.Lock()
	s.ended = true
	s.cut.flush()
	s.mu.Unlock()
	s.out.close()
	drained := time.NewTimer(outboxTime)
	defer drained.Stop()
	select {
	case <-published:
	case <-drained.C:
		s.log.Error("the bus took too long: the feed's last parts are lost")
		cancel()
		<-published
	}
	s.stateMu.Lock()
	s.record.Closed = time.Now()
	s.stateMu.Unlock()
	s.beat(true)
	s.gw.remove(s)
	close(s.finished)
}

// untilLook is the time to the next look at the feed. All feeds of a process are looked at in the
// same instants, so that one pass through the scheduler and the bus serves them all.
func untilLook(now time.Time) time.Duration {
	return now.Truncate(live.FeedLook).Add(live.FeedLook).Sub(now)
}

// emit takes a part from the cutter.
func (s *Session) emit(p *live.Part) { s.out.push(p) }

// decided hears the target duration from the cutter.
func (s *Session) decided(target time.Duration) {
	s.target = target
	s.refresh()
}

// refresh has the record written without waiting for the next look.
func (s *Session) refresh() {
	select {
	case s.touch <- struct{}{}:
	default:
	}
}

// publishPart puts one part on the media plane.
func (s *Session) publishPart(ctx context.Context, p *live.Part) error {
	seq, err := s.gw.cfg.Media.Publish(ctx, s.feed.Subject(), p.ID(), p)
	if err != nil {
		if hopeless(err) {
			s.log.Error("the bus can never take this part; its segment is dropped", "part", p.Seq, "bytes", p.Size(), "err", err)
		} else if ctx.Err() == nil && s.late != p.Seq {
			s.late = p.Seq
			s.log.Warn("a part is not on the bus yet; trying on", "part", p.Seq, "err", err)
		}
		return err
	}
	if p.Seq == 1 {
		s.stateMu.Lock()
		s.record.FirstSeq = seq
		s.stateMu.Unlock()
		s.refresh()
	}
	return nil
}

// snapshot is the feed record as it is now.
func (s *Session) snapshot(now time.Time) live.FeedRecord {
	var link *live.LinkStats
	if s.link != nil {
		l := s.link()
		link = &l
	}
	s.mu.Lock()
	target := s.target
	stats := s.meter.beat(now, s.health.brought, s.health.due)
	score, due := s.health.score(now, stats.Frames, s.lostUnits(link)), s.health.due
	s.mu.Unlock()
	stats.Link, stats.Health = link, &score
	s.stateMu.Lock()
	defer s.stateMu.Unlock()
	s.record.Beat, s.record.Clock, s.record.Stats, s.record.Target, s.record.Due = now, s.clock, stats, target, due
	return s.record
}

// last returns the record as of the last look, with the clock as it is.
func (s *Session) last() live.FeedRecord {
	s.stateMu.Lock()
	defer s.stateMu.Unlock()
	r := s.record
	r.Clock = s.clock
	return r
}

// beat logs what was dropped and writes the feed record when it is due, when it says something
// new, and when it must. When another feed has taken the record, the session ends.
func (s *Session) beat(must bool) {
	s.reportDrops()
	s.watchKeyframes()
	if s.lost {
		return
	}
	s.count()
	record := s.snapshot(time.Now())
	// A look a little before the beat writes, or the next one would be late.
	if due := record.Beat.Sub(s.told.Beat) >= live.FeedBeat-live.FeedLook*9/10; !must && !due && !record.Tells(&s.told) {
		return
	}
	ctx, cancel := context.WithTimeout(context.Background(), callTimeout)
	defer cancel()
	err := s.write(ctx, record)
	var taken *takenError
	switch {
	case errors.As(err, &taken):
		s.lost = true
		s.end(&Refusal{Reason: ReasonTakenOver, Text: fmt.Sprintf("stream %s is published by another connection now", s.feed.StreamName()), Err: err})
	case err != nil:
		s.log.Warn("the feed record was not written; going on", "err", err)
		s.told = live.FeedRecord{} // the next look tries again
	default:
		s.told = record
	}
}

// count counts the media that came since the last time as the partner's.
func (s *Session) count() {
	s.mu.Lock()
	news := s.health.brought - s.counted
	s.counted = s.health.brought
	s.mu.Unlock()
	if news > 0 && s.gw.cfg.Used != nil {
		s.gw.cfg.Used(s.partner, news)
	}
}

// muted is a time without pictures after which those that come begin anew: a camera that was
// turned off.
const muted = 5 * time.Second

// notePicture keeps when keyframes and pictures came. The caller holds s.mu.
func (s *Session) notePicture(key bool, now time.Time) {
	if key || !s.picture.IsZero() && now.Sub(s.picture) > muted {
		s.keyframe = now
	}
	s.picture = now
}

// watchKeyframes ends a stream that sends pictures without keyframes, or none any more: nothing
// of it could be played (row 58).
func (s *Session) watchKeyframes() {
	limit := s.gw.cfg.KeyframeTimeout
	s.mu.Lock()
	late := !s.keyframe.IsZero() && time.Since(s.keyframe) >= limit && (s.picture.IsZero() || time.Since(s.picture) <= muted)
	s.mu.Unlock()
	if late {
		s.end(&Refusal{Reason: ReasonMedia, Text: fmt.Sprintf("stream %s has sent no keyframe for %v; set the encoder's keyframe interval to 2 s and publish again", s.feed.StreamName(), limit)})
	}
}

// takenError says that a newer feed holds the record.
type takenError struct{ by live.Feed }

func (e *takenError) Error() string {
	return "gateway: the stream name was taken over by feed " + e.by.String()
}

// write writes the record on condition that it is still this feed's. An earlier write whose
// answer was lost is no conflict.
func (s *Session) write(ctx context.Context, record live.FeedRecord) error {
	value, err := record.Marshal()
	if err != nil {
		return err
	}
	key := s.feed.FeedID.String()
	for range 3 {
		if s.revision == 0 {
			s.revision, err = s.gw.cfg.Feeds.Create(ctx, key, value, 0)
		} else {
			var next uint64
			if next, err = s.gw.cfg.Feeds.Update(ctx, key, value, s.revision); err == nil {
				s.revision = next
			}
		}
		if !errors.Is(err, bus.ErrConflict) {
			return err
		}
		s.revision = 0
		kv, gerr := s.gw.cfg.Feeds.Get(ctx, key)
		switch {
		case errors.Is(gerr, bus.ErrNotFound):
			continue
		case gerr != nil:
			return gerr
		}
		there, uerr := live.UnmarshalFeedRecord(kv.Value)
		if uerr == nil && there.Feed.Epoch > s.feed.Epoch {
			return &takenError{there.Feed}
		}
		s.revision = kv.Revision
	}
	return err
}

// reportDrops logs and counts the frames that were left out since the last report, and tells
// of segments that were cut without a keyframe. Sound before the first picture is counted alone:
// encoders with B-frames begin with some at each connect.
func (s *Session) reportDrops() {
	s.mu.Lock()
	now := s.cut.seg.dropped
	before := s.logged
	s.logged = now
	forced, target := s.cut.seg.forced, s.cut.seg.limit()
	s.mu.Unlock()
	s.forced.report(s.log, forced, target, time.Now())
	for cause := range dropCauses {
		if n := now[cause] - before[cause]; n > 0 {
			s.gw.metrics.dropped(cause, n)
			if cause == dropEarlySound {
				continue
			}
			s.log.Info("frames left out", "cause", cause.String(), "frames", n)
		}
	}
}

// partsLost hears from the outbox that parts were given up.
func (s *Session) partsLost(n int) {
	s.gw.metrics.lost(n)
	s.log.Error("parts were dropped that the bus did not take", "parts", n)
}
