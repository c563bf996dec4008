package live

import (
	"encoding/json"
	"errors"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// previousLadder is what the release before ladders had a version wrote and read.
type previousLadder struct {
	Rungs []struct {
		ParamsID int      `json:"paramsId"`
		Name     string   `json:"name"`
		AssetID  string   `json:"assetId,omitempty"`
		Tags     []string `json:"tags,omitempty"`
		Video    struct {
			Mode       Mode   `json:"mode"`
			Codec      string `json:"codec,omitempty"`
			Profile    string `json:"profile,omitempty"`
			Fit        Fit    `json:"fit,omitempty"`
			Width      int    `json:"width,omitempty"`
			Height     int    `json:"height,omitempty"`
			Bitrate    int    `json:"bitrate,omitempty"`
			SkipFrames int    `json:"skipFrames,omitempty"`
		} `json:"video"`
		Audio struct {
			Mode    Mode `json:"mode"`
			Bitrate int  `json:"bitrate,omitempty"`
		} `json:"audio"`
	} `json:"rungs"`
	Groups []Group `json:"groups,omitempty"`
}

func wireLadder() Ladder {
	return Ladder{
		Rungs: []Rung{
			{ParamsID: 32, Name: "Source", AssetID: "0_as5et001", Tags: []string{"source"}, Video: VideoRung{Mode: ModePassThrough}, Audio: AudioRung{Mode: ModeEncode, Bitrate: 96000}},
			{ParamsID: 33, Name: "Small", Video: VideoRung{Mode: ModeEncode, Codec: CodecH264, Profile: "baseline", Fit: FitWidth, Width: 480, Bitrate: 400_000,
				MaxBitrate: 1, BufferSize: 2, Constant: true, KeyInterval: 60, SkipFrames: 1, MaxFrameRate: 15, Deinterlace: true},
				Audio: AudioRung{Mode: ModeEncode, Codec: CodecAAC, Bitrate: 64_000, Channels: 2, SampleRate: 44100}},
		},
		Groups:          []Group{{Name: "all", Members: []string{"Source", "Small"}}},
		SourceFrameRate: 25,
		Notes:           []string{"output Small: …"},
	}
}

func TestLadderWireForm(t *testing.T) {
	want := Grant{Entry: "0_rkij47dr", Ladder: wireLadder()}
	b, err := json.Marshal(want)
	if err != nil || !strings.Contains(string(b), `"ladder":{"v":1,"rungs":[`) {
		t.Fatalf("%s, %v", b, err)
	}
	var got Grant
	if err := json.Unmarshal(b, &got); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	if err := json.Unmarshal([]byte(`{"ladder":{"v":2,"rungs":[]}}`), &got); !errors.Is(err, ErrVersion) {
		t.Errorf("a newer form: %v", err)
	}
}

// The release before reads what this one writes, and this one what that one wrote.
func TestLadderPreviousForm(t *testing.T) {
	b, err := json.Marshal(wireLadder())
	if err != nil {
		t.Fatal(err)
	}
	var old previousLadder
	if err := json.Unmarshal(b, &old); err != nil {
		t.Fatal(err)
	}
	if r := old.Rungs[1]; r.ParamsID != 33 || r.Video.Fit != FitWidth || r.Video.Width != 480 || r.Video.SkipFrames != 1 || r.Audio.Bitrate != 64_000 || len(old.Groups) != 1 {
		t.Errorf("the release before reads %+v", old)
	}
	if b, err = json.Marshal(old); err != nil {
		t.Fatal(err)
	}
	var now Ladder
	if err := json.Unmarshal(b, &now); err != nil {
		t.Fatal(err)
	}
	want := wireLadder()
	want.SourceFrameRate, want.Notes = 0, nil
	v, a := &want.Rungs[1].Video, &want.Rungs[1].Audio
	v.MaxBitrate, v.BufferSize, v.Constant, v.KeyInterval, v.MaxFrameRate, v.Deinterlace = 0, 0, false, 0, 0, false
	a.Codec, a.Channels, a.SampleRate = "", 0, 0
	if diff := cmp.Diff(want, now); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

func TestInGroup(t *testing.T) {
	l := wireLadder()
	l.Groups = append(l.Groups, Group{Name: "web", Members: []string{"Small"}})
	for _, c := range []struct {
		rung  int
		group string
		in    bool
	}{
		{0, "all", true}, {1, "all", true}, {0, "web", false}, {1, "web", true}, {0, "source", true}, {1, "source", false}, {1, "none", false},
	} {
		if got := l.InGroup(&l.Rungs[c.rung], c.group); got != c.in {
			t.Errorf("rung %d in %s: %v", c.rung, c.group, got)
		}
	}
}
