package e2e

import (
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"klive/infra/check"
	"klive/infra/check/fault"
	"klive/infra/publisher"
)

// proveOnly skips a test that has no short form.
func proveOnly(t *testing.T) {
	if !proving() {
		t.Skip("SKIP: runs under KLIVE_PROVE=1")
	}
}

// readiness is what /readyz of the public listener says.
func (p *process) readiness() string {
	resp, err := p.client.Get("http://" + p.http + "/readyz")
	if err != nil {
		return err.Error()
	}
	defer resp.Body.Close()
	text, _ := io.ReadAll(io.LimitReader(resp.Body, 4096))
	return strings.TrimSpace(string(text))
}

// TestDiskFull fills the data folder's disk under a klive that has everything on it: first to
// below the mark, then to below what media leave free, then whole. It refuses new streams in
// words, goes on as far as it can, and goes on by itself when there is room.
func TestDiskFull(t *testing.T) {
	proveOnly(t)
	promise := promised(t)
	dir := fault.SmallDisk(t, "192m")
	p := start(t, "KLIVE_DATA="+dir, "KLIVE_LIMITS_DISK=64MiB", "KLIVE_SEGMENT_DURATION=2s", "KLIVE_BROADCAST_RESUME=60s")
	clip := demoClip(t, publisher.Synthetic{GOP: time.Second, Bitrate: 800_000})
	e, err := check.StartLight(check.LightConfig{Clip: clip, URLs: []string{p.demo()}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(e.Stop)
	v, err := check.Watch("serve", p.playlist("0_demolive"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(v.Stop)
	seen := func(n uint64, within time.Duration, when string) {
		t.Helper()
		last, _ := v.Last()
		p.wait(t, within, fmt.Sprintf("%d segments %s", n, when), func() bool { now, _ := v.Last(); return now >= last+n })
	}
	seen(3, 30*time.Second, "before anything is wrong")
	other := p.addEntries(t, 1)[0]

	free := fault.FillDisk(t, dir, 40<<20)
	p.wait(t, 20*time.Second, "the mark", func() bool { return strings.Contains(p.readiness(), "full: the disk of the data folder has") })
	if _, err := publisher.Dial(t.Context(), publisher.Config{URL: p.broadcast(other.ID, other.Token)}); err == nil || !strings.Contains(err.Error(), "takes no more streams: the disk of the data folder") {
		t.Errorf("a new stream hears %v", err)
	}
	seen(3, 30*time.Second, "over the mark")

	fault.FillDisk(t, dir, 17<<20) // media leave 16 MiB free for records and playlists
	seen(3, 60*time.Second, "with the last of the disk left to records")

	whole := time.Now()
	fault.FillDisk(t, dir, 0)
	p.wait(t, 30*time.Second, "a full disk to be told", func() bool { return strings.HasPrefix(p.readiness(), "not ready: ") })
	time.Sleep(15 * time.Second)
	if !p.running() {
		t.Fatalf("klive ended: %v\n%s", p.err, p.log)
	}
	free()
	p.wait(t, 90*time.Second, "klive to be ready again", func() bool { return p.readiness() == "ok" })
	seen(4, 90*time.Second, "after there is room again")
	promise.Recovery = time.Since(whole)
	v.Stop()
	if err := v.Rules(); err != nil {
		t.Errorf("the playlists break rules: %v", err)
	}
	if n := len(p.log.with("the broadcast begins")); n != 1 {
		t.Errorf("%d broadcasts began, want 1", n)
	}
}

// TestDescriptorsExhausted takes a running klive's file descriptors away, all but a few more than
// it has open. It says so and takes no new streams, what is on the air goes on, and when it may
// open more it takes streams again.
func TestDescriptorsExhausted(t *testing.T) {
	proveOnly(t)
	promise := promised(t)
	p := start(t, "KLIVE_SEGMENT_DURATION=2s")
	clip := demoClip(t, publisher.Synthetic{GOP: time.Second, Bitrate: 400_000})
	e, err := check.StartLight(check.LightConfig{Clip: clip, URLs: []string{p.demo()}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(e.Stop)
	v, err := check.Watch("serve", p.playlist("0_demolive"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(v.Stop)
	seen := func(n uint64, within time.Duration) {
		t.Helper()
		last, _ := v.Last()
		p.wait(t, within, fmt.Sprintf("%d segments", n), func() bool { now, _ := v.Last(); return now >= last+n })
	}
	seen(3, 30*time.Second)
	open, err := os.ReadDir(fmt.Sprintf("/proc/%d/fd", p.cmd.Process.Pid))
	if err != nil {
		t.Skipf("SKIP: %v", err)
	}
	before := fault.LimitDescriptors(t, p.cmd.Process.Pid, uint64(len(open)+16))
	begin := time.Now()
	var idle []net.Conn // connections that say nothing would take the rest
	for range 40 {
		if c, err := net.DialTimeout("tcp", p.rtmp, time.Second); err == nil {
			idle = append(idle, c)
		}
	}
	p.wait(t, 20*time.Second, "the mark", func() bool { return len(p.log.with("takes no new streams", "file descriptors")) > 0 })
	seen(4, 60*time.Second)
	for _, c := range idle {
		c.Close()
	}
	fault.LimitDescriptors(t, p.cmd.Process.Pid, before)
	p.wait(t, 40*time.Second, "room again", func() bool { return p.readiness() == "ok" })
	seen(3, 30*time.Second)
	if n := p.metric(t, "klive_node_connections_closed_total"); n < 20 {
		t.Errorf("%d of the connections that say nothing were closed as they came, want most of 40", n)
	}
	if n := len(e.Connects()); n != 1 {
		t.Errorf("the encoder connected %d times, want once", n)
	}
	v.Stop()
	if err := v.Err(); err != nil {
		t.Error(err)
	}
	m := check.MeasureStalls(v.Items(), []check.Fault{{Name: "no descriptors", At: begin}})
	promise.Stall = max(0, m.Worst.By)
	t.Logf("the longest stall was %v, the usual lateness %v", m.Worst.By, m.Median)
}

// TestClusterClockStepped steps the clock of the owner, and then of the encoder's gateway, by five
// seconds forth and back. Each says so, is not ready while it differs, and the broadcast goes on.
func TestClusterClockStepped(t *testing.T) {
	proveOnly(t)
	path := filepath.Join(t.TempDir(), "klive")
	if out, err := exec.Command("go", "build", "-overlay", fault.ClockOverlay(t), "-o", path, "klive").CombinedOutput(); err != nil {
		t.Fatalf("go build: %v\n%s", err, out)
	}
	dir := t.TempDir()
	file := func(name string) string { return filepath.Join(dir, name) }
	c := startCluster(t, shape{settings: clusterSegments, binary: func(string) string { return path }, env: func(name string) []string {
		return []string{fault.ClockFile + "=" + file(name)}
	}})
	s := c.air("clocks are stepped by 5 s")
	for _, by := range []int{5, -5} {
		for _, m := range []*member{c.owner(s.entry.ID), c.gateways[0]} {
			s.fault("%s is stepped by %d s", m.Name, by)
			fault.StepClock(t, file(m.Name), by)
			s.eventually(15*time.Second, m.Name+" to be not ready", func() error {
				if c.ready(t.Context(), m.admin) == nil {
					return fmt.Errorf("it is ready")
				}
				return nil
			})
			s.await(4)
			fault.StepClock(t, file(m.Name), 0)
			s.eventually(15*time.Second, m.Name+" to be ready", func() error { return c.ready(t.Context(), m.admin) })
			if len(m.Said("clock was stepped")) == 0 {
				t.Errorf("%s does not say that its clock was stepped", m.Name)
			}
		}
	}
	s.await(2)
	s.finish()
	s.stalls(10 * time.Second)
}
