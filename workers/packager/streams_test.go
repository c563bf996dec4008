package packager

import (
	"errors"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"klive/infra/bus"
	"klive/infra/bus/bustest"
	"klive/infra/live"
)

// TestOverStreams passes an entry on and kills its owner over the media plane of a cluster,
// where parts are read from their wire form.
func TestOverStreams(t *testing.T) {
	bustest.Prepare(t)
	synctest.Test(t, func(t *testing.T) {
		streams, err := bus.NewStreams(t.Context(), bustest.Start(t), bus.StreamsConfig{Shards: 1, MaxTotalBytes: 64 << 20,
			Decode: func(wire []byte) (bus.Body, error) { return live.UnmarshalPart(wire) }})
		if err != nil {
			t.Fatal(err)
		}
		defer streams.Close()
		g := newRig(t)
		g.ring = streams
		result, end := g.start()
		var wg sync.WaitGroup
		wg.Go(func() {
			g.on(publish{feed: feedOf(live.Primary, 1, 1), ladder: pass(32), rate: 10, video: small(t), audio: aac(t), duration: 60 * time.Second})
		})
		time.Sleep(13 * time.Second)
		g.p.HandOver()
		if err := <-result; !errors.Is(err, ErrStopped) {
			t.Fatalf("Run: %v", err)
		}
		end()
		_, end = g.start()
		time.Sleep(8 * time.Second)
		g.store.set(func(string) error { return errAway })
		time.Sleep(4 * time.Second)
		end()
		g.store.set(nil)
		time.Sleep(2 * time.Second)
		result, end = g.start()
		defer end()
		if stall := g.watch(10 * time.Second); stall > 8*time.Second { // the oldest item was due that long ago
			t.Errorf("the live edge stands still for %v", stall)
		}
		wg.Wait()
		b := ended(t, g, result)
		g.whole(t, b, true)
		g.sameWhenRebuilt(b)
	})
}
