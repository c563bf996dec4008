package node

import (
	"context"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"klive/infra/bus/bustest"
	"klive/infra/config"
	"klive/infra/live"
	"klive/infra/telemetry"
)

// TestFullGatewayKeepsWhatItHas: over a mark a node takes no new feeds and says why, but /readyz stays 200; the stream that is
// on the air goes on, and so does its encoder when it connects again.
func TestFullGatewayKeepsWhatItHas(t *testing.T) {
	bustest.Prepare(t)
	synctest.Test(t, func(t *testing.T) {
		var cpu atomic.Int64
		r := newLoadedRig(t, func() telemetry.Load { return telemetry.Load{CPU: float64(cpu.Load()) / 100, DiskFree: -1} })
		ready := func() string {
			if err := r.node.Ready(t.Context()); err != nil {
				return err.Error()
			}
			return ""
		}
		e := r.publish()
		ended := make(chan error, 1)
		go func() { ended <- e.play(20 * time.Second) }()
		time.Sleep(5 * time.Second)
		if got := ready(); got != "" {
			t.Errorf("calm, and not ready: %s", got)
		}
		cpu.Store(97)
		time.Sleep(2 * loadEvery)
		if got := ready(); !strings.HasPrefix(got, Full+"CPU at 97 %") {
			t.Errorf("over the mark it says %q", got)
		}
		public := httptest.NewRecorder()
		r.node.publicHandler().ServeHTTP(public, httptest.NewRequest("GET", "/readyz", nil))
		if public.Code != http.StatusOK || !strings.HasPrefix(public.Body.String(), Full+"CPU at 97 %") {
			t.Errorf("load balancers would end it: %d %s", public.Code, public.Body)
		}
		if err := <-ended; err != nil {
			t.Errorf("the stream that was on the air ended: %v", err)
		}
		e.Close()
		again := r.publish() // refused, it would end the test
		if err := again.play(5 * time.Second); err != nil {
			t.Errorf("the encoder that came back: %v", err)
		}
		again.Close()
		cpu.Store(20)
		time.Sleep(fullFor + 2*loadEvery)
		if got := ready(); got != "" {
			t.Errorf("calm again, and not ready: %s", got)
		}
		for _, want := range []string{"takes no new streams", "takes new streams again"} {
			if !strings.Contains(r.log.String(), want) {
				t.Errorf("the log does not say %q", want)
			}
		}
	})
}

// newLoadedRig is a rig whose load is what f says.
func newLoadedRig(t *testing.T, f func() telemetry.Load) *rig {
	return newRigWith(t, nil, func(c *Config) { c.Load = f })
}

// A gateway that has just become full stays so for a while.
func TestFullLasts(t *testing.T) {
	now := time.Unix(1_800_000_000, 0)
	cpu := 0.99
	l := &load{
		read: func() telemetry.Load { return telemetry.Load{CPU: cpu, DiskFree: -1} },
		mark: func(l telemetry.Load) error { return marks(config.Default().Limits).Over(l, 1, 5e6) }, log: slog.New(slog.DiscardHandler),
	}
	l.look(now)
	cpu = 0.1
	l.look(now.Add(fullFor - time.Second))
	if l.full() == nil {
		t.Error("room again at once")
	}
	l.look(now.Add(fullFor))
	if err := l.full(); err != nil {
		t.Error(err)
	}
	var none *load
	if none.full() != nil {
		t.Error("a node without a gateway is full")
	}
}

func TestLimitMemory(t *testing.T) {
	if LimitMemory(0, false) != 0 || LimitMemory(1<<30, true) != 0 {
		t.Error("a limit is set where there is none, or another one")
	}
}

// TestRingBounds: media on the way leave a container's memory to the rest, and never take more than
// they may without one.
func TestRingBounds(t *testing.T) {
	r := config.Retention{Bytes: 256 * config.MiB, Total: config.GiB}
	for _, c := range []struct{ container, bytes, total int64 }{
		{0, 256 << 20, 1 << 30}, {16 << 30, 256 << 20, 1 << 30}, {2000 << 20, 256 << 20, 500 << 20}, {200 << 20, 50 << 20, 50 << 20},
	} {
		if bytes, total := ringBounds(r, c.container); bytes != c.bytes || total != c.total {
			t.Errorf("in %d MiB: %d MiB of a feed, %d in all", c.container>>20, bytes>>20, total>>20)
		}
	}
}

// What a partner uses is counted once in the deployment, whoever counts.
func TestUsage(t *testing.T) {
	bustest.Prepare(t)
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, nil)
		e := r.publish()
		if err := e.play(30 * time.Second); err != nil {
			t.Fatal(err)
		}
		e.Close()
		time.Sleep(2 * usageEvery)
		month := time.Now().UTC().Format("2006-01")
		list, err := streams{r.node}.Usage(t.Context(), month)
		if err != nil || len(list) != 1 {
			t.Fatalf("%+v, %v", list, err)
		}
		u := list[0]
		if u.Partner != DemoPartner || u.IngestMinutes < 0.48 || u.IngestMinutes > 0.52 || u.BytesStored == 0 || u.RungMinutes != 0 {
			t.Errorf("half a minute is %+v", u)
		}
		other := newUsage(r.node.usages, r.node.log, prometheus.NewRegistry())
		other.add(DemoPartner, live.UsageRecord{IngestSeconds: 60})
		other.send(context.Background(), time.Now())
		if list, err = (streams{r.node}).Usage(t.Context(), month); err != nil || list[0].IngestMinutes < 1.48 || list[0].BytesStored != u.BytesStored {
			t.Errorf("with another process: %+v, %v", list, err)
		}
		if list, err = (streams{r.node}).Usage(t.Context(), "1999-01"); err != nil || len(list) != 0 {
			t.Errorf("another month: %+v, %v", list, err)
		}
	})
}
