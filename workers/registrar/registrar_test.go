package registrar

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"go.uber.org/goleak"

	"klive/infra/live"
	"klive/infra/media"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const entry = "0_demolive"

// fakeAPI writes down the calls with the time since the test began.
type fakeAPI struct {
	start time.Time
	// answer decides a call's error; nil means success.
	answer func(ctx context.Context, call string) error

	// mu guards the fields below.
	mu    sync.Mutex
	calls []string
	facts live.EntryFacts
}

func (a *fakeAPI) call(ctx context.Context, name string, c Call) error {
	text := fmt.Sprintf("%s %s %d partner=%d host=%s app=%s", name, c.Entry, c.Index, c.Partner, c.Hostname, c.Application)
	if c.Status != NoStatus {
		text += fmt.Sprintf(" status=%d", c.Status)
	}
	a.mu.Lock()
	a.calls = append(a.calls, fmt.Sprintf("%v %s", time.Since(a.start).Round(time.Millisecond), text))
	a.mu.Unlock()
	if a.answer != nil {
		return a.answer(ctx, name)
	}
	return nil
}

func (a *fakeAPI) RegisterMediaServer(ctx context.Context, c Call) (live.EntryFacts, error) {
	err := a.call(ctx, "register", c)
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.facts, err
}

func (a *fakeAPI) SetBroadcastStart(ctx context.Context, partner int, entry string, at time.Time) error {
	a.mu.Lock()
	a.calls = append(a.calls, fmt.Sprintf("%v start %s partner=%d at=%v", time.Since(a.start).Round(time.Millisecond), entry, partner, at.Sub(a.start)))
	answer := a.answer
	a.mu.Unlock()
	if answer != nil {
		return answer(ctx, "start")
	}
	return nil
}
func (a *fakeAPI) UnregisterMediaServer(ctx context.Context, c Call) error {
	return a.call(ctx, "unregister", c)
}

func (a *fakeAPI) list() []string {
	a.mu.Lock()
	defer a.mu.Unlock()
	return append([]string(nil), a.calls...)
}

// rig runs a registrar, with feeds whose records are refreshed each second.
type rig struct {
	*Registrar
	api    *fakeAPI
	kicked []string
	mu     sync.Mutex // guards the field below
	facts  []live.EntryFacts
	// unstarted is what the grants of feeds say.
	unstarted bool
	cancel    context.CancelFunc
	done      chan struct{}
}

func newRig(t *testing.T, o Options) *rig {
	o.Hostname = "live.example.com"
	g := &rig{api: &fakeAPI{start: time.Now(), facts: live.EntryFacts{Started: true}}, done: make(chan struct{})}
	g.Registrar = New(Config{Entry: entry, API: g.api, Options: o, Kick: func(why string) { g.kicked = append(g.kicked, why) },
		Facts: func(f live.EntryFacts) {
			g.mu.Lock()
			defer g.mu.Unlock()
			g.facts = append(g.facts, f)
		}})
	ctx, cancel := context.WithCancel(t.Context())
	g.cancel = cancel
	go func() { defer close(g.done); g.Run(ctx) }()
	return g
}

func (g *rig) end() { g.cancel(); <-g.done }

// feed is on the air for d; its record is refreshed while it is.
func (g *rig) feed(index live.Index, suffix int, d time.Duration) {
	g.feedFrom(time.Now(), index, suffix, d)
}

// feedFrom is a feed that is connected for d, and sends from an instant on.
func (g *rig) feedFrom(first time.Time, index live.Index, suffix int, d time.Duration) {
	r := live.FeedRecord{Opened: time.Now(), Grant: live.Grant{PartnerID: 102, Unstarted: g.unstarted}}
	r.Feed = live.Feed{FeedID: live.FeedID{Entry: entry, Index: index, Suffix: suffix}, Epoch: uint64(time.Now().UnixMilli())}
	for end := time.Now().Add(d); time.Now().Before(end); time.Sleep(min(time.Second, time.Until(end))) {
		r.Beat = time.Now()
		if !r.Beat.Before(first) {
			r.Clock.LastArrival = media.At(r.Beat)
		}
		g.Feed(r)
	}
	r.Beat, r.Closed = time.Now(), time.Now()
	g.Feed(r)
}

func (g *rig) expect(t *testing.T, want ...string) {
	t.Helper()
	synctest.Wait()
	if d := cmp.Diff(want, g.api.list()); d != "" {
		t.Errorf("calls (-want +got):\n%s", d)
	}
}

