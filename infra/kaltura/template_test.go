package kaltura

import (
	"errors"
	"fmt"
	"runtime"
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
		rung("Basic_Small_400", 33, 480, 400, "baseline") + rung("Basic_Small_600", 34, 640, 600, "baseline") + rung("SD_Small_900", 35, 640, 900, "main") + `
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

// cloudRungs are the outputs of "Cloud transcode" for k bit/s to a kbit/s.
func cloudRungs(k int) []live.Rung {
	encoded := func(id int, name, profile string, width, video int) live.Rung {
		return live.Rung{ParamsID: id, Name: name,
			Video: live.VideoRung{Mode: live.ModeEncode, Codec: live.CodecH264, Profile: profile, Fit: live.FitWidth, Width: width, Bitrate: video * k},
			Audio: live.AudioRung{Mode: live.ModeEncode, Codec: live.CodecAAC, Bitrate: 64 * k}}
	}
	return []live.Rung{
		{ParamsID: 32, Name: "Source", Video: live.VideoRung{Mode: live.ModePassThrough}, Audio: live.AudioRung{Mode: live.ModeEncode, Codec: live.CodecAAC, Bitrate: 96000}},
		encoded(33, "Basic_Small_400", "baseline", 480, 400), encoded(34, "Basic_Small_600", "baseline", 640, 600), encoded(35, "SD_Small_900", "main", 640, 900),
	}
}

// The worked example of contract §9.9, as today's servers write it and as those of 2015 did.
func TestParseTemplateOfBothGenerations(t *testing.T) {
	everyone := []string{"Source", "Basic_Small_400", "Basic_Small_600", "SD_Small_900"}
	all := group("all", append(everyone, "Gone")...)
	of2015 := []live.Group{
		{Name: "source", Members: everyone[:1]}, {Name: "ingest", Members: everyone[:1]}, {Name: "web", Members: everyone}, {Name: "mobile", Members: everyone},
		{Name: "all", Members: everyone}, {Name: "mbr", Members: everyone[1:]}, {Name: "ipadnew", Members: everyone[1:]}, {Name: "iphonenew", Members: everyone[1:3]},
	}
	text := ""
	for _, g := range of2015 {
		text += group(g.Name, g.Members...)
	}
	for _, c := range []struct {
		name, groups string
		k            int
		want         []live.Group
	}{
		{"now", all, 1000, []live.Group{{Name: "all", Members: everyone}}},
		{"2015", text, 1024, of2015},
	} {
		t.Run(c.name, func(t *testing.T) {
			got, err := ParseTemplate([]byte(sampleTemplate(c.k, c.groups)), "0_rkij47dr")
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(live.Ladder{Rungs: cloudRungs(c.k), Groups: c.want}, got); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
}

// "Passthrough": the source by itself, and a pre-encoded rendition by itself (contract §9.9).
func TestParseTemplateOfPassthrough(t *testing.T) {
	for name, c := range map[string]struct {
		audio string
		want  live.AudioRung
	}{
		"now":                {"<Codec>PassThru</Codec>", live.AudioRung{Mode: live.ModePassThrough}},
		"now, audio unknown": {"<Codec>AAC</Codec><Bitrate>64000</Bitrate>", live.AudioRung{Mode: live.ModeEncode, Codec: live.CodecAAC, Bitrate: 64000}},
		"2015":               {"<Codec>AAC</Codec><Bitrate>96000</Bitrate>", live.AudioRung{Mode: live.ModeEncode, Codec: live.CodecAAC, Bitrate: 96000}},
	} {
		doc := `<?xml version="1.0"?><Root><Transcode><Encodes><Encode><Enable>true</Enable><Name>Ingest_2</Name><StreamName>0_rkij47dr_36</StreamName><Video><Codec>PassThru</Codec></Video><Audio>` +
			c.audio + `</Audio></Encode></Encodes><StreamNameGroups>` + group("all", "Ingest_2") + `</StreamNameGroups></Transcode></Root>`
		got, err := ParseTemplate([]byte(doc), "0_rkij47dr")
		want := live.Ladder{Rungs: []live.Rung{{ParamsID: 36, Name: "Ingest_2", Video: live.VideoRung{Mode: live.ModePassThrough}, Audio: c.want}},
			Groups: []live.Group{{Name: "all", Members: []string{"Ingest_2"}}}}
		if diff := cmp.Diff(want, got); diff != "" || err != nil {
			t.Errorf("%s: %v (-want +got):\n%s", name, err, diff)
		}
	}
}

func oneEncode(video, audio string) string {
	return `<Root><Transcode><Encodes><Encode><Name>X</Name><StreamName>mp4:0_rkij47dr_7</StreamName>` + video + audio + `</Encode></Encodes></Transcode></Root>`
}

func TestParseTemplateVariants(t *testing.T) {
	const h264 = "<Codec>H.264</Codec><Bitrate> 5 </Bitrate>"
	off, aac := live.AudioRung{Mode: live.ModeDisable}, live.AudioRung{Mode: live.ModeEncode, Codec: live.CodecAAC, Bitrate: 64000}
	video := func(f func(*live.VideoRung)) live.VideoRung {
		v := live.VideoRung{Mode: live.ModeEncode, Codec: live.CodecH264, Profile: "main", Fit: live.FitMatchSource, Bitrate: 5}
		f(&v)
		return v
	}
	for name, c := range map[string]struct {
		video, audio string
		wantVideo    live.VideoRung
		wantAudio    live.AudioRung
	}{
		"all passed through": {"<Codec>PassThru</Codec>", "<Codec>PassThru</Codec>", live.VideoRung{Mode: live.ModePassThrough}, live.AudioRung{Mode: live.ModePassThrough}},
		"audio only":         {"<Codec>Disable</Codec>", "<Codec>AAC</Codec><Bitrate>64000</Bitrate>", live.VideoRung{Mode: live.ModeDisable}, aac},
		"video only":         {h264, "<Codec>Disable</Codec>", video(func(*live.VideoRung) {}), off},
		"defaults": {"<Codec>h264</Codec>", "<Codec>aac</Codec>", video(func(v *live.VideoRung) { v.Bitrate = 240_000 }),
			live.AudioRung{Mode: live.ModeEncode, Codec: live.CodecAAC, Bitrate: 96_000}},
		"height": {"<FrameSize><FitMode>fit-height</FitMode><Width>2</Width><Height>4</Height></FrameSize>" + h264 + "<Profile>Baseline</Profile>", "<Codec>Disable</Codec>",
			video(func(v *live.VideoRung) { v.Fit, v.Width, v.Height, v.Profile = live.FitHeight, 2, 4, "baseline" }), off},
		"width": {"<FrameSize><FitMode>fit-width</FitMode><Width>2</Width></FrameSize>" + h264, "<Codec>Disable</Codec>",
			video(func(v *live.VideoRung) { v.Fit, v.Width = live.FitWidth, 2 }), off},
		"match-source": {"<FrameSize><FitMode>match-source</FitMode></FrameSize>" + h264, "<Codec>Disable</Codec>", video(func(*live.VideoRung) {}), off},
		"letterbox": {"<FrameSize><FitMode>letterbox</FitMode><Width>640</Width><Height>480</Height></FrameSize>" + h264, "<Codec>Disable</Codec>",
			video(func(v *live.VideoRung) { v.Fit, v.Width, v.Height = live.FitLetterbox, 640, 480 }), off},
		"frames, constant bitrate, what is unknown": {"<Transcoder>default</Transcoder><GPUID>-1</GPUID>" + h264 + "<SkipFrameCount><Value>1</Value></SkipFrameCount>" +
			"<Parameters><Parameter><Name>mainconcept.bit_rate_mode</Name><Value>0</Value><Type>Long</Type></Parameter><Parameter><Name>x</Name></Parameter></Parameters><Later><On/></Later>",
			"<Codec>Disable</Codec>", video(func(v *live.VideoRung) { v.SkipFrames, v.Constant = 1, true }), off},
		"keyframes like the source": {h264 + "<KeyFrameInterval><FollowSource>true</FollowSource><Interval>60</Interval></KeyFrameInterval>", "<Codec>Disable</Codec>", video(func(*live.VideoRung) {}), off},
		"keyframes of its own": {h264 + "<KeyFrameInterval><FollowSource>false</FollowSource><Interval>60</Interval></KeyFrameInterval>", "<Codec>Disable</Codec>",
			video(func(v *live.VideoRung) { v.KeyInterval = 60 }), off},
	} {
		l, err := ParseTemplate([]byte(oneEncode("<Video>"+c.video+"</Video>", "<Audio>"+c.audio+"</Audio>")), "0_rkij47dr")
		if err != nil || len(l.Notes) > 0 {
			t.Errorf("%s: %v, notes %q", name, err, l.Notes)
			continue
		}
		if diff := cmp.Diff(live.Rung{ParamsID: 7, Name: "X", Video: c.wantVideo, Audio: c.wantAudio}, l.Rungs[0]); diff != "" {
			t.Errorf("%s (-want +got):\n%s", name, diff)
		}
	}
}

func TestParseTemplateOfTheWholeStream(t *testing.T) {
	doc := strings.Replace(oneEncode("<Video><Codec>H.264</Codec></Video>", ""), "</Transcode>",
		"<Decode><Video><Deinterlace>true</Deinterlace></Video></Decode><Properties><Property><Name>sourceStreamFrameRate</Name><Value>29.97</Value><Type>Double</Type></Property></Properties></Transcode>", 1)
	l, err := ParseTemplate([]byte(doc), "0_rkij47dr")
	if err != nil || !l.Rungs[0].Video.Deinterlace || l.SourceFrameRate != 29.97 {
		t.Errorf("%+v, %v", l, err)
	}
}

// What can't be honoured is told with the output's name; what can't be made is left out.
func TestParseTemplateNotes(t *testing.T) {
	for name, c := range map[string]struct {
		video, audio string
		notes        []string
		left         bool // the output is left out
	}{
		"H.263":           {"<Codec>H.263</Codec><Profile>baseline</Profile>", "", []string{"output X: video codec H.263 can't be encoded; the output is left out"}, true},
		"graphics card":   {"<Codec>H.264</Codec><GPUID>3</GPUID><Implementation>NVENC</Implementation>", "", []string{"output X: GPUID 3 is not used: klive encodes in software", "output X: encoder NVENC is not used: klive encodes in software"}, false},
		"profile":         {"<Codec>H.264</Codec><Profile>high 10</Profile>", "", []string{"output X: H.264 profile high 10 is not known; it gets main"}, false},
		"fit mode":        {"<Codec>H.264</Codec><FrameSize><FitMode>zoom</FitMode><Height>360</Height></FrameSize>", "", []string{"output X: fit mode zoom is not known; it gets fit-height"}, false},
		"audio codec":     {"<Codec>PassThru</Codec>", "<Audio><Codec>MP3</Codec></Audio>", []string{"output X: audio codec MP3 can't be encoded; it gets AAC"}, false},
		"nothing to note": {"<Codec>PassThru</Codec>", "", nil, false},
	} {
		good := strings.ReplaceAll(strings.ReplaceAll(oneEncode("<Video><Codec>PassThru</Codec></Video>", ""), "X<", "Source<"), "dr_7", "dr_32")
		encode := oneEncode("<Video>"+c.video+"</Video>", c.audio)
		encode = encode[strings.Index(encode, "<Encode>"):strings.Index(encode, "</Encodes>")]
		l, err := ParseTemplate([]byte(strings.Replace(good, "</Encodes>", encode+"</Encodes>", 1)), "0_rkij47dr")
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		if diff := cmp.Diff(c.notes, l.Notes); diff != "" || (len(l.Rungs) == 1) != c.left {
			t.Errorf("%s: %d outputs, notes (-want +got):\n%s", name, len(l.Rungs), diff)
		}
	}
	_, err := ParseTemplate([]byte(oneEncode("<Video><Codec>H.263</Codec></Video>", "")), "0_rkij47dr")
	if !errors.Is(err, ErrNoOutputs) || !strings.Contains(err.Error(), "output X: video codec H.263") {
		t.Errorf("nothing is left: %v", err)
	}
}

func TestParseTemplateRefuses(t *testing.T) {
	pass := "<Video><Codec>PassThru</Codec></Video>"
	encode := func(inner string) string { return oneEncode("<Video><Codec>H.264</Codec>"+inner+"</Video>", "") }
	for name, doc := range map[string]string{
		"no xml": "hello", "empty": "", "other root": "<Other/>", "half": "<Root><Transcode>",
		"entities":          `<!DOCTYPE r [<!ENTITY a "b">]>` + oneEncode(pass, ""),
		"unknown entity":    oneEncode(pass, "<Audio><Codec>&a;</Codec></Audio>"),
		"too deep":          strings.Repeat("<a>", 20) + strings.Repeat("</a>", 20),
		"too long":          "<Root>" + strings.Repeat("<a/>", 30000) + "</Root>",
		"too large":         "<Root>" + strings.Repeat(" ", maxTemplate) + "</Root>",
		"other entry":       strings.ReplaceAll(oneEncode(pass, ""), "0_rkij47dr", "0_other123"),
		"no number":         strings.ReplaceAll(oneEncode(pass, ""), "dr_7", "dr_x"),
		"no name":           strings.ReplaceAll(oneEncode(pass, ""), "<Name>X</Name>", ""),
		"nothing left":      oneEncode("", ""),
		"letterbox without": encode("<FrameSize><FitMode>letterbox</FitMode><Width>640</Width></FrameSize>"),
		"keyframes":         encode("<KeyFrameInterval><FollowSource>false</FollowSource><Interval>-2</Interval></KeyFrameInterval>"),
		"billion laughs":    billionLaughs,
		"external entity":   `<?xml version="1.0"?><!DOCTYPE r SYSTEM "file:///etc/passwd"><Root/>`,
		"deep":              strings.Repeat("<Root>", 100_000),
		"other encoding":    `<?xml version="1.0" encoding="utf-16"?>` + oneEncode(pass, ""),
		"fit without":       encode("<FrameSize><FitMode>fit-width</FitMode></FrameSize>"),
		"width":             encode("<FrameSize><FitMode>fit-width</FitMode><Width>99999</Width></FrameSize>"),
		"bitrate":           encode("<Bitrate>-1</Bitrate>"),
		"audio bitrate":     oneEncode(pass, "<Audio><Codec>AAC</Codec><Bitrate>x</Bitrate></Audio>"),
		"twice":             strings.ReplaceAll(sampleTemplate(1000, ""), "0_rkij47dr_35", "0_rkij47dr_33"),
		"too many rungs":    "<Root><Transcode><Encodes>" + strings.Repeat("<Encode/>", maxRungs+1) + "</Encodes></Transcode></Root>",
		"too many groups":   "<Root><Transcode><StreamNameGroups>" + strings.Repeat("<StreamNameGroup/>", maxGroups+1) + "</StreamNameGroups></Transcode></Root>",
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

const billionLaughs = `<?xml version="1.0"?><!DOCTYPE Root [<!ENTITY a "ha"><!ENTITY b "&a;&a;&a;&a;&a;&a;&a;&a;&a;&a;"><!ENTITY c "&b;&b;&b;&b;&b;&b;&b;&b;&b;&b;">]>
<Root><Transcode><Encodes><Encode><Name>&c;</Name></Encode></Encodes></Transcode></Root>`

// A refusal says what is wrong with the document, and costs little however large that is.
func TestParseTemplateRefusesInBounds(t *testing.T) {
	for doc, why := range map[string]string{
		billionLaughs:                     "document type declaration",
		strings.Repeat("<Root>", 1<<20/6): "within each other",
		"<Root>" + strings.Repeat("<a/>", 60_000) + "</Root>": "elements and texts",
		strings.Repeat("x", maxTemplate+1):                    "larger than",
		`<Root><Transcode>&unknown;</Transcode></Root>`:       "unknown",
	} {
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		_, err := ParseTemplate([]byte(doc), "0_rkij47dr")
		runtime.ReadMemStats(&after)
		bytes := after.TotalAlloc - before.TotalAlloc
		if !errors.Is(err, ErrTemplate) || !strings.Contains(err.Error(), why) || bytes > 32<<20 {
			t.Errorf("%.40q: %v after %d bytes; want %q within 32 MiB", doc, err, bytes, why)
		}
	}
}

func FuzzParseTemplate(f *testing.F) {
	f.Add([]byte(sampleTemplate(1000, group("all", "Source"))))
	f.Add([]byte(oneEncode("<Video><Codec>PassThru</Codec></Video>", "")))
	f.Add([]byte(`<!DOCTYPE r [<!ENTITY a "b">]><Root/>`))
	f.Add([]byte(oneEncode("<Video><GPUID>3</GPUID><FrameSize><FitMode>zoom</FitMode><Width>3</Width></FrameSize><Codec>H.264</Codec></Video>", "<Audio><Codec>MP3</Codec></Audio>")))
	f.Fuzz(func(t *testing.T, doc []byte) {
		l, err := ParseTemplate(doc, "0_rkij47dr")
		if err != nil {
			if !errors.Is(err, ErrTemplate) && !errors.Is(err, ErrNoOutputs) {
				t.Fatalf("unexpected error %v", err)
			}
			return
		}
		for _, r := range l.Rungs {
			if w, h := r.Video.Size(1920, 1080); w%2 != 0 || h%2 != 0 || w > 16384 || h > 16384 {
				t.Fatalf("rung %+v is %dx%d", r, w, h)
			}
			if r.ParamsID <= 0 || r.Name == "" || r.Video.Width < 0 || r.Video.Width > 16384 || r.Video.Bitrate < 0 {
				t.Fatalf("rung %+v", r)
			}
		}
	})
}
