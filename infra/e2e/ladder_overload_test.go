package e2e

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"klive/infra/check"
)

// TestLadderOverload has a worker with one thread make a ladder, while as many other encoders run on
// the machine as leave it half of what it needs: the source's playlist stays on time, rungs are shed
// highest bitrate first, and are all back within three segments after the others have gone.
func TestLadderOverload(t *testing.T) {
	if !proving() {
		t.Skip("SKIP: takes the whole machine for two minutes; runs under KLIVE_PROVE=1. TestOverload of workers/transcode is its short form")
	}
	p := start(t, "KLIVE_TRANSCODE_PRESET=medium", "KLIVE_TRANSCODE_JOBS=1", "KLIVE_TRANSCODE_THREADS=1", "KLIVE_SEGMENT_DURATION=2s", "KLIVE_BROADCAST_RESUME=12s")
	e := controlPlane{p.client, p.admin}.addEntriesOf(t, cloudTranscode, 1)[0]
	f := publish(t, fmt.Sprintf("rtmp://%s/kLive/?p=102&e=%s&i=0&t=%s/%s_1", p.rtmp, e.ID, e.Token, e.ID), x264Clip(t), 100*time.Second)
	done := make(chan struct{})
	var wg sync.WaitGroup
	wg.Go(func() { f.wait(); close(done) })
	var most memory
	var from, to time.Time
	var others int
	wg.Go(func() {
		time.Sleep(25 * time.Second)
		alone := p.realtime(t)
		// One thread among as many others on these cores gets its share of them: half of what the
		// ladder takes.
		others = max(2, int(2*float64(runtime.NumCPU())*alone))
		if alone < 1.5 {
			t.Errorf("alone, the worker makes only %.2f s a second: something else runs on the machine", alone)
		}
		t.Logf("alone, a segment is made in %.2f of its length; %d others run beside it", 1/alone, others)
		from = time.Now()
		stop := compete(t, others)
		for time.Since(from) < 40*time.Second {
			most.look(p)
			time.Sleep(200 * time.Millisecond)
		}
		stop()
		to = time.Now()
	})
	follower := follow(t, p, e.ID, done)
	wg.Wait()
	if f.err != nil {
		t.Fatal(f.err)
	}
	sameAsSource(t, follower, e.ID, 1000)
	overloaded := checkSheds(t, follower, e.ID, from, to)
	t.Logf("under %d other encoders for %v: %d segments went without their highest rung, %d sheds counted; klive took at most %.0f MB, its ffmpegs %.0f MB",
		others, to.Sub(from).Round(time.Second), overloaded, p.sheds(t), most.klive, most.ffmpeg)
	if overloaded == 0 || p.sheds(t) == 0 {
		t.Error("nothing was shed")
	}
	if most.klive > 300 || most.ffmpeg > 1000 {
		t.Errorf("klive took %.0f MB and its ffmpegs %.0f MB, want at most 300 and 1000", most.klive, most.ffmpeg)
	}
}

// realtime is how many seconds of media a second of work makes, by the worker's own count.
func (p *process) realtime(t *testing.T) float64 {
	t.Helper()
	value := func(name string) float64 {
		for line := range strings.Lines(p.get(t.Context(), "http://"+p.admin+"/metrics")) {
			if rest, ok := strings.CutPrefix(line, name+`{rung="33"} `); ok {
				v, _ := strconv.ParseFloat(strings.TrimSpace(rest), 64)
				return v
			}
		}
		return 0
	}
	n := value("klive_transcode_realtime_factor_count")
	if n < 3 {
		t.Errorf("%v segments were made before the others began", n)
		return 1
	}
	return value("klive_transcode_realtime_factor_sum") / n
}

// sheds is how many segments of rungs the worker says it has shed.
func (p *process) sheds(t *testing.T) (n int64) {
	for _, id := range []string{"33", "34", "35"} {
		n += p.metric(t, `klive_transcode_sheds_total{rung="`+id+`"}`)
	}
	return n
}

