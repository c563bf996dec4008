package controlplane

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"reflect"
	"regexp"
	"strings"
	"testing"
	"time"

	"klive/infra/kaltura"
)

// The entry of the examples in contract §9.
const (
	exampleEntry = "0_rkij47dr"
	exampleToken = "dj94kfit"
	exampleHost  = "ms1.example.com"
)

// examples makes a server that has the entry of the examples, with profile "Cloud transcode".
func examples(t *testing.T, tune ...func(*Config)) *fixture {
	t.Helper()
	f := start(t, append([]func(*Config){func(c *Config) {
		c.PublicHost, c.PlaybackURL = exampleHost, "http://"+exampleHost+":1935"
	}}, tune...)...)
	ids, err := f.profileIDs(t.Context(), DemoPartner)
	if err != nil {
		t.Fatal(err)
	}
	var doc entryDoc
	e := &doc.Entry
	e.ID, e.Name, e.StreamPassword, e.SourceType, e.UserID, e.AccessControlID = exampleEntry, "Town hall", exampleToken, "32", "producer1", 12
	e.ConversionProfileID, e.RecordStatus, e.DVRStatus, e.DVRWindow = ids["Cloud transcode"], 1, 1, 60
	p, err := load[profile](t.Context(), f.state, profileKey(e.ConversionProfileID))
	if err != nil {
		t.Fatal(err)
	}
	if err := f.store(t.Context(), &call{partner: DemoPartner, now: time.Unix(1420070400, 0)}, &doc, p); err != nil {
		t.Fatal(err)
	}
	return f
}

// example is one exchange of contract §9. Answers hold the members that the contract names;
// the real ones have more. In xml and json "%d" stands for any number.
type example struct {
	name    string
	in2015  bool
	session string
	partner string
	action  string
	fields  []string
	// before are calls made first, in the same way.
	before [][]string
	xml    string
	json   string
}

func apiError(code, message string, args ...string) (asXML, asJSON string) {
	var x, j strings.Builder
	for i := 0; i+1 < len(args); i += 2 {
		fmt.Fprintf(&x, "<item><objectType>KalturaApiExceptionArg</objectType><name>%s</name><value>%s</value></item>", args[i], args[i+1])
		fmt.Fprintf(&j, ",%q:%q", args[i], args[i+1])
	}
	asJSON = "[]"
	if len(args) > 0 {
		asJSON = "{" + j.String()[1:] + "}"
	}
	return "<error><code>" + code + "</code><message>" + message + "</message><objectType>KalturaAPIException</objectType><args>" + x.String() + "</args></error>",
		`{"code":"` + code + `","message":"` + message + `","objectType":"KalturaAPIException","args":` + asJSON + `}`
}

func refusal(name, session, partner, action string, fields []string, code, message string, args ...string) example {
	x, j := apiError(code, message, args...)
	return example{name: name, session: session, partner: partner, action: action, fields: fields, xml: x, json: j}
}

