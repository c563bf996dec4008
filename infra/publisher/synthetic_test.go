package publisher

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"os/exec"
	"strings"
	"testing"
	"time"

	"klive/infra/media"
)

func mustClip(t testing.TB, s Synthetic) *Clip {
	t.Helper()
	c, err := NewSynthetic(s)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// annexB turns a round of a clip into a byte stream for decoders.
func annexB(t *testing.T, tr *Track) []byte {
	t.Helper()
	start := []byte{0, 0, 0, 1}
	sps, pps := configSets(tr.Config)
	out := bytes.Join([][]byte{nil, sps, pps}, start)
	for _, s := range tr.Samples {
		for i := 0; i < len(s.Payload); {
			nal, next, err := nextNAL(s.Payload, i)
			if err != nil {
				t.Fatal(err)
			}
			out = append(append(out, start...), nal...)
			i = next
		}
	}
	return out
}

func configSets(c []byte) (sps, pps []byte) {
	n := int(binary.BigEndian.Uint16(c[6:]))
	sps = c[8 : 8+n]
	rest := c[8+n+1:]
	return sps, rest[2 : 2+int(binary.BigEndian.Uint16(rest))]
}

// decode runs ffmpeg over a raw stream and returns how many frames came out.
func decode(t *testing.T, format string, stream []byte) int {
	t.Helper()
	ffprobe, err := exec.LookPath("ffprobe")
	if err != nil {
		t.Skip("SKIP: no ffprobe; apt-get install ffmpeg")
	}
	cmd := exec.CommandContext(t.Context(), ffprobe, "-v", "warning", "-err_detect", "explode", "-f", format,
		"-count_frames", "-show_entries", "stream=nb_read_frames", "-of", "csv=p=0", "-")
	cmd.Stdin = bytes.NewReader(stream)
	var complaints bytes.Buffer
	cmd.Stderr = &complaints
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("ffprobe: %v\n%s", err, complaints.Bytes())
	}
	if strings.Contains(complaints.String(), "error") {
		t.Errorf("the decoder complains:\n%s", complaints.Bytes())
	}
	var n int
	fmt.Sscan(string(out), &n)
	return n
}

func TestSyntheticVideoDecodes(t *testing.T) {
	for _, s := range []Synthetic{
		{},
		{Width: 1280, Height: 720, BFrames: 2, Bitrate: 5_000_000},
		{Width: 1920, Height: 1080, FPSNum: 30000, FPSDen: 1001, BFrames: 3, GOP: time.Second},
		{Width: 322, Height: 242, GOP: time.Millisecond},
		{RepeatSets: true, VariableRate: true, FPSNum: 25, GOP: 500 * time.Millisecond},
	} {
		t.Run(fmt.Sprintf("%+v", s), func(t *testing.T) {
			c := mustClip(t, s)
			if got, want := decode(t, "h264", annexB(t, c.Video)), len(c.Video.Samples); got != want {
				t.Errorf("%d of %d pictures were decoded", got, want)
			}
			sps, pps := configSets(c.Video.Config)
			p, err := media.NewH264([][]byte{sps}, [][]byte{pps})
			if err != nil {
				t.Fatal(err)
			}
			s.defaults()
			if w, h := p.Size(); w != s.Width || h != s.Height {
				t.Errorf("the SPS says %d×%d, want %d×%d", w, h, s.Width, s.Height)
			}
		})
	}
}

func TestSyntheticBitrate(t *testing.T) {
	c := mustClip(t, Synthetic{Width: 1280, Height: 720, Bitrate: 5_000_000})
	size := 0
	for _, s := range c.Video.Samples {
		size += len(s.Payload)
	}
	seconds := media.FromTicks(c.Video.Period, c.Video.Rate).Seconds()
	if rate := float64(size) * 8 / seconds; rate < 4.9e6 || rate > 5.1e6 {
		t.Errorf("the clip has %.0f bit/s, want 5 Mbit/s", rate)
	}
}

func TestSyntheticAudioDecodes(t *testing.T) {
	for _, channels := range []int{1, 2} {
		c := mustClip(t, Synthetic{NoVideo: true, Channels: channels, SampleRate: 48000})
		cursor, err := c.Cursor()
		if err != nil {
			t.Fatal(err)
		}
		const frames = 50
		var adts []byte
		for range frames {
			u := cursor.Next()
			block := u.Payload()
			size := 7 + len(block)
			adts = append(adts, 0xff, 0xf1, 1<<6|3<<2, byte(channels<<6|size>>11), byte(size>>3), byte(size<<5)|0x1f, 0xfc)
			adts = append(adts, block...)
		}
		if got := decode(t, "aac", adts); got < frames-1 {
			t.Errorf("%d channels: %d of %d frames were decoded", channels, got, frames)
		}
	}
}

func TestSyntheticTimes(t *testing.T) {
	c := mustClip(t, Synthetic{FPSNum: 30000, FPSDen: 1001, BFrames: 2, GOP: time.Second})
	cursor, err := c.Cursor()
	if err != nil {
		t.Fatal(err)
	}
	var video, audio uint64
	last := time.Duration(-1)
	shown := map[int64]bool{}
	for range 500 {
		u := cursor.Next()
		if u.DTS < last {
			t.Fatalf("unit at %v comes after one at %v", u.DTS, last)
		}
		last = u.DTS
		if u.PTS < u.DTS {
			t.Fatalf("unit is shown at %v, before it is decoded at %v", u.PTS, u.DTS)
		}
		count := &video
		if u.Kind == media.Audio {
			count = &audio
			if want := media.FromTicks(int64(u.Number)*1024, 44100); u.PTS != want {
				t.Errorf("audio frame %d stands at %v, want %v", u.Number, u.PTS, want)
			}
		} else {
			index := media.ToTicks(u.PTS, 30000)
			if index%1001 != 0 || shown[index] {
				t.Errorf("video frame %d stands at %d ticks of 1/30000 s: off the grid or twice", u.Number, index)
			}
			shown[index] = true
		}
		if u.Number != *count {
			t.Fatalf("%v number %d, want %d", u.Kind, u.Number, *count)
		}
		*count++
	}
}

func TestSyntheticRefuses(t *testing.T) {
	for _, s := range []Synthetic{{NoVideo: true, NoAudio: true}, {Width: 15, Height: 15}, {Width: 641}, {SampleRate: 44000}, {Channels: 6}, {BFrames: 16}, {FPSNum: 500}} {
		if _, err := NewSynthetic(s); err == nil {
			t.Errorf("%+v was made", s)
		}
	}
}

func TestMarks(t *testing.T) {
	c := mustClip(t, Synthetic{})
	cursor, err := c.Cursor()
	if err != nil {
		t.Fatal(err)
	}
	for range 300 {
		u := cursor.Next()
		read := ReadMarkH264
		if u.Kind == media.Audio {
			read = ReadMarkAAC
		}
		if n, ok := read(u.Payload()); !ok || n != u.Number {
			t.Fatalf("%v unit %d carries the mark %d, %v", u.Kind, u.Number, n, ok)
		}
	}
	if _, ok := ReadMarkAAC(silence(2)); ok {
		t.Error("a frame without mark has one")
	}
	if _, _, err := MarkH264([]byte{0, 0, 0, 9, 1}, 1); err == nil {
		t.Error("a cut-off access unit was marked")
	}
}
