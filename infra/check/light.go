package check

import (
	"context"
	"errors"
	"slices"
	"sync"
	"time"

	"klive/infra/media"
	"klive/infra/publisher"
)

// LightConfig says what a light encoder sends and where.
type LightConfig struct {
	Clip *publisher.Clip
	// URLs are tried in turn, one at each connect.
	URLs []string
	// Retry is the pause before another connect; 0 means 500 ms.
	Retry time.Duration
	// Timeout bounds a connect and each write; 0 means 5 s.
	Timeout time.Duration
}

// Light is an encoder that sends a clip in real time without end and connects again
// whenever it is cut off. Its clock goes on meanwhile: what falls into the time without a
// connection is not sent, and nothing is sent twice. After each connect it begins with a
// keyframe; when it has connected again, its sound begins with that picture too, because a
// broadcast that goes on has no place for sound from before. Its methods may be called by
// several goroutines.
type Light struct {
	cfg    LightConfig
	cursor *publisher.Cursor
	begin  time.Time
	cancel context.CancelFunc
	wg     sync.WaitGroup

	mu       sync.Mutex // guards the fields below
	sent     []Sent
	connects []Connect
	refused  []error
	late     time.Duration
}

// Connect is one connection of a light encoder, from the first byte of media to its end.
type Connect struct {
	URL     string
	At, End time.Time
	// Err is why it ended; nil while it lives and when the encoder ended it.
	Err error
}

// StartLight starts an encoder; it ends with Stop.
func StartLight(cfg LightConfig) (*Light, error) {
	if cfg.Retry == 0 {
		cfg.Retry = 500 * time.Millisecond
	}
	if cfg.Timeout == 0 {
		cfg.Timeout = 5 * time.Second
	}
	cursor, err := cfg.Clip.Cursor()
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithCancel(context.Background())
	l := &Light{cfg: cfg, cursor: cursor, begin: time.Now(), cancel: cancel}
	l.wg.Go(func() { l.run(ctx) })
	return l, nil
}

// Stop ends the stream in order and waits for it.
func (l *Light) Stop() {
	l.cancel()
	l.wg.Wait()
}

// Sent is what has been written to a connection so far. Each connect begins a new run.
func (l *Light) Sent() []Sent {
	l.mu.Lock()
	defer l.mu.Unlock()
	return slices.Clone(l.sent)
}

// Connects are the connections so far; the last one may live.
func (l *Light) Connects() []Connect {
	l.mu.Lock()
	defer l.mu.Unlock()
	return slices.Clone(l.connects)
}

// Refused are the connects that failed.
func (l *Light) Refused() []error {
	l.mu.Lock()
	defer l.mu.Unlock()
	return slices.Clone(l.refused)
}

// Late is the longest time that a unit went out behind its moment: what an operator of the
// encoder would notice of a server that does not read.
func (l *Light) Late() time.Duration {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.late
}

func (l *Light) run(ctx context.Context) {
	for n := 0; ctx.Err() == nil; n++ {
		url := l.cfg.URLs[n%len(l.cfg.URLs)]
		pub, err := publisher.Dial(ctx, publisher.Config{URL: url, Timeout: l.cfg.Timeout})
		if err == nil {
			err = l.play(ctx, pub, url)
		} else {
			l.refuse(err)
		}
		if err != nil {
			pause(ctx, l.cfg.Retry)
		}
	}
}

func pause(ctx context.Context, d time.Duration) {
	select {
	case <-ctx.Done():
	case <-time.After(d):
	}
}

func (l *Light) refuse(err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.refused = append(l.refused, err)
}

