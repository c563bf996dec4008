package e2e

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"klive/infra/check"
	"klive/infra/check/fault"
	"klive/infra/publisher"
)

// TestMemoryLimit runs klive where the kernel kills what takes more than 320 MiB, and gives it ever
// more streams, whose segments are long and large. Before it is killed it takes no more, in words;
// those that it has go on for a minute, none of their encoders notices, and no segment is missing.
func TestMemoryLimit(t *testing.T) {
	proveOnly(t)
	promise := promised(t)
	const limit, tooMany = 320 << 20, 60
	group := fault.NewMemoryGroup(t, limit)
	p := startIn(t, group.Command, "KLIVE_SEGMENT_DURATION=4s", "KLIVE_LOG_LEVEL=info")
	table := &check.Table{Title: fmt.Sprintf("a limit of %d MiB on memory", limit>>20)}
	t.Cleanup(func() { t.Log(table) })
	e, err := check.StartLight(check.LightConfig{Clip: demoClip(t, publisher.Synthetic{Bitrate: 1_000_000}), URLs: []string{p.demo()}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(e.Stop)
	v, err := check.Watch("serve", p.playlist("0_demolive"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(v.Stop)
	p.wait(t, 60*time.Second, "segments", func() bool { n, _ := v.Last(); return n >= 4 })

	begin := time.Now()
	heavy := demoClip(t, publisher.Synthetic{Bitrate: 16_000_000})
	var feeds []*feed
	refused := ""
	for _, other := range p.addEntries(t, tooMany) {
		pub, err := publisher.Dial(t.Context(), publisher.Config{URL: p.broadcast(other.ID, other.Token)})
		if err != nil {
			refused = err.Error()
			break
		}
		feeds = append(feeds, publishOn(t, pub, heavy, 0))
		time.Sleep(3 * time.Second) // what it takes, a stream takes after some seconds
	}
	table.Add("streams of 16 Mbit/s before one was refused", len(feeds), "")
	table.Add("it was told", refused, "")
	if !strings.Contains(refused, "takes no more streams: memory at ") {
		t.Errorf("after %d streams a new one hears %q", len(feeds), refused)
	}
	if r := p.readiness(); !strings.HasPrefix(r, "full: ") {
		t.Errorf("/readyz says %q", r)
	}
	time.Sleep(time.Minute)
	last, _ := v.Last()
	p.wait(t, 30*time.Second, "more segments", func() bool { now, _ := v.Last(); return now >= last+2 })
	table.Add("the most memory that it took, in MiB, pages of files included", group.Peak()>>20, fmt.Sprint(limit>>20))
	if n := group.Kills(); n > 0 || !p.running() {
		t.Fatalf("the kernel has killed %d processes", n)
	}
	for _, f := range feeds {
		if err := f.stop(); err != nil {
			t.Errorf("a stream that had been let in ended: %v", err)
		}
	}
	if n := len(e.Connects()); n != 1 {
		t.Errorf("the encoder connected %d times, want once", n)
	}
	v.Stop()
	if err := v.Err(); err != nil {
		t.Error(err)
	}
	m := check.MeasureStalls(v.Items(), []check.Fault{{Name: "ever more streams", At: begin}})
	table.AddStalls(v.Name, m, "≤ 3s")
	if promise.Stall = max(0, m.Worst.By); m.Worst.By > 3*time.Second {
		t.Errorf("segment %d was %v late", m.Worst.Seq, m.Worst.By)
	}
	p.wait(t, 60*time.Second, "room again", func() bool { return p.readiness() == "ok" })
}
