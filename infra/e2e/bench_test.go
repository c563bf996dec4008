package e2e

import (
	"fmt"
	"os"
	"strconv"
	"strings"
	"testing"
	"time"

	"klive/infra/publisher"
)

// What a stream may cost (5 Mbit/s, 720p, passed through, no viewers). MediaMTX 1.20 takes
// 0.38 to 0.53 CPU seconds and 35 to 48 MB with 50 streams on such a machine.
const (
	aimCPU    = 0.15 // CPU seconds per stream-minute
	aimMemory = 18.0 // MB of resident memory per stream
)

// clockTick is the unit of times in /proc/<pid>/stat: Linux has it at 100 per second.
const clockTick = 10 * time.Millisecond

// usage is what a process has taken so far.
type usage struct {
	cpu      time.Duration
	kernel   time.Duration // the kernel's part of cpu
	resident float64       // MB
	mallocs  int64
}

func (p *process) usage(t testing.TB) usage {
	t.Helper()
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", p.cmd.Process.Pid))
	if err != nil {
		t.Skipf("SKIP: no /proc: %v", err)
	}
	_, rest, _ := strings.Cut(string(b), ") ")
	fields := strings.Fields(rest)
	number := func(i int) int64 {
		v, err := strconv.ParseInt(fields[i-3], 10, 64) // field 3 comes first behind the name
		if err != nil {
			t.Fatal(err)
		}
		return v
	}
	return usage{
		cpu:      time.Duration(number(14)+number(15)) * clockTick,
		kernel:   time.Duration(number(15)) * clockTick,
		resident: float64(number(24)) * float64(os.Getpagesize()) / (1 << 20),
		mallocs:  p.metric(t, "go_memstats_mallocs_total"),
	}
}

// BenchmarkStreams measures what streams cost the server: klive in a process of its own,
// the publishers in this one. Each size runs once for a minute (KLIVE_PROVE=1) or 20 s,
// after ten seconds of settling.
func BenchmarkStreams(b *testing.B) {
	for _, n := range []int{1, 10, 50} {
		b.Run(strconv.Itoa(n), func(b *testing.B) {
			for b.Loop() {
				measure(b, n)
			}
		})
	}
}

func measure(b *testing.B, n int) {
	p := start(b, "KLIVE_LOG_LEVEL=warn")
	clip := demoClip(b, publisher.Synthetic{Width: 1280, Height: 720, Bitrate: 5_000_000})
	feeds := make([]*feed, 0, n)
	for _, e := range p.addEntries(b, n) {
		feeds = append(feeds, publish(b, p.broadcast(e.ID, e.Token), clip, 0))
		time.Sleep(2 * time.Second / time.Duration(n)) // not all keyframes at once
	}
	idle := p.usage(b).resident
	time.Sleep(10 * time.Second)
	run := length(time.Minute, 20*time.Second)
	before, begin := p.usage(b), time.Now()
	time.Sleep(run / 2)
	middle := p.usage(b)
	time.Sleep(run / 2)
	after, took := p.usage(b), time.Since(begin)
	for _, f := range feeds {
		if err := f.stop(); err != nil {
			b.Errorf("a stream ended: %v", err)
		}
	}
	minutes := took.Minutes() * float64(n)
	cpu, memory := (after.cpu-before.cpu).Seconds()/minutes, after.resident/float64(n)
	b.ReportMetric(cpu, "cpu-s/stream-min")
	b.ReportMetric(memory, "MB/stream")
	b.ReportMetric(float64(after.mallocs-before.mallocs)/minutes, "mallocs/stream-min")
	b.ReportMetric(0, "ns/op")
	b.Logf("%2d streams: %.3f CPU s per stream-minute, %.3f of them in the kernel (aim %.2f), %.1f MB per stream (aim %.0f), %.0f MB in all at the start, middle and end: %.0f, %.0f, %.0f",
		n, cpu, (after.kernel-before.kernel).Seconds()/minutes, aimCPU, memory, aimMemory, after.resident, idle, middle.resident, after.resident)
}
