package kaltura

import (
	"errors"
	"testing"

	"github.com/google/go-cmp/cmp"

	"klive/infra/live"
)

// profileOf makes assets of a profile whose members have the given origins.
func profileOf(origins map[int]int, params ...LiveParams) *Assets {
	a := &Assets{Params: map[int]LiveParams{}}
	for _, p := range params {
		a.Profile = append(a.Profile, ProfileAssetParams{AssetParamsID: p.ID, Origin: origins[p.ID]})
		a.Live = append(a.Live, LiveAsset{ID: "0_asset" + p.OutputName(), FlavorParamsID: p.ID, Tags: p.Tags + ",recording_anchor", Status: AssetReady})
		a.Params[p.ID] = p
	}
	return a
}

var (
	sourceParams = LiveParams{ID: 32, SystemName: "Source", Tags: "source,ingest,web", VideoBitrate: 900, Width: 640, Height: 480, StreamSuffix: "1"}
	smallParams  = LiveParams{ID: 33, SystemName: "Small", Tags: "mbr,web", VideoCodec: "h264b", VideoBitrate: 400, AudioBitrate: 64, AudioChannels: 2, AudioSampleRate: 44100, Width: 480}
	secondParams = LiveParams{ID: 36, SystemName: "Ingest_2", Tags: "mbr,ingest,web", StreamSuffix: "2"}
)

func rungNames(l live.Ladder) (names []string) {
	for _, r := range l.Rungs {
		names = append(names, r.Name)
	}
	return names
}

// Which outputs a stream gets (row 66).
func TestLadderOfProfileOutputs(t *testing.T) {
	ingest := map[int]int{32: OriginIngest, 36: OriginIngest}
	mixed := profileOf(ingest, sourceParams, smallParams, secondParams)
	for name, c := range map[string]struct {
		assets *Assets
		suffix string
		want   []string
	}{
		"source":               {mixed, "1", []string{"Source", "Small"}},
		"pre-encoded":          {mixed, "2", []string{"Ingest_2"}},
		"unknown suffix":       {mixed, "3", nil},
		"origins of 2015":      {profileOf(map[int]int{32: 1, 33: 1}, sourceParams, smallParams), "1", []string{"Source"}},
		"params that are gone": {&Assets{Profile: mixed.Profile}, "1", nil},
	} {
		l, err := c.assets.Ladder(c.suffix)
		if diff := cmp.Diff(c.want, rungNames(l)); diff != "" || errors.Is(err, ErrNoOutputs) != (c.want == nil) {
			t.Errorf("%s: %v (-want +got):\n%s", name, err, diff)
		}
	}
}

// What an output is (contract §3.7), beside what the template says of the same params.
func TestLadderOfProfileRungs(t *testing.T) {
	with := func(f func(*LiveParams)) LiveParams { p := smallParams; f(&p); return p }
	video := func(f func(*live.VideoRung)) live.VideoRung {
		v := live.VideoRung{Mode: live.ModeEncode, Codec: live.CodecH264, Profile: "baseline", Fit: live.FitWidth, Width: 480, Bitrate: 400_000}
		f(&v)
		return v
	}
	for name, c := range map[string]struct {
		params LiveParams
		want   live.VideoRung
	}{
		"width":         {smallParams, video(func(*live.VideoRung) {})},
		"main":          {with(func(p *LiveParams) { p.VideoCodec = "h264h" }), video(func(v *live.VideoRung) { v.Profile = "main" })},
		"height":        {with(func(p *LiveParams) { p.Width, p.Height = 0, 360 }), video(func(v *live.VideoRung) { v.Fit, v.Width, v.Height = live.FitHeight, 0, 360 })},
		"both":          {with(func(p *LiveParams) { p.Height = 360 }), video(func(v *live.VideoRung) { v.Fit, v.Height = live.FitHeight, 360 })},
		"frame rate":    {with(func(p *LiveParams) { p.Width, p.FrameRate, p.MaxFrameRate = 0, 25, 15 }), video(func(v *live.VideoRung) { v.Fit, v.Width, v.MaxFrameRate = live.FitMatchSource, 0, 15 })},
		"no size":       {with(func(p *LiveParams) { p.Width = 0 }), live.VideoRung{Mode: live.ModePassThrough}},
		"copy":          {with(func(p *LiveParams) { p.VideoCodec = "copy" }), live.VideoRung{Mode: live.ModePassThrough}},
		"audio only":    {with(func(p *LiveParams) { p.Width, p.Tags = 0, "audio_only" }), live.VideoRung{Mode: live.ModeDisable}},
		"extra":         {with(func(p *LiveParams) { p.ConversionEnginesExtra = `{"skipFrameCount":"1","constantBitrate":1}` }), video(func(v *live.VideoRung) { v.SkipFrames, v.Constant = 1, true })},
		"broken extra":  {with(func(p *LiveParams) { p.ConversionEnginesExtra = "[" }), video(func(*live.VideoRung) {})},
		"deinterlaced":  {with(func(p *LiveParams) { p.Deinterlace = 1 }), video(func(v *live.VideoRung) { v.Deinterlace = true })},
		"out of bounds": {with(func(p *LiveParams) { p.Width, p.VideoBitrate = 1<<30, 1<<40 }), video(func(v *live.VideoRung) { v.Width, v.Bitrate = 16384, 1_000_000_000 })},
	} {
		l, err := profileOf(map[int]int{32: OriginIngest}, sourceParams, c.params).Ladder("1")
		if err != nil || len(l.Rungs) != 2 {
			t.Errorf("%s: %v, %q", name, err, rungNames(l))
			continue
		}
		if diff := cmp.Diff(c.want, l.Rungs[1].Video); diff != "" {
			t.Errorf("%s (-want +got):\n%s", name, diff)
		}
		if a := l.Rungs[1].Audio; a != (live.AudioRung{Mode: live.ModeEncode, Codec: live.CodecAAC, Bitrate: 64_000, Channels: 2, SampleRate: 44100}) {
			t.Errorf("%s: audio %+v", name, a)
		}
	}
	l, err := profileOf(map[int]int{32: OriginIngest}, sourceParams, with(func(p *LiveParams) { p.VideoCodec = "vp6" })).Ladder("1")
	if err != nil || len(l.Rungs) != 1 || len(l.Notes) != 1 || l.Notes[0] != "output Small: video codec vp6 can't be encoded; the output is left out" {
		t.Errorf("%+v, %v", l, err)
	}
}

func TestLadderOfProfileGroups(t *testing.T) {
	l, err := profileOf(map[int]int{32: OriginIngest}, sourceParams, smallParams).Ladder("1")
	if err != nil {
		t.Fatal(err)
	}
	want := []live.Group{{Name: "all", Members: []string{"Source", "Small"}}, {Name: "source", Members: []string{"Source"}}, {Name: "ingest", Members: []string{"Source"}},
		{Name: "web", Members: []string{"Source", "Small"}}, {Name: "mbr", Members: []string{"Small"}}}
	if diff := cmp.Diff(want, l.Groups); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	if l.Rungs[0].AssetID != "0_assetSource" || l.Rungs[1].AssetID != "0_assetSmall" {
		t.Errorf("assets %+v", l.Rungs)
	}
}
