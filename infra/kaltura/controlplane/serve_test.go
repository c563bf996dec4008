package controlplane

import (
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"

	"klive/infra/kaltura"
)

// compact takes the indentation out of a document.
func compact(s string) string {
	var b strings.Builder
	for line := range strings.Lines(s) {
		b.WriteString(strings.TrimSpace(line))
	}
	return b.String()
}

func (f *fixture) serve(path string) *http.Response {
	f.t.Helper()
	return f.do(httptest.NewRequest(http.MethodGet, "/api_v3/index.php/service/"+path, nil))
}

// useProfile gives the demonstration entry another default profile.
func (f *fixture) useProfile(name string) {
	f.t.Helper()
	ids, err := f.profileIDs(f.t.Context(), DemoPartner)
	if err != nil {
		f.t.Fatal(err)
	}
	if _, err := change(f.t.Context(), f.state, entryKey(DemoEntry), func(d *entryDoc) error {
		d.Entry.ConversionProfileID = ids[name]
		return nil
	}); err != nil {
		f.t.Fatal(err)
	}
}

const cloudTemplate = `<?xml version="1.0"?><Root><Transcode><Encodes>` +
	`<Encode><Enable>true</Enable><Name>Source</Name><StreamName>0_demolive_32</StreamName><Video><Codec>PassThru</Codec></Video><Audio><Codec>AAC</Codec><Bitrate>96000</Bitrate></Audio></Encode>` +
	`<Encode><Enable>true</Enable><Name>Basic_Small_400</Name><StreamName>0_demolive_33</StreamName><Video><Transcoder>default</Transcoder><GPUID>-1</GPUID><FrameSize><FitMode>fit-width</FitMode><Width>480</Width></FrameSize><Codec>H.264</Codec><Profile>baseline</Profile><Bitrate>400000</Bitrate><KeyFrameInterval><FollowSource>true</FollowSource><Interval>60</Interval></KeyFrameInterval></Video><Audio><Codec>AAC</Codec><Bitrate>64000</Bitrate></Audio></Encode>` +
	`<Encode><Enable>true</Enable><Name>Basic_Small_600</Name><StreamName>0_demolive_34</StreamName><Video><Transcoder>default</Transcoder><GPUID>-1</GPUID><FrameSize><FitMode>fit-width</FitMode><Width>640</Width></FrameSize><Codec>H.264</Codec><Profile>baseline</Profile><Bitrate>600000</Bitrate><KeyFrameInterval><FollowSource>true</FollowSource><Interval>60</Interval></KeyFrameInterval></Video><Audio><Codec>AAC</Codec><Bitrate>64000</Bitrate></Audio></Encode>` +
	`<Encode><Enable>true</Enable><Name>SD_Small_900</Name><StreamName>0_demolive_35</StreamName><Video><Transcoder>default</Transcoder><GPUID>-1</GPUID><FrameSize><FitMode>fit-width</FitMode><Width>640</Width></FrameSize><Codec>H.264</Codec><Profile>main</Profile><Bitrate>900000</Bitrate><KeyFrameInterval><FollowSource>true</FollowSource><Interval>60</Interval></KeyFrameInterval></Video><Audio><Codec>AAC</Codec><Bitrate>64000</Bitrate></Audio></Encode>` +
	`</Encodes><Decode><Video><Deinterlace>false</Deinterlace></Video></Decode>` +
	`<StreamNameGroups><StreamNameGroup><Name>all</Name><StreamName>${SourceStreamName}_all</StreamName><Members><Member><EncodeName>Source</EncodeName></Member><Member><EncodeName>Basic_Small_400</EncodeName></Member><Member><EncodeName>Basic_Small_600</EncodeName></Member><Member><EncodeName>SD_Small_900</EncodeName></Member></Members></StreamNameGroup></StreamNameGroups>` +
	`<Properties/></Transcode></Root>`

