package e2e

import (
	"os"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	srt "github.com/datarhei/gosrt"

	"klive/infra/publisher"
)

// gosrtAlone is what gosrt takes for a stream of 5.2 Mbit/s without anything behind it, at 50
// streams on such a machine: 0.95 % of a core, in CPU seconds per stream-minute.
const gosrtAlone = 0.57

// BenchmarkSRTStreams measures what SRT streams of 5 Mbit/s cost the server: klive in a process
// of its own, the callers in this one. On loopback no packet may get lost.
func BenchmarkSRTStreams(b *testing.B) {
	for _, n := range []int{1, 10, 50} {
		b.Run(strconv.Itoa(n), func(b *testing.B) {
			for b.Loop() {
				measureSRT(b, n)
			}
		})
	}
}

func measureSRT(b *testing.B, n int) {
	p := start(b, "KLIVE_LOG_LEVEL=warn")
	run := length(time.Minute, 20*time.Second)
	const settle = 10 * time.Second
	long := run + settle + 5*time.Second
	file, _ := transportFile(b, demoClip(b, publisher.Synthetic{Width: 1280, Height: 720, Bitrate: 5_000_000}), long)
	stream, err := os.ReadFile(file)
	if err != nil {
		b.Fatal(err)
	}
	stop := make(chan struct{})
	var callers sync.WaitGroup
	for _, e := range p.addEntries(b, n) {
		c := srt.DefaultConfig()
		c.StreamId = "#:::e=" + e.ID + ",st=0,p=" + e.Token
		conn, err := srt.Dial("srt", p.srt, c)
		if err != nil {
			b.Fatalf("%v\n%s", err, p.log)
		}
		callers.Go(func() {
			defer conn.Close()
			playDatagrams(b, conn, stream, long, stop)
		})
		time.Sleep(2 * time.Second / time.Duration(n)) // not all keyframes at once
	}
	time.Sleep(settle)
	before, begin := p.usage(b), time.Now()
	time.Sleep(run)
	after, took := p.usage(b), time.Since(begin)
	lost, received := p.packets(b, "lost"), p.packets(b, "received")
	close(stop)
	callers.Wait()
	minutes := took.Minutes() * float64(n)
	cpu, memory := (after.cpu-before.cpu).Seconds()/minutes, after.resident/float64(n)
	b.ReportMetric(cpu, "cpu-s/stream-min")
	b.ReportMetric(memory, "MB/stream")
	b.ReportMetric(float64(lost), "lost-packets")
	b.ReportMetric(0, "ns/op")
	b.Logf("%2d streams: %.3f CPU s per stream-minute, %.2f %% of a core each (gosrt alone takes %.2f at 50 streams, the way behind it %.2f), %.1f MB per stream, %d of %d packets lost",
		n, cpu, cpu/0.6, gosrtAlone, aimCPU, memory, lost, received)
	if lost > 0 {
		b.Errorf("%d of %d packets got lost on loopback", lost, received)
	}
}

// playDatagrams sends a stream evenly over its length.
func playDatagrams(b *testing.B, conn srt.Conn, stream []byte, long time.Duration, stop <-chan struct{}) {
	const size = 1316
	begin := time.Now()
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for at := 0; at < len(stream); {
		select {
		case <-stop:
			return
		case <-tick.C:
		}
		due := int(float64(len(stream)) * float64(time.Since(begin)) / float64(long))
		for ; at < min(due, len(stream)); at += size {
			if _, err := conn.Write(stream[at:min(at+size, len(stream))]); err != nil {
				b.Errorf("a stream ended: %v", err)
				return
			}
		}
	}
}

// packets reads a count of SRT packets from klive's metrics.
func (p *process) packets(t testing.TB, kind string) int {
	t.Helper()
	for line := range strings.Lines(p.get(t.Context(), "http://"+p.admin+"/metrics")) {
		if value, ok := strings.CutPrefix(line, `klive_srt_packets_total{kind="`+kind+`"} `); ok {
			v, err := strconv.ParseFloat(strings.TrimSpace(value), 64)
			if err != nil {
				t.Fatal(err)
			}
			return int(v)
		}
	}
	t.Fatalf("no count of %s packets", kind)
	return 0
}
