package check

import (
	"context"
	"errors"
	"fmt"
	"math"
	"net"
	"sync"
	"time"

	"klive/infra/media"
	"klive/infra/publisher"
)

// encoder plays one encoder of a scenario: it sends its clip's frames when they are due
// and does what the events say in between.
type encoder struct {
	spec   EncoderSpec
	events []Event
	dial   func(context.Context, string, string) (net.Conn, error)
	url    string

	video, audio *source
	pub          *publisher.Publisher
	sender       *publisher.Sender
	begin        time.Time // the moment of encoder time 0
	offset       int64     // timestamp minus encoder time in ms
	run          int       // of the source clock
	back         time.Duration
	silentTill   time.Duration
	waitKey      bool // nothing goes out before the next keyframe
	audioOn      bool
	delays       map[media.Kind]time.Duration
	held         []publisher.Unit

	mu       sync.Mutex // guards the fields below
	sent     []Sent
	refusals []error
	firstKey time.Time
}

// source is one track that the encoder sends.
type source struct {
	track  *publisher.Track
	cursor *publisher.Cursor
	base   time.Duration // encoder time of the cursor's time 0
	count  uint64        // number of the next unit
	next   publisher.Unit
	resize *publisher.Track // takes over at the next keyframe
}

const never = time.Duration(math.MaxInt64)

func newEncoder(spec EncoderSpec, events []Event, sys *System) (*encoder, error) {
	clip, err := publisher.NewSynthetic(spec.synthetic())
	if err != nil {
		return nil, err
	}
	e := &encoder{
		spec: spec, dial: sys.DialRTMP(spec.Node), back: spec.Start, audioOn: !spec.AudioLate,
		delays: map[media.Kind]time.Duration{},
		url: fmt.Sprintf("rtmp://klive.test/kLive/?p=102&e=%s&i=%d&t=%s/%s_%d",
			spec.Entry, spec.Index, spec.Token, spec.Entry, spec.Suffix),
	}
	if spec.StartNever {
		e.back = never
	}
	for _, ev := range events {
		if ev.Encoder == spec.Name {
			e.events = append(e.events, ev)
		}
	}
	e.video, e.audio = newSource(clip.Video), newSource(clip.Audio)
	return e, nil
}

func (s *EncoderSpec) synthetic() publisher.Synthetic {
	return publisher.Synthetic{
		Width: s.Width, Height: s.Height, FPSNum: s.FPSNum, FPSDen: s.FPSDen, GOP: s.GOP, BFrames: s.BFrames,
		Bitrate: s.Bitrate, VariableRate: s.VariableRate, RepeatSets: s.RepeatSets,
		SampleRate: uint32(s.SampleRate), Channels: s.Channels, NoVideo: s.NoVideo, NoAudio: s.NoAudio,
	}
}

func newSource(t *publisher.Track) *source {
	if t == nil {
		return nil
	}
	s := &source{track: t}
	s.restart(0)
	return s
}

func (s *source) restart(base time.Duration) {
	c := &publisher.Clip{Video: s.track}
	cursor, err := c.Cursor()
	if err != nil {
		panic(err) // the clip was checked when it was made
	}
	s.cursor, s.base = cursor, base
	s.load()
}

// load fetches the next unit and puts it on the encoder's clock.
func (s *source) load() {
	s.next = s.cursor.Next()
	s.next.DTS += s.base
	s.next.PTS += s.base
	s.next.Number = s.count
}

// pop returns the unit that is due and loads the one behind it.
func (s *source) pop() publisher.Unit {
	if s.resize != nil && s.next.Key {
		at := s.next.DTS
		s.track, s.resize = s.resize, nil
		s.restart(at)
	}
	u := s.next
	s.count++
	s.load()
	return u
}

// play runs the encoder until the context ends.
func (e *encoder) play(ctx context.Context, begin time.Time) error {
	e.begin = begin
	defer func() {
		if e.pub != nil {
			e.pub.Abort()
		}
	}()
	for {
		at, do := e.step()
		if err := e.until(ctx, at); err != nil {
			return nil
		}
		if err := do(ctx); err != nil {
			return fmt.Errorf("encoder %s at %v: %w", e.spec.Name, at, err)
		}
	}
}

func (e *encoder) until(ctx context.Context, at time.Duration) error {
	timer := time.NewTimer(time.Until(e.begin.Add(at)))
	defer timer.Stop()
	select {
	case <-timer.C:
		return ctx.Err()
	case <-ctx.Done():
		return ctx.Err()
	}
}

// step finds what comes next and when: an event, a connect, a held unit or a unit of a
// track. At the same instant they come in this order.
func (e *encoder) step() (time.Duration, func(context.Context) error) {
	at, do := never, func(context.Context) error { return nil }
	earlier := func(t time.Duration, f func(context.Context) error) {
		if t < at {
			at, do = t, f
		}
	}
	if len(e.events) > 0 {
		earlier(e.events[0].At, e.event)
	}
	if e.pub == nil {
		earlier(e.back, e.connect)
	}
	if len(e.held) > 0 {
		u := e.held[0]
		earlier(u.DTS+e.delays[u.Kind], func(context.Context) error {
			e.held = e.held[1:]
			return e.put(u)
		})
	}
	for _, s := range []*source{e.video, e.audio} {
		if s != nil {
			earlier(s.next.DTS, func(context.Context) error { return e.unit(s) })
		}
	}
	if at == never {
		at = maxRun
	}
	return at, do
}

