package e2e

import (
	"os"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	srt "github.com/datarhei/gosrt"

	"klive/infra/check/fault"
	"klive/infra/publisher"
)

// aimSRT is the most that klive may take for a stream over what gosrt takes alone, beside the way
// behind the gateway (aimCPU).
const aimSRT = 1.2

// BenchmarkSRTStreams measures what SRT streams of 5 Mbit/s cost the server: klive in a process
// of its own, the callers in this one, and then gosrt with nothing behind it, in a process of its
// own as well. On loopback no packet may get lost.
func BenchmarkSRTStreams(b *testing.B) {
	for _, n := range []int{1, 10, 50} {
		b.Run(strconv.Itoa(n), func(b *testing.B) {
			for b.Loop() {
				measureSRT(b, n)
			}
		})
	}
}

// sinkSRT is gosrt alone, set up as klive's gateway is: it takes every caller at the address that
// is its argument, and throws away what comes.
func sinkSRT(args []string) error {
	c := srt.DefaultConfig()
	c.ListenerControl = func(_, _ string, raw syscall.RawConn) error {
		var failed error
		if err := raw.Control(func(fd uintptr) {
			failed = syscall.SetsockoptInt(int(fd), syscall.SOL_SOCKET, syscall.SO_RCVBUF, 4<<20)
		}); err != nil {
			return err
		}
		return failed
	}
	l, err := srt.Listen("srt", args[0], c)
	if err != nil {
		return err
	}
	for {
		req, err := l.Accept2()
		if err != nil {
			return err
		}
		conn, err := req.Accept()
		if err != nil {
			return err
		}
		go func() {
			defer conn.Close()
			for buf := make([]byte, 2048); ; {
				if _, err := conn.Read(buf); err != nil {
					return
				}
			}
		}()
	}
}

// sinkCost is the CPU of gosrt alone for n streams, in seconds per stream-minute.
func sinkCost(b *testing.B, stream []byte, n int, run, settle time.Duration) float64 {
	address := fault.Ports(b, 1)[0]
	sink := child(b, "srt-sink", address)
	for end := time.Now().Add(20 * time.Second); !bound(b, address); time.Sleep(20 * time.Millisecond) {
		if time.Now().After(end) {
			b.Fatalf("gosrt does not listen: %s", sink.Output())
		}
	}
	ids := make([]string, n)
	stop := callers(b, address, ids, stream, run+settle+5*time.Second)
	defer stop()
	time.Sleep(settle)
	before, begin := sink.Usage().CPU, time.Now()
	time.Sleep(run)
	return (sink.Usage().CPU - before).Seconds() / (time.Since(begin).Minutes() * float64(n))
}

// callers play a stream to an address, one for each stream id, until they are told to stop.
func callers(b *testing.B, address string, ids []string, stream []byte, long time.Duration) (stop func()) {
	b.Helper()
	stopping := make(chan struct{})
	var running sync.WaitGroup
	for _, id := range ids {
		c := srt.DefaultConfig()
		c.StreamId = id
		conn, err := srt.Dial("srt", address, c)
		if err != nil {
			b.Fatalf("%s: %v", address, err)
		}
		running.Go(func() {
			defer conn.Close()
			playDatagrams(b, conn, stream, long, stopping)
		})
		time.Sleep(2 * time.Second / time.Duration(len(ids))) // not all keyframes at once
	}
	return func() { close(stopping); running.Wait() }
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
	var ids []string
	for _, e := range p.addEntries(b, n) {
		ids = append(ids, "#:::e="+e.ID+",st=0,p="+e.Token)
	}
	stop := callers(b, p.srt, ids, stream, long)
	time.Sleep(settle)
	before, begin := p.usage(b), time.Now()
	time.Sleep(run)
	after, took := p.usage(b), time.Since(begin)
	lost, received := p.packets(b, "lost"), p.packets(b, "received")
	stop()
	alone := sinkCost(b, stream, n, run, settle)
	minutes := took.Minutes() * float64(n)
	cpu, memory := (after.cpu-before.cpu).Seconds()/minutes, after.resident/float64(n)
	b.ReportMetric(cpu, "cpu-s/stream-min")
	b.ReportMetric(alone, "gosrt-cpu-s/stream-min")
	b.ReportMetric(memory, "MB/stream")
	b.ReportMetric(float64(lost), "lost-packets")
	b.ReportMetric(0, "ns/op")
	b.Logf("%2d streams: %.3f CPU s per stream-minute, %.2f %% of a core each; gosrt alone takes %.3f, %.2f %% (aim: %.1f times that and %.2f for the way behind it, %.3f); %.1f MB per stream, %d of %d packets lost",
		n, cpu, cpu/0.6, alone, alone/0.6, aimSRT, aimCPU, aimSRT*alone+aimCPU, memory, lost, received)
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
