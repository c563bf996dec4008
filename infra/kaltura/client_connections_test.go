package kaltura_test

import (
	"net/http"
	"net/http/httptest"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"klive/infra/kaltura"
)

// However many encoders come at once, the API sees a bounded number of connections, and each
// of them gets its answer.
func TestConnectionsAreBounded(t *testing.T) {
	const callers, most = 40, 4
	var open, peak, waiting atomic.Int64
	busy := make(chan struct{})
	api := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		for n := open.Add(1); ; {
			old := peak.Load()
			if n <= old || peak.CompareAndSwap(old, n) {
				break
			}
		}
		defer open.Add(-1)
		<-busy // until all callers are on their way
		w.Header().Set("Content-Type", "application/json")
		_, _ = w.Write([]byte(`{"id":"0_rkij47dr","objectType":"KalturaLiveStreamEntry"}`))
	}))
	defer api.Close()
	c := client(t, nil, func(cfg *kaltura.ClientConfig) { cfg.URL, cfg.MaxConnections = api.URL, most })
	var wg sync.WaitGroup
	for range callers {
		wg.Go(func() {
			waiting.Add(1)
			if _, err := c.LiveStreamGet(t.Context(), 102, "0_rkij47dr"); err != nil {
				t.Error(err)
			}
		})
	}
	for end := time.Now().Add(10 * time.Second); waiting.Load() < callers || open.Load() < most; time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			break
		}
	}
	close(busy)
	wg.Wait()
	if got := peak.Load(); got != most {
		t.Errorf("%d calls at a time, want %d", got, most)
	}
}
