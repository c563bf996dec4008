package check

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"sync"
	"time"
)

// System is the service that a scenario runs against.
type System struct {
	// DialRTMP opens a connection to the RTMP listener, whatever the address says.
	DialRTMP func(ctx context.Context, network, address string) (net.Conn, error)
	// HTTP reaches the origin; Base is its address without a slash at the end.
	HTTP *http.Client
	Base string
	// Calls returns the calls that have reached Kaltura's API; may be nil.
	Calls func() []Call
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
	err = play(ctx, s.Run, encoders, follower, out.Begin)
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
		out.Calls = sys.Calls()
	}
	return out, err
}

// play runs the encoders for the scenario's length and follows the playlists beside them.
func play(ctx context.Context, length time.Duration, encoders []*encoder, f *Follower, begin time.Time) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	failed := make(chan error, len(encoders))
	var wg sync.WaitGroup
	for _, e := range encoders {
		wg.Go(func() { failed <- e.play(ctx, begin) })
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