func wireExamples() []example {
	server, expired := ks(-5, 2), expiredKS()
	register := []string{"liveStream.registerMediaServer", "entryId", exampleEntry, "hostname", exampleHost, "mediaServerIndex", "0", "applicationName", "kLive"}
	where := []string{"entryId", exampleEntry, "hostname", exampleHost, "mediaServerIndex", "0"}
	auth := "livestream.authenticate"
	return []example{
		{
			name: "9.1 and 9.2 authenticate", in2015: true, session: server, partner: "102", action: auth,
			fields: []string{"entryId", exampleEntry, "token", exampleToken, "clientTag", "MediaServer-" + exampleHost, "apiVersion", "3.2.0", "kalsig", "x"},
			xml: `<objectType>KalturaLiveStreamEntry</objectType><id>0_rkij47dr</id><name>Town hall</name><partnerId>102</partnerId><userId>producer1</userId><status>2</status>` +
				`<moderationStatus>6</moderationStatus><type>7</type><createdAt>1420070400</createdAt><updatedAt>1420070400</updatedAt><accessControlId>12</accessControlId>` +
				`<replacementStatus>0</replacementStatus><conversionProfileId>%d</conversionProfileId><plays>0</plays><views>0</views><duration>0</duration><msDuration>0</msDuration>` +
				`<mediaType>201</mediaType><sourceType>32</sourceType><flavorParamsIds>32,33,34,35</flavorParamsIds><recordStatus>1</recordStatus><dvrStatus>1</dvrStatus><dvrWindow>60</dvrWindow>` +
				`<lastElapsedRecordingTime>0</lastElapsedRecordingTime><liveStreamConfigurations><item><objectType>KalturaLiveStreamConfiguration</objectType><protocol>hds</protocol></item>` +
				`<item><objectType>KalturaLiveStreamConfiguration</objectType><protocol>hls</protocol></item></liveStreamConfigurations><pushPublishEnabled>0</pushPublishEnabled>` +
				`<currentBroadcastStartTime>0</currentBroadcastStartTime><bitrates><item><objectType>KalturaLiveStreamBitrate</objectType><bitrate>900</bitrate><width>640</width>` +
				`<height>480</height><tags>source,ingest,web,mobile</tags></item></bitrates><primaryBroadcastingUrl>rtmp://ms1.example.com:1935/kLive/?p=102&amp;e=0_rkij47dr&amp;i=0&amp;t=dj94kfit</primaryBroadcastingUrl>` +
				`<streamName>0_rkij47dr_%i</streamName><streamPassword>dj94kfit</streamPassword>`,
			json: `{"id":"0_rkij47dr","name":"Town hall","partnerId":102,"status":"2","type":"7","sourceType":"32","recordStatus":1,"dvrStatus":1,"dvrWindow":60,"currentBroadcastStartTime":0,"objectType":"KalturaLiveStreamEntry"}`,
		},
		refusal("9.3 wrong token", server, "102", auth, []string{"entryId", exampleEntry, "token", "x"}, "LIVE_STREAM_INVALID_TOKEN", "token rejected for live entry 0_rkij47dr", "ENTRY_ID", exampleEntry),
		refusal("9.4 no token", server, "102", auth, []string{"entryId", exampleEntry}, "MISSING_MANDATORY_PARAMETER", "parameter token is required", "PARAM_NAME", "token"),
		refusal("9.4 unknown entry", server, "102", auth, []string{"entryId", "0_zzzzzzzz", "token", "x"}, "ENTRY_ID_NOT_FOUND", "no entry 0_zzzzzzzz", "ENTRY_ID", "0_zzzzzzzz"),
		refusal("9.4 blocked partner", server, "999", auth, []string{"entryId", exampleEntry, "token", "x"}, "SERVICE_FORBIDDEN_CONTENT_BLOCKED", "partner 999 is blocked or unknown"),
		refusal("9.4 expired session", expired, "102", auth, []string{"entryId", exampleEntry, "token", "x"}, "INVALID_KS", "session rejected (EXPIRED)", "KSID", "EXPIRED", "ERR_CODE", "-1", "ERR_DESC", "INVALID_STR"),
		{
			name: "9.5 register in 2015", in2015: true, session: server, partner: "102", action: register[0], fields: register[1:],
			before: [][]string{{"baseEntry.update", "entryId", exampleEntry, "baseEntry:objectType", "KalturaLiveStreamEntry", "baseEntry:currentBroadcastStartTime", "1425000000.123"}},
			xml: `<objectType>KalturaLiveStreamEntry</objectType><id>0_rkij47dr</id><liveStreamConfigurations><item><objectType>KalturaLiveStreamConfiguration</objectType><protocol>hds</protocol></item>` +
				`<item><objectType>KalturaLiveStreamConfiguration</objectType><protocol>hls</protocol><url>http://ms1.example.com:1935/kLive/smil:0_rkij47dr_all.smil/playlist.m3u8?DVR</url></item></liveStreamConfigurations>` +
				`<recordedEntryId>0_%w</recordedEntryId><firstBroadcast>%d</firstBroadcast><lastBroadcast>%d</lastBroadcast><currentBroadcastStartTime>1425000000.123</currentBroadcastStartTime>`,
			json: `{"id":"0_rkij47dr","liveStatus":1,"currentBroadcastStartTime":1425000000.123,"objectType":"KalturaLiveStreamEntry"}`,
		},
		{
			name: "9.5 register now, broadcasting", session: server, partner: "102", action: register[0], fields: append([]string{"liveEntryStatus", "2"}, register[1:]...),
			xml:  `<objectType>KalturaLiveStreamEntry</objectType><id>0_rkij47dr</id><recordedEntryId>0_%w</recordedEntryId><liveStatus>2</liveStatus>`,
			json: `{"id":"0_rkij47dr","liveStatus":2,"objectType":"KalturaLiveStreamEntry"}`,
		},
		{
			name: "9.6 unregister", session: server, partner: "102", action: "liveStream.unregisterMediaServer", fields: where,
			before: [][]string{append([]string{register[0], "liveEntryStatus", "1"}, register[1:]...)},
			xml:    `<objectType>KalturaLiveStreamEntry</objectType><id>0_rkij47dr</id><redirectEntryId>0_%w</redirectEntryId><recordedEntryId>0_%w</recordedEntryId><currentBroadcastStartTime>0</currentBroadcastStartTime>`,
			json:   `{"id":"0_rkij47dr","currentBroadcastStartTime":0,"objectType":"KalturaLiveStreamEntry"}`,
		},
		refusal("9.6 not on air", server, "102", "liveStream.unregisterMediaServer", where, "ENTRY_SERVER_NODE_NOT_FOUND", "entry 0_rkij47dr is not on air under index 0", "ENTRY_ID", exampleEntry, "SERVER_TYPE", "0"),
		{
			name: "9.11 params of a profile", session: ks(102, 2), partner: "102", action: "flavorParams.getByConversionProfileId", fields: []string{"conversionProfileId", "502"},
			xml: `<item><objectType>KalturaLiveParams</objectType><id>32</id><partnerId>0</partnerId><name>Source</name><systemName>Source</systemName><isSystemDefault>1</isSystemDefault><tags>source,ingest,web,mobile</tags>` +
				`<videoCodec></videoCodec><videoBitrate>900</videoBitrate><audioCodec></audioCodec><audioBitrate>0</audioBitrate><width>640</width><height>480</height><frameRate>0</frameRate><streamSuffix>1</streamSuffix></item>` +
				`<item><objectType>KalturaLiveParams</objectType><id>33</id><videoCodec>h264b</videoCodec><videoBitrate>400</videoBitrate><audioCodec>aac</audioCodec><audioBitrate>64</audioBitrate><width>480</width><height>0</height></item>`,
			json: `[{"id":32,"partnerId":0,"name":"Source","systemName":"Source","isSystemDefault":1,"tags":"source,ingest,web,mobile","videoCodec":"","videoBitrate":900,"audioCodec":"","audioBitrate":0,"width":640,"height":480,"frameRate":0,"streamSuffix":"1","objectType":"KalturaLiveParams"},` +
				`{"id":33,"videoCodec":"h264b","videoBitrate":400,"audioCodec":"aac","audioBitrate":64,"width":480,"height":0,"objectType":"KalturaLiveParams"}]`,
		},
		refusal("9.11 unknown profile", ks(102, 2), "102", "flavorParams.getByConversionProfileId", []string{"conversionProfileId", "999"}, "CONVERSION_PROFILE_ID_NOT_FOUND", "no live conversion profile 999", "ID", "999"),
		{
			name: "9.12 report", session: server, partner: "-5", action: "mediaserver.reportStatus", fields: []string{"hostname", exampleHost, "mediaServerStatus:objectType", "KalturaMediaServerStatus"},
			xml:  `<objectType>KalturaMediaServer</objectType><id>1</id><dc>0</dc><hostname>ms1.example.com</hostname><createdAt>%d</createdAt><updatedAt>%d</updatedAt>`,
			json: `{"id":1,"dc":0,"hostname":"ms1.example.com","objectType":"KalturaMediaServer"}`,
		},
		refusal("9.12 another partner", ks(102, 2), "102", "mediaserver.reportStatus", []string{"hostname", exampleHost}, "SERVICE_FORBIDDEN",
			"this session may not call mediaserver-&gt;reportStatus for the requested partner", "SERVICE", "mediaserver-&gt;reportStatus"),
		{name: "9.13 isLive", session: server, partner: "102", action: "liveStream.isLive", fields: []string{"id", exampleEntry, "protocol", "hls"}, before: [][]string{register}, xml: "1", json: "true"},
		refusal("9.13 bad id", "", "", "liveStream.isLive", []string{"id", "x", "protocol", "hls"}, "INVALID_ENTRY_ID", "no live entry x", "ID", "x"),
		refusal("9.14 wrong secret", "", "", "session.start", []string{"secret", "x", "type", "2", "partnerId", "-5"}, "START_SESSION_ERROR", "no session: the partner or its secret is wrong", "PID", "-5"),
		refusal("9.15 no service", "", "", ".", nil, "SERVICE_NOT_SPECIFIED", "name a service"),
		refusal("9.15 unknown service", "", "", "nosuch.list", nil, "SERVICE_DOES_NOT_EXISTS", "this server has no service nosuch", "SRV_NAME", "nosuch"),
		refusal("9.15 unknown action", "", "", "livestream.nosuch", nil, "ACTION_DOES_NOT_EXISTS", "service livestream has no action nosuch", "ACTION_NAME", "nosuch", "SERVICE_NAME", "livestream"),
	}
}