// play sends on one connection until it breaks or the encoder stops.
func (l *Light) play(ctx context.Context, pub *publisher.Publisher, url string) error {
	defer pub.Abort()
	u := l.next()
	for {
		if err := l.until(ctx, pub, u.DTS); err != nil {
			return l.ended(ctx, err)
		}
		if u.Key && u.Kind == media.Video && time.Since(l.begin)-u.DTS < l.cfg.Retry {
			break
		}
		u = l.next()
	}
	from := l.connected(url, u.PTS)
	sender := publisher.NewSender(pub)
	err := sender.Begin(l.cfg.Clip, uint32(publisher.Millis(u.DTS)))
	var last opening
	for err == nil {
		running := ctx
		if last.mute {
			running = context.WithoutCancel(ctx)
		}
		if err = l.until(running, pub, u.DTS); err != nil {
			break
		}
		if u.PTS >= from {
			err = sender.Send(u, 0)
			l.note(u, err)
			last.sent(u, l.cfg.Clip.Audio != nil)
		}
		u = l.next()
	}
	err = l.ended(ctx, err)
	if err == nil {
		pub.Close()
	}
	return err
}

// opening is the newest keyframe that was sent. An encoder that stops behind it, before its sound, leaves a segment in which
// a track is silent, rightly a gap: so one that is told to stop goes on for that moment.
type opening struct {
	picture time.Duration
	mute    bool // its sound has not been sent yet
}

func (o *opening) sent(u publisher.Unit, sound bool) {
	switch {
	case u.Kind == media.Video && u.Key:
		o.picture, o.mute = u.PTS, sound
	case u.Kind == media.Audio && u.PTS >= o.picture:
		o.mute = false
	}
}

func (l *Light) next() publisher.Unit { return l.cursor.Next() }

// until waits for a unit's moment, or for the end of the connection or the encoder.
func (l *Light) until(ctx context.Context, pub *publisher.Publisher, at time.Duration) error {
	timer := time.NewTimer(time.Until(l.begin.Add(at)))
	defer timer.Stop()
	select {
	case <-pub.Done():
		return pub.Err()
	case <-ctx.Done():
		return ctx.Err()
	case <-timer.C:
		return nil
	}
}

// connected notes a connection that begins with a picture; it returns the time of the first
// unit that it is to send.
func (l *Light) connected(url string, picture time.Duration) (from time.Duration) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.connects = append(l.connects, Connect{URL: url, At: time.Now()})
	if len(l.connects) == 1 {
		return 0
	}
	return picture
}

// ended notes the end of a connection; the encoder's own end is no error.
func (l *Light) ended(ctx context.Context, err error) error {
	if ctx.Err() != nil {
		err = nil
	} else if err == nil {
		err = errors.New("the connection ended")
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if n := len(l.connects); n > 0 && l.connects[n-1].End.IsZero() {
		l.connects[n-1].End, l.connects[n-1].Err = time.Now(), err
	} else if err != nil {
		l.refused = append(l.refused, err)
	}
	return err
}

// note counts a unit; of one whose write failed, a part may have gone out.
func (l *Light) note(u publisher.Unit, err error) {
	if err != nil {
		return
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.late = max(l.late, time.Since(l.begin)-u.DTS)
	l.sent = append(l.sent, Sent{Kind: u.Kind, Number: u.Number, DTS: u.DTS, PTS: u.PTS, Run: len(l.connects)})
}

// Unsent splits the lost units of one kind. atBreaks are those at the end of a connection
// that broke: the encoder had written them, they had not left this host or the gateway, and
// it did not send them again. others should not have been lost.
func Unsent(sent []Sent, kind media.Kind, lost []uint64, connects []Connect) (atBreaks, others []uint64) {
	gone := map[uint64]bool{}
	for _, n := range lost {
		gone[n] = true
	}
	for run := range connects {
		list := runOf(sent, kind, run+1)
		i := len(list)
		if connects[run].Err != nil {
			for i > 0 && gone[list[i-1]] {
				i--
			}
		}
		atBreaks = append(atBreaks, list[i:]...)
		for _, n := range list[:i] {
			if gone[n] {
				others = append(others, n)
			}
		}
	}
	return atBreaks, others
}

func runOf(sent []Sent, kind media.Kind, run int) []uint64 {
	var out []uint64
	for _, s := range sent {
		if s.Kind == kind && s.Run == run {
			out = append(out, s.Number)
		}
	}
	return out
}
