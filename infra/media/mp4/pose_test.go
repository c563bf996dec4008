package mp4

import (
	"bytes"
	"os/exec"
	"strings"
	"testing"

	"github.com/Eyevinn/mp4ff/mp4"

	"klive/infra/media"
)

// TestPose writes poses into initialization sections and reads them again, and asks ffprobe, which
// counts turns the other way round.
func TestPose(t *testing.T) {
	av1 := fileUnits(t, "av1.mp4")[0].Params
	for _, tt := range []struct {
		params media.Params
		pose   media.Pose
		probe  string // "" is nothing
	}{
		{av1, media.Pose{}, ""},
		{av1, media.NewPose(1, 0, 0), "rotation=-90"},
		{av1, media.NewPose(2, 4, 3), "rotation=-180"},
		{av1, media.NewPose(3, 0, 0), "rotation=90"},
		{&media.VP9{Level: 30, Depth: 8, Chroma: 1, FullRange: true, Width: 640, Height: 360}, media.NewPose(0, 4, 3), "sample_aspect_ratio=4:3"},
		{&media.VP8{Width: 640, Height: 360}, media.NewPose(1, 4, 3), "rotation=-90"},
	} {
		params := media.WithPose(tt.params, tt.pose)
		init, err := Init(media.Track{Params: params})
		if err != nil {
			t.Fatal(err)
		}
		h, err := ParseInit(init)
		if err != nil || !h.Params.Equal(params) {
			t.Errorf("%s in %+v is read as %+v, %v", params.Codec(), tt.pose, h, err)
		}
		if _, vp8 := params.(*media.VP8); !vp8 { // as an encoder's file
			m, err := ParseMovie(init[bytes.Index(init, []byte("moov"))-4:])
			if err != nil || !m.Tracks[0].params.Equal(params) {
				t.Errorf("%s in %+v: the movie is %+v, %v", params.Codec(), tt.pose, m, err)
			}
		}
		ffprobe, err := exec.LookPath("ffprobe")
		if err != nil {
			t.Log("SKIP: no ffprobe")
			continue
		}
		cmd := exec.Command(ffprobe, "-v", "quiet", "-show_streams", "-f", "mp4", "-i", "pipe:0")
		cmd.Stdin = bytes.NewReader(init)
		out, err := cmd.Output()
		if err != nil || !strings.Contains(string(out), tt.probe) || tt.probe == "" && strings.Contains(string(out), "rotation") {
			t.Errorf("%s in %+v: ffprobe does not say %q (%v):\n%s", params.Codec(), tt.pose, tt.probe, err, out)
		}
	}
	trak := &mp4.TrakBox{Tkhd: &mp4.TkhdBox{Matrix: [9]int32{-one, 0, 0, 0, one, 0, 0, 0, 1 << 30}}, Mdia: &mp4.MdiaBox{Minf: &mp4.MinfBox{Stbl: &mp4.StblBox{Stsd: &mp4.StsdBox{}}}}}
	if p := poseOf(trak); p != (media.Pose{}) {
		t.Errorf("a mirror is read as %+v", p)
	}
}
