package origin_test

import (
	"context"
	"net/http"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"klive/infra/bus"
	"klive/storage/origin"
	"klive/storage/playlist"
	tt "klive/storage/timeline/timelinetest"
)

// viewersWait is the most that a question for a segment that a playlist lists may take.
const viewersWait = 2600 * time.Millisecond

// sick is a bus that does not answer all questions.
type sick struct {
	*bus.Ring
	follow, next atomic.Int32 // how many of the next questions get no answer
}

func (s *sick) Follow(ctx context.Context, subject string, from uint64) (bus.Follower, error) {
	if s.follow.Add(-1) >= 0 {
		<-ctx.Done()
		return nil, ctx.Err()
	}
	f, err := s.Ring.Follow(ctx, subject, from)
	return &sickFollower{f, s}, err
}

type sickFollower struct {
	bus.Follower
	bus *sick
}

func (f *sickFollower) Next(ctx context.Context) (bus.Message, error) {
	if f.bus.next.Add(-1) >= 0 {
		<-ctx.Done()
		return bus.Message{}, ctx.Err()
	}
	return f.Follower.Next(ctx)
}

// Whatever of the bus does not answer while the store is away: each question is answered, or
// refused, within a player's patience, and a crowd's all alike.
func TestAnsweredInTime(t *testing.T) {
	const never = 1 << 20
	for _, test := range []struct {
		name         string
		follow, next int32
		code         int
		within       time.Duration
	}{
		{"well", 0, 0, 200, 300 * time.Millisecond},
		{"a follow is lost", 1, 0, 200, 1300 * time.Millisecond},
		{"a part is lost", 0, 1, 200, 800 * time.Millisecond},
		{"parts are lost again and again", 0, 3, 200, 1900 * time.Millisecond},
		{"no follow", never, 0, 503, viewersWait},
		{"no part", 0, never, 503, viewersWait},
	} {
		t.Run(test.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				r := newRelay(t)
				defer r.view.Close()
				s := &sick{Ring: r.ring}
				r.origin = origin.New(origin.Config{Timelines: r.view, Store: r.memory, Media: s})
				r.do("GET", "/"+playlist.LiveKey(tt.Video))
				key := r.publish(true)[0]
				r.memory.Before = hangGets
				synctest.Wait()
				s.follow.Store(test.follow)
				s.next.Store(test.next)
				var viewers sync.WaitGroup
				for range 20 {
					viewers.Go(func() {
						began := time.Now()
						resp := r.do("GET", "/"+key)
						if took := time.Since(began); resp.StatusCode != test.code || took > test.within {
							t.Errorf("%d after %v", resp.StatusCode, took)
						}
					})
				}
				viewers.Wait()
			})
		})
	}
}

// Segments that can't be made don't keep those back for long that can.
func TestSickSegmentsBesideOthers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRelay(t)
		defer r.view.Close()
		s := &sick{Ring: r.ring}
		r.origin = origin.New(origin.Config{Timelines: r.view, Store: r.memory, Media: s})
		r.do("GET", "/"+playlist.LiveKey(tt.Video))
		var keys []string
		for range 10 {
			k := r.publish(true)
			keys = append(keys, k[:]...)
		}
		r.memory.Before = hangGets
		synctest.Wait()
		s.follow.Store(1 << 20)
		var viewers sync.WaitGroup
		for _, key := range keys {
			viewers.Go(func() {
				began := time.Now()
				if resp := r.do("GET", "/"+key); resp.StatusCode != http.StatusServiceUnavailable || time.Since(began) > viewersWait {
					t.Errorf("%d after %v", resp.StatusCode, time.Since(began))
				}
			})
		}
		viewers.Wait()
		s.follow.Store(0)
		for _, key := range keys {
			r.want(key)
		}
	})
}

// A viewer who leaves takes nothing from those who go on waiting; when all have left, nothing
// is made any longer, and the next one finds nothing in the way.
func TestViewersLeave(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRelay(t)
		defer r.view.Close()
		s := &sick{Ring: r.ring}
		r.origin = origin.New(origin.Config{Timelines: r.view, Store: r.memory, Media: s})
		r.do("GET", "/"+playlist.LiveKey(tt.Video))
		key := r.publish(true)[0]
		r.memory.Before = hangGets
		synctest.Wait()
		s.next.Store(1)
		leaving, leave := context.WithCancel(t.Context())
		var viewers sync.WaitGroup
		viewers.Go(func() { r.doFor(leaving, "GET", "/"+key) })
		viewers.Go(func() { time.Sleep(100 * time.Millisecond); r.want(key) })
		time.Sleep(400 * time.Millisecond)
		leave()
		viewers.Wait()

		key = r.publish(true)[0]
		synctest.Wait()
		s.next.Store(1 << 20)
		leaving, leave = context.WithCancel(t.Context())
		viewers.Go(func() { r.doFor(leaving, "GET", "/"+key) })
		time.Sleep(400 * time.Millisecond)
		leave()
		viewers.Wait()
		s.next.Store(0)
		began := time.Now()
		r.want(key)
		if took := time.Since(began); took > 300*time.Millisecond {
			t.Errorf("took %v", took)
		}
	})
}