func expiredKS() string {
	text, err := kaltura.SignV1(serverSecret, kaltura.KS{PartnerID: -5, Expiry: 1000, Type: 2})
	if err != nil {
		panic(err)
	}
	return text
}

// send makes an example's call as a form, or as the JSON document of the Node client.
func (f *fixture) send(x example, asJSON bool) string {
	if !asJSON {
		return f.formAs(x.session, x.partner, x.action, append([]string{"format", "2", "ignoreNull", "1"}, x.fields...)...)
	}
	doc := map[string]any{"format": 1}
	if x.session != "" {
		doc["ks"] = x.session
	}
	if x.partner != "" {
		doc["partnerId"] = json.Number(x.partner)
	}
	for i := 0; i+1 < len(x.fields); i += 2 {
		to, path := doc, strings.Split(x.fields[i], ":")
		for _, name := range path[:len(path)-1] {
			if _, ok := to[name]; !ok {
				to[name] = map[string]any{}
			}
			to = to[name].(map[string]any)
		}
		to[path[len(path)-1]] = x.fields[i+1]
	}
	body, err := json.Marshal(doc)
	if err != nil {
		f.t.Fatal(err)
	}
	service, action, _ := strings.Cut(x.action, ".")
	target := "/api_v3/"
	if service != "" {
		target += "service/" + service + "/action/" + action
	}
	r := httptest.NewRequest(http.MethodPost, target, strings.NewReader(string(body)))
	r.Header.Set("Content-Type", "application/json")
	res := f.do(r)
	if res.StatusCode != http.StatusOK {
		f.t.Fatalf("HTTP status %d", res.StatusCode)
	}
	return f.body(res)
}

