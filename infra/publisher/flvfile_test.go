package publisher

import (
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
)

// encode makes a short FLV with x264, with B-frames, 29.97 fps and 44.1 kHz audio.
func encode(t *testing.T) []byte {
	t.Helper()
	ffmpeg, err := exec.LookPath("ffmpeg")
	if err != nil {
		t.Skip("SKIP: no ffmpeg; apt-get install ffmpeg")
	}
	file := filepath.Join(t.TempDir(), "clip.flv")
	cmd := exec.CommandContext(t.Context(), ffmpeg, "-loglevel", "error", "-nostdin",
		"-f", "lavfi", "-i", "testsrc2=size=320x180:rate=30000/1001", "-f", "lavfi", "-i", "anoisesrc=sample_rate=44100:amplitude=0.1",
		"-t", "4", "-c:v", "libx264", "-preset", "ultrafast", "-bf", "2", "-b_strategy", "0", "-g", "30", "-pix_fmt", "yuv420p",
		"-c:a", "aac", "-f", "flv", file)
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("ffmpeg: %v\n%s", err, out)
	}
	b, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func TestReadFLV(t *testing.T) {
	c, err := ReadFLV(encode(t), 30000, 1001)
	if err != nil {
		t.Fatal(err)
	}
	if len(c.Video.Samples) < 115 || len(c.Audio.Samples) < 165 {
		t.Fatalf("%d pictures, %d audio frames", len(c.Video.Samples), len(c.Audio.Samples))
	}
	shown := map[int64]bool{}
	reordered := false
	for i, s := range c.Video.Samples {
		if s.PTS%1001 != 0 || shown[s.PTS] || s.PTS < s.DTS {
			t.Fatalf("picture %d is decoded at %d and shown at %d: off the grid, twice or too early", i, s.DTS, s.PTS)
		}
		shown[s.PTS] = true
		reordered = reordered || i > 0 && s.PTS < c.Video.Samples[i-1].PTS
	}
	if !reordered {
		t.Error("the clip has no B-frames")
	}
	if got, want := decode(t, "h264", annexB(t, c.Video)), len(c.Video.Samples); got != want {
		t.Errorf("%d of %d marked pictures were decoded", got, want)
	}
}

func TestReadFLVRefuses(t *testing.T) {
	good := append([]byte("FLV\x01\x05\x00\x00\x00\x09"), 0, 0, 0, 0)
	for name, file := range map[string][]byte{
		"empty": nil, "no media": good, "other file": []byte("RIFF............"),
		"cut off":    append(good[:13:13], 9, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0),
		"other code": append(good[:13:13], 9, 0, 0, 6, 0, 0, 0, 0, 0, 0, 0, 0x12, 1, 0, 0, 0, 0, 0, 0, 0, 0),
	} {
		if _, err := ReadFLV(file, 30, 1); !errors.Is(err, ErrFLV) {
			t.Errorf("%s: %v", name, err)
		}
	}
}
