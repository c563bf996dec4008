package e2e

import (
	"bytes"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
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
// after ten seconds of settling. Beside it stands what merely writing the bytes takes.
func BenchmarkStreams(b *testing.B) {
	for _, n := range []int{1, 10, 50} {
		b.Run(strconv.Itoa(n), func(b *testing.B) {
			for b.Loop() {
				measure(b, n)
			}
		})
	}
}

// measure returns the CPU seconds that a stream takes in a minute.
func measure(b *testing.B, n int) float64 {
	p := start(b, "KLIVE_LOG_LEVEL=warn")
	clip := demoClip(b, publisher.Synthetic{Width: 1280, Height: 720, Bitrate: 5_000_000})
	feeds, first := make([]*feed, 0, n), time.Now()
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
	plain, stored := writePlainly(b, p.dir)
	plain /= time.Since(first).Minutes() * float64(n)
	minutes := took.Minutes() * float64(n)
	cpu, memory := (after.cpu-before.cpu).Seconds()/minutes, after.resident/float64(n)
	b.ReportMetric(cpu, "cpu-s/stream-min")
	b.ReportMetric(plain, "plain-write-cpu-s/stream-min")
	b.ReportMetric(memory, "MB/stream")
	b.ReportMetric(float64(after.mallocs-before.mallocs)/minutes, "mallocs/stream-min")
	b.ReportMetric(0, "ns/op")
	b.Logf("%2d streams: %.3f CPU s per stream-minute, %.3f of them in the kernel (aim %.2f; merely writing the same %d segments to files takes %.3f), %.1f MB per stream (aim %.0f), %.0f MB in all at the start, middle and end: %.0f, %.0f, %.0f",
		n, cpu, (after.kernel-before.kernel).Seconds()/minutes, aimCPU, stored, plain, memory, aimMemory, after.resident, idle, middle.resident, after.resident)
	return cpu
}

// writePlainly writes segments as large as those that klive has stored, with nothing but
// os.WriteFile, and returns the CPU seconds that it took and how many there were. It is what
// the machine itself asks for so many bytes: virtual machines differ much in that, and with
// what runs beside them, so figures are compared by their ratio to it.
func writePlainly(b *testing.B, dir string) (seconds float64, segments int) {
	b.Helper()
	var sizes []int64
	err := filepath.WalkDir(filepath.Join(dir, "data"), func(path string, d fs.DirEntry, err error) error {
		if err != nil || filepath.Ext(path) != ".m4s" {
			return nil // klive still tidies up
		}
		if info, err := d.Info(); err == nil {
			sizes = append(sizes, info.Size())
		}
		return nil
	})
	if err != nil || len(sizes) == 0 {
		b.Fatalf("no stored segments: %v", err)
	}
	to, data := b.TempDir(), bytes.Repeat([]byte{0x5a}, int(slices.Max(sizes)))
	before := ownCPU(b)
	for i, size := range sizes {
		if err := os.WriteFile(filepath.Join(to, strconv.Itoa(i)), data[:size], 0o644); err != nil {
			b.Fatal(err)
		}
	}
	return (ownCPU(b) - before).Seconds(), len(sizes)
}

// ownCPU is what this process has taken so far.
func ownCPU(b testing.TB) time.Duration {
	var r syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &r); err != nil {
		b.Fatal(err)
	}
	return time.Duration(r.Utime.Nano() + r.Stime.Nano())
}