// TestWireExamples is what contract §9 shows, asked as a form for XML and as JSON for JSON.
// 9.7 belongs to recording; 9.8 is TestUploadAsJava, 9.9 TestServe, 9.10 TestFlavors.
func TestWireExamples(t *testing.T) {
	for _, x := range wireExamples() {
		for _, asJSON := range []bool{false, true} {
			name := x.name + ", XML"
			if asJSON {
				name = x.name + ", JSON"
			}
			t.Run(name, func(t *testing.T) {
				f := examples(t, func(c *Config) {
					if x.in2015 {
						c.Generation = Generation2015
					}
				})
				for _, b := range x.before {
					f.form(b[0], b[1:]...)
				}
				got := f.send(x, asJSON)
				if asJSON {
					likeJSON(t, got, strings.ReplaceAll(x.json, "&gt;", ">"))
				} else {
					likeXML(t, got, x.xml)
				}
			})
		}
	}
}

// likeXML holds an answer to an example: what the example names is there, in its order.
func likeXML(t *testing.T, got, want string) {
	t.Helper()
	if strings.HasPrefix(want, "<error>") {
		if steady(got) != `<?xml version="1.0" encoding="utf-8"?><xml><result>`+want+`</result>#</xml>` {
			t.Errorf("got  %s\nwant %s", got, want)
		}
		return
	}
	subtree(t, readJava(t, []byte(got)).get("result"), readJava(t, []byte("<result>"+want+"</result>")), "result")
}

