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

	"klive/infra/live"
)

// The primary alone tells when the broadcast began, at once, and only when Kaltura has no start
// for the entry (row 46).
func TestBroadcastStartIsTold(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := newRig(t, Options{})
		defer g.end()
		g.unstarted = true
		g.feed(live.Backup, 1, 8*time.Second)
		time.Sleep(time.Second)
		g.feed(live.Primary, 1, 12*time.Second)
		time.Sleep(3 * time.Second) // within the grace
		g.feed(live.Primary, 1, 10*time.Second)
		time.Sleep(time.Minute)
		g.expect(t,
			"5s register"+backupCall+" status=2",
			"9s start 0_demolive partner=102 at=9s",
			"13s unregister"+backupCall,
			"14s register"+primaryCall+" status=2",
			"39s unregister"+primaryCall,
		)
	})
}

func TestBroadcastStartStands(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := newRig(t, Options{})
		defer g.end()
		g.feed(live.Primary, 1, 12*time.Second)
		time.Sleep(time.Minute)
		g.expect(t, "5s register"+primaryCall+" status=2", "17s unregister"+primaryCall)
	})
}

// While the API is away the start can't be told, nor is it known whether there is one.
func TestBroadcastStartIsMadeGood(t *testing.T) {
	for _, c := range []struct {
		name               string
		unstarted, started bool
		told               []string
	}{
		{"away at the publish", true, false, []string{"1m5s start 0_demolive partner=102 at=0s"}},
		{"a stored grant", false, false, []string{"1m5s start 0_demolive partner=102 at=0s"}},
		{"set by another", false, true, nil},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				g := newRig(t, Options{})
				defer g.end()
				g.unstarted, g.api.facts.Started = c.unstarted, c.started
				g.api.answer = func(context.Context, string) error {
					if time.Since(g.api.start) < 30*time.Second {
						return errors.New("no route to host")
					}
					return nil
				}
				g.feed(live.Primary, 1, 150*time.Second)
				var want []string
				if c.unstarted {
					want = append(want, "0s start 0_demolive partner=102 at=0s")
				}
				want = append(want, "5s register"+primaryCall+" status=2", "1m5s register"+primaryCall+" status=2")
				want = append(want, c.told...)
				g.expect(t, append(want, "2m5s register"+primaryCall+" status=2")...)
			})
		})
	}
}

// What Kaltura says of the entry with each registration is passed on (row 49).
func TestAnswersArePassedOn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := newRig(t, Options{})
		defer g.end()
		one := live.EntryFacts{Started: true, Record: 1, RecordedEntryID: "0_recorded1"}
		g.api.facts = one
		g.feed(live.Primary, 1, 70*time.Second)
		synctest.Wait()
		if d := cmp.Diff([]live.EntryFacts{one, one}, g.facts); d != "" {
			t.Errorf("(-want +got):\n%s", d)
		}
	})
}

// A broadcast that is over is unregistered however long the API is away.
func TestFinishWaitsForTheAPI(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := newRig(t, Options{})
		defer g.end()
		g.api.answer = func(_ context.Context, call string) error {
			if call == "unregister" && time.Since(g.api.start) < 12*time.Minute {
				return errors.New("no route to host")
			}
			return nil
		}
		g.feed(live.Primary, 1, 10*time.Second)
		time.Sleep(3 * time.Minute)
		back := g.Finish()
		<-g.done
		if at := time.Since(g.api.start); at < 12*time.Minute || at > 13*time.Minute {
			t.Errorf("it ended after %v", at)
		}
		select {
		case <-back:
			t.Error("a feed is said to be back")
		default:
		}
		calls := g.api.list()
		if last := calls[len(calls)-1]; len(calls) > 25 {
			t.Errorf("%d calls, the last is %s", len(calls), last)
		}
	})
}

func TestFinishTellsOfAFeed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := newRig(t, Options{})
		defer g.end()
		g.api.answer = func(_ context.Context, call string) error {
			if call == "unregister" {
				return errors.New("no route to host")
			}
			return nil
		}
		g.feed(live.Primary, 1, 10*time.Second)
		back := g.Finish()
		time.Sleep(3 * time.Minute)
		go g.feed(live.Primary, 1, time.Second)
		<-back
		time.Sleep(2 * time.Second)
	})
}

// The next owner is told before a registration and after its end. What can't be written is
// tried again.
func TestNextOwnerIsTold(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		api := &fakeAPI{start: time.Now(), facts: live.EntryFacts{Started: true}}
		var notes []string
		r := New(Config{Entry: entry, API: api, Options: Options{Hostname: "live.example.com"}, Kick: func(string) {},
			Note: func(_ context.Context, partner int, indexes []int) error {
				at := time.Since(api.start)
				if at < 8*time.Second {
					return errors.New("the bus is away")
				}
				notes = append(notes, fmt.Sprintf("%v partner %d %v", at.Round(time.Second), partner, indexes))
				return nil
			}})
		g := &rig{Registrar: r, api: api, done: make(chan struct{})}
		ctx, cancel := context.WithCancel(t.Context())
		g.cancel = cancel
		go func() { defer close(g.done); r.Run(ctx) }()
		defer g.end()
		var both sync.WaitGroup
		both.Go(func() { g.feed(live.Primary, 1, 20*time.Second) })
		both.Go(func() { time.Sleep(10 * time.Second); g.feed(live.Backup, 1, 20*time.Second) })
		both.Wait()
		time.Sleep(time.Minute)
		synctest.Wait()
		want := []string{"8s partner 102 [0]", "15s partner 102 [0 1]", "25s partner 102 [1]", "35s partner 102 []"}
		if d := cmp.Diff(want, notes); d != "" {
			t.Errorf("(-want +got):\n%s", d)
		}
	})
}
