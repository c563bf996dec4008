package e2e

import (
	"context"
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"klive/infra/check"
	"klive/infra/publisher"
)

// roundRobin is a load balancer that sends each request to the next of the servers.
func roundRobin(t testing.TB, servers ...string) string {
	t.Helper()
	var n atomic.Uint64
	p := &httputil.ReverseProxy{FlushInterval: -1, ErrorLog: log.New(io.Discard, "", 0), Rewrite: func(r *httputil.ProxyRequest) {
		r.SetURL(&url.URL{Scheme: "http", Host: servers[n.Add(1)%uint64(len(servers))]})
	}}
	s := httptest.NewServer(p)
	t.Cleanup(func() { s.CloseClientConnections(); s.Close() })
	return strings.TrimPrefix(s.URL, "http://")
}

// TestClusterPush publishes with packagers through a load balancer that brings each request to
// another gateway: one gateway holds the feed, and every frame is stored once.
func TestClusterPush(t *testing.T) {
	beside(t)
	c := startCluster(t, shape{buses: 1, gateways: 2, workers: 1, origins: 1, settings: []string{
		"broadcast.resume=2s", "segment.duration=1s", "push.idleTimeout=10s"}})
	file, sent := transportFile(t, demoClip(t, publisher.Synthetic{GOP: time.Second, BFrames: 2}), length(60*time.Second, 7*time.Second))
	file = movieFile(t, file)
	balancer := roundRobin(t, c.gateways[0].http, c.gateways[1].http)
	cp := controlPlane{&http.Client{Transport: bearer{}}, c.control.admin}
	packagers := []string{"dash"}
	if proving() {
		packagers = append(packagers, "hls", "hls fmp4", "mpegts")
	}
	for i, name := range packagers {
		e := cp.addEntries(t, len(packagers))[i]
		t.Run(name, func(t *testing.T) {
			encoder := pushFile(t, balancer, file, pushLines[name], e)
			v, err := check.Watch("viewer", c.origins[0].playlist(e.ID, true))
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(v.Stop)
			if err := encoder.finished(t, 2*time.Minute); err != nil {
				t.Errorf("ffmpeg: %v %s", err, encoder.says.Bytes())
			}
			var a check.Audit
			eventually(t, 30*time.Second, "the newest frames", func() error {
				if a = v.Audit(sent); a.Video.Tail+a.Audio.Tail > 0 || a.Video.Stored == 0 {
					return check.ErrNoPlaylist
				}
				return nil
			})
			auditWhole(t, name, a, 0)
		})
	}
}

// TestClusterPushGatewayKilled kills the gateway that holds the feed of a packager that sent its
// initialization sections once: the other gateway goes on in the same broadcast.
func TestClusterPushGatewayKilled(t *testing.T) {
	if !proving() {
		t.Skip("SKIP: runs under KLIVE_PROVE=1; TestSectionsOutliveTheirGateway of gateway/push holds the same")
	}
	c := startCluster(t, shape{buses: 1, gateways: 2, workers: 1, origins: 1, settings: []string{"segment.duration=1s"}})
	file, _ := transportFile(t, demoClip(t, publisher.Synthetic{GOP: time.Second, BFrames: 2}), 90*time.Second)
	file = movieFile(t, file)
	cp := controlPlane{&http.Client{Transport: bearer{}}, c.control.admin}
	var holder atomic.Int32
	balancer := httptest.NewServer(&httputil.ReverseProxy{FlushInterval: -1, ErrorLog: log.New(io.Discard, "", 0), Rewrite: func(r *httputil.ProxyRequest) {
		r.SetURL(&url.URL{Scheme: "http", Host: c.gateways[holder.Load()].http})
	}})
	t.Cleanup(func() { balancer.CloseClientConnections(); balancer.Close() })
	for i, name := range []string{"dash", "hls fmp4"} {
		e := cp.addEntries(t, 2)[i]
		t.Run(name, func(t *testing.T) {
			encoder := pushFile(t, strings.TrimPrefix(balancer.URL, "http://"), file, pushLines[name], e)
			v, err := check.Watch("viewer", c.origins[0].playlist(e.ID, true))
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(v.Stop)
			ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
			defer cancel()
			if err := v.WaitFor(ctx, 4); err != nil {
				t.Fatal(err)
			}
			held := holder.Load()
			c.gateways[held].Kill()
			holder.Store(1 - held)
			last, _ := v.Last()
			if err := v.WaitFor(ctx, last+4); err != nil {
				t.Fatalf("%v; ffmpeg: %s", err, encoder.says.Bytes())
			}
			if len(c.gateways[1-held].Said("goes on with the initialization sections", "entry="+e.ID)) != 1 {
				t.Error("the other gateway did not go on with the sections of the first one")
			}
			if n := len(c.workers[0].Said("the broadcast begins", "entry="+e.ID)); n != 1 {
				t.Errorf("%d broadcasts began", n)
			}
			if err := v.Rules(); err != nil {
				t.Error(err)
			}
			encoder.kill()
			c.gateways[held].Restart()
		})
	}
}

// bearer shows a cluster's admin token.
type bearer struct{}

func (bearer) RoundTrip(r *http.Request) (*http.Response, error) {
	r = r.Clone(r.Context())
	r.Header.Set("Authorization", "Bearer "+adminToken)
	return http.DefaultTransport.RoundTrip(r)
}