// TestServe is contract §9.9.
func TestServe(t *testing.T) {
	f := start(t)
	f.useProfile("Cloud transcode")
	for _, service := range []string{"wowza_liveConversionProfile", "wowza_liveStreamConversionProfile"} {
		res := f.serve(service + "/action/serve/streamName/0_demolive_1/f/transcode.xml")
		if res.Header.Get("Content-Type") != "text/xml" || res.Header.Get("Cache-Control") != "public, max-age=8640000, max-stale=0" {
			t.Errorf("%s: headers %v", service, res.Header)
		}
		if got := compact(f.body(res)); got != cloudTemplate {
			t.Errorf("%s:\ngot  %s\nwant %s", service, got, cloudTemplate)
		}
	}
	old := start(t, in2015)
	old.useProfile("Cloud transcode")
	body := compact(old.body(old.serve("wowza_liveConversionProfile/action/serve/streamName/0_demolive_1")))
	for _, want := range []string{"<Bitrate>409600<", "<Bitrate>614400<", "<Bitrate>921600<", "<Bitrate>65536<", "<Bitrate>96000<"} {
		has(t, body, want)
	}
	at := 0
	for _, group := range []string{"source", "ingest", "web", "mobile", "all", "mbr", "ipadnew", "iphonenew"} {
		i := strings.Index(body, "<StreamNameGroup><Name>"+group+"</Name><StreamName>${SourceStreamName}_"+group+"</StreamName>")
		if i < at {
			t.Errorf("group %s is missing or out of order", group)
		}
		at = i
	}
	has(t, body, "<Name>iphonenew</Name><StreamName>${SourceStreamName}_iphonenew</StreamName><Members><Member><EncodeName>Basic_Small_400</EncodeName></Member><Member><EncodeName>Basic_Small_600</EncodeName></Member></Members>")
}

func TestServeChoosesOutputs(t *testing.T) {
	f := start(t)
	body := compact(f.body(f.serve("wowza_liveConversionProfile/action/serve/streamName/0_demolive_2")))
	has(t, body, "<Encodes><Encode><Enable>true</Enable><Name>Ingest_2</Name><StreamName>0_demolive_36</StreamName><Video><Codec>PassThru</Codec></Video><Audio><Codec>AAC</Codec><Bitrate>96000</Bitrate></Audio></Encode></Encodes>",
		"<Members><Member><EncodeName>Ingest_2</EncodeName></Member></Members>")
	body = compact(f.body(f.serve("wowza_liveConversionProfile/action/serve/streamName/0_demolive_1")))
	has(t, body, "<StreamName>0_demolive_32</StreamName>")
	lacks(t, body, "0_demolive_36")
	extra := url.PathEscape(`{"audiocodecidstring":"AAC","height":720}`)
	body = compact(f.body(f.serve("wowza_liveConversionProfile/action/serve/streamName/0_demolive_1/extraParams/" + extra)))
	has(t, body, "<Audio><Codec>PassThru</Codec></Audio>")
}

func TestServeFailures(t *testing.T) {
	f := start(t)
	for path, code := range map[string]string{
		"wowza_liveConversionProfile/action/serve/streamName/badname":                       "INVALID_STREAM_NAME",
		"wowza_liveConversionProfile/action/serve/streamName/0_demolive":                    "INVALID_STREAM_NAME",
		"wowza_liveConversionProfile/action/serve/streamName/0_zzzzzzzz_1":                  "ENTRY_ID_NOT_FOUND",
		"wowza_liveConversionProfile/action/serve/streamName/0_demolive_9":                  "INGEST_NOT_FOUND_IN_CONVERSION_PROFILE",
		"wowza_liveConversionProfile/action/serve/streamName/0_demolive_1/ks/" + ks(103, 2): "ENTRY_ID_NOT_FOUND",
	} {
		res := f.serve(path)
		body := f.body(res)
		if res.StatusCode != http.StatusOK || body != "" || res.Header.Get("X-Kaltura") != "error- "+code || !strings.HasPrefix(res.Header.Get("X-Kaltura-App"), "exiting on error "+code+" - ") {
			t.Errorf("%s: %d %v %q", path, res.StatusCode, res.Header, body)
		}
	}
	// What fails before the action runs comes in the envelope.
	has(t, f.body(f.serve("wowza_liveConversionProfile/action/serve")), "<code>MISSING_MANDATORY_PARAMETER</code>")
	has(t, f.body(f.serve("wowza_liveConversionProfile/action/serve/streamName/0_demolive_1/ks/x")), "<code>INVALID_KS</code>")

	old := start(t, in2015)
	has(t, old.body(old.serve("wowza_liveConversionProfile/action/serve/streamName/0_demolive_9")), "<StreamName>0_demolive_32</StreamName>")
	has(t, old.form("wowza_liveConversionProfile.serve", "streamName", "0_demolive_1"), "<code>SERVICE_FORBIDDEN</code>")
}