// compete runs encoders of one thread each until it is told to stop.
func compete(t *testing.T, n int) (stop func()) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	var wg sync.WaitGroup
	for range n {
		cmd := exec.CommandContext(ctx, ffmpeg(t), "-loglevel", "error", "-nostdin", "-filter_threads", "1", "-f", "lavfi", "-i", "testsrc2=size=640x360:rate=30",
			"-threads", "1", "-c:v", "libx264", "-preset", "medium", "-threads", "1", "-f", "null", "-")
		if err := cmd.Start(); err != nil {
			t.Error(err)
			continue
		}
		wg.Go(func() { _ = cmd.Wait() }) // killed
	}
	return func() { cancel(); wg.Wait() }
}

// memory is the most that klive and its ffmpegs together held, in MB of resident memory.
type memory struct{ klive, ffmpeg float64 }

func (m *memory) look(p *process) {
	resident := func(pid int) float64 {
		b, _ := os.ReadFile(fmt.Sprintf("/proc/%d/statm", pid))
		fields := strings.Fields(string(b))
		if len(fields) < 2 {
			return 0
		}
		pages, _ := strconv.ParseFloat(fields[1], 64)
		return pages * float64(os.Getpagesize()) / (1 << 20)
	}
	m.klive = max(m.klive, resident(p.cmd.Process.Pid))
	children, _ := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/children", p.cmd.Process.Pid))
	sum := 0.0
	for _, name := range children {
		b, _ := os.ReadFile(name)
		for _, child := range bytes.Fields(b) {
			if pid, err := strconv.Atoi(string(child)); err == nil {
				sum += resident(pid)
			}
		}
	}
	m.ffmpeg = max(m.ffmpeg, sum)
}

// checkSheds holds the order in which rungs were left out between two moments, how late the
// source's segments were listed, and that no rung lacks anything from the fourth segment on that
// began after the second moment, nor before the first. It returns how many went without the highest.
func checkSheds(t *testing.T, f *check.Follower, entry string, from, to time.Time) (shed int) {
	t.Helper()
	rungs := []string{"35", "34", "33"} // highest bitrate first
	gap := map[string]map[uint64]bool{}
	for _, id := range rungs {
		gap[id] = map[uint64]bool{}
		r := f.Renditions["/kLive/"+entry+"_"+id+"/v.m3u8"]
		if r == nil {
			t.Fatalf("rung %s was not seen", id)
		}
		for _, it := range r.Items {
			gap[id][it.Seq] = it.Gap
		}
	}
	late, after := time.Duration(0), 0
	for _, it := range f.Renditions["/kLive/"+entry+"_32/v.m3u8"].Items {
		end := it.Time.Add(it.Duration)
		late = max(late, it.FirstListed.Sub(end))
		var gone []string
		for _, id := range rungs {
			if gap[id][it.Seq] {
				gone = append(gone, id)
			}
		}
		if it.Time.After(to) {
			after++
		}
		switch {
		case len(gone) == 0:
		case !slices.Equal(gone, rungs[:len(gone)]):
			t.Errorf("segment %d went without %v: the highest goes first", it.Seq, gone)
		case end.Before(from.Add(-6*time.Second)) || after > 3:
			t.Errorf("segment %d, %v after the load began and %v after it ended, went without %v", it.Seq, it.Time.Sub(from).Round(time.Second), it.Time.Sub(to).Round(time.Second), gone)
		default:
			shed++
		}
		if len(gone) > 0 {
			t.Logf("segment %d, %.1f s after the load began: without %v", it.Seq, it.Time.Sub(from).Seconds(), gone)
		}
	}
	t.Logf("the source's segments were listed at most %v after their end; %d segments began after the load had gone", late.Round(time.Millisecond), after)
	if late > 2*time.Second {
		t.Errorf("a segment of the source was listed %v after its end", late)
	}
	if after < 4 {
		t.Errorf("only %d segments began after the load had gone", after)
	}
	return shed
}
