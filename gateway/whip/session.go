package whip

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"runtime/debug"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/pion/rtcp"
	"github.com/pion/webrtc/v4"

	"klive/gateway"
	"klive/infra/live"
	"klive/infra/media"
)

const (
	// tick is how often a session looks after itself.
	tick = 100 * time.Millisecond
	// statsEvery is how often it looks at its figures.
	statsEvery = time.Second
	// maxRTCP holds the largest packet of reports.
	maxRTCP = 1500
)

var errLeft = errors.New("the encoder's connection ended")

// session is one peer connection and its publish.
type session struct {
	server *Server
	id     string
	to     gateway.HTTPAddress
	agent  string
	peer   string
	log    *slog.Logger
	offer  *offer

	pc     *webrtc.PeerConnection
	permit *gateway.Permit
	pub    gateway.Publication
	layers *layers // nil where the pictures come in one size
	lines  *lines
	start  start

	done    chan struct{} // closed when it is to end
	gone    chan struct{} // closed when it has ended
	reading sync.WaitGroup
	rtt     atomic.Int64 // ns; 0 while it is not known

	patching   sync.Mutex // guards the field below and the offer's text, one PATCH at a time
	candidates int        // of the peer, since ICE began

	mu     sync.Mutex // guards the fields below
	tag    string     // ETag
	ending bool
	cause  error  // nil when the encoder ended in order
	ended  string // what ended it, for metrics
	tracks []*track
	link   live.LinkStats // of what the session's own publication has
}

// connect makes the peer connection and returns the answer.
func (s *session) connect(ctx context.Context) (string, error) {
	var err error
	if s.pc, err = s.server.api.NewPeerConnection(webrtc.Configuration{BundlePolicy: webrtc.BundlePolicyMaxBundle}); err != nil {
		return "", fmt.Errorf("making a peer connection: %w", err)
	}
	s.pc.OnTrack(s.onTrack)
	s.pc.OnConnectionStateChange(s.onState)
	if err := s.pc.SetRemoteDescription(webrtc.SessionDescription{Type: webrtc.SDPTypeOffer, SDP: s.offer.text}); err != nil {
		return "", refuse("the offer can't be used: %.200s", err.Error())
	}
	return s.answer(ctx)
}

// answer makes the answer to the offer that is set, with all of this side's candidates.
func (s *session) answer(ctx context.Context) (string, error) {
	a, err := s.pc.CreateAnswer(nil)
	if err != nil {
		return "", refuse("the offer can't be answered: %.200s", err.Error())
	}
	gathered := webrtc.GatheringCompletePromise(s.pc)
	if err := s.pc.SetLocalDescription(a); err != nil {
		return "", fmt.Errorf("setting the answer: %w", err)
	}
	select {
	case <-gathered:
	case <-ctx.Done():
		return "", fmt.Errorf("gathering candidates: %w", ctx.Err())
	}
	return s.offer.answer(s.pc.LocalDescription().SDP)
}

// publish puts the session's stream on the air.
func (s *session) publish(ctx context.Context, permit *gateway.Permit) error {
	pub, err := s.server.cfg.Gateway.Publish(ctx, permit, gateway.Publish{
		Name: s.to.ID.StreamName(), Encoder: s.agent, Clock: gateway.SourceClock{Rate: ticks, Bits: 64}, Link: func() live.LinkStats { return s.figures(&s.link) }, Suits: s.offer.suits,
	})
	if err != nil {
		return err
	}
	kinds := s.offer.kinds()
	pub.Expect(kinds...)
	s.start.waiting.Store(len(kinds) > 1)
	s.mu.Lock()
	defer s.mu.Unlock()
	s.pub, s.permit = pub, permit // before any track comes: the encoder has no answer yet
	if s.offer.layers != nil {
		s.layers = newLayers(s, s.offer.layers)
	}
	return nil
}

