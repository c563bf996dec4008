package transcode

import (
	"fmt"
	"testing"
	"time"

	"klive/infra/check"
	"klive/infra/live"
)

// ladder1080 is a usual ladder below 1080p.
func ladder1080() []live.VideoJob {
	list := []live.VideoJob{video(33, 1280, 720, 2500e3, "main"), video(34, 854, 480, 1200e3, "main"), video(35, 640, 360, 600e3, "main")}
	for i := range list {
		list[i].Level = 40
	}
	return list
}

const motion1080 = "testsrc2=s=1920x1080:r=30"

// benchSeconds is how long the clip of the benchmarks is.
func benchSeconds() string {
	if check.Proving() {
		return "60"
	}
	return "32"
}

// cpuOf runs ffmpeg on each segment of a clip and returns the CPU time of all runs.
func cpuOf(b *testing.B, c *clip, rungs []live.VideoJob) (cpu time.Duration) {
	b.Helper()
	encoder := Encoders()[0]
	for n := range c.segs {
		j := c.job(n, rungs, nil)
		src, err := newSource(&j, nil, c.parts[c.segs[n].first:c.segs[n].last+1], nil)
		if err != nil {
			b.Fatal(err)
		}
		input, err := src.file(&j)
		if err != nil {
			b.Fatal(err)
		}
		p := process{path: needFFmpeg(b), args: (&command{job: &j, encoder: &encoder, threads: 1}).args(), stall: time.Minute}
		file, err := p.run(b.Context(), input)
		if err != nil {
			b.Fatal(err)
		}
		if _, bad := verify(&j, src, file); len(bad) > 0 {
			b.Fatal(bad)
		}
		cpu += p.cpu
	}
	return cpu
}

// BenchmarkSegmentCPU compares the CPU time of a ladder that is made segment by segment with
// that of one continuous ffmpeg with the same settings, run in pairs.
func BenchmarkSegmentCPU(b *testing.B) {
	args := []string{"-f", "lavfi", "-i", motion1080, "-t", benchSeconds(), "-c:v", "libx264", "-preset", "ultrafast", "-b:v", "6M", "-g", "120", "-x264-params", "scenecut=0"}
	segments, whole := record(b, 4*time.Second, false, args...), record(b, time.Hour, false, args...)
	var one, many time.Duration
	for b.Loop() {
		many += cpuOf(b, segments, ladder1080())
		one += cpuOf(b, whole, ladder1080())
	}
	ratio := many.Seconds() / one.Seconds()
	b.ReportMetric(ratio, "cpu/continuous")
	if ratio > 1.15 {
		b.Errorf("a ladder by segments costs %.3f of a continuous one, want at most 1.15", ratio)
	}
}

// BenchmarkWorkers compares how much one worker and two make in a time, each with one thread, with
// what one continuous ffmpeg with one thread makes of the same clip. Two need two free cores.
func BenchmarkWorkers(b *testing.B) {
	args := []string{"-f", "lavfi", "-i", "testsrc2=s=1280x720:r=30", "-t", benchSeconds(), "-c:v", "libx264", "-preset", "ultrafast", "-b:v", "4M", "-g", "120", "-x264-params", "scenecut=0"}
	c, whole := record(b, 4*time.Second, false, args...), record(b, time.Hour, false, args...)
	rungs := []live.VideoJob{video(33, 854, 480, 1200e3, "main"), video(34, 640, 360, 600e3, "main")}
	took := map[int]time.Duration{}
	for b.Loop() {
		began := time.Now()
		cpuOf(b, whole, rungs)
		took[0] += time.Since(began)
		for _, workers := range []int{1, 2} {
			g := newRig(b, c)
			var jobs []live.Job
			for n := range c.segs {
				jobs = append(jobs, c.job(n, rungs, nil))
				g.put(jobs[n])
			}
			began := time.Now()
			for range workers {
				g.work(func(c *Config) { c.Preset = "veryfast" })
			}
			for n := range jobs {
				g.end(&jobs[n], rungs[0].Rendition)
				g.end(&jobs[n], rungs[1].Rendition)
			}
			took[workers] += time.Since(began)
		}
	}
	for _, workers := range []int{1, 2} {
		speed := took[0].Seconds() / took[workers].Seconds()
		b.ReportMetric(speed, fmt.Sprintf("speed-of-%d", workers))
		if want := 0.9 * float64(workers); speed < want {
			b.Errorf("%d workers make %.2f of what one ffmpeg does, want at least %.2f", workers, speed, want)
		}
	}
}

// BenchmarkEarlyStart measures what would be won by starting a job's ffmpeg before its input is
// there: the time from its start until it reads, as a share of a job of four seconds.
func BenchmarkEarlyStart(b *testing.B) {
	c := record(b, 4*time.Second, false, "-f", "lavfi", "-i", "testsrc2=s=1280x720:r=30", "-t", "4", "-c:v", "libx264", "-preset", "ultrafast", "-g", "120", "-x264-params", "scenecut=0")
	rungs := []live.VideoJob{video(33, 854, 480, 1200e3, "main"), video(34, 640, 360, 600e3, "main"), video(35, 426, 240, 300e3, "main")}
	j := c.job(0, rungs, nil)
	src, err := newSource(&j, nil, c.parts, nil)
	if err != nil {
		b.Fatal(err)
	}
	input, err := src.file(&j)
	if err != nil {
		b.Fatal(err)
	}
	encoder := Encoders()[0]
	args := (&command{job: &j, encoder: &encoder, threads: 1}).args()
	var start, job time.Duration
	for b.Loop() {
		for range 5 {
			// Without input ffmpeg ends as soon as it would read.
			began := time.Now()
			p := process{path: needFFmpeg(b), args: args, stall: time.Minute}
			_, _ = p.run(b.Context(), nil)
			start += time.Since(began)
			began = time.Now()
			p = process{path: needFFmpeg(b), args: args, stall: time.Minute}
			if _, err := p.run(b.Context(), input); err != nil {
				b.Fatal(err)
			}
			job += time.Since(began)
		}
	}
	b.ReportMetric(float64(start.Milliseconds())/float64(5*b.N), "ms-to-start")
	b.ReportMetric(100*start.Seconds()/job.Seconds(), "%-of-a-job")
}
