package telemetry

import (
	"os"
	"runtime"
	"strings"
	"testing"
	"time"
)

func TestGauge(t *testing.T) {
	if runtime.GOOS != "linux" {
		t.Skip("SKIP: the figures come from /proc")
	}
	g := Gauge{Data: t.TempDir()}
	before, _, _ := descriptors()
	var files []*os.File
	for range 50 {
		f, err := os.Open(os.DevNull)
		if err != nil {
			t.Fatal(err)
		}
		files = append(files, f)
	}
	after := g.Read(time.Now())
	opened, _, _ := descriptors()
	for _, f := range files {
		f.Close()
	}
	if d := opened - before; d < 50 || d > 60 {
		t.Errorf("50 more files are %d more descriptors", d)
	}
	if after.Descriptors <= 0 || after.Descriptors > 1 || after.Memory <= 0 || after.Memory > 1 || after.DiskFree <= 0 || after.CPU < 0 {
		t.Errorf("%+v", after)
	}
	if p := Processors(); p <= 0 || p > float64(runtime.NumCPU()) {
		t.Errorf("%v processors", p)
	}
}

func TestGaugeLooksBackOverTheCPU(t *testing.T) {
	var g Gauge
	begin := time.Unix(1_800_000_000, 0)
	var share float64
	for s := range 120 {
		// Two processors, all of them for 20 s, then half of one.
		used := min(time.Duration(s), 20)*2*time.Second + max(0, time.Duration(s)-20)*time.Second/2
		share = g.cpu(begin.Add(time.Duration(s)*time.Second), used, 2)
		switch {
		case s < 30 && share != 0:
			t.Fatalf("after %d s the share is %.2f, and nothing is known yet", s, share)
		case s == 30 && (share < 0.70 || share > 0.78):
			t.Errorf("after 30 s the share is %.2f", share)
		}
	}
	if share < 0.24 || share > 0.26 {
		t.Errorf("at the end the share is %.2f, want 0.25", share)
	}
	if len(g.past) > 40 {
		t.Errorf("%d samples are kept", len(g.past))
	}
}

func TestMarks(t *testing.T) {
	calm := Load{CPU: 0.5, Memory: 0.5, Descriptors: 0.5, DiskFree: 1 << 40}
	marks := Marks{CPU: 0.95, Memory: 0.9, Descriptors: 0.9, DiskFree: 256 << 20, Network: 1e9, Streams: 100}
	if err := marks.Over(calm, 99, 5e8); err != nil {
		t.Errorf("calm: %v", err)
	}
	if err := (Marks{}).Over(Load{CPU: 1, Memory: 1, Descriptors: 1}, 1e6, 1e12); err != nil {
		t.Errorf("without marks: %v", err)
	}
	if err := marks.Over(Load{CPU: -1, Memory: -1, Descriptors: -1, DiskFree: -1}, 0, 0); err != nil {
		t.Errorf("nothing is known: %v", err)
	}
	for want, c := range map[string]struct {
		set     func(*Load)
		streams int
		bits    int64
	}{
		"CPU at 97 % (limits.cpu is 95)":          {func(l *Load) { l.CPU = 0.97 }, 0, 0},
		"memory at 90 % (limits.memory is 90)":    {func(l *Load) { l.Memory = 0.9 }, 0, 0},
		"file descriptors at 99 %":                {func(l *Load) { l.Descriptors = 0.99 }, 0, 0},
		"disk of the data folder has 12 MiB left": {func(l *Load) { l.DiskFree = 12 << 20 }, 0, 0},
		"the streams bring 1200.0 Mbit/s":         {func(*Load) {}, 0, 1.2e9},
		"100 streams (limits.streams is 100)":     {func(*Load) {}, 100, 0},
	} {
		l := calm
		c.set(&l)
		if err := marks.Over(l, c.streams, c.bits); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v, want %q", err, want)
		}
	}
}
