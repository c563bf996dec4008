package bus_test

import (
	"errors"
	"fmt"
	"runtime"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"klive/infra/bus"
	"klive/infra/bus/bustest"
)

func TestRingConforms(t *testing.T) {
	bustest.RunMedia(t, bustest.MediaEngine{
		Shares: true,
		Open: func(t *testing.T, r bustest.Retention) bus.Media {
			ring := bus.NewRing(bus.RingConfig{MaxAge: r.MaxAge, MaxBytes: r.MaxBytes})
			t.Cleanup(ring.Close)
			return ring
		},
	})
}

// gauge reads one metric of reg by its full name and, if given, its reason label.
func gauge(t *testing.T, reg *prometheus.Registry, name, reason string) float64 {
	t.Helper()
	families, err := reg.Gather()
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range families {
		if f.GetName() != name {
			continue
		}
		for _, m := range f.Metric {
			if reason == "" || m.Label[0].GetValue() == reason {
				return m.GetGauge().GetValue() + m.GetCounter().GetValue()
			}
		}
	}
	t.Fatalf("no metric %s %s", name, reason)
	return 0
}

func mustPublish(t *testing.T, r *bus.Ring, subject, id string, size int) uint64 {
	t.Helper()
	seq, err := r.Publish(t.Context(), subject, id, bustest.Body(make([]byte, size)))
	if err != nil {
		t.Fatal(err)
	}
	return seq
}

func TestRingFreesIdleSubjects(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		reg := prometheus.NewRegistry()
		r := bus.NewRing(bus.RingConfig{MaxAge: 10 * time.Second, Registerer: reg})
		defer r.Close()
		mustPublish(t, r, "early", "1", 100)
		time.Sleep(time.Minute) // only the early subject's end is due now
		for i := range 50 {
			mustPublish(t, r, fmt.Sprint("feed", i), "1", 1000)
		}
		if got := gauge(t, reg, "klive_bus_ring_bytes", ""); got != 50_000 {
			t.Fatalf("%v bytes kept, want 50000", got)
		}
		time.Sleep(11 * time.Second)
		for _, name := range []string{"klive_bus_ring_bytes", "klive_bus_ring_messages"} {
			if got := gauge(t, reg, name, ""); got != 0 {
				t.Errorf("%s is %v though everything is too old", name, got)
			}
		}
		if got := gauge(t, reg, "klive_bus_ring_dropped_total", "age"); got != 51 {
			t.Errorf("%v messages dropped by age, want 51", got)
		}
		if seq := mustPublish(t, r, "feed7", "2", 1); seq != 2 {
			t.Errorf("an idle subject went on with number %d, want 2", seq)
		}
		time.Sleep(11 * time.Minute)
		if got := gauge(t, reg, "klive_bus_ring_subjects", ""); got != 0 {
			t.Errorf("%v subjects remembered after they were idle for 10 minutes", got)
		}
		if seq := mustPublish(t, r, "feed7", "3", 1); seq != 1 {
			t.Errorf("a forgotten subject went on with number %d, want 1", seq)
		}
	})
}

func TestRingKeepsCountingWhileFollowed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := bus.NewRing(bus.RingConfig{MaxAge: time.Second})
		defer r.Close()
		mustPublish(t, r, "a", "1", 1)
		f, err := r.Follow(t.Context(), "a", 0)
		if err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Hour)
		if seq := mustPublish(t, r, "a", "2", 1); seq != 2 {
			t.Fatalf("number %d after an hour's pause, want 2", seq)
		}
		f.Close()
		time.Sleep(time.Hour)
		if seq := mustPublish(t, r, "a", "3", 1); seq != 1 {
			t.Fatalf("number %d though nobody could remember, want 1", seq)
		}
	})
}

