package registrar

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	"klive/infra/live"
	"klive/infra/media"
)

// resumed runs a registrar that goes on for another one, which stored an item each four
// seconds until now, and may have registered the primary.
func resumed(t *testing.T, since time.Duration, registered bool) *rig {
	g := &rig{api: &fakeAPI{start: time.Now(), facts: live.EntryFacts{Started: true}}, done: make(chan struct{})}
	g.Registrar = New(Config{Entry: entry, API: g.api, Options: Options{Hostname: "live.example.com"}})
	var ends []time.Time
	for d := since; d > 0; d -= 4 * time.Second {
		ends = append(ends, time.Now().Add(-d))
	}
	g.Resume(ends)
	if registered {
		g.Inherit(102, []int{0})
	}
	ctx, cancel := context.WithCancel(t.Context())
	g.cancel = cancel
	go func() { defer close(g.done); g.Run(ctx) }()
	return g
}

func (g *rig) record(opened, ended time.Duration) {
	now := time.Now()
	r := live.FeedRecord{Opened: now.Add(-opened), Beat: now, Grant: live.Grant{PartnerID: 102}, Clock: live.ClockRecord{LastArrival: media.At(now)}}
	r.Feed = live.Feed{FeedID: live.FeedID{Entry: entry, Suffix: 1}, Epoch: 1}
	if ended > 0 {
		r.Closed = now.Add(-ended)
	}
	g.Feed(r)
}

func TestResumedBroadcastStaysPlayable(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := resumed(t, 40*time.Second, true)
		defer g.end()
		g.record(42*time.Second, 0)
		time.Sleep(time.Second)
		g.expect(t, "0s register"+primaryCall+" status=1")
	})
}

func TestResumedBroadcastCountsTheNewPublishOnly(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := resumed(t, 40*time.Second, true)
		defer g.end()
		g.record(6*time.Second, 0) // items that end 4 s ago and now are its own
		time.Sleep(time.Second)
		g.expect(t, "0s register"+primaryCall+" status=2")
		g.Stored(11 + 2)
		g.record(7*time.Second, 0)
		time.Sleep(time.Second)
		g.expect(t, "0s register"+primaryCall+" status=2", "1s register"+primaryCall+" status=1")
	})
}

func TestResumedFeedThatHasEndedIsUnregistered(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := resumed(t, 40*time.Second, true)
		defer g.end()
		g.record(42*time.Second, 3*time.Second)
		time.Sleep(time.Minute)
		g.expect(t, "2s unregister"+primaryCall)
	})
}

// What the owner before could not unregister is unregistered however long ago the feed ended,
// and though nothing is known of it any more.
func TestInheritedRegistrationIsTakenBack(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := resumed(t, 80*time.Second, true)
		defer g.end()
		g.record(90*time.Second, 40*time.Second)
		time.Sleep(time.Minute)
		g.expect(t, "0s unregister"+primaryCall)
	})
	synctest.Test(t, func(t *testing.T) {
		g := resumed(t, 0, true)
		defer g.end()
		time.Sleep(time.Minute)
		g.expect(t, "17s unregister"+primaryCall)
	})
}

// A feed that comes back to a registration which was to be taken back keeps it, also when it
// is too short to be registered itself.
func TestInheritedRegistrationAndAShortFeed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := resumed(t, 0, true)
		defer g.end()
		g.feed(live.Primary, 1, 3*time.Second)
		time.Sleep(time.Minute)
		g.expect(t, "8s unregister"+primaryCall)
	})
}

func TestUnregisteredFeedThatEndedLongAgoIsLeftAlone(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := resumed(t, 80*time.Second, false)
		defer g.end()
		g.record(90*time.Second, 40*time.Second)
		time.Sleep(time.Minute)
		g.expect(t)
	})
}

// A timeline that can't be read at first tells of the past while calls are made already.
func TestResumedLate(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := resumed(t, 0, true)
		defer g.end()
		g.record(42*time.Second, 2*time.Second)
		time.Sleep(time.Second)
		g.Resume([]time.Time{time.Now().Add(-4 * time.Second)})
		time.Sleep(time.Minute)
		g.expect(t, "3s unregister"+primaryCall)
	})
}