func subtree(t *testing.T, got, want *element, path string) {
	t.Helper()
	pattern := strings.NewReplacer("%d", "[0-9]+", "%w", "[0-9a-z]{8}").Replace(regexp.QuoteMeta(want.text))
	if len(want.children) == 0 && !regexp.MustCompile("^"+pattern+"$").MatchString(got.text) {
		t.Errorf("%s is %q, want %q", path, got.text, want.text)
	}
	rest := got.children
	for _, w := range want.children {
		at := 0
		for at < len(rest) && rest[at].name != w.name {
			at++
		}
		if at == len(rest) {
			t.Errorf("%s: %s is missing, or not behind what precedes it", path, w.name)
			return
		}
		subtree(t, rest[at], w, path+"/"+w.name)
		rest = rest[at+1:]
	}
}

// likeJSON does the same for JSON, where objectType stands last.
func likeJSON(t *testing.T, got, want string) {
	t.Helper()
	if strings.HasPrefix(want, `{"code"`) {
		if got != want {
			t.Errorf("got  %s\nwant %s", got, want)
		}
		return
	}
	if i := strings.LastIndex(want, `,"objectType"`); i >= 0 && !strings.HasSuffix(got, want[i:]) {
		t.Errorf("%s does not end with %s", got, want[i:])
	}
	var g, w any
	if err := json.Unmarshal([]byte(got), &g); err != nil {
		t.Fatalf("%v: %s", err, got)
	}
	if err := json.Unmarshal([]byte(want), &w); err != nil {
		t.Fatal(err)
	}
	subset(t, g, w, "answer")
}

func subset(t *testing.T, got, want any, path string) {
	t.Helper()
	switch w := want.(type) {
	case map[string]any:
		g, _ := got.(map[string]any)
		for name, v := range w {
			subset(t, g[name], v, path+"."+name)
		}
	case []any:
		g, _ := got.([]any)
		if len(g) < len(w) {
			t.Errorf("%s has %d items, want %d", path, len(g), len(w))
			return
		}
		for i, v := range w {
			subset(t, g[i], v, fmt.Sprintf("%s[%d]", path, i))
		}
	default:
		if !reflect.DeepEqual(got, want) {
			t.Errorf("%s is %v, want %v", path, got, want)
		}
	}
}

// TestClientReadsExamples is the other direction: klive's client reads the examples' answers.
func TestClientReadsExamples(t *testing.T) {
	answer := ""
	web := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		_, _ = io.WriteString(w, answer)
	}))
	defer web.Close()
	c := dial(t, web.URL, 0, nil)
	token := exampleToken
	for _, x := range wireExamples() {
		answer = strings.ReplaceAll(x.json, "&gt;", ">")
		e, err := c.Authenticate(t.Context(), DemoPartner, kaltura.AuthenticateRequest{EntryID: exampleEntry, Token: &token})
		switch {
		case strings.HasPrefix(x.json, `{"code"`):
			readsError(t, x.name, err, answer)
		case strings.HasPrefix(x.json, `{"id":"`) && (err != nil || e.ID != exampleEntry):
			t.Errorf("%s: %+v, %v", x.name, e, err)
		}
	}
	answer = wireExamples()[0].json
	e, err := c.Authenticate(t.Context(), DemoPartner, kaltura.AuthenticateRequest{EntryID: exampleEntry, Token: &token})
	if err != nil || e.Name != "Town hall" || e.PartnerID != 102 || e.SourceType != "32" || e.RecordStatus != 1 || e.DVRStatus != 1 || e.DVRWindow != 60 || e.Type != "7" {
		t.Errorf("9.2: %+v, %v", e, err)
	}
	// Enumerations of text may come as numbers (§9.2).
	answer = strings.NewReplacer(`"status":"2"`, `"status":2`, `"type":"7"`, `"type":7`, `"sourceType":"32"`, `"sourceType":32`).Replace(answer)
	if e, err = c.Authenticate(t.Context(), DemoPartner, kaltura.AuthenticateRequest{EntryID: exampleEntry, Token: &token}); err != nil || e.SourceType != "32" || e.Type != "7" {
		t.Errorf("9.2 with numbers: %+v, %v", e, err)
	}
	answer = `{"id":7,"dc":0,"hostname":"ms1.example.com","createdAt":1425000000,"updatedAt":1425000300,"objectType":"KalturaMediaServer"}`
	if m, err := c.ReportStatus(t.Context()); err != nil || m.ID != 7 || m.UpdatedAt != 1425000300 {
		t.Errorf("9.12: %+v, %v", m, err)
	}
	for text, want := range map[string]bool{"true": true, "false": false} {
		answer = text
		if on, err := c.IsLive(t.Context(), exampleEntry, "hls"); err != nil || on != want {
			t.Errorf("9.13: %v, %v for %s", on, err, text)
		}
	}
	answer = `"djJ8LTV8"`
	if ks, err := c.SessionStart(t.Context(), kaltura.SessionRequest{PartnerID: -5, Secret: "x", Type: kaltura.SessionAdmin}); err != nil || ks != "djJ8LTV8" {
		t.Errorf("9.14: %q, %v", ks, err)
	}
}