func TestRingReturnsMemory(t *testing.T) {
	r := bus.NewRing(bus.RingConfig{})
	defer r.Close()
	freed := make(chan struct{}, 1)
	func() {
		body := new([1 << 20]byte)
		runtime.AddCleanup(body, func(c chan struct{}) { c <- struct{}{} }, freed)
		if _, err := r.Publish(t.Context(), "a", "1", bustest.Body(body[:])); err != nil {
			t.Fatal(err)
		}
	}()
	f, err := r.Follow(t.Context(), "a", 0)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if _, err := f.Next(t.Context()); err != nil {
		t.Fatal(err)
	}
	r.Release("a", 1)
	runtime.GC()
	select {
	case <-freed:
	case <-time.After(5 * time.Second):
		t.Error("a released body is still referenced")
	}
	runtime.KeepAlive(r)
}

func TestRingSharesItsTotal(t *testing.T) {
	reg := prometheus.NewRegistry()
	r := bus.NewRing(bus.RingConfig{MaxBytes: 600, MaxTotalBytes: 1000, Registerer: reg})
	defer r.Close()
	mustPublish(t, r, "a", "1", 500)
	mustPublish(t, r, "b", "1", 500)
	mustPublish(t, r, "b", "2", 500) // over b's 600: b's first goes
	mustPublish(t, r, "c", "1", 100) // over all 1000: a's goes
	if got := gauge(t, reg, "klive_bus_ring_dropped_total", "bytes"); got != 1 {
		t.Errorf("%v dropped by bytes, want 1", got)
	}
	if got := gauge(t, reg, "klive_bus_ring_dropped_total", "total"); got != 1 {
		t.Errorf("%v dropped by total, want 1", got)
	}
	if _, err := r.Publish(t.Context(), "a", "2", bustest.Body(make([]byte, 601))); !errors.Is(err, bus.ErrTooLarge) {
		t.Errorf("a body beyond the subject's bytes: %v", err)
	}
}

func TestRingRefuses(t *testing.T) {
	r := bus.NewRing(bus.RingConfig{})
	for _, c := range []struct {
		subject, id string
		body        bus.Body
	}{{"", "1", bustest.Body("x")}, {"a", "", bustest.Body("x")}, {"a", "1", nil}} {
		if _, err := r.Publish(t.Context(), c.subject, c.id, c.body); !errors.Is(err, bus.ErrInvalid) {
			t.Errorf("subject %q id %q body %v: %v", c.subject, c.id, c.body, err)
		}
	}
	if _, err := r.Follow(t.Context(), "", 0); !errors.Is(err, bus.ErrInvalid) {
		t.Errorf("follow nothing: %v", err)
	}
	f, err := r.Follow(t.Context(), "a", 0)
	if err != nil {
		t.Fatal(err)
	}
	r.Close()
	r.Close()
	r.Release("a", 1)
	if _, err := f.Next(t.Context()); !errors.Is(err, bus.ErrClosed) {
		t.Errorf("a follower of a closed ring: %v", err)
	}
	f.Close()
	if _, err := r.Publish(t.Context(), "a", "1", bustest.Body("x")); !errors.Is(err, bus.ErrClosed) {
		t.Errorf("publish on a closed ring: %v", err)
	}
	if _, err := r.Follow(t.Context(), "a", 0); !errors.Is(err, bus.ErrClosed) {
		t.Errorf("follow a closed ring: %v", err)
	}
}

func BenchmarkRing(b *testing.B) {
	r := bus.NewRing(bus.RingConfig{MaxBytes: 1 << 20})
	defer r.Close()
	f, err := r.Follow(b.Context(), "feed", 0)
	if err != nil {
		b.Fatal(err)
	}
	ids := make([]string, b.N)
	for i := range ids {
		ids[i] = fmt.Sprint(i)
	}
	body := bus.Body(bustest.Body(make([]byte, 10_000)))
	b.ReportAllocs()
	b.ResetTimer()
	for i := range b.N {
		seq, err := r.Publish(b.Context(), "feed", ids[i], body)
		if err != nil {
			b.Fatal(err)
		}
		if _, err := f.Next(b.Context()); err != nil {
			b.Fatal(err)
		}
		r.Release("feed", seq)
	}
}