const (
	primaryCall = " 0_demolive 0 partner=102 host=live.example.com app=kLive"
	backupCall  = " 0_demolive 1 partner=102 host=live.example.com app=kLive"
)

func TestBroadcast(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := newRig(t, Options{})
		defer g.end()
		go func() {
			for i := range 20 {
				time.Sleep(4 * time.Second)
				g.Stored(i + 1)
			}
		}()
		g.feed(live.Primary, 1, 150*time.Second)
		time.Sleep(time.Minute)
		g.expect(t,
			"5s register"+primaryCall+" status=2",
			"16s register"+primaryCall+" status=1",
			"1m5s register"+primaryCall+" status=1",
			"2m5s register"+primaryCall+" status=1",
			"2m35s unregister"+primaryCall,
		)
	})
}

func TestWithoutStatus(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := newRig(t, Options{OmitStatus: true, StartDelay: 7 * time.Second, KeepAlive: 30 * time.Second})
		defer g.end()
		g.Stored(9)
		g.feed(live.Primary, 1, 50*time.Second)
		time.Sleep(time.Minute)
		g.expect(t, "7s register"+primaryCall, "37s register"+primaryCall, "55s unregister"+primaryCall)
	})
}

func TestShortFeed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := newRig(t, Options{})
		defer g.end()
		g.feed(live.Primary, 1, 4*time.Second)
		time.Sleep(time.Minute)
		g.expect(t)
	})
}

// TestNothingSent: an encoder that is connected and sends nothing is not registered; one that sends late is as soon as it does, and
// one that is back within the grace and has not sent anything yet keeps its registration.
func TestNothingSent(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := newRig(t, Options{})
		defer g.end()
		g.feedFrom(time.Now().Add(time.Hour), live.Primary, 1, 15*time.Second)
		time.Sleep(15 * time.Second)
		g.expect(t)
		g.feedFrom(time.Now().Add(8*time.Second), live.Primary, 1, 20*time.Second)
		time.Sleep(4 * time.Second)
		g.feedFrom(time.Now().Add(3*time.Second), live.Primary, 1, 20*time.Second)
		time.Sleep(time.Minute)
		g.expect(t, "38s register"+primaryCall+" status=2", "1m19s unregister"+primaryCall)
	})
}

func TestReconnect(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := newRig(t, Options{})
		defer g.end()
		g.feed(live.Primary, 1, 20*time.Second)
		time.Sleep(3 * time.Second) // within the grace
		g.feed(live.Primary, 1, 20*time.Second)
		time.Sleep(10 * time.Second) // beyond it
		g.feed(live.Primary, 1, 20*time.Second)
		time.Sleep(time.Minute)
		g.expect(t,
			"5s register"+primaryCall+" status=2",
			"48s unregister"+primaryCall,
			"58s register"+primaryCall+" status=2",
			"1m18s unregister"+primaryCall,
		)
	})
}

func TestSecondBitrateAndBackup(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := newRig(t, Options{})
		defer g.end()
		var wg sync.WaitGroup
		wg.Go(func() { g.feed(live.Primary, 1, 30*time.Second) })
		wg.Go(func() { time.Sleep(time.Second); g.feed(live.Primary, 2, 40*time.Second) })
		wg.Go(func() { time.Sleep(2 * time.Second); g.feed(live.Backup, 1, 20*time.Second) })
		wg.Wait()
		time.Sleep(time.Minute)
		g.expect(t,
			"5s register"+primaryCall+" status=2",
			"7s register"+backupCall+" status=2",
			"27s unregister"+backupCall,
			"46s unregister"+primaryCall,
		)
	})
}

func TestDeadGateway(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := newRig(t, Options{})
		defer g.end()
		r := live.FeedRecord{Opened: time.Now(), Beat: time.Now(), Grant: live.Grant{PartnerID: 102}, Clock: live.ClockRecord{LastArrival: media.At(time.Now())}}
		r.Feed = live.Feed{FeedID: live.FeedID{Entry: entry, Suffix: 1}, Epoch: 1}
		for range 9 {
			r.Beat = time.Now()
			g.Feed(r)
			time.Sleep(time.Second)
		}
		time.Sleep(time.Minute)
		g.expect(t, "5s register"+primaryCall+" status=2", "25s unregister"+primaryCall) // 8 s, 12 s until it counts as dead, 5 s grace
	})
}

