package check

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"slices"
	"sync"
	"time"
)

// System is the service that a scenario runs against.
type System struct {
	// DialRTMP returns what opens connections to the RTMP listener of a node, whatever the address
	// says. The name is empty when the service is one process.
	DialRTMP func(node string) func(ctx context.Context, network, address string) (net.Conn, error)
	// HTTP reaches the origin; Base is its address without a slash at the end.
	HTTP *http.Client
	Base string
	// Calls returns the calls that have reached Kaltura's API; may be nil.
	Calls func() []Call
	// Do makes happen to the service what an event says, and returns when that is done; nil when
	// nothing can happen to it.
	Do func(ctx context.Context, e Event) error
}

// pollEvery is how often the playlists are read: a tenth of the shortest segments in use.
const pollEvery = 50 * time.Millisecond

// RunScenario plays a scenario against a service in whatever time the caller lives in. The
// error is about the run itself; what was expected is the outcome's business.
func RunScenario(ctx context.Context, s *Scenario, sys *System) (*Outcome, error) {
	follower, err := Follow(sys.HTTP, sys.Base+"/kLive/smil:"+s.Encoders[0].Entry+"_all.smil/playlist.m3u8")
	if err != nil {
		return nil, err
	}
	out := &Outcome{Follower: follower, Begin: time.Now()}
	var encoders []*encoder
	for _, spec := range s.Encoders {
		e, err := newEncoder(spec, s.Events, sys)
		if err != nil {
			return nil, fmt.Errorf("encoder %s: %w", spec.Name, err)
		}
		encoders = append(encoders, e)
	}
	happens := slices.DeleteFunc(slices.Clone(s.Events), func(e Event) bool { return e.Encoder != "" })
	if len(happens) > 0 && sys.Do == nil {
		return nil, errors.New("nothing can happen to this service")
	}
	players := []func(context.Context) error{func(ctx context.Context) error { return happen(ctx, happens, sys.Do, out.Begin) }}
	for _, e := range encoders {
		players = append(players, func(ctx context.Context) error { return e.play(ctx, out.Begin) })
	}
	err = play(ctx, s.Run, players, follower, out.Begin)
	for _, e := range encoders {
		out.Sent = append(out.Sent, e.sent...)
		out.Refusals = append(out.Refusals, e.refusals...)
		if out.FirstKey.IsZero() || !e.firstKey.IsZero() && e.firstKey.Before(out.FirstKey) {
			out.FirstKey = e.firstKey
		}
	}
	for _, f := range follower.Rules.Findings() {
		out.Broken = append(out.Broken, errors.New(f.String()))
	}
	if err := follower.Manifests.Err(); err != nil {
		out.Broken = append(out.Broken, err)
	}
	if sys.Calls != nil {
		out.Calls = slices.DeleteFunc(sys.Calls(), func(c Call) bool { return c.At.Before(out.Begin) })
	}
	return out, err
}

// play runs the players for the scenario's length and follows the playlists beside them.
func play(ctx context.Context, length time.Duration, players []func(context.Context) error, f *Follower, begin time.Time) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	failed := make(chan error, len(players))
	var wg sync.WaitGroup
	for _, p := range players {
		wg.Go(func() { failed <- p(ctx) })
	}
	err := follow(ctx, f, begin.Add(length), failed)
	cancel()
	wg.Wait()
	close(failed)
	for e := range failed {
		err = errors.Join(err, e)
	}
	return err
}

// happen does what is to happen to the service, each at its time, however long those before it
// take.
func happen(ctx context.Context, events []Event, do func(context.Context, Event) error, begin time.Time) error {
	failed := make(chan error, len(events))
	var wg sync.WaitGroup
	for _, e := range events {
		wg.Go(func() {
			timer := time.NewTimer(time.Until(begin.Add(e.At)))
			defer timer.Stop()
			select {
			case <-timer.C:
				if err := do(ctx, e); err != nil {
					failed <- fmt.Errorf("at %v %s: %w", e.At, e.Verb, err)
				}
			case <-ctx.Done():
			}
		})
	}
	wg.Wait()
	close(failed)
	var err error
	for e := range failed {
		err = errors.Join(err, e)
	}
	return err
}

func follow(ctx context.Context, f *Follower, end time.Time, failed <-chan error) error {
	tick := time.NewTicker(pollEvery)
	defer tick.Stop()
	for time.Now().Before(end) {
		select {
		case <-tick.C:
		case err := <-failed:
			if err != nil {
				return err
			}
		case <-ctx.Done():
			return ctx.Err()
		}
		if err := f.Poll(ctx); err != nil && !errors.Is(err, ErrNoPlaylist) {
			return err
		}
	}
	return nil
}
