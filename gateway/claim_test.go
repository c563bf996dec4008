package gateway

import (
	"context"
	"net/http"
	"net/http/httptest"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"klive/infra/bus"
	"klive/infra/live"
)

// TestClaim lets two gateways get the first requests of a feed at once, again and again: one
// of them keeps each feed, the other one knows where it is.
func TestClaim(t *testing.T) {
	inWorld(t, func(w *world) {
		claims, err := w.control.Bucket(w.t.Context(), bus.BucketConfig{Name: live.ClaimsBucket, TTL: live.ClaimLife, Memory: true})
		if err != nil {
			w.t.Fatal(err)
		}
		var nodes [2]*Forwarder
		for i, address := range []string{"one:8082", "two:8082"} {
			nodes[i] = NewForwarder(ForwarderConfig{Feeds: w.cfg.Feeds, Claims: claims, Address: address, Log: w.cfg.Log})
			defer nodes[i].Close()
		}
		for suffix := 1; suffix <= 20; suffix++ {
			id := live.FeedID{Entry: "0_rkij47dr", Suffix: suffix}
			var kept atomic.Int32
			var group sync.WaitGroup
			for _, n := range nodes {
				group.Go(func() {
					r := httptest.NewRequest(http.MethodPut, "http://live.example.com/ingest/x", nil)
					n.Away(r, id) // asks and takes nothing
					if n.Claim(r.Context(), r, id) {
						kept.Add(1)
					}
				})
			}
			group.Wait()
			if kept.Load() != 1 {
				w.t.Fatalf("%d gateways keep feed %s", kept.Load(), id)
			}
		}
		// A claim is forgotten when nothing came of it.
		id := live.FeedID{Entry: "0_rkij47dr", Suffix: 1}
		time.Sleep(2 * live.ClaimLife)
		request := httptest.NewRequest(http.MethodPut, "http://live.example.com/ingest/x", nil)
		if nodes[1].Away(request, id) || nodes[0].Away(request, id) {
			w.t.Error("a gateway waits for a feed that never began")
		}
		if !nodes[1].Claim(w.t.Context(), request, id) {
			w.t.Error("the second gateway may not begin a feed that never began")
		}
		if !nodes[0].Away(request, id) || nodes[0].Claim(w.t.Context(), request, id) {
			w.t.Error("the first gateway does not know that the second one has it now")
		}
		// One that is kept is not, until it is let go.
		for range 10 {
			time.Sleep(live.ClaimLife / 2)
			if !nodes[1].Keep(w.t.Context(), id) {
				w.t.Fatal("a claim that was kept is another gateway's")
			}
		}
		if !nodes[0].Away(request, id) || nodes[0].Claim(w.t.Context(), request, id) || nodes[0].Keep(w.t.Context(), id) {
			w.t.Error("the first gateway may begin a feed whose claim is kept")
		}
		time.Sleep(2 * live.ClaimLife)
		if !nodes[0].Claim(w.t.Context(), request, id) || nodes[1].Keep(w.t.Context(), id) {
			w.t.Error("a claim that was let go is kept")
		}
		time.Sleep(2 * live.ClaimLife)
		if !nodes[1].Keep(w.t.Context(), id) {
			w.t.Error("a claim that was lost and is nobody's can't be kept")
		}
		passed := request.WithContext(context.WithValue(w.t.Context(), forwardedKey{}, true))
		if nodes[0].Away(passed, id) || !nodes[0].Claim(w.t.Context(), passed, id) {
			w.t.Error("what was forwarded here is sent on")
		}
	})
}
