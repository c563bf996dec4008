package node

import (
	"bytes"
	"context"
	"io"
	"net/http"
	"net/http/httptest"
	"sync"
	"testing"
)

// With a collector's address the node's calls of the API arrive there, at its end at the latest.
func TestNodeTracesItsCalls(t *testing.T) {
	var mu sync.Mutex
	var got []byte
	collector := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		if err != nil {
			t.Error(err)
		}
		mu.Lock()
		defer mu.Unlock()
		got = append(got, body...)
	}))
	defer collector.Close()
	settings := testSettings(t)
	settings.Telemetry.Traces.URL = collector.URL + "/v1/traces"
	n, err := start(t, settings)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := n.client.LiveStreamGet(t.Context(), DemoPartner, "0_demolive"); err != nil {
		t.Error(err)
	}
	n.Close(context.Background())
	mu.Lock()
	defer mu.Unlock()
	if !bytes.Contains(got, []byte("kaltura liveStream.get")) || bytes.Contains(got, []byte("0_demolive")) {
		t.Errorf("the collector has %d bytes: %q", len(got), got)
	}
}
