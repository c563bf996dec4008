package kaltura

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"klive/infra/live"
)

// sampleTemplate is the document of contract §9.9; k is bit/s to a kbit/s.
func sampleTemplate(k int, groups string) string {
	rung := func(name string, id, width, rate int, profile string) string {
		return fmt.Sprintf(`<Encode><Enable>true</Enable><Name>%s</Name><StreamName>0_rkij47dr_%d</StreamName>
        <Video><Transcoder>default</Transcoder><GPUID>-1</GPUID><FrameSize><FitMode>fit-width</FitMode><Width>%d</Width></FrameSize>
          <Codec>H.264</Codec><Profile>%s</Profile><Bitrate>%d</Bitrate><KeyFrameInterval><FollowSource>true</FollowSource><Interval>60</Interval></KeyFrameInterval></Video>
        <Audio><Codec>AAC</Codec><Bitrate>%d</Bitrate></Audio></Encode>`, name, id, width, profile, rate*k, 64*k)
	}
	return `<?xml version="1.0"?>
<Root>
  <Transcode>
    <Encodes>
      <Encode><Enable>true</Enable><Name>Source</Name><StreamName>0_rkij47dr_32</StreamName>
        <Video><Codec>PassThru</Codec></Video><Audio><Codec>AAC</Codec><Bitrate>96000</Bitrate></Audio></Encode>` +
		rung("Basic_Small_400", 33, 480, 400, "baseline") + rung("SD_Small_900", 35, 640, 900, "main") + `
    </Encodes>
    <Decode><Video><Deinterlace>false</Deinterlace></Video></Decode>
    <StreamNameGroups>` + groups + `</StreamNameGroups>
    <Properties/>
  </Transcode>
</Root>`
}

func group(name string, members ...string) string {
	s := "<StreamNameGroup><Name>" + name + "</Name><StreamName>${SourceStreamName}_" + name + "</StreamName><Members>"
	for _, m := range members {
		s += "<Member><EncodeName>" + m + "</EncodeName></Member>"
	}
	return s + "</Members></StreamNameGroup>"
}

func TestParseTemplateOfBothGenerations(t *testing.T) {
	all := group("all", "Source", "Basic_Small_400", "SD_Small_900", "Gone")
	for k, groups := range map[int]string{1000: all, 1024: group("source", "Source") + all} {
		got, err := ParseTemplate([]byte(sampleTemplate(k, groups)), "0_rkij47dr")
		if err != nil {
			t.Fatal(err)
		}
		want := live.Ladder{Rungs: []live.Rung{
			{ParamsID: 32, Name: "Source", Video: live.VideoRung{Mode: live.ModePassThrough}, Audio: live.AudioRung{Mode: live.ModeEncode, Bitrate: 96000}},
			{ParamsID: 33, Name: "Basic_Small_400", Video: live.VideoRung{Mode: live.ModeEncode, Codec: "H.264", Profile: "baseline", Fit: live.FitWidth, Width: 480, Bitrate: 400 * k},
				Audio: live.AudioRung{Mode: live.ModeEncode, Bitrate: 64 * k}},
			{ParamsID: 35, Name: "SD_Small_900", Video: live.VideoRung{Mode: live.ModeEncode, Codec: "H.264", Profile: "main", Fit: live.FitWidth, Width: 640, Bitrate: 900 * k},
				Audio: live.AudioRung{Mode: live.ModeEncode, Bitrate: 64 * k}},
		}}
		if k == 1024 {
			want.Groups = append(want.Groups, live.Group{Name: "source", Members: []string{"Source"}})
		}
		want.Groups = append(want.Groups, live.Group{Name: "all", Members: []string{"Source", "Basic_Small_400", "SD_Small_900"}})
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("%d (-want +got):\n%s", k, diff)
		}
	}
}

func oneEncode(video, audio string) string {
	return `<Root><Transcode><Encodes><Encode><Name>X</Name><StreamName>mp4:0_rkij47dr_7</StreamName>` + video + audio + `</Encode></Encodes></Transcode></Root>`
}