// unit takes the next unit of a track: it is sent, held back or skipped.
func (e *encoder) unit(s *source) error {
	resized := s.resize != nil && s.next.Key
	u := s.pop()
	if e.pub == nil || u.DTS < e.silentTill || u.Kind == media.Audio && !e.audioOn {
		return nil
	}
	if e.waitKey {
		if e.video != nil && !(u.Kind == media.Video && u.Key) {
			return nil
		}
		if err := e.announce(u.DTS); err != nil {
			return e.lost(err)
		}
	}
	if resized && s == e.video {
		if err := e.sender.Config(s.track, e.timestamp(u.DTS)); err != nil {
			return e.lost(err)
		}
	}
	if e.delays[u.Kind] > 0 {
		e.held = append(e.held, u)
		return nil
	}
	return e.put(u)
}

func (e *encoder) timestamp(at time.Duration) uint32 { return uint32(publisher.Millis(at) + e.offset) }

// announce begins a connection's media: the clock starts anew with the first unit.
func (e *encoder) announce(at time.Duration) error {
	e.waitKey = false
	e.offset = int64(e.spec.Clock) - publisher.Millis(at)
	if wrap, ok := e.wrapAt(); ok {
		e.offset = 1<<32 - publisher.Millis(wrap)
	}
	e.run++
	clip := &publisher.Clip{}
	if e.video != nil {
		clip.Video = e.video.track
	}
	if e.audio != nil && e.audioOn {
		clip.Audio = e.audio.track
	}
	return e.sender.Begin(clip, e.timestamp(at))
}

// wrapAt is when the clock is to pass zero, if an event says so.
func (e *encoder) wrapAt() (time.Duration, bool) {
	for _, ev := range e.events {
		if ev.Verb == "wrap" {
			return ev.At, true
		}
	}
	return 0, false
}

// put sends a unit and notes it.
func (e *encoder) put(u publisher.Unit) error {
	if e.pub == nil {
		return nil
	}
	if err := e.sender.Send(u, e.offset); err != nil {
		return e.lost(err)
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	e.sent = append(e.sent, Sent{Kind: u.Kind, Number: u.Number, DTS: u.DTS, PTS: u.PTS, Run: e.run})
	if e.firstKey.IsZero() && u.Key {
		e.firstKey = time.Now()
	}
	return nil
}

// lost notes that the service ended the connection. The encoder stays away until an event
// brings it back.
func (e *encoder) lost(err error) error {
	e.refuse(err)
	e.pub.Abort()
	e.pub, e.back = nil, never
	return nil
}

func (e *encoder) refuse(err error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.refusals = append(e.refusals, err)
}

func (e *encoder) connect(ctx context.Context) error {
	e.back = never
	pub, err := publisher.Dial(ctx, publisher.Config{URL: e.url, DialContext: e.dial})
	if _, refused := errors.AsType[*publisher.RefusedError](err); refused {
		e.refuse(err)
		return nil
	}
	if err != nil {
		if ctx.Err() != nil {
			return nil
		}
		return err
	}
	e.pub, e.sender, e.waitKey, e.held = pub, publisher.NewSender(pub), true, nil
	return nil
}

func (e *encoder) event(ctx context.Context) error {
	ev := e.events[0]
	e.events = e.events[1:]
	switch ev.Verb {
	case "start":
		e.back = ev.At
	case "stop", "drop":
		return e.leave(ev)
	case "gap":
		e.silentTill = ev.At + ev.For
	case "jump":
		e.offset += ev.For.Milliseconds()
		e.run++
	case "delay":
		e.delays[kindOf(ev.Track)] = ev.For
	case "size":
		return e.resize(ev)
	case "join":
		e.audioOn = true
		if e.pub != nil && !e.waitKey {
			return e.sender.Config(e.audio.track, e.timestamp(ev.At))
		}
	}
	return nil
}

func (e *encoder) leave(ev Event) error {
	e.back = never
	if ev.For > 0 {
		e.back = ev.At + ev.For
	}
	if e.pub == nil {
		return nil
	}
	var err error
	if ev.Verb == "stop" {
		err = e.pub.Close()
	} else {
		e.pub.Abort()
	}
	e.pub = nil
	return err
}

func (e *encoder) resize(ev Event) error {
	spec := e.spec
	spec.Width, spec.Height = ev.Width, ev.Height
	spec.NoAudio = true
	clip, err := publisher.NewSynthetic(spec.synthetic())
	if err != nil {
		return err
	}
	e.video.resize = clip.Video
	return nil
}

func kindOf(track string) media.Kind {
	if track == "video" {
		return media.Video
	}
	return media.Audio
}