func readsError(t *testing.T, name string, err error, answer string) {
	t.Helper()
	var want struct {
		Code string
		Args any
	}
	if e := json.Unmarshal([]byte(answer), &want); e != nil {
		t.Fatal(e)
	}
	if !kaltura.IsCode(err, want.Code) {
		t.Errorf("%s: %v, want code %s", name, err, want.Code)
		return
	}
	args, _ := want.Args.(map[string]any)
	for arg, v := range args {
		if got := argOf(err, arg); got != v {
			t.Errorf("%s: argument %s is %q, want %q", name, arg, got, v)
		}
	}
}

func argOf(err error, name string) string {
	var api *kaltura.APIError
	if errors.As(err, &api) {
		return api.Arg(name)
	}
	return ""
}

// TestWireExampleOverURL is §9.13 as the contract writes it.
func TestWireExampleOverURL(t *testing.T) {
	f := examples(t)
	get := func(path string) *http.Response { return f.do(httptest.NewRequest(http.MethodGet, path, nil)) }
	res := get("/api_v3/service/liveStream/action/isLive/id/0_rkij47dr/protocol/hls/format/1")
	if body := f.body(res); body != "false" || res.Header.Get("Cache-Control") != "public, max-age=5" {
		t.Errorf("off air: %s, %q", body, res.Header.Get("Cache-Control"))
	}
	f.form("liveStream.registerMediaServer", "entryId", exampleEntry, "hostname", exampleHost, "mediaServerIndex", "0")
	res = get("/api_v3/service/liveStream/action/isLive/id/0_rkij47dr/protocol/hls/format/1")
	if body := f.body(res); body != "true" || res.Header.Get("Cache-Control") != "public, max-age=30" {
		t.Errorf("on air: %s, %q", body, res.Header.Get("Cache-Control"))
	}
	has(t, f.body(get("/api_v3/service/liveStream/action/isLive/id/0_rkij47dr/protocol/nosuch/format/1")),
		`"code":"INVALID_ENUM_VALUE"`, `"ENUM_VAL":"nosuch","PARAM_NAME":"protocol","ENUM_TYPE":"KalturaPlaybackProtocol"`)
	v := url.Values{"secret": {serverSecret}, "userId": {"MediaServer"}, "type": {"2"}, "partnerId": {"-5"}, "expiry": {"86400"}, "privileges": {"disableentitlement"}, "format": {"1"}}
	body := f.body(get("/api_v3/service/session/action/start?" + v.Encode()))
	var text string
	if err := json.Unmarshal([]byte(body), &text); err != nil || !strings.HasPrefix(text, "djJ8LTV8") {
		t.Errorf("9.14: %s, %v", body, err)
	}
}
