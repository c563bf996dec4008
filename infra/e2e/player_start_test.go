package e2e

import (
	"os/exec"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"klive/infra/check"
	"klive/infra/media"
)

// TestPlayersFromTheStart plays a broadcast from its first segment, whose sound begins
// before its pictures: the encoder has B-frames and sends 150 ms more of sound first.
func TestPlayersFromTheStart(t *testing.T) {
	beside(t)
	p := start(t, "KLIVE_BROADCAST_RESUME=2s")
	f := publish(t, p.demo(), (&encoded{seconds: "14", late: "0.15"}).encode(t), 12*time.Second)
	done := make(chan struct{})
	go func() { defer close(done); f.wait() }()
	follower := follow(t, p, "0_demolive", done)
	<-done
	if f.err != nil {
		t.Fatal(f.err)
	}
	lead := soundBefore(t, follower)
	for _, engine := range []string{"hls.js", "native"} {
		t.Run(engine, func(t *testing.T) {
			beside(t)
			fromTheStart(t, p, engine)
		})
	}
	t.Run("ffprobe", func(t *testing.T) { probeStart(t, p, lead) })
}

// soundBefore returns how long before the first picture the sound begins. The playlists have
// to say the same of it as the segments.
func soundBefore(t *testing.T, f *check.Follower) time.Duration {
	t.Helper()
	video, audio := f.Kind(media.Video), f.Kind(media.Audio)
	if video == nil || audio == nil || video.Items[0].Seq != 1 || audio.Items[0].Seq != 1 {
		t.Fatal("the playlists don't begin with the first item")
	}
	begin := func(r *check.Rendition) time.Time {
		u := r.Items[0].Units[0]
		return media.TimeFromTicks(u.PTS, u.Rate).Std()
	}
	lead := begin(video).Sub(begin(audio))
	said := video.Items[0].Time.Sub(audio.Items[0].Time)
	t.Logf("the sound begins %v before the first picture, %v in the playlists", lead, said)
	if lead < 150*time.Millisecond || lead > 250*time.Millisecond {
		t.Errorf("the sound begins %v before the first picture, want 150 to 250 ms", lead)
	}
	if (said - lead).Abs() > time.Millisecond {
		t.Errorf("the playlists say that it begins %v before the first picture, it is %v", said, lead)
	}
	return lead
}

// fromTheStart holds what a player makes of the ended broadcast.
func fromTheStart(t *testing.T, p *process, engine string) {
	t.Helper()
	w := watch(t, p, engine == "native", 6*time.Second)
	first, last := w.Samples[0], w.Samples[len(w.Samples)-1]
	if first.CurrentTime > 1 {
		t.Errorf("the player began at %.3f s", first.CurrentTime)
	}
	if w.Stats.Engine != engine || last.Waiting > 0 || len(w.Stats.Fatal) > 0 {
		t.Errorf("%s: %d waiting events; errors %q; the page said %q", w.Stats.Engine, last.Waiting, w.Stats.Errors, w.Console)
	}
	// A busy machine decodes slowly, which is not the stream's doing; a stall would be.
	if got := last.CurrentTime - first.CurrentTime; got < 2 {
		t.Errorf("%.3f s were played in 6 s", got)
	}
	// hls.js puts the first picture's DTS at 0 and begins with its PTS.
	if b := w.Stats.Buffered; len(b) != 1 || b[0][0] > 0.1 {
		t.Errorf("the player holds %v", b)
	}
}

// probeStart has ffprobe list the packets: sound first, by the lead, and without a hole.
func probeStart(t *testing.T, p *process, lead time.Duration) {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), ffprobe(t), "-v", "error", "-show_entries", "packet=codec_type,pts_time", "-of", "csv=p=0", p.playlist("0_demolive"))
	var complaints strings.Builder
	cmd.Stderr = &complaints
	out, err := cmd.Output()
	if err != nil || complaints.Len() > 0 {
		t.Fatalf("ffprobe: %v\n%s", err, complaints.String())
	}
	times := map[string][]float64{}
	for line := range strings.Lines(string(out)) {
		kind, at, _ := strings.Cut(strings.TrimSpace(line), ",")
		seconds, err := strconv.ParseFloat(strings.TrimRight(at, ","), 64)
		if err != nil {
			t.Fatalf("ffprobe wrote %q", line)
		}
		times[kind] = append(times[kind], seconds)
	}
	video, audio := times["video"], times["audio"]
	if len(video) < 300 || len(audio) < 450 {
		t.Fatalf("ffprobe found %d pictures and %d frames of sound", len(video), len(audio))
	}
	if got := slices.Min(video) - audio[0]; got < lead.Seconds()-0.001 || got > lead.Seconds()+0.001 {
		t.Errorf("ffprobe finds the sound %.3f s before the first picture, want %.3f", got, lead.Seconds())
	}
	for i := 1; i < len(audio); i++ {
		if step := audio[i] - audio[i-1]; step < 0.022 || step > 0.025 {
			t.Errorf("frame %d of the sound comes %.3f s after the one before it", i, step)
		}
	}
}