// publishSlot puts a stream of layers on the air, under a suffix behind the session's.
func (s *session) publishSlot(to *slot) (gateway.Publication, error) {
	ctx, cancel := context.WithTimeout(context.Background(), s.server.cfg.Admission)
	defer cancel()
	s.reading.Go(func() {
		select {
		case <-s.done:
			cancel()
		case <-ctx.Done():
		}
	})
	id := s.to.ID
	id.Suffix += to.index
	pub, err := s.server.cfg.Gateway.Publish(ctx, s.permit, gateway.Publish{
		Name: id.StreamName(), Encoder: s.agent, Clock: gateway.SourceClock{Rate: ticks, Bits: 64}, Suits: s.offer.suits, Joins: true,
		Link: func() live.LinkStats { return s.figures(&to.link) },
	})
	if err != nil {
		return nil, err
	}
	pub.Expect(media.Video)
	return pub, nil
}

// begin puts the session on its own feet.
func (s *session) begin() {
	go func() {
		defer s.server.running.Done()
		defer close(s.gone)
		s.watch()
		s.finish()
	}()
}

// watch looks after the session until it is to end.
func (s *session) watch() {
	t := time.NewTicker(tick)
	defer t.Stop()
	begun := time.Now()
	looked := begun
	for {
		select {
		case <-s.done:
			return
		case <-s.pub.Done():
			s.end(endGateway, s.pub.Err())
			return
		case now := <-t.C:
			if now.Sub(looked) >= statsEvery {
				looked = now
				s.look()
			}
			s.keepKeyframes(now)
			s.watchSilence(begun, now)
			if err := s.start.expire(s.lines, now); err != nil {
				s.fail(err)
			}
		}
	}
}

// watchSilence ends a session that brings nothing.
func (s *session) watchSilence(begun, now time.Time) {
	last, started := begun, false
	for _, t := range s.trackList() {
		started = started || t.begun.Load()
		if heard := time.Unix(0, t.heard.Load()); heard.After(last) {
			last = heard
		}
	}
	cfg := &s.server.cfg
	switch {
	case !started && now.Sub(begun) > cfg.Publish:
		s.end(endTimeout, refuseOffer("no picture and no sound came within %v; %s", cfg.Publish, s.obstacle()))
	case started && now.Sub(last) > cfg.Idle:
		s.end(endTimeout, refuseOffer("nothing came for %v", cfg.Idle))
	}
}

// obstacle says what a session waits for.
func (s *session) obstacle() string {
	if s.pc.ICEConnectionState() == webrtc.ICEConnectionStateNew || s.pc.ICEConnectionState() == webrtc.ICEConnectionStateChecking {
		return "no connection to the encoder was found: the UDP or TCP port of webrtc.listen must be reachable under the answer's addresses (webrtc.publicAddress)"
	}
	if len(s.trackList()) == 0 {
		return "the connection carries no media"
	}
	return "the stream needs a keyframe with parameter sets"
}

// onState hears of the connection as a whole.
func (s *session) onState(state webrtc.PeerConnectionState) {
	s.log.Debug("WHIP connection", "state", state)
	switch state {
	case webrtc.PeerConnectionStateClosed:
		s.end(endLeft, nil) // by DTLS: the encoder said goodbye
	case webrtc.PeerConnectionStateFailed:
		s.end(endTimeout, errLeft)
	}
}

// onTrack reads a track to its end.
func (s *session) onTrack(in *webrtc.TrackRemote, receiver *webrtc.RTPReceiver) {
	t, ok := s.addTrack(in)
	if !ok {
		return
	}
	go s.guarded(func() error { return s.reports(receiver, t) })
	go s.guarded(t.read)
	s.wantKeyframe(t)
}

