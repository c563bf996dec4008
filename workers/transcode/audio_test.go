package transcode

import (
	"bytes"
	"encoding/binary"
	"math"
	"math/rand/v2"
	"os/exec"
	"testing"
	"time"

	"klive/infra/live"
	"klive/infra/media"
	"klive/infra/media/mp4"
)

// TestOpusToAAC lets workers encode the sound of a sine in Opus, segment by segment in any
// order, and holds the decoded result against the sine: its phase goes on over the joins, no
// step at a join is larger than those inside, and nothing drifts. The encoded frames abut.
func TestOpusToAAC(t *testing.T) {
	t.Parallel()
	const hz, rate = 1000.0, 48000
	c := record(t, 2*time.Second, false, "-f", "lavfi", "-i", testVideo, "-f", "lavfi", "-i", "sine=frequency=1000:sample_rate=48000", "-t", length(),
		"-c:v", "libx264", "-preset", "ultrafast", "-g", "60", "-x264-params", "scenecut=0", "-c:a", "libopus", "-b:a", "128k")
	g := newRig(t, c)
	audio := &live.AudioJob{Rendition: entry + "_a1", Bitrate: 128e3, SampleRate: rate, Channels: 1}
	var jobs []live.Job
	for n := range c.segs {
		jobs = append(jobs, c.job(n, nil, audio))
	}
	for _, n := range rand.Perm(len(jobs)) {
		g.put(jobs[n])
	}
	g.work(nil)
	s := mp4.Stream{}
	joins := map[int]bool{} // samples of the result at which segments meet
	var end media.Time
	for n := range jobs {
		a := g.result(&jobs[n], audio.Rendition)
		tr, _ := a.Track(media.Audio)
		frames := a.Frames(tr.ID)
		if n == 0 {
			s.Track = tr
		} else if frames[0].PTS != end || !tr.Params.Equal(s.Track.Params) {
			t.Errorf("segment %d begins at %v, the one before ends at %v", n, frames[0].PTS.Std(), end.Std())
		}
		joins[len(s.Frames)*live.AACFrame] = true
		s.Frames = append(s.Frames, frames...)
		end = frames[len(frames)-1].End()
	}
	pcm := decode(t, s)
	if len(pcm) < (len(s.Frames)-1)*live.AACFrame {
		t.Fatalf("%d samples of %d frames", len(pcm), len(s.Frames))
	}
	// The first two frames are the decoder's warm-up, and Opus needs 80 ms to find its feet.
	const skip, window = 8 * live.AACFrame, 480 // ten periods
	start := c.parts[0].Segment.Start
	at := s.Frames[0].PTS.Sub(start).Seconds()
	const preSkip = 312    // by which ffmpeg's MP4 has Opus late when it writes no edit list
	var drift, off float64 // the largest mean of a segment, and the largest at a join, in samples
	var sum, n float64
	for i := skip; i+window < len(pcm)-2*live.AACFrame; i += window / 2 {
		var re, im float64
		joined := false
		for k := range window {
			x := 2 * math.Pi * hz * (at + float64(i+k-preSkip)/rate)
			re, im = re+float64(pcm[i+k])*math.Cos(x), im+float64(pcm[i+k])*math.Sin(x)
			joined = joined || joins[i+k]
		}
		phase := math.Atan2(re, im) / (2 * math.Pi) * rate / hz // in samples
		sum, n = sum+phase, n+1
		if joined {
			off = max(off, math.Abs(phase))
			drift = max(drift, math.Abs(sum/n))
			sum, n = 0, 0
		}
	}
	t.Logf("%d joins; the sine is %.3f samples off on average in the worst segment, and %.3f at the worst join", len(joins)-1, drift, off)
	if drift > 0.2 || off > 0.5 {
		t.Errorf("the sine is %.3f samples off on average in a segment, and %.3f at a join, want less than 0.2 and 0.5", drift, off)
	}
	var inside, atJoin float64
	for i := skip + 1; i < len(pcm)-2*live.AACFrame; i++ {
		step := math.Abs(float64(pcm[i] - pcm[i-1]))
		near := false
		for k := -2; k <= 2; k++ {
			near = near || joins[i+k]
		}
		if near {
			atJoin = max(atJoin, step)
		} else {
			inside = max(inside, step)
		}
	}
	t.Logf("the largest step is %.4f inside and %.4f at joins", inside, atJoin)
	if atJoin > inside*1.02 || inside == 0 {
		t.Errorf("the largest step is %.4f inside and %.4f at joins", inside, atJoin)
	}
}

// decode has ffmpeg decode a track.
func decode(t *testing.T, s mp4.Stream) []float32 {
	t.Helper()
	file, err := mp4.File([]mp4.Stream{s}, s.Frames[0].DTS/1e9*1e9)
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(t.Context(), needFFmpeg(t), "-nostdin", "-hide_banner", "-loglevel", "error", "-f", "mp4", "-i", "pipe:0", "-f", "f32le", "pipe:1")
	cmd.Stdin = bytes.NewReader(bytes.Join(file, nil))
	out, err := cmd.Output()
	if err != nil {
		t.Fatal(err)
	}
	pcm := make([]float32, len(out)/4)
	for i := range pcm {
		pcm[i] = math.Float32frombits(binary.LittleEndian.Uint32(out[4*i:]))
	}
	return pcm
}