func TestEncodeRules(t *testing.T) {
	f := start(t)
	render := func(lp kaltura.LiveParams, enc encoder) string {
		o := &outline{}
		template{s: f.Server, entry: "0_demolive", enc: enc}.encode(o, lp)
		return compact(string(o.b))
	}
	for name, c := range map[string]struct {
		lp   kaltura.LiveParams
		enc  encoder
		want string
	}{
		"audio only ingest":    {kaltura.LiveParams{ID: 100, Tags: "ingest,audio_only", AudioBitrate: 64}, encoder{}, "<Video><Codec>Disable</Codec></Video><Audio><Codec>AAC</Codec><Bitrate>64000</Bitrate></Audio>"},
		"name from id":         {kaltura.LiveParams{ID: 100, Tags: "ingest"}, encoder{}, "<Name>100</Name>"},
		"no size, no encoding": {kaltura.LiveParams{ID: 1, VideoCodec: "h264"}, encoder{}, "<FrameSize><FitMode>match-source</FitMode></FrameSize><Codec>PassThru</Codec><Profile>main</Profile><Bitrate>240000</Bitrate>"},
		"both sizes":           {kaltura.LiveParams{ID: 1, VideoCodec: "h264h", Width: 2, Height: 4}, encoder{}, "<FitMode>fit-height</FitMode><Width>2</Width><Height>4</Height></FrameSize><Codec>H.264</Codec><Profile>main</Profile>"},
		"height":               {kaltura.LiveParams{ID: 1, VideoCodec: "h263", Height: 4}, encoder{}, "<FitMode>fit-height</FitMode><Height>4</Height></FrameSize><Codec>H.263</Codec><Profile>baseline</Profile>"},
		"copy":                 {kaltura.LiveParams{ID: 1, VideoCodec: "copy", Height: 4}, encoder{}, "<Codec>PassThru</Codec>"},
		"decimation":           {kaltura.LiveParams{ID: 1, VideoCodec: "h264", Height: 4, MaxFrameRate: 30}, encoder{FrameRate: 60}, "<SkipFrameCount><Value>1</Value></SkipFrameCount>"},
		"settings":             {kaltura.LiveParams{ID: 1, VideoCodec: "h264", Height: 4, ConversionEnginesExtra: `{"constantBitrate":1,"skipFrameCount":2}`}, encoder{}, "<SkipFrameCount><Value>2</Value></SkipFrameCount><Parameters><Parameter><Name>mainconcept.bit_rate_mode</Name><Value>0</Value><Type>Long</Type></Parameter></Parameters>"},
	} {
		if got := render(c.lp, c.enc); !strings.Contains(got, c.want) {
			t.Errorf("%s: lacks %s\n%s", name, c.want, got)
		}
	}
	optional := kaltura.LiveParams{Tags: "optional_flavor", Height: 720, VideoBitrate: 1700}
	wide := kaltura.LiveParams{Tags: "optional_flavor", Width: 1280}
	for _, c := range []struct {
		lp   kaltura.LiveParams
		enc  encoder
		want bool
	}{
		{optional, encoder{}, false},
		{optional, encoder{Height: 480}, true},
		{optional, encoder{Height: 720, VideoRate: 2000}, true},
		{optional, encoder{Height: 720, VideoRate: 2400}, false},
		{wide, encoder{Width: 640, Height: 360}, true},
		{wide, encoder{Width: 1280, Height: 720}, false},
		{kaltura.LiveParams{Height: 720}, encoder{Height: 240}, false},
	} {
		if got := c.enc.tooSmallFor(c.lp); got != c.want {
			t.Errorf("%+v for %+v: %v", c.enc, c.lp, got)
		}
	}
}

