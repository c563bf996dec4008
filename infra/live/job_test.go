package live

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"klive/infra/media"
)

func sampleJob() Job {
	at := time.Unix(1772366401, 0).UTC()
	return Job{
		Feed: Feed{FeedID: FeedID{Entry: "0_rkij47dr", Suffix: 1}, Epoch: 7}, Number: 3, LeadIn: 12, First: 14, Last: 25,
		Start: media.At(at), End: media.At(at.Add(4 * time.Second)), Follows: true, Continues: true, Target: 4 * time.Second,
		Put: at, Deadline: at.Add(12 * time.Second),
		Video: []VideoJob{{Rendition: "0_rkij47dr_33", Profile: "main", Level: 30, Width: 640, Height: 360, Bitrate: 600e3, Most: 660e3, Buffer: 264e3}},
		Audio: &AudioJob{Rendition: "0_rkij47dr_a1", Bitrate: 96e3, SampleRate: 48000, Channels: 2},
	}
}

func TestJobRoundTrip(t *testing.T) {
	j := sampleJob()
	b, err := j.Marshal()
	if err != nil {
		t.Fatal(err)
	}
	got, err := UnmarshalJob(b)
	if err != nil {
		t.Fatal(err)
	}
	j.Version = 1
	if diff := cmp.Diff(&j, got); diff != "" {
		t.Error(diff)
	}
	if got.ID() != "0_rkij47dr.1772366401000000-7" || got.EndSubject("0_rkij47dr_33") != got.ID()+".0_rkij47dr_33" {
		t.Errorf("id %s", got.ID())
	}
}

// TestJobVersion: a worker of the release before refuses what it would make wrongly, and takes the rest.
func TestJobVersion(t *testing.T) {
	for name, c := range map[string]struct {
		change func(*Job)
		want   int
	}{
		"plain":         {func(*Job) {}, 1},
		"no sound":      {func(j *Job) { j.Audio = nil }, 1},
		"again":         {func(j *Job) { j.Again = "abc" }, 2},
		"second sound":  {func(j *Job) { a := *j.Audio; a.Rendition = "0_rkij47dr_a2"; j.Sounds = []AudioJob{a} }, 2},
		"silence":       {func(j *Job) { j.Audio.Silent = true }, 2},
		"version 2 set": {func(j *Job) { j.Version = 2 }, 1},
	} {
		j := sampleJob()
		c.change(&j)
		b, err := j.Marshal()
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		got, err := UnmarshalJob(b)
		if err != nil || got.Version != c.want {
			t.Fatalf("%s: version %d (%v), want %d", name, got.Version, err, c.want)
		}
		j.Version = c.want
		if diff := cmp.Diff(&j, got); diff != "" {
			t.Errorf("%s: %s", name, diff)
		}
	}
}

