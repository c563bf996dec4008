package e2e

import (
	"fmt"
	"strconv"
	"testing"
	"time"

	"klive/infra/publisher"
)

// aimRatio is what a stream may cost on a cluster, all processes together, in terms of what
// it costs "klive serve", once there are aimStreams of them: with few the processes' standing
// by is most of what they take.
const (
	aimRatio   = 2.5
	aimStreams = 50
)

// BenchmarkCluster measures what streams of 5 Mbit/s cost each role of a cluster, with one bus
// node that keeps each record and part, and with three that all keep each, and beside it what
// they cost "klive serve" in the same run. All processes count, those too that idle: one of
// three workers' standing by costs the same with ten streams as with fifty.
func BenchmarkCluster(b *testing.B) {
	for _, n := range []int{10, 50} {
		serve := 0.0
		b.Run(fmt.Sprintf("serve/%d", n), func(b *testing.B) {
			for b.Loop() {
				serve = measure(b, n)
			}
		})
		for _, replicas := range []int{1, 3} {
			b.Run(fmt.Sprintf("R%d/%d", replicas, n), func(b *testing.B) {
				for b.Loop() {
					measureCluster(b, n, replicas, serve)
				}
			})
		}
	}
}

// cost is what a role took of one stream.
type cost struct{ cpu, memory float64 }

func measureCluster(b *testing.B, n, replicas int, serve float64) {
	c := startCluster(b, shape{buses: replicas, replicas: replicas, settings: []string{"log.level=warn"}})
	clip := demoClip(b, publisher.Synthetic{Width: 1280, Height: 720, Bitrate: 5_000_000})
	var feeds []*feed
	for i, e := range (controlPlane{c.client, c.control.admin}).addEntries(b, n) {
		feeds = append(feeds, publish(b, c.gateways[i%len(c.gateways)].ingest(e, 0), clip, 0))
		time.Sleep(2 * time.Second / time.Duration(n)) // not all keyframes at once
	}
	time.Sleep(10 * time.Second)
	run := length(time.Minute, 20*time.Second)
	before, begin := c.usage(), time.Now()
	time.Sleep(run)
	after, minutes := c.usage(), time.Since(begin).Minutes()*float64(n)
	for _, f := range feeds {
		if err := f.stop(); err != nil {
			b.Errorf("a stream ended: %v", err)
		}
	}
	var all cost
	text := ""
	for _, role := range []string{"bus", "gateway", "worker", "origin", "control"} {
		is := cost{cpu: (after[role].cpu - before[role].cpu) / minutes, memory: after[role].memory / float64(n)}
		b.ReportMetric(is.cpu, role+"-cpu-s/stream-min")
		b.ReportMetric(is.memory, role+"-MB/stream")
		text += fmt.Sprintf("; %s %.3f s, %.1f MB", role, is.cpu, is.memory)
		all.cpu += is.cpu
		all.memory += is.memory
	}
	store := (after["store"].cpu - before["store"].cpu) / minutes
	b.ReportMetric(all.cpu, "cpu-s/stream-min")
	b.ReportMetric(0, "ns/op")
	ratio := 0.0
	if serve > 0 {
		ratio = all.cpu / serve
		b.ReportMetric(ratio, "times-serve")
	}
	b.Logf("%d streams, R%d: %.3f CPU s per stream-minute in all, %s times serve (aim at R1 with %d streams: %.1f), %.1f MB per stream%s (the S3 server: %.3f s)",
		n, replicas, all.cpu, strconv.FormatFloat(ratio, 'f', 2, 64), aimStreams, aimRatio, all.memory, text, store)
	if replicas == 1 && n >= aimStreams && ratio > aimRatio {
		b.Errorf("a stream costs %.2f times what it costs serve, want at most %.1f", ratio, aimRatio)
	}
}

// usage is what each role's processes have taken so far: CPU seconds and MB.
func (c *cluster) usage() map[string]cost {
	out := map[string]cost{}
	for role, members := range map[string][]*member{
		"bus": c.buses, "gateway": c.gateways, "worker": c.workers, "origin": c.origins, "control": {c.control},
	} {
		for _, m := range members {
			u := m.Usage()
			out[role] = cost{out[role].cpu + u.CPU.Seconds(), out[role].memory + u.Resident}
		}
	}
	out["store"] = cost{c.store.Usage().CPU.Seconds(), 0}
	return out
}