func TestParseTemplateVariants(t *testing.T) {
	const h264 = "<Codec>H.264</Codec><Bitrate> 5 </Bitrate>"
	for name, c := range map[string]struct {
		doc   string
		video live.VideoRung
		audio live.AudioRung
	}{
		"all passed through": {oneEncode("<Video><Codec>PassThru</Codec></Video>", "<Audio><Codec>PassThru</Codec></Audio>"),
			live.VideoRung{Mode: live.ModePassThrough}, live.AudioRung{Mode: live.ModePassThrough}},
		"audio only": {oneEncode("<Video><Codec>Disable</Codec></Video>", "<Audio><Codec>AAC</Codec><Bitrate>64000</Bitrate></Audio>"),
			live.VideoRung{Mode: live.ModeDisable}, live.AudioRung{Mode: live.ModeEncode, Bitrate: 64000}},
		"video only": {oneEncode("<Video>"+h264+"</Video>", ""),
			live.VideoRung{Mode: live.ModeEncode, Codec: "H.264", Fit: live.FitMatchSource, Bitrate: 5}, live.AudioRung{Mode: live.ModeDisable}},
		"height and frames": {oneEncode("<Video><Implementation>NVENC</Implementation><FrameSize><FitMode>fit-height</FitMode><Width>2</Width><Height>4</Height></FrameSize>"+h264+
			"<SkipFrameCount><Value>1</Value></SkipFrameCount><Parameters><Parameter><Name>x</Name></Parameter></Parameters></Video>", "<Audio><Codec>Disable</Codec></Audio>"),
			live.VideoRung{Mode: live.ModeEncode, Codec: "H.264", Fit: live.FitHeight, Width: 2, Height: 4, Bitrate: 5, SkipFrames: 1}, live.AudioRung{Mode: live.ModeDisable}},
	} {
		l, err := ParseTemplate([]byte(c.doc), "0_rkij47dr")
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		if diff := cmp.Diff(live.Rung{ParamsID: 7, Name: "X", Video: c.video, Audio: c.audio}, l.Rungs[0]); diff != "" {
			t.Errorf("%s (-want +got):\n%s", name, diff)
		}
	}
}

func TestParseTemplateRefuses(t *testing.T) {
	pass := "<Video><Codec>PassThru</Codec></Video>"
	encode := func(inner string) string { return oneEncode("<Video><Codec>H.264</Codec>"+inner+"</Video>", "") }
	for name, doc := range map[string]string{
		"no xml": "hello", "empty": "", "other root": "<Other/>", "half": "<Root><Transcode>",
		"entities":        `<!DOCTYPE r [<!ENTITY a "b">]>` + oneEncode(pass, ""),
		"unknown entity":  oneEncode(pass, "<Audio><Codec>&a;</Codec></Audio>"),
		"too deep":        strings.Repeat("<a>", 20) + strings.Repeat("</a>", 20),
		"too long":        "<Root>" + strings.Repeat("<a/>", 30000) + "</Root>",
		"too large":       "<Root>" + strings.Repeat(" ", maxTemplate) + "</Root>",
		"other entry":     strings.ReplaceAll(oneEncode(pass, ""), "0_rkij47dr", "0_other123"),
		"no number":       strings.ReplaceAll(oneEncode(pass, ""), "dr_7", "dr_x"),
		"no name":         strings.ReplaceAll(oneEncode(pass, ""), "<Name>X</Name>", ""),
		"nothing left":    oneEncode("", ""),
		"fit mode":        encode("<FrameSize><FitMode>letterbox</FitMode></FrameSize>"),
		"fit without":     encode("<FrameSize><FitMode>fit-width</FitMode></FrameSize>"),
		"width":           encode("<FrameSize><FitMode>fit-width</FitMode><Width>99999</Width></FrameSize>"),
		"bitrate":         encode("<Bitrate>-1</Bitrate>"),
		"audio bitrate":   oneEncode(pass, "<Audio><Codec>AAC</Codec><Bitrate>x</Bitrate></Audio>"),
		"twice":           strings.ReplaceAll(sampleTemplate(1000, ""), "0_rkij47dr_35", "0_rkij47dr_33"),
		"too many rungs":  "<Root><Transcode><Encodes>" + strings.Repeat("<Encode/>", maxRungs+1) + "</Encodes></Transcode></Root>",
		"too many groups": "<Root><Transcode><StreamNameGroups>" + strings.Repeat("<StreamNameGroup/>", maxGroups+1) + "</StreamNameGroups></Transcode></Root>",
	} {
		if _, err := ParseTemplate([]byte(doc), "0_rkij47dr"); !errors.Is(err, ErrTemplate) {
			t.Errorf("%s: %v", name, err)
		}
	}
	for _, doc := range []string{"<Root/>", strings.Replace(oneEncode(pass, ""), "<Name>", "<Enable>false</Enable><Name>", 1)} {
		if _, err := ParseTemplate([]byte(doc), "0_rkij47dr"); !errors.Is(err, ErrNoOutputs) {
			t.Errorf("%s: %v, want ErrNoOutputs", doc, err)
		}
	}
}

func FuzzParseTemplate(f *testing.F) {
	f.Add([]byte(sampleTemplate(1000, group("all", "Source"))))
	f.Add([]byte(oneEncode("<Video><Codec>PassThru</Codec></Video>", "")))
	f.Add([]byte(`<!DOCTYPE r [<!ENTITY a "b">]><Root/>`))
	f.Fuzz(func(t *testing.T, doc []byte) {
		l, err := ParseTemplate(doc, "0_rkij47dr")
		if err != nil {
			if !errors.Is(err, ErrTemplate) && !errors.Is(err, ErrNoOutputs) {
				t.Fatalf("unexpected error %v", err)
			}
			return
		}
		for _, r := range l.Rungs {
			if r.ParamsID <= 0 || r.Name == "" || r.Video.Width < 0 || r.Video.Width > 16384 || r.Video.Bitrate < 0 {
				t.Fatalf("rung %+v", r)
			}
		}
	})
}
