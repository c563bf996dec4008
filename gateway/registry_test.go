package gateway

import (
	"context"
	"sync"
	"testing"
	"time"

	"klive/infra/live"
)

func TestDuplicateAndTakeover(t *testing.T) {
	for _, gateways := range []string{"one gateway", "two gateways"} {
		t.Run(gateways, func(t *testing.T) {
			inWorld(t, func(w *world) {
				g := w.gateway()
				other := g
				if gateways == "two gateways" {
					other = w.gateway()
				}
				s := w.publish(g, live.Primary, "_1")
				var wg sync.WaitGroup
				wg.Go(func() { w.play(s, source{fps: 25, gop: 50, length: 10 * time.Second}) })
				time.Sleep(4 * time.Second)
				p, err := other.Connect(w.t.Context(), testConnect(live.Primary))
				if err != nil {
					t.Fatal(err)
				}
				start := time.Now()
				_, err = other.Publish(w.t.Context(), p, testPublish("_1"))
				if took := time.Since(start); reason(err) != ReasonBusy || took < 2*time.Second || took > 4*time.Second {
					t.Errorf("after %v: %v", took, err)
				}
				wg.Wait() // the encoder hangs now, its connection stays
				start = time.Now()
				pub, err := other.Publish(w.t.Context(), p, testPublish("_1"))
				if err != nil {
					t.Fatalf("no take-over: %v", err)
				}
				if took := time.Since(start); took > 3500*time.Millisecond {
					t.Errorf("the take-over took %v", took)
				}
				time.Sleep(2 * time.Second)
				select {
				case <-s.Done():
				default:
					t.Fatal("the old publication goes on")
				}
				if reason(s.Err()) != ReasonTakenOver {
					t.Errorf("old publication: %v", s.Err())
				}
				if err := s.Write(AccessUnit{Track: 0, Payload: []byte{1}}); reason(err) != ReasonTakenOver {
					t.Errorf("write to the old publication: %v", err)
				}
				s.Close(nil)
				w.play(pub.(*Session), source{fps: 25, gop: 50, length: 3 * time.Second})
				pub.Close(nil)
				if r := w.record(testID); r.Feed.Epoch <= s.feed.Epoch || r.Closed.IsZero() {
					t.Errorf("record: %+v", r)
				}
			})
		})
	}
}

func TestDeadGatewaysFeedIsFree(t *testing.T) {
	inWorld(t, func(w *world) {
		old := live.FeedRecord{Feed: live.Feed{FeedID: testID, Epoch: 1}, Opened: time.Now(), Beat: time.Now()}
		b, err := old.Marshal()
		if err != nil {
			t.Fatal(err)
		}
		if _, err := w.cfg.Feeds.Create(w.t.Context(), testID.String(), b, 0); err != nil {
			t.Fatal(err)
		}
		if _, err := w.cfg.Epochs.Next(w.t.Context(), testID.Entry); err != nil {
			t.Fatal(err)
		}
		start := time.Now()
		s := w.publish(w.gateway(), live.Primary, "_1")
		if took := time.Since(start); took > 4*time.Second {
			t.Errorf("took %v", took)
		}
		if s.feed.Epoch != 2 {
			t.Errorf("epoch %d", s.feed.Epoch)
		}
		s.Close(nil)
	})
}

// feedsThen is a bucket of feed records that calls something when one was made.
type feedsThen struct {
	Bucket
	then func()
}

func (b feedsThen) Create(ctx context.Context, key string, value []byte, ttl time.Duration) (uint64, error) {
	revision, err := b.Bucket.Create(ctx, key, value, ttl)
	b.then()
	return revision, err
}

// TestPublishAsTheGatewayCloses: a feed that comes too late is on the air nowhere, so the encoder finds its name
// free at the next gateway.
func TestPublishAsTheGatewayCloses(t *testing.T) {
	inWorld(t, func(w *world) {
		feeds := w.cfg.Feeds
		var g *Gateway
		w.cfg.Feeds = feedsThen{feeds, func() {
			if err := g.Close(w.t.Context()); err != nil {
				w.t.Error(err)
			}
		}}
		g = w.gateway()
		p, err := g.Connect(w.t.Context(), testConnect(live.Primary))
		if err != nil {
			w.t.Fatal(err)
		}
		if _, err := g.Publish(w.t.Context(), p, testPublish("_1")); reason(err) != ReasonShutdown {
			w.t.Errorf("it is told %v", err)
		}
		if r := w.record(testID); r.Alive(time.Now()) {
			w.t.Errorf("the feed is on the air: %+v", r)
		}
		w.cfg.Feeds = feeds
		begin := time.Now()
		w.publish(w.gateway(), live.Primary, "_1").Close(nil)
		if took := time.Since(begin); took > time.Second {
			w.t.Errorf("the next gateway took it after %v", took)
		}
	})
}
