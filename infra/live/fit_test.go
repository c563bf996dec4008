package live

import "testing"

func TestVideoRungSize(t *testing.T) {
	for _, c := range []struct {
		fit                       Fit
		width, height             int
		sourceWidth, sourceHeight int
		wantWidth, wantHeight     int
	}{
		{FitMatchSource, 0, 0, 1280, 720, 1280, 720},
		{"", 640, 360, 1281, 721, 1280, 720},
		{FitMatchSource, 0, 0, 0, 0, 0, 0},
		{FitHeight, 0, 360, 1280, 720, 640, 360},
		{FitHeight, 480, 360, 1280, 720, 640, 360}, // the width does not count
		{FitHeight, 0, 361, 1280, 720, 642, 360},
		{FitHeight, 0, 360, 0, 0, 0, 360},
		{FitHeight, 0, 720, 640, 360, 1280, 720}, // enlarged, as asked
		{FitHeight, 0, 4000, 16000, 16, 16384, 4000},
		{FitWidth, 480, 0, 1280, 720, 480, 270},
		{FitWidth, 640, 0, 720, 1280, 640, 1138},
		{FitWidth, 640, 0, 16000, 16, 640, 2},
		{FitWidth, 0, 0, 1280, 720, 1280, 720},
		{FitLetterbox, 640, 480, 1280, 720, 640, 480},
		{FitCrop, 641, 481, 1280, 720, 640, 480},
		{FitStretch, 640, 480, 0, 0, 640, 480},
		{FitStretch, 640, 0, 1280, 720, 1280, 720},
	} {
		w, h := VideoRung{Fit: c.fit, Width: c.width, Height: c.height}.Size(c.sourceWidth, c.sourceHeight)
		if w != c.wantWidth || h != c.wantHeight {
			t.Errorf("%s %dx%d of %dx%d: %dx%d, want %dx%d", c.fit, c.width, c.height, c.sourceWidth, c.sourceHeight, w, h, c.wantWidth, c.wantHeight)
		}
	}
}

func TestVideoRungSkip(t *testing.T) {
	for _, c := range []struct {
		rung VideoRung
		rate float64
		want int
	}{
		{VideoRung{}, 60, 0}, {VideoRung{SkipFrames: 2, MaxFrameRate: 5}, 60, 2}, {VideoRung{MaxFrameRate: 30}, 0, 0},
		{VideoRung{MaxFrameRate: 30}, 60, 1}, {VideoRung{MaxFrameRate: 30}, 30, 0}, {VideoRung{MaxFrameRate: 30}, 31, 0},
		{VideoRung{MaxFrameRate: 30}, 50, 1}, {VideoRung{MaxFrameRate: 15}, 60, 3}, {VideoRung{MaxFrameRate: 60}, 25, 0},
	} {
		if got := c.rung.Skip(c.rate); got != c.want {
			t.Errorf("%+v at %v: %d, want %d", c.rung, c.rate, got, c.want)
		}
	}
}

func TestVideoRungRate(t *testing.T) {
	for _, c := range []struct {
		rung         VideoRung
		most, buffer int
	}{
		{VideoRung{Bitrate: 400_000}, 440_000, 400_000},
		{VideoRung{Bitrate: 400_000, Constant: true}, 400_000, 400_000},
		{VideoRung{Bitrate: 400_000, MaxBitrate: 500_000, BufferSize: 800_000}, 500_000, 800_000},
	} {
		if most, buffer := c.rung.Rate(); most != c.most || buffer != c.buffer {
			t.Errorf("%+v: %d over %d, want %d over %d", c.rung, most, buffer, c.most, c.buffer)
		}
	}
}
