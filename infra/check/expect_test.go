package check

import (
	"errors"
	"strings"
	"testing"
	"time"

	"klive/infra/media"
)

// outcome is a broadcast of three segments of two seconds: video at 30/s and its audio.
func outcome() *Outcome {
	sent, video, audio := stream(180)
	begin := time.Date(2027, 1, 1, 0, 0, 0, 0, time.UTC)
	rendition := func(k media.Kind, units []Stored) *Rendition {
		r := &Rendition{Kind: k, Target: 4}
		for i := range 3 {
			r.Items = append(r.Items, Item{
				Seq: uint64(i + 1), URI: "b1/" + string(rune('1'+i)) + ".m4s", Broadcast: "b1", Duration: 2 * time.Second,
				Time: begin.Add(time.Duration(i) * 2 * time.Second), FirstListed: begin.Add(time.Duration(i+1) * 2 * time.Second),
				Units: units[i*60 : i*60+60],
			})
		}
		return r
	}
	return &Outcome{
		Sent: sent, Begin: begin, FirstKey: begin.Add(time.Second),
		Follower: &Follower{Renditions: map[string]*Rendition{
			"/kLive/0_demolive_32/v.m3u8": rendition(media.Video, video),
			"/kLive/0_demolive_a1/v.m3u8": rendition(media.Audio, audio),
		}},
		Refusals: []error{errors.New("no such entry 0_nosuchen")},
	}
}

func expects(t *testing.T, lines ...string) []Expect {
	t.Helper()
	text := "encoder A rtmp 640x360@30\nrun 1s\n"
	for _, l := range lines {
		text += "expect " + l + "\n"
	}
	s, err := ParseScenario(text)
	if err != nil {
		t.Fatal(err)
	}
	return s.Expects
}

func noGolden(string) (string, error) { return "", errors.New("no such list") }

func TestExpectationsThatHold(t *testing.T) {
	o := outcome()
	for _, err := range o.Check(expects(t,
		"playlist continuous", "live", "segments 3", "broadcasts 1", "renditions 2", "discontinuities 0", "target 4",
		"frames lost 0", "frames doubled 0", "frames disordered 0", "join gap 0", "longest segment 2s", "shortest segment >= 2s",
		"first playable <= 1s", "jitter < 1ms", "av offset < 1ms", `refusal "no such entry"`), noGolden) {
		t.Error(err)
	}
}

func TestExpectationsThatFail(t *testing.T) {
	video := func(o *Outcome) *Rendition { return o.Follower.Kind(media.Video) }
	for _, c := range []struct {
		expect string
		spoil  func(*Outcome)
		says   string
	}{
		{"playlist continuous", func(o *Outcome) { video(o).Items[1].Gap = true }, "GAP"},
		{"playlist continuous", func(o *Outcome) { video(o).Items[2].Seq = 4 }, "after item 2 comes 4"},
		{"playlist continuous", func(o *Outcome) { video(o).Items[2].Time = o.Begin }, "begins -4s"},
		{"ended", func(*Outcome) {}, "ENDLIST"},
		{"live", func(o *Outcome) { video(o).Ended = true }, "ENDLIST"},
		{"live", func(o *Outcome) { o.Follower.Renditions = nil }, "no playlist"},
		{"longest segment 2s", func(o *Outcome) { o.Follower.Renditions = nil }, "no playlist"},
		{"segments > 3", func(*Outcome) {}, "it is 3"},
		{"broadcasts 1", func(o *Outcome) { video(o).Items[2].Broadcast = "b2" }, "it is 2"},
		{"discontinuities 0", func(o *Outcome) { video(o).Items[2].Discontinuity = true }, "it is 1"},
		{"frames lost 0", func(o *Outcome) { video(o).Items[1].Units = nil }, "it is 60"},
		{"frames lost 0", func(o *Outcome) { video(o).Ended = true; video(o).Items[2].Units = nil }, "it is 60"},
		{"frames doubled 0", func(o *Outcome) { video(o).Items[1].Units = video(o).Items[0].Units }, "it is 60"},
		{"shortest segment >= 2s", func(o *Outcome) { video(o).Items[0].Duration = time.Second }, "it is 1s"},
		{"sizes 640x360", func(*Outcome) {}, "they are"},
		{"refusal limit", func(*Outcome) {}, "were told"},
		{"api broadcast", func(*Outcome) {}, "no such list"},
		{"live", func(o *Outcome) { o.Broken = []error{errors.New("rule 7")} }, "rule 7"},
	} {
		o := outcome()
		c.spoil(o)
		errs := o.Check(expects(t, c.expect), noGolden)
		if len(errs) != 1 || !strings.Contains(errs[0].Error(), c.says) {
			t.Errorf("%s gives %v, want %q", c.expect, errs, c.says)
		}
	}
}

func TestLostTailOfLiveStreamIsOnTheWay(t *testing.T) {
	o := outcome()
	o.Follower.Kind(media.Video).Items[2].Units = nil
	for _, err := range o.Check(expects(t, "frames lost 0"), noGolden) {
		t.Error(err)
	}
}
