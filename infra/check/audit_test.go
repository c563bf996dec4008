package check

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"klive/infra/media"
)

const epoch = int64(1_800_000_000)

// stream makes n units of each kind: video at 30/s, audio at 1024 samples of 48 kHz.
func stream(n int) (sent []Sent, video, audio []Stored) {
	for i := range n {
		at := media.FromTicks(int64(i)*3000, 90000)
		sent = append(sent, Sent{Kind: media.Video, Number: uint64(i), DTS: at, PTS: at})
		video = append(video, Stored{Kind: media.Video, Number: uint64(i), Marked: true, Rate: 90000,
			DTS: epoch*90000 + int64(i)*3000, PTS: epoch*90000 + int64(i)*3000, Duration: 3000})
		at = media.FromTicks(int64(i)*1024, 48000)
		sent = append(sent, Sent{Kind: media.Audio, Number: uint64(i), DTS: at, PTS: at})
		audio = append(audio, Stored{Kind: media.Audio, Number: uint64(i), Marked: true, Rate: 48000,
			DTS: epoch*48000 + int64(i)*1024, PTS: epoch*48000 + int64(i)*1024, Duration: 1024})
	}
	return sent, video, audio
}

func TestAuditOfPerfectStream(t *testing.T) {
	a := Compare(stream(5000))
	want := Audit{
		Video: TrackAudit{Sent: 5000, Stored: 5000}, Audio: TrackAudit{Sent: 5000, Stored: 5000},
		Offsets: []time.Duration{0, 0},
	}
	// A tick of 1/90000 s is no whole number of nanoseconds.
	near := cmp.Comparer(func(x, y time.Duration) bool { return (x - y).Abs() <= 2 })
	if diff := cmp.Diff(want, a, near); diff != "" {
		t.Error(diff)
	}
}

func TestAuditFindsFaults(t *testing.T) {
	t.Run("lost, doubled, disordered, unknown", func(t *testing.T) {
		sent, video, audio := stream(10)
		video[3], video[4] = video[4], video[3]
		video = append(video[:7:7], video[6], video[9], Stored{Kind: media.Video, Rate: 90000})
		a := Compare(sent, video, audio)
		if diff := cmp.Diff([][]uint64{{7, 8}, {6}, {3, 6}}, [][]uint64{a.Video.Lost, a.Video.Doubled, a.Video.Disordered}); diff != "" {
			t.Error(diff)
		}
		if a.Video.Unknown != 1 || a.Audio.Lost != nil {
			t.Errorf("%+v", a)
		}
	})
	t.Run("tail", func(t *testing.T) {
		sent, video, audio := stream(10)
		if a := Compare(sent, video[:8], audio); a.Video.Tail != 2 || a.Video.Lost != nil {
			t.Errorf("%+v", a.Video)
		}
	})
	t.Run("audio before the first picture", func(t *testing.T) {
		sent, video, audio := stream(100)
		if a := Compare(sent, video[30:], audio[40:]); len(a.Audio.Lost) != 40 {
			t.Errorf("%+v", a.Audio)
		}
	})
	t.Run("jitter", func(t *testing.T) {
		sent, video, audio := stream(100)
		video[50].PTS += 360 // 4 ms
		if a := Compare(sent, video, audio); a.Video.Jitter < 2*time.Millisecond {
			t.Errorf("jitter of 4 ms reads %v", a.Video.Jitter)
		}
	})
	t.Run("drift of audio against video", func(t *testing.T) {
		sent, video, audio := stream(10000)
		for i := range audio {
			audio[i].PTS += int64(i) / 50
		}
		if a := Compare(sent, video, audio); a.MaxOffset() < time.Millisecond {
			t.Errorf("an offset that grows to 4 ms reads %v", a.Offsets)
		}
	})
	t.Run("join", func(t *testing.T) {
		sent, video, audio := stream(100)
		for i := 60; i < 100; i++ {
			audio[i].DTS -= 7
		}
		if a := Compare(sent, video, audio); a.Audio.JoinGap != -7 {
			t.Errorf("an overlap of 7 samples reads %d", a.Audio.JoinGap)
		}
		audio[60].Discontinuity = true
		if a := Compare(sent, video, audio); a.Audio.JoinGap != 0 {
			t.Errorf("a discontinuity counts as a gap of %d", a.Audio.JoinGap)
		}
	})
}

func TestNumbers(t *testing.T) {
	if got, want := numbers([]uint64{1, 2, 3, 9, 11, 12}), "6 (1–3, 9, 11–12)"; got != want {
		t.Errorf("%q, want %q", got, want)
	}
}