// TestServeForHardware is what a media server with a GPU gets, and only now.
func TestServeForHardware(t *testing.T) {
	gpu := "/extraParams/" + url.PathEscape(`{"gpu":"true"}`)
	f := start(t)
	f.useProfile("Cloud transcode")
	body := compact(f.body(f.serve("wowza_liveConversionProfile/action/serve/streamName/0_demolive_1" + gpu)))
	has(t, body, "<Video><Transcoder>default</Transcoder><Implementation>NVENC</Implementation><GPUID>-1</GPUID><FrameSize>",
		"<Decode><Video><Deinterlace>false</Deinterlace><Implementation>NVCUVID</Implementation></Video></Decode>",
		"<Scale><Implementation>CUDA</Implementation><Parameters/><Properties/></Scale><StreamNameGroups>")
	old := start(t, in2015)
	old.useProfile("Cloud transcode")
	lacks(t, compact(old.body(old.serve("wowza_liveConversionProfile/action/serve/streamName/0_demolive_1"+gpu))), "NVENC", "CUDA", "NVCUVID")

	o := &outline{}
	template{s: f.Server, sourceRate: 29.97}.properties(o)
	if got, want := compact(string(o.b)), "<Properties><Property><Name>sourceStreamFrameRate</Name><Value>29.97</Value><Type>Double</Type></Property></Properties>"; got != want {
		t.Errorf("properties: %s", got)
	}
	o = &outline{}
	template{s: old.Server, sourceRate: 29.97}.properties(o)
	if got := compact(string(o.b)); got != "<Properties/>" {
		t.Errorf("properties in 2015: %s", got)
	}
}

// TestServeLeavesOptionalOutputsOut goes by the encoder's picture, unless the partner wants all.
func TestServeLeavesOptionalOutputsOut(t *testing.T) {
	f := start(t)
	ids, err := f.profileIDs(t.Context(), DemoPartner)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := change(t.Context(), f.state, profileKey(ids["Passthrough"]), func(p *profile) error {
		p.Assets = append(p.Assets, kaltura.ProfileAssetParams{ConversionProfileID: p.ID, AssetParamsID: 44, Origin: kaltura.OriginConvert})
		return nil
	}); err != nil {
		t.Fatal(err)
	}
	small := "wowza_liveConversionProfile/action/serve/streamName/0_demolive_1/extraParams/" + url.PathEscape(`{"height":720}`)
	lacks(t, f.body(f.serve(small)), "0_demolive_44")
	has(t, f.body(f.serve("wowza_liveConversionProfile/action/serve/streamName/0_demolive_1")), "0_demolive_44")
	if _, err := change(t.Context(), f.state, partnerKey(DemoPartner), func(p *Partner) error { p.EveryOutput = true; return nil }); err != nil {
		t.Fatal(err)
	}
	has(t, f.body(f.serve(small)), "0_demolive_44")
}

// TestAddressesOfAnEntry is contract §3.15: where encoders are sent.
func TestAddressesOfAnEntry(t *testing.T) {
	f := start(t, func(c *Config) {
		c.IngestURL, c.RTMPSPort, c.SRTPort = "rtmps://in.example.com/kLive", 1936, 8890
	})
	has(t, f.form("liveStream.get", "format", "1", "entryId", DemoEntry),
		`"primaryBroadcastingUrl":"rtmps://in.example.com/kLive/?p=102&e=0_demolive&i=0&t=demo1234","secondaryBroadcastingUrl":"rtmps://in.example.com/kLive/?p=102&e=0_demolive&i=1&t=demo1234",`,
		`"primarySecuredBroadcastingUrl":"rtmps://live.example.com:1936/kLive/?p=102&e=0_demolive&i=0&t=demo1234"`,
		`"primarySrtBroadcastingUrl":"srt://live.example.com:8890","primarySrtStreamId":"#:::e=0_demolive,st=0,p=demo1234"`, `"secondarySrtStreamId":"#:::e=0_demolive,st=1,p=demo1234"`)
	old := start(t, in2015)
	old.register(0, "ms1", 1)
	has(t, old.form("liveStream.get", "format", "1", "entryId", DemoEntry),
		`"liveStreamConfigurations":[{"protocol":"hds","objectType":"KalturaLiveStreamConfiguration"},{"protocol":"hls","url":"http`, `{"protocol":"sl","objectType":`, `{"protocol":"mpegdash","url":`)
}
