package bus_test

import (
	"fmt"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"klive/infra/bus"
	"klive/infra/bus/bustest"
)

const (
	benchPart  = 208 << 10 // a third of a second of 5 Mbit/s
	benchEvery = time.Second / 3
	benchTime  = 25 * time.Second
	benchKept  = 15 * time.Second
)

// BenchmarkStreams measures the media plane with streams of 5 Mbit/s, one follower
// each, and nodes that are processes of their own: the processor time of nodes,
// publisher and followers together for a minute of one stream, the nodes' memory,
// and the time from Publish to the follower.
func BenchmarkStreams(b *testing.B) {
	for _, replicas := range []int{1, 3} {
		for _, subjects := range []int{10, 50} {
			b.Run(fmt.Sprintf("R%d/%d", replicas, subjects), func(b *testing.B) {
				for b.Loop() {
					benchStreams(b, replicas, subjects)
				}
			})
		}
	}
}

func benchStreams(b *testing.B, replicas, subjects int) {
	nodes := startCluster(b, replicas)
	config := bus.StreamsConfig{Replicas: replicas, MaxAge: benchKept, MaxTotalBytes: 2 << 30, Decode: func(p []byte) (bus.Body, error) { return bustest.Body(p), nil }}
	var engines []*bus.Streams
	for range 2 { // one publishes, one follows, as two processes would
		control := nodes.connect(b, replicas)
		eventually(b, func() error {
			s, err := bus.NewStreams(b.Context(), control, config)
			if err == nil {
				engines = append(engines, s)
			}
			return err
		})
		defer engines[len(engines)-1].Close()
	}
	before := nodes.cpu(b) + ownCPU(b)
	var acks, arrivals samples
	var wg sync.WaitGroup
	for i := range subjects {
		subject := fmt.Sprintf("m.0_bench%d.0._1.1", i)
		f, err := engines[1].Follow(b.Context(), subject, 0)
		must(b, err)
		defer f.Close()
		sent := make(chan time.Time, 64)
		wg.Go(func() {
			time.Sleep(benchEvery * time.Duration(i) / time.Duration(subjects))
			benchPublish(b, engines[0], subject, sent, &acks)
		})
		wg.Go(func() {
			for at := range sent {
				if _, err := f.Next(b.Context()); err != nil {
					b.Error(err)
				}
				arrivals.add(time.Since(at))
			}
		})
	}
	wg.Wait()
	used := nodes.cpu(b) + ownCPU(b) - before
	b.ReportMetric(0, "ns/op")
	b.ReportMetric(used.Seconds()/float64(subjects)/benchTime.Minutes(), "cpu-s/stream-min")
	b.ReportMetric(float64(nodes.memory(b))/float64(replicas)/(1<<20), "MB/node")
	b.ReportMetric(acks.at(.5), "ack-p50-ms")
	b.ReportMetric(acks.at(.99), "ack-p99-ms")
	b.ReportMetric(arrivals.at(.5), "p50-ms")
	b.ReportMetric(arrivals.at(.99), "p99-ms")
}

func benchPublish(b *testing.B, s *bus.Streams, subject string, sent chan<- time.Time, acks *samples) {
	defer close(sent)
	body := make(bustest.Body, benchPart)
	tick := time.NewTicker(benchEvery)
	defer tick.Stop()
	for i := range int(benchTime / benchEvery) {
		start := time.Now()
		sent <- start
		if _, err := s.Publish(b.Context(), subject, strconv.Itoa(i), body); err != nil {
			b.Error(err)
		}
		acks.add(time.Since(start))
		<-tick.C
	}
}

// samples is a set of durations.
type samples struct {
	mu  sync.Mutex // guards all
	all []time.Duration
}

func (s *samples) add(d time.Duration) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.all = append(s.all, d)
}

// at returns a quantile in milliseconds.
func (s *samples) at(q float64) float64 {
	s.mu.Lock()
	defer s.mu.Unlock()
	slices.Sort(s.all)
	return float64(s.all[int(q*float64(len(s.all)-1))].Microseconds()) / 1000
}

func ownCPU(b *testing.B) time.Duration {
	var u syscall.Rusage
	must(b, syscall.Getrusage(syscall.RUSAGE_SELF, &u))
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// cpu is the processor time that the nodes have used.
func (c *cluster) cpu(b *testing.B) (sum time.Duration) {
	for _, cmd := range c.nodes {
		text, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", cmd.Process.Pid))
		must(b, err)
		fields := strings.Fields(string(text[strings.LastIndexByte(string(text), ')')+1:]))
		for _, f := range fields[11:13] { // user and system, in hundredths of a second
			n, err := strconv.Atoi(f)
			must(b, err)
			sum += time.Duration(n) * 10 * time.Millisecond
		}
	}
	return sum
}

// memory is what the nodes hold resident, in bytes.
func (c *cluster) memory(b *testing.B) (sum int) {
	for _, cmd := range c.nodes {
		text, err := os.ReadFile(fmt.Sprintf("/proc/%d/statm", cmd.Process.Pid))
		must(b, err)
		pages, err := strconv.Atoi(strings.Fields(string(text))[1])
		must(b, err)
		sum += pages * os.Getpagesize()
	}
	return sum
}
