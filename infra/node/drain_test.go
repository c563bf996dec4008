package node

import (
	"errors"
	"net/http"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"klive/infra/admin"
	"klive/infra/bus/bustest"
	"klive/infra/config"
	"klive/infra/publisher"
	"klive/infra/telemetry"
)

// TestDrainBeforeTheEnd: readiness first, then nobody new; what is there may stay until gateway.drain is over,
// counted from the drain and not from the end.
func TestDrainBeforeTheEnd(t *testing.T) {
	bustest.Prepare(t)
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, func(c *config.Config) { c.Gateway.Drain = 30 * time.Second })
		e := r.publish()
		ended := make(chan error, 1)
		go func() { ended <- e.play(2 * time.Minute) }()
		time.Sleep(5 * time.Second)
		if h := r.node.Held(); h.Draining || h.Feeds != 1 || h.Owned != 1 || !h.Alone {
			t.Errorf("before: %+v", h)
		}
		r.node.Drain()
		r.node.Drain()
		if err := r.node.Ready(t.Context()); err == nil || !strings.Contains(err.Error(), "klive drain --cancel") {
			t.Errorf("readiness says %v", err)
		}
		h := r.node.Held()
		if !h.Draining || h.Feeds != 1 || h.Owned != 1 || h.Until.Sub(h.Since) != 30*time.Second {
			t.Errorf("draining: %+v", h)
		}
		_, err := publisher.Dial(t.Context(), publisher.Config{
			URL:         "rtmp://klive/kLive/?p=102&e=0_demolive&i=1&t=demo1234/0_demolive_1",
			DialContext: r.net.Dialer("rtmp.listen"),
		})
		if err == nil || !strings.Contains(err.Error(), "connect again to reach another one") {
			t.Errorf("a new encoder hears %v", err)
		}
		time.Sleep(20 * time.Second)
		select {
		case err := <-ended:
			t.Fatalf("the encoder that was there lost its stream after 20 s: %v", err)
		default:
		}
		begin := time.Now()
		r.close()
		if d := time.Since(begin); d < 9*time.Second || d > 14*time.Second {
			t.Errorf("closing took %v; of the 30 s for encoders 20 were over", d)
		}
		if err := <-ended; err == nil {
			t.Error("the stream went on after the end")
		}
		e.Abort()
	})
}

// TestDrainIsTakenBack: a node whose drain is taken back takes streams again, what it holds stays beyond the time that it
// had, and it can be drained anew. When it ends there is no way back.
func TestDrainIsTakenBack(t *testing.T) {
	bustest.Prepare(t)
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, func(c *config.Config) { c.Gateway.Drain = 10 * time.Second })
		if err := r.node.Undrain(); err != nil {
			t.Errorf("without a drain: %v", err)
		}
		e := r.publish()
		ended := make(chan error, 1)
		go func() { ended <- e.play(40 * time.Second) }()
		time.Sleep(5 * time.Second)
		for range 2 {
			r.node.Drain()
			if h := r.node.Held(); !h.Draining || time.Until(h.Until) != 10*time.Second {
				t.Errorf("draining: %+v", h)
			}
			time.Sleep(3 * time.Second)
			if err := r.node.Undrain(); err != nil {
				t.Fatal(err)
			}
			if err := r.node.Ready(t.Context()); err != nil || r.node.Held().Draining {
				t.Errorf("taken back: %v, %+v", err, r.node.Held())
			}
		}
		other, err := publisher.Dial(t.Context(), publisher.Config{
			URL:         "rtmp://klive/kLive/?p=102&e=0_demolive&i=1&t=demo1234/0_demolive_1",
			DialContext: r.net.Dialer("rtmp.listen"),
		})
		if err != nil {
			t.Fatalf("a new encoder hears %v", err)
		}
		other.Close()
		if err := <-ended; err != nil {
			t.Errorf("the encoder that was there lost its stream: %v", err)
		}
		e.Close()
		r.close()
		if err := r.node.Undrain(); !errors.Is(err, admin.ErrDrained) {
			t.Errorf("after the end: %v", err)
		}
		if err := r.node.Ready(t.Context()); err == nil || err.Error() != "shutting down" {
			t.Errorf("after the end readiness says %v", err)
		}
	})
}

// TestDrainOfAStartingNode: a drain that begins while a node starts is done when it has started, and
// once.
func TestDrainOfAStartingNode(t *testing.T) {
	bustest.Prepare(t)
	synctest.Test(t, func(t *testing.T) {
		var once sync.Once
		r := newRigWith(t, nil, func(c *Config) {
			client := &http.Client{Transport: c.Transport}
			c.Load = func() telemetry.Load { // is asked for in the midst of the start
				once.Do(func() {
					res, err := client.Post("http://localhost:8081/v1/drain", "", nil)
					if err != nil {
						t.Error(err)
						return
					}
					res.Body.Close()
					if res.StatusCode >= 300 {
						t.Errorf("the drain is answered %s", res.Status)
					}
				})
				return telemetry.Load{DiskFree: -1}
			}
		})
		r.node.Drain()
		if h := r.node.Held(); !h.Draining {
			t.Errorf("started: %+v", h)
		}
		if n := strings.Count(r.log.String(), "draining: nothing new is taken on"); n != 1 {
			t.Errorf("it let go %d times", n)
		}
	})
}

// TestDrainOutlastsTheEncodersTime: where the process goes on when gateway.drain is over, it hands its entries over as soon
// as the last encoder has left.
func TestDrainOutlastsTheEncodersTime(t *testing.T) {
	bustest.Prepare(t)
	synctest.Test(t, func(t *testing.T) {
		d := newDeployment(t)
		d.start("control", Control)
		both := d.start("both", Gateway|LiveWorker, func(c *config.Config) { c.Gateway.Drain = 5 * time.Second })
		e, err := d.publish("both")
		if err != nil {
			t.Fatal(err)
		}
		ended := make(chan error, 1)
		go func() { ended <- e.play(40 * time.Second) }()
		time.Sleep(10 * time.Second)
		other := d.start("other", LiveWorker)
		time.Sleep(5 * time.Second)
		both.Drain()
		time.Sleep(20 * time.Second)
		if h := both.Held(); h.Feeds != 1 || h.Owned != 1 || other.Held().Owned != 0 {
			t.Fatalf("with its encoder: %+v, and the other %+v", h, other.Held())
		}
		if err := <-ended; err != nil {
			t.Error(err)
		}
		e.Close()
		time.Sleep(5 * time.Second)
		if h := both.Held(); h.Feeds != 0 || h.Owned != 0 || other.Held().Owned != 1 {
			t.Errorf("without: %+v, and the other %+v", h, other.Held())
		}
	})
}