func TestErrors(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := newRig(t, Options{})
		defer g.end()
		g.api.answer = func(_ context.Context, call string) error {
			switch now := time.Since(g.api.start); {
			case now < 30*time.Second:
				return fmt.Errorf("%w: ENTRY_ID_NOT_FOUND", ErrRefused)
			case call == "unregister" && now < 87*time.Second:
				return errors.New("connection refused")
			}
			return nil
		}
		g.feed(live.Primary, 1, 80*time.Second)
		time.Sleep(time.Minute)
		g.expect(t,
			"5s register"+primaryCall+" status=2",
			"1m5s register"+primaryCall+" status=2",
			"1m25s unregister"+primaryCall,
			"1m26s unregister"+primaryCall,
			"1m28s unregister"+primaryCall,
		)
	})
}

func TestBlockedIsKicked(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := newRig(t, Options{})
		defer g.end()
		g.api.answer = func(context.Context, string) error { return ErrBlocked }
		g.feed(live.Primary, 1, 10*time.Second)
		time.Sleep(time.Minute)
		g.expect(t, "5s register"+primaryCall+" status=2")
		if len(g.kicked) != 1 {
			t.Errorf("kicked %q, want once", g.kicked)
		}
	})
}

func TestSlowCallHoldsUpNobody(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := newRig(t, Options{CallTimeout: 40 * time.Second})
		defer g.end()
		g.api.answer = func(ctx context.Context, _ string) error {
			if time.Since(g.api.start) < 6*time.Second {
				<-ctx.Done()
				return ctx.Err()
			}
			return nil
		}
		var wg sync.WaitGroup
		wg.Go(func() { g.feed(live.Primary, 1, 70*time.Second) })
		wg.Go(func() { time.Sleep(2 * time.Second); g.feed(live.Backup, 1, 69*time.Second) })
		wg.Wait()
		time.Sleep(time.Minute)
		g.expect(t,
			"5s register"+primaryCall+" status=2",
			"7s register"+backupCall+" status=2",
			"1m5s register"+primaryCall+" status=2",
			"1m7s register"+backupCall+" status=2",
			"1m15s unregister"+primaryCall,
			"1m16s unregister"+backupCall,
		)
	})
}

func TestStopUnregisters(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := newRig(t, Options{})
		go g.feed(live.Primary, 1, time.Minute)
		time.Sleep(20 * time.Second)
		g.Stop()
		<-g.done
		g.expect(t, "5s register"+primaryCall+" status=2", "20s unregister"+primaryCall)
		g.cancel()
		time.Sleep(time.Minute)
	})
}

// A call that hangs is given up for the last ones.
func TestStopDoesNotWaitForACall(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := newRig(t, Options{})
		defer g.end()
		g.api.answer = func(ctx context.Context, call string) error {
			if call == "register" {
				<-ctx.Done()
				return ctx.Err()
			}
			return nil
		}
		go g.feed(live.Primary, 1, 8*time.Second)
		time.Sleep(6 * time.Second)
		g.Stop()
		<-g.done
		// It may have been taken.
		g.expect(t, "5s register"+primaryCall+" status=2", "6s unregister"+primaryCall)
		time.Sleep(3 * time.Second)
	})
}

// An API that is away must not keep the entry from its next owner.
func TestStopGivesUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := newRig(t, Options{CallTimeout: 20 * time.Second})
		defer g.end()
		g.api.answer = func(_ context.Context, call string) error {
			if call == "unregister" {
				return errors.New("connection refused")
			}
			return nil
		}
		go g.feed(live.Primary, 1, time.Minute)
		time.Sleep(20 * time.Second)
		begin := time.Now()
		g.Stop()
		<-g.done
		if took := time.Since(begin); took > 20*time.Second {
			t.Errorf("it took %v", took)
		}
		if n := len(g.api.list()); n < 3 {
			t.Errorf("%d calls", n)
		}
		time.Sleep(time.Minute)
	})
}

func TestLostContextCallsNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := newRig(t, Options{})
		go g.feed(live.Primary, 1, time.Minute)
		time.Sleep(20 * time.Second)
		g.end()
		time.Sleep(time.Minute)
		g.expect(t, "5s register"+primaryCall+" status=2")
	})
}

func TestJitterShortensOnly(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := newRig(t, Options{Jitter: 6 * time.Second})
		var sum time.Duration
		for range 1000 {
			p := g.indexes[0].period()
			if sum += p; p > time.Minute || p < 54*time.Second {
				t.Fatalf("period %v, want 54 to 60 s", p)
			}
		}
		if mean := sum / 1000; mean > 58*time.Second {
			t.Errorf("%v on average", mean)
		}
		g.end()
	})
}