func TestJobRefuses(t *testing.T) {
	for name, spoil := range map[string]func(*Job){
		"entry":       func(j *Job) { j.Feed.Entry = "nonsense" },
		"again":       func(j *Job) { j.Again = "x.y" },
		"parts":       func(j *Job) { j.Last = j.First - 1 },
		"lead-in":     func(j *Job) { j.LeadIn = j.First + 1 },
		"times":       func(j *Job) { j.End = j.Start },
		"no output":   func(j *Job) { j.Video, j.Audio = nil, nil },
		"twice":       func(j *Job) { j.Video = append(j.Video, j.Video[0]) },
		"name":        func(j *Job) { j.Video[0].Rendition = "0_rkij47dr_../x" },
		"odd size":    func(j *Job) { j.Video[0].Width = 641 },
		"profile":     func(j *Job) { j.Video[0].Profile = "main -vf x" },
		"channels":    func(j *Job) { j.Audio.Channels = 99 },
		"no channels": func(j *Job) { j.Audio.Channels = 0 },
		"sound twice": func(j *Job) { j.Sounds = []AudioJob{*j.Audio} },
		"frame rate":  func(j *Job) { j.Video[0].Skip = 1000 },
	} {
		j := sampleJob()
		spoil(&j)
		if _, err := j.Marshal(); !errors.Is(err, ErrJob) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if _, err := UnmarshalJob([]byte(`{"v":3}`)); !errors.Is(err, ErrVersion) {
		t.Errorf("another version: %v", err)
	}
	if _, err := UnmarshalJobEnd([]byte(`{"v":1,"rendition":"0_rkij47dr_33","attempt":"../x","parts":1}`)); !errors.Is(err, ErrJob) {
		t.Errorf("an attempt that is no word: %v", err)
	}
	long := JobEnd{Failure: strings.Repeat("é", 4000)}
	b, err := long.Marshal()
	if err != nil || len(b) > 2048 {
		t.Errorf("%d bytes, %v", len(b), err)
	}
}

func FuzzUnmarshalJob(f *testing.F) {
	b, _ := sampleJob().Marshal()
	f.Add(b)
	f.Fuzz(func(t *testing.T, b []byte) {
		j, err := UnmarshalJob(b)
		if err == nil {
			if _, err := j.Marshal(); err != nil {
				t.Fatal(err)
			}
		}
		_, _ = UnmarshalJobEnd(b)
	})
}

func TestRungOf(t *testing.T) {
	for _, tt := range []struct {
		name          string
		rung          VideoRung
		width, height int
		rate          float64
		want          string // size and codec
		skip          int
	}{
		{"fit width", VideoRung{Fit: FitWidth, Width: 640, Bitrate: 600e3}, 1280, 720, 30, "640x360 avc1.4d401e", 0},
		{"baseline", VideoRung{Fit: FitHeight, Height: 240, Bitrate: 300e3, Profile: "baseline"}, 1280, 720, 25, "426x240 avc1.42c015", 0},
		{"high, match source", VideoRung{Bitrate: 5e6, Profile: "high"}, 1921, 1081, 60, "1920x1080 avc1.64002a", 0},
		{"never larger", VideoRung{Fit: FitWidth, Width: 640, Bitrate: 600e3}, 320, 180, 30, "320x180 avc1.4d400d", 0},
		{"half the frames", VideoRung{Fit: FitWidth, Width: 640, Bitrate: 600e3, MaxFrameRate: 30}, 1280, 720, 60, "640x360 avc1.4d401e", 1},
	} {
		tt.rung.Mode = ModeEncode
		j, ok := RungOf(&Rung{Video: tt.rung}, "0_rkij47dr_33", tt.width, tt.height, tt.rate, 4*time.Second, false)
		size := sampleJob()
		size.Video = []VideoJob{j}
		if _, err := size.Marshal(); err != nil || !ok {
			t.Errorf("%s: %v, %v", tt.name, ok, err)
		}
		if got := sizeOf(j) + " " + j.CodecString(); got != tt.want || j.Skip != tt.skip {
			t.Errorf("%s: %s skip %d, want %s skip %d", tt.name, got, j.Skip, tt.want, tt.skip)
		}
		if most := float64(j.Most)*4 + float64(j.Buffer); most > float64(j.Most)*4*1.1+1 {
			t.Errorf("%s: a segment may have %.0f bits, its rate allows %d", tt.name, most, j.Most*4)
		}
	}
	if _, ok := RungOf(&Rung{Video: VideoRung{Mode: ModeEncode, Bitrate: 1}}, "r", 0, 0, 0, time.Second, false); ok {
		t.Error("a source without size has a rung")
	}
}

func sizeOf(j VideoJob) string {
	return fmt.Sprintf("%dx%d", j.Width, j.Height)
}

// TestAudioGrid holds that segments that join share the frames between them: none twice,
// none missing.
func TestAudioGrid(t *testing.T) {
	rapid.Check(t, func(r *rapid.T) {
		a := AudioJob{SampleRate: rapid.SampledFrom([]uint32{44100, 48000, 32000}).Draw(r, "rate")}
		at := media.Time(rapid.Int64Range(1.7e18, 1.8e18).Draw(r, "start"))
		_, last, _, to := a.Grid(at-4e9, at)
		for range 10 {
			end := at.Add(time.Duration(rapid.Int64Range(1e8, 12e9).Draw(r, "length")))
			first, l, from, end2 := a.Grid(at, end)
			if first != last+1 || from != to || from < at-1e5 || from.Sub(at) > 35*time.Millisecond {
				r.Fatalf("frame %d at %v follows %d, which ends at %v; the segment starts at %v", first, from, last, to, at)
			}
			at, last, to = end, l, end2
		}
	})
}
