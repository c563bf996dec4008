package gateway

import (
	"slices"
	"strings"
	"testing"
	"time"

	"klive/infra/media"
)

// change edits what an encoder sends.
type change func([]unit) []unit

// from shifts the source times of everything sent from a moment on, in milliseconds.
func from(at time.Duration, ms int64) change {
	return func(us []unit) []unit {
		for i := range us {
			if us[i].sent >= at {
				us[i].au.Time = (us[i].au.Time + uint64(ms)) & 0xffffffff
			}
		}
		return us
	}
}

// silence drops what is sent in [a, b) on the given track; 255 means all.
func silence(a, b time.Duration, track media.TrackID) change {
	return func(us []unit) []unit {
		return slices.DeleteFunc(us, func(u unit) bool {
			return u.sent >= a && u.sent < b && (track == 255 || u.au.Track == track)
		})
	}
}

// offset sets the composition offset of the picture with the given index, in milliseconds.
func offset(index int, ms int32) change {
	return func(us []unit) []unit {
		for i := range us {
			if us[i].index == index && us[i].au.Track == media.VideoTrack {
				us[i].au.Offset = ms
			}
		}
		return us
	}
}

// hold has what is sent in [a, b) on a track go out at b.
func hold(a, b time.Duration, track media.TrackID) change {
	return func(us []unit) []unit {
		for i := range us {
			if us[i].sent >= a && us[i].sent < b && us[i].au.Track == track {
				us[i].sent = b
			}
		}
		slices.SortStableFunc(us, func(a, b unit) int { return int(a.sent - b.sent) })
		return us
	}
}

func TestDisturbances(t *testing.T) {
	plain := source{fps: 25, gop: 50, audio: 48000, length: 24 * time.Second}
	// The grid's multiples lie 2.765 s after the start and each 4 s from there: testEpoch is
	// 1.2346 s after a multiple.
	for _, tt := range []struct {
		name    string
		src     source
		changes []change
		want    string // length in ms, D discontinuity, I independent, number of tracks
		dropped drops
	}{
		{"undisturbed", plain, nil, "2000DI/2 2000I/2 4000I/2 4000I/2 4000I/2 4000I/2 4000I/2", nil},
		{"32-bit wrap", plain, []change{from(0, 1<<32-9000)}, "2000DI/2 2000I/2 4000I/2 4000I/2 4000I/2 4000I/2 4000I/2", nil},
		{"jump forward", plain, []change{from(10*time.Second, 3600_000)}, "2000DI/2 2000I/2 4000I/2 2000I/2 2000DI/2 4000I/2 4000I/2 4000I/2", nil},
		{"jump back", plain, []change{from(10*time.Second, -3600_000)}, "2000DI/2 2000I/2 4000I/2 2000I/2 2000DI/2 4000I/2 4000I/2 4000I/2", nil},
		{"10 s back", plain, []change{from(10*time.Second, -10_000)}, "2000DI/2 2000I/2 4000I/2 2000I/2 2000DI/2 4000I/2 4000I/2 4000I/2", nil},
		{"3 s back", plain, []change{from(10*time.Second, -3_000)}, "2000DI/2 2000I/2 4000I/2 2000I/2 2000DI/2 4000I/2 4000I/2 4000I/2", nil},
		{"jump in a GOP", plain, []change{from(11*time.Second, 3600_000)}, "2000DI/2 2000I/2 4000I/2 3000I/2 3000D/2 2000I/2 4000I/2 4000I/2", nil},
		{"4 s gap", plain, []change{silence(10*time.Second, 14*time.Second, 255)}, "2000DI/2 2000I/2 4000I/2 2000I/2 2000DI/2 4000I/2 4000I/2", nil},
		{"4 s gap in a GOP", plain, []change{silence(9*time.Second, 13*time.Second, 255)}, "2000DI/2 2000I/2 4000I/2 1000I/2 1000D/2 2000I/2 4000I/2 4000I/2", nil},
		{"video pauses at the end of a segment", source{fps: 25, gop: 12, bframes: 1, audio: 44100, length: 13 * time.Second},
			[]change{silence(10945*time.Millisecond, 12641*time.Millisecond, 0)}, "960DI/2 1920I/2 4320I/2 5455I/2 280D/2", drops{dropOutside: 4}},
		{"a keyframe shown in two hours", plain, []change{offset(150, 7200_000)}, "2000DI/2 2000I/2 4000I/2 4000I/2 4000I/2 4000I/2 4000I/2", nil},
		{"audio away for 4 s", plain, []change{silence(9*time.Second, 13*time.Second, 1)}, "2000DI/2 2000I/2 4000I/2 4000I/2 4000I/2 4000I/2 4000I/2", nil},
		{"audio ends", plain, []change{silence(5*time.Second, time.Hour, 1)}, "2000DI/2 2000I/2 4000I/2 4000I/2 4000I/2 4000I/1 4000I/1", nil},
		{"audio joins late", plain, []change{silence(0, 7*time.Second, 1)}, "2000DI/1 2000I/1 4000I/1 4000I/2 4000I/2 4000I/2 4000I/2", drops{dropOutside: 47}},
		{"video joins late", plain, []change{silence(0, 7*time.Second, 0)}, "2773DI/1 4011I/1 1216I/1 4000DI/2 4000I/2 4000I/2 4000I/2", drops{dropNoKeyframe: 25}},
		{"audio sent 900 ms late", source{fps: 25, gop: 50, audio: 48000, length: 24 * time.Second, audioLag: 900 * time.Millisecond}, nil, "2000DI/2 2000I/2 4000I/2 4000I/2 4000I/2 4000I/2 4000I/2", nil},
		{"audio sent 900 ms early", source{fps: 25, gop: 50, audio: 48000, length: 24 * time.Second, audioLag: -900 * time.Millisecond}, nil, "2000DI/2 2000I/2 4000I/2 4000I/2 4000I/2 4000I/2 4000I/2", nil},
		{"audio sent 3 s late", source{fps: 25, gop: 50, audio: 48000, length: 24 * time.Second, audioLag: 3 * time.Second}, nil, "2000DI/1 2000I/1 4000I/2 4000I/2 4000I/2 4000I/2 4000I/2", drops{dropLate: 139, dropOutside: 49}},
		{"video 1.2 s late for a while", plain, []change{hold(9*time.Second, 10200*time.Millisecond, 0)}, "2000DI/2 2000I/2 4000I/2 4000I/2 4000I/2 4000I/2 4000I/2", nil},
		{"video 2.4 s late for a while, with a keyframe", plain, []change{hold(9*time.Second, 11400*time.Millisecond, 0)}, "2000DI/2 2000I/2 4000I/2 4000I/2 4000I/2 4000I/2 4000I/2", drops{dropLate: 75}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			b := newBench(t, nil).tracks(testH264(""), testAAC(48000))
			us := tt.src.units()
			for _, c := range tt.changes {
				us = c(us)
			}
			checkParts(t, b.send(us...).finish(), testPart)
			checkOutcome(t, b, tt.want, tt.dropped)
		})
	}
}

// drops counts the frames left out by cause.
type drops map[dropCause]uint64

func checkOutcome(t *testing.T, b *bench, want string, dropped drops) {
	t.Helper()
	if got := strings.Join(describe(b), " "); got != want {
		t.Errorf("\n got %s\nwant %s", got, want)
	}
	for cause, n := range b.cut.seg.dropped {
		if n != dropped[dropCause(cause)] {
			t.Errorf("%d frames left out because of %s, want %d", n, dropCause(cause), dropped[dropCause(cause)])
		}
	}
}