// addTrack makes the reader of a track; its two goroutines are counted in.
func (s *session) addTrack(in *webrtc.TrackRemote) (*track, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	sounds := in.Kind() == webrtc.RTPCodecTypeAudio
	t := &track{s: s, in: in, ssrc: uint32(in.SSRC()), rid: in.RID(), id: media.VideoTrack, to: s}
	if s.ending || !s.expects(sounds, t.rid) {
		return nil, false
	}
	t.line = s.lines.add(in.Codec().ClockRate, sounds)
	if sounds {
		t.id = media.FirstAudioTrack
		t.take = &sound{t: t}
	} else {
		t.take = newDepacketizer(t, s.offer.video)
		if s.layers != nil {
			t.layer = s.layers.add(t)
			t.to = t.layer
		}
	}
	t.order = reorder{latency: s.server.cfg.Latency, deliver: t.delivered}
	s.tracks = append(s.tracks, t)
	s.reading.Add(2)
	return t, true
}

// expects reports whether a track is one that the offer announced and that has not come yet. The
// caller holds s.mu.
func (s *session) expects(sounds bool, rid string) bool {
	if !sounds && s.layers != nil && !slices.Contains(s.layers.names, rid) {
		return false
	}
	return !slices.ContainsFunc(s.tracks, func(t *track) bool { return (t.id != media.VideoTrack) == sounds && t.rid == rid })
}

// guarded runs one of the session's readers: a fault of it costs the session and no more.
func (s *session) guarded(read func() error) {
	defer s.reading.Done()
	defer func() {
		if p := recover(); p != nil {
			s.server.metrics.panics.Inc()
			s.log.Error("fault while reading a WHIP stream", "panic", p, "stack", string(debug.Stack()))
			s.end(endFault, errors.New("fault in the server"))
		}
	}()
	if err := read(); err != nil {
		s.end(endFault, err)
	}
}

// reports reads the sender's reports of a track.
func (s *session) reports(receiver *webrtc.RTPReceiver, t *track) error {
	buf := make([]byte, maxRTCP)
	read := func() (n int, err error) {
		if t.rid != "" {
			n, _, err = receiver.ReadSimulcast(buf, t.rid)
			return n, err
		}
		n, _, err = receiver.Read(buf)
		return n, err
	}
	for {
		n, err := read()
		if err != nil {
			return t.end(err)
		}
		list, err := rtcp.Unmarshal(buf[:n])
		if err != nil {
			s.server.metrics.malformed.Inc()
			continue
		}
		for _, p := range list {
			if r, ok := p.(*rtcp.SenderReport); ok && r.SSRC == t.ssrc {
				t.line.heard(r, time.Now())
			}
		}
	}
}

func (s *session) trackList() []*track {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.tracks[:len(s.tracks):len(s.tracks)]
}

// setTrack and write reach the publication.
func (s *session) setTrack(t media.Track) error { return s.pub.SetTrack(t) }
func (s *session) write(u *handed) error        { return s.pub.Write(u.accessUnit()) }
func (s *session) fail(err error)               { s.end(endMedia, err) }
func (s *session) failed() bool {
	select {
	case <-s.done:
		return true
	default:
		return false
	}
}

// end has the session end. It does not wait; the first cause counts.
func (s *session) end(what string, cause error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.ending {
		return
	}
	s.ending, s.cause, s.ended = true, cause, what
	close(s.done)
}

// finish takes the session down.
func (s *session) finish() {
	s.look()
	_ = s.pc.GracefulClose()
	s.reading.Wait()
	if err := s.start.end(s.lines); err != nil {
		s.log.Debug("the end of a WHIP stream is lost", "error", err)
	}
	s.mu.Lock()
	cause, what := s.cause, s.ended
	s.mu.Unlock()
	if ended := s.pub.Err(); ended != nil {
		cause, what = ended, endGateway
	}
	var r *gateway.Refusal
	if errors.As(cause, &r) && !r.Told && what != endGateway {
		level, repeats := s.server.told.Loudness(string(r.Reason), s.peer, s.permit.Entry()+" ended "+r.Text)
		s.log.Log(context.Background(), level, "WHIP publication ended", append([]any{"reason", r.Reason, "text", r.Text}, repeats...)...)
	}
	s.server.metrics.ended.WithLabelValues(what).Inc()
	s.pub.Close(cause)
	if s.layers != nil {
		s.layers.close(cause)
	}
	s.server.forget(s)
}
