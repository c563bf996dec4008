package e2e

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"slices"
	"sync"
	"testing"
	"time"

	"klive/infra/bus"
)

// payload is a body of the media plane, and its wire form; it carries the moment of its publishing.
type payload []byte

// Size is the memory of the body.
func (p payload) Size() int { return len(p) }

func (p payload) AppendBinary(b []byte) ([]byte, error) { return append(b, p...), nil }

// BenchmarkBusLatency measures what the bus adds: from a part's publish to its arrival with
// who follows, over three servers in processes of their own. Parts are as streams of 5 Mbit/s
// have them.
func BenchmarkBusLatency(b *testing.B) {
	for _, replicas := range []int{1, 3} {
		for _, n := range []int{10, 50} {
			b.Run(fmt.Sprintf("R%d/%d", replicas, n), func(b *testing.B) {
				for b.Loop() {
					measureLatency(b, replicas, n)
				}
			})
		}
	}
}

const (
	partEvery = 333 * time.Millisecond
	partBytes = 5_000_000 / 8 / 3
)

func measureLatency(b *testing.B, replicas, n int) {
	c := newCluster(b, shape{replicas: replicas})
	c.startBuses()
	media := c.media(b, replicas)
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second+length(30*time.Second, 10*time.Second))
	defer cancel()
	before := c.busUsage()
	begin := time.Now()
	var wg sync.WaitGroup
	arrivals, acks := make([][]time.Duration, n), make([][]time.Duration, n)
	for i := range n {
		subject := fmt.Sprintf("m.0_stream%d.0.1.1", i)
		wg.Go(func() { arrivals[i] = receive(ctx, b, media, subject) })
		wg.Go(func() {
			time.Sleep(partEvery * time.Duration(i) / time.Duration(n))
			acks[i] = send(ctx, b, media, subject)
		})
	}
	wg.Wait()
	after, minutes := c.busUsage(), time.Since(begin).Minutes()*float64(n)
	all, ack := slices.Concat(arrivals...), slices.Concat(acks...)
	if len(all) < len(ack)*9/10 || len(ack) == 0 {
		b.Fatalf("%d parts were acknowledged, %d arrived", len(ack), len(all))
	}
	b.ReportMetric(ms(percentile(all, 50)), "p50-ms")
	b.ReportMetric(ms(percentile(all, 99)), "p99-ms")
	b.ReportMetric(ms(percentile(ack, 99)), "ack-p99-ms")
	b.ReportMetric(0, "ns/op")
	b.Logf("%d streams, R%d: a part arrives after p50 %v, p99 %v; is acknowledged after p50 %v, p99 %v; the bus takes %.3f CPU s per stream-minute and %.1f MB per stream",
		n, replicas, percentile(all, 50), percentile(all, 99), percentile(ack, 50), percentile(ack, 99),
		(after.cpu-before.cpu)/minutes, after.memory/float64(n))
}

// media is the media plane of the cluster's bus, in this process.
func (c *cluster) media(b *testing.B, replicas int) *bus.Streams {
	b.Helper()
	var control *bus.Control
	eventually(b, 30*time.Second, "the bus", func() (err error) {
		control, err = bus.Connect(b.Context(), bus.ConnectConfig{
			URL: "nats://" + c.busURLs[0], User: busUser, Password: busPassword, Name: "bench", Replicas: replicas,
		})
		return err
	})
	b.Cleanup(func() { control.Close() })
	var media *bus.Streams
	eventually(b, 30*time.Second, "the media plane", func() (err error) {
		media, err = bus.NewStreams(b.Context(), control, bus.StreamsConfig{
			Replicas: replicas, MaxAge: 30 * time.Second, Decode: func(wire []byte) (bus.Body, error) { return payload(wire), nil },
		})
		return err
	})
	b.Cleanup(func() { media.Close() })
	return media
}

func send(ctx context.Context, b *testing.B, media *bus.Streams, subject string) (acks []time.Duration) {
	tick := time.NewTicker(partEvery)
	defer tick.Stop()
	for seq := uint64(1); ; seq++ {
		body := make(payload, partBytes)
		begin := time.Now()
		binary.BigEndian.PutUint64(body, uint64(begin.UnixNano()))
		if _, err := media.Publish(ctx, subject, fmt.Sprint(seq), body); err != nil {
			if ctx.Err() == nil {
				b.Errorf("%s: %v", subject, err)
			}
			return acks
		}
		acks = append(acks, time.Since(begin))
		select {
		case <-tick.C:
		case <-ctx.Done():
			return acks
		}
	}
}

func receive(ctx context.Context, b *testing.B, media *bus.Streams, subject string) (took []time.Duration) {
	f, err := media.Follow(ctx, subject, 1)
	if err != nil {
		b.Error(err)
		return nil
	}
	defer f.Close()
	for {
		m, err := f.Next(ctx)
		if err != nil {
			if ctx.Err() == nil && !errors.Is(err, context.Canceled) {
				b.Errorf("%s: %v", subject, err)
			}
			return took
		}
		sent := int64(binary.BigEndian.Uint64(m.Body.(payload)))
		took = append(took, time.Duration(time.Now().UnixNano()-sent))
	}
}

// busUsage is what the bus nodes have taken so far.
func (c *cluster) busUsage() (sum cost) {
	for _, m := range c.buses {
		u := m.Usage()
		sum = cost{sum.cpu + u.CPU.Seconds(), sum.memory + u.Resident}
	}
	return sum
}

func percentile(list []time.Duration, p int) time.Duration {
	if len(list) == 0 {
		return 0
	}
	list = slices.Sorted(slices.Values(list))
	return list[min(len(list)-1, len(list)*p/100)].Round(10 * time.Microsecond)
}

func ms(d time.Duration) float64 { return float64(d) / float64(time.Millisecond) }
