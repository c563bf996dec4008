package controlplane

import (
	"compress/gzip"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"regexp"
	"strings"
	"testing"
	"time"

	"klive/infra/kaltura"
)

const (
	testSecret   = "secret-of-partner-102"
	serverSecret = "secret-of-the-servers"
)

type fixture struct {
	*Server
	t     *testing.T
	state *memory
}

// start makes a server with partner 102 and a second customer 103.
func start(t *testing.T, tune ...func(*Config)) *fixture {
	t.Helper()
	m := newMemory()
	c := Config{State: m, Secret: testSecret, MediaServerSecret: serverSecret, PublicHost: "live.example.com", Hostname: "api1"}
	for _, f := range tune {
		f(&c)
	}
	s, err := New(t.Context(), c)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.Close)
	other := Partner{ID: 103, AdminSecret: "secret-of-partner-103", LiveStream: true, MaxInputs: 1, MaxTranscoded: 0}
	if err := s.ensurePartner(t.Context(), other); err != nil {
		t.Fatal(err)
	}
	return &fixture{Server: s, t: t, state: m}
}

func in2015(c *Config) { c.Generation = Generation2015 }

// ks signs a session; partner -5 and 102 have the secrets above.
func ks(partner, kind int) string {
	secret := map[int]string{-5: serverSecret, 102: testSecret, 103: "secret-of-partner-103"}[partner]
	text, err := kaltura.SignV1(secret, kaltura.KS{PartnerID: partner, Expiry: time.Now().Unix() + 600, Type: kind, UserID: "tester", Privileges: "disableentitlement"})
	if err != nil {
		panic(err)
	}
	return text
}

func (f *fixture) do(r *http.Request) *http.Response {
	f.t.Helper()
	w := httptest.NewRecorder()
	f.ServeHTTP(w, r)
	return w.Result()
}

func (f *fixture) body(r *http.Response) string {
	f.t.Helper()
	b, err := io.ReadAll(r.Body)
	if err != nil {
		f.t.Fatal(err)
	}
	return string(b)
}

// form posts a call of -5 in the name of partner 102; fields are names and values in turn.
func (f *fixture) form(action string, fields ...string) string {
	f.t.Helper()
	return f.formAs(ks(-5, kaltura.SessionAdmin), "102", action, fields...)
}

func (f *fixture) formAs(session, partner, action string, fields ...string) string {
	f.t.Helper()
	service, name, _ := strings.Cut(action, ".")
	v := url.Values{}
	if session != "" {
		v.Set("ks", session)
	}
	if partner != "" {
		v.Set("partnerId", partner)
	}
	for i := 0; i+1 < len(fields); i += 2 {
		v.Set(fields[i], fields[i+1])
	}
	r := httptest.NewRequest(http.MethodPost, "/api_v3/index.php?service="+service+"&action="+name, strings.NewReader(v.Encode()))
	r.Header.Set("Content-Type", "application/x-www-form-urlencoded; charset=UTF-8")
	res := f.do(r)
	if res.StatusCode != http.StatusOK {
		f.t.Fatalf("HTTP status %d", res.StatusCode)
	}
	return f.body(res)
}

var changing = regexp.MustCompile(`<executionTime>[0-9.]+</executionTime>|<(createdAt|updatedAt)>\d+</|"(createdAt|updatedAt)":\d+`)

// steady blanks times out of an answer.
func steady(body string) string { return changing.ReplaceAllString(body, "#") }

func has(t *testing.T, body string, parts ...string) {
	t.Helper()
	for _, p := range parts {
		if !strings.Contains(body, p) {
			t.Errorf("answer lacks %s:\n%s", p, body)
		}
	}
}

func lacks(t *testing.T, body string, parts ...string) {
	t.Helper()
	for _, p := range parts {
		if strings.Contains(body, p) {
			t.Errorf("answer has %s:\n%s", p, body)
		}
	}
}

// TestAuthenticate is contract §9.1 to §9.4.
func TestAuthenticate(t *testing.T) {
	f := start(t)
	body := f.form("livestream.authenticate", "format", "2", "ignoreNull", "1", "clientTag", "MediaServer-ms1", "entryId", DemoEntry, "token", DemoToken, "kalsig", "whatever")
	if !strings.HasPrefix(body, `<?xml version="1.0" encoding="utf-8"?><xml><result><objectType>KalturaLiveStreamEntry</objectType><id>0_demolive</id><name>Demonstration</name><partnerId>102</partnerId>`) {
		t.Errorf("start of the answer: %s", body)
	}
	has(t, body, `<type>7</type>`, `<replacementStatus>0</replacementStatus><partnerSortValue>0</partnerSortValue><conversionProfileId>501</conversionProfileId>`,
		`<mediaType>201</mediaType><sourceType>32</sourceType><flavorParamsIds>32,36,37</flavorParamsIds><recordStatus>1</recordStatus><dvrStatus>1</dvrStatus><dvrWindow>120</dvrWindow>`,
		`<liveStreamConfigurations><item><objectType>KalturaLiveStreamConfiguration</objectType><protocol>hls</protocol></item>`,
		`<currentBroadcastStartTime>0</currentBroadcastStartTime>`,
		`<bitrates><item><objectType>KalturaLiveStreamBitrate</objectType><bitrate>900</bitrate><width>640</width><height>480</height><tags>source,ingest,web,mobile</tags></item>`,
		`<primaryBroadcastingUrl>rtmp://live.example.com:1935/kLive/?p=102&amp;e=0_demolive&amp;i=0&amp;t=demo1234</primaryBroadcastingUrl>`,
		`<streamName>0_demolive_%i</streamName><streamPassword>demo1234</streamPassword></result><executionTime>`)
	lacks(t, body, "firstBroadcast", "> <", "\n")

	has(t, f.form("livestream.authenticate", "entryId", DemoEntry, "token", DemoToken), `<firstBroadcast></firstBroadcast>`)

	body = f.form("liveStream.authenticate", "format", "1", "entryId", DemoEntry, "token", DemoToken)
	has(t, body, `{"id":"0_demolive","name":"Demonstration","partnerId":102,`, `"status":"2"`, `"dvrWindow":120`, `"objectType":"KalturaLiveStreamEntry"}`)
	if !strings.HasSuffix(body, `"streamPassword":"demo1234","objectType":"KalturaLiveStreamEntry"}`) {
		t.Errorf("objectType must be the last member: %s", body)
	}

	body = f.form("livestream.authenticate", "entryId", DemoEntry, "token", "wrong")
	if want := `<?xml version="1.0" encoding="utf-8"?><xml><result><error><code>LIVE_STREAM_INVALID_TOKEN</code><message>token rejected for live entry 0_demolive</message><objectType>KalturaAPIException</objectType><args><item><objectType>KalturaApiExceptionArg</objectType><name>ENTRY_ID</name><value>0_demolive</value></item></args></error></result>#</xml>`; steady(body) != want {
		t.Errorf("got  %s\nwant %s", steady(body), want)
	}
	for _, c := range []struct{ fields, want string }{
		{"entryId=0_demolive&token=wrong", `{"code":"LIVE_STREAM_INVALID_TOKEN","message":"token rejected for live entry 0_demolive","objectType":"KalturaAPIException","args":{"ENTRY_ID":"0_demolive"}}`},
		{"entryId=0_demolive", `{"code":"MISSING_MANDATORY_PARAMETER","message":"parameter token is required","objectType":"KalturaAPIException","args":{"PARAM_NAME":"token"}}`},
		{"entryId=0_zzzzzzzz&token=x", `{"code":"ENTRY_ID_NOT_FOUND","message":"no entry 0_zzzzzzzz","objectType":"KalturaAPIException","args":{"ENTRY_ID":"0_zzzzzzzz"}}`},
		{"entryId=../../x.y&token=x", `{"code":"ENTRY_ID_NOT_FOUND","message":"no entry ../../x.y","objectType":"KalturaAPIException","args":{"ENTRY_ID":"../../x.y"}}`},
		{"entryId=0_demolive&token=x&mediaServerIndex=7", `{"code":"INVALID_ENUM_VALUE","message":"parameter mediaServerIndex must be one of 0, 1, 2","objectType":"KalturaAPIException","args":{"ENUM_VAL":"7","PARAM_NAME":"mediaServerIndex","ENUM_TYPE":"KalturaEntryServerNodeType"}}`},
	} {
		q, _ := url.ParseQuery(c.fields)
		fields := []string{"format", "1"}
		for k, v := range q {
			fields = append(fields, k, v[0])
		}
		if got := f.form("livestream.authenticate", fields...); got != c.want {
			t.Errorf("%s:\ngot  %s\nwant %s", c.fields, got, c.want)
		}
	}
}

func TestAuthenticateBlockedPartnerAndSessions(t *testing.T) {
	f := start(t)
	auth := func(session, partner string) string {
		return f.formAs(session, partner, "livestream.authenticate", "format", "1", "entryId", DemoEntry, "token", DemoToken)
	}
	expired, _ := kaltura.SignV1(serverSecret, kaltura.KS{PartnerID: -5, Expiry: 1000, Type: 2})
	forged, _ := kaltura.SignV2("guess", kaltura.KS{PartnerID: -5, Expiry: 1 << 40, Type: 2})
	has(t, auth(expired, "102"), `"code":"INVALID_KS"`, `"args":{"KSID":"EXPIRED","ERR_CODE":"-1","ERR_DESC":"INVALID_STR"}`)
	has(t, auth(forged, "102"), `"code":"INVALID_KS"`, `"KSID":"`+forged+`"`)
	has(t, auth("", ""), `"code":"MISSING_KS"`, `"args":[]`)
	has(t, auth("", "102"), `"code":"SERVICE_FORBIDDEN","message":`, `"args":{"SERVICE":"livestream->authenticate"}`)
	has(t, auth(ks(102, 2), "102"), `"id":"0_demolive"`)
	has(t, auth(ks(102, 0), "102"), `"code":"SERVICE_FORBIDDEN"`)
	// 103 has no media servers of its own, and its session does not reach 102.
	has(t, auth(ks(103, 2), "103"), `"code":"SERVICE_FORBIDDEN"`)
	has(t, auth(ks(103, 2), "102"), `"code":"SERVICE_FORBIDDEN"`)
	// An entry of another partner is as good as none.
	has(t, auth(ks(-5, 2), "103"), `"code":"ENTRY_ID_NOT_FOUND"`)
	has(t, auth(ks(-5, 2), "-5"), `"code":"ENTRY_ID_NOT_FOUND"`)
	has(t, auth(ks(-5, 2), "999"), `"code":"SERVICE_FORBIDDEN_CONTENT_BLOCKED"`, `"args":[]`)
	has(t, auth(ks(-5, 2), "x"), `"code":"INVALID_PARTNER_ID"`)

	if _, err := change(t.Context(), f.state, partnerKey(102), func(p *Partner) error { p.Status = PartnerContentBlock; return nil }); err != nil {
		t.Fatal(err)
	}
	has(t, auth(ks(-5, 2), "102"), `"code":"SERVICE_FORBIDDEN_CONTENT_BLOCKED"`)
	has(t, auth(ks(102, 2), "102"), `"code":"SERVICE_FORBIDDEN_CONTENT_BLOCKED"`)
}

// TestMalformed is contract §9.15.
func TestMalformed(t *testing.T) {
	f := start(t)
	for path, want := range map[string]string{
		"/api_v3/?format=1":                                   `{"code":"SERVICE_NOT_SPECIFIED","message":"name a service","objectType":"KalturaAPIException","args":[]}`,
		"/api_v3/?format=1&service=nosuch":                    `"args":{"SRV_NAME":"nosuch"}`,
		"/api_v3/?format=1&service=livestream":                `"code":"ACTION_NOT_SPECIFIED"`,
		"/api_v3/?format=1&service=livestream&action=nosuch":  `"args":{"ACTION_NAME":"nosuch","SERVICE_NAME":"livestream"}`,
		"/api_v3/?format=77&service=livestream&action=isLive": `<code>UNKNOWN_RESPONSE_FORMAT</code>`,
		"/api_v3/?format=9&service=livestream&action=isLive":  `<code>MISSING_MANDATORY_PARAMETER</code>`,
		"/api_v3/?service=nosuch":                             `<error><code>SERVICE_DOES_NOT_EXISTS</code>`,
	} {
		res := f.do(httptest.NewRequest(http.MethodGet, path, nil))
		if res.StatusCode != http.StatusOK {
			t.Errorf("%s: status %d", path, res.StatusCode)
		}
		has(t, f.body(res), want)
	}
	old := start(t, in2015)
	has(t, old.form("livestream.registerMediaServer", "format", "1", "entryId", DemoEntry, "hostname", "h", "mediaServerIndex", "2"),
		`"args":{"ENUM_VAL":"2","PARAM_NAME":"mediaServerIndex","ENUM_TYPE":"KalturaMediaServerIndex"}`)
	has(t, old.form("livestream.authenticate", "entryId", DemoEntry), `<objectType>KalturaAPIExceptionArg</objectType>`)
}

// TestEncodings sends one call in every encoding of contract §1.1 and §1.2.
func TestEncodings(t *testing.T) {
	f := start(t)
	session := ks(102, 2)
	const json = "application/json"
	multipart := strings.ReplaceAll("--B\nContent-Disposition: form-data; name=\"ks\"\n\n"+session+"\n--B\nContent-Disposition: form-data; name=\"filter:idEqual\"\n\n0_demolive\n"+
		"--B\nContent-Disposition: form-data; name=\"file\"; filename=\"x\"\n\nignored\n--B--\n", "\n", "\r\n")
	jsonPart := strings.ReplaceAll("--B\nContent-Disposition: form-data; name=\"json\"\n\n{\"ks\":\""+session+"\",\"filter\":{\"idEqual\":\"0_demolive\"},\"format\":1}\n--B--\n", "\n", "\r\n")
	for name, c := range map[string]struct{ method, target, kind, body string }{
		"query":            {"GET", "/api_v3/index.php?service=livestream&action=list&format=1&filter:idEqual=0_demolive&ks=" + url.QueryEscape(session), "", ""},
		"php path":         {"GET", "/api_v3/index.php/service/liveStream/action/list/format/1/filter:idEqual/0_demolive/ks/" + url.PathEscape(session), "", ""},
		"bare path":        {"GET", "/api_v3/service/LIVESTREAM/action/LIST/format/1/filter:idEqual/0_demolive/f/junk.xml/ks/" + url.PathEscape(session), "", ""},
		"form brackets":    {"POST", "/api_v3/service/livestream/action/list", "application/x-www-form-urlencoded", "format=1&filter[idEqual]=0_demolive&ks=" + url.QueryEscape(session)},
		"json":             {"POST", "/api_v3/service/livestream/action/list", json, `{"format":1,"filter":{"idEqual":"0_demolive"},"ks":"` + session + `"}`},
		"json charset":     {"POST", "/api_v3/service/livestream/action/list", json + "; charset=utf-8", `{"format":"1","filter":{"idEqual":"0_demolive"},"ks":"` + session + `"}`},
		"query over body":  {"POST", "/api_v3/service/livestream/action/list?format=1&filter:idEqual=0_demolive", json, `{"format":2,"filter":{"idEqual":"0_nothing1"},"ks":"` + session + `"}`},
		"path over query":  {"GET", "/api_v3/service/livestream/action/list/format/1/filter:idEqual/0_demolive?service=nosuch&filter:idEqual=0_nothing1&ks=" + url.QueryEscape(session), "", ""},
		"first path wins":  {"GET", "/api_v3/service/livestream/action/list/format/1/service/nosuch/ks/" + url.PathEscape(session), "", ""},
		"multipart fields": {"POST", "/api_v3/service/livestream/action/list/format/1", "multipart/form-data; boundary=B", multipart},
		"multipart json":   {"POST", "/api_v3/service/livestream/action/list", "multipart/form-data; boundary=B", jsonPart},
	} {
		r := httptest.NewRequest(c.method, c.target, strings.NewReader(c.body))
		if c.kind != "" {
			r.Header.Set("Content-Type", c.kind)
		}
		body := f.body(f.do(r))
		if !strings.HasPrefix(body, `{"objects":[{"id":"0_demolive"`) || !strings.HasSuffix(body, `"totalCount":1,"objectType":"KalturaLiveStreamListResponse"}`) {
			t.Errorf("%s: %s", name, body)
		}
	}
}

func TestNullAndEmptyNotation(t *testing.T) {
	f := start(t)
	session := ks(102, 2)
	has(t, f.formAs(session, "", "liveStream.update", "format", "1", "entryId", DemoEntry, "liveStreamEntry:objectType", "KalturaLiveStreamEntry",
		"liveStreamEntry:description", "hello", "liveStreamEntry:bitrates:1:bitrate", "2", "liveStreamEntry:bitrates:0:bitrate", "1"),
		`"description":"hello"`, `"bitrates":[{"bitrate":1,"width":0,"height":0,"objectType":"KalturaLiveStreamBitrate"},{"bitrate":2,`)
	body := f.formAs(session, "", "liveStream.update", "format", "1", "entryId", DemoEntry, "liveStreamEntry:description__null", "", "liveStreamEntry:bitrates:-", "")
	lacks(t, body, `"description"`)
	has(t, body, `"bitrates":[{"bitrate":900,`)
	has(t, f.formAs(session, "", "liveStream.update", "format", "1", "entryId", DemoEntry, "liveStreamEntry", "text"),
		`"code":"PROPERTY_VALIDATION_WRONG_FORMAT"`, `"args":{"PROP_NAME":"liveStreamEntry","FORMAT":"object"}`)
	has(t, f.formAs(session, "", "liveStream.update", "format", "1", "entryId", DemoEntry, "liveStreamEntry:name:x", "y"),
		`"args":{"PROP_NAME":"name","FORMAT":"scalar"}`)
	has(t, f.formAs(session, "", "liveStream.update", "format", "1", "entryId", DemoEntry, "liveStreamEntry:name", "a\x01b"),
		`"code":"INVALID_PARAMETER_CHAR"`, `"args":{"XML_FIELD":"name"}`)
}

func TestLimitsOfARequest(t *testing.T) {
	f := start(t, func(c *Config) { c.Limits = Limits{Body: 4000, Parameters: 50, Depth: 5, Calls: 3} })
	for name, c := range map[string]struct {
		kind, body string
		status     int
	}{
		"large body":      {"application/x-www-form-urlencoded", "a=" + strings.Repeat("x", 5000), http.StatusRequestEntityTooLarge},
		"many parameters": {"", strings.Repeat("a=1&", 60), http.StatusBadRequest},
		"deep":            {"", "a:b:c:d:e:f=1", http.StatusBadRequest},
		"deep json":       {"application/json", strings.Repeat(`{"a":`, 10) + "1" + strings.Repeat("}", 10), http.StatusBadRequest},
		"broken json":     {"application/json", `{"a":`, http.StatusBadRequest},
		"json array":      {"application/json", `[1]`, http.StatusBadRequest},
		"many calls":      {"", "service=multirequest&1:service=a&2:service=a&3:service=a&4:service=a", http.StatusBadRequest},
		"broken parts":    {"multipart/form-data; boundary=B", "no parts", http.StatusBadRequest},
	} {
		r := httptest.NewRequest(http.MethodPost, "/api_v3/", strings.NewReader(c.body))
		r.Header.Set("Content-Type", c.kind)
		if res := f.do(r); res.StatusCode != c.status {
			t.Errorf("%s: status %d, want %d: %s", name, res.StatusCode, c.status, f.body(res))
		}
	}
	small := start(t, func(c *Config) { c.Limits = Limits{Answer: 1000} })
	r := httptest.NewRequest(http.MethodGet, "/api_v3/?service=multirequest&1:service=flavorParams&1:action=list&ks="+url.QueryEscape(ks(102, 2)), nil)
	if res := small.do(r); res.StatusCode != http.StatusBadRequest {
		t.Errorf("a large answer: status %d", res.StatusCode)
	}
	if res := f.do(httptest.NewRequest(http.MethodPut, "/api_v3/", nil)); res.StatusCode != http.StatusMethodNotAllowed {
		t.Errorf("PUT: status %d", res.StatusCode)
	}
}

func TestHeadersGzipAndPreflight(t *testing.T) {
	f := start(t)
	res := f.do(httptest.NewRequest(http.MethodOptions, "/api_v3/service/livestream/action/get", nil))
	for name, want := range map[string]string{
		"Access-Control-Allow-Origin": "*", "Access-Control-Allow-Methods": "POST, GET, HEAD, OPTIONS", "Access-Control-Max-Age": "86400",
		"Access-Control-Allow-Headers": "Origin, X-Requested-With, Content-Type, Accept, Range, Cache-Control", "X-Me": "api1",
	} {
		if got := res.Header.Get(name); got != want {
			t.Errorf("%s: %q, want %q", name, got, want)
		}
	}
	target := "/api_v3/service/livestream/action/list?ks=" + url.QueryEscape(ks(102, 2))
	r := httptest.NewRequest(http.MethodGet, target, nil)
	r.Header.Set("Accept-Encoding", "deflate, gzip;q=0.5")
	res = f.do(r)
	if res.Header.Get("Content-Encoding") != "gzip" || res.Header.Get("Content-Type") != "text/xml" || res.Header.Get("X-Kaltura-Session") == "" {
		t.Fatalf("headers %v", res.Header)
	}
	z, err := gzip.NewReader(res.Body)
	if err != nil {
		t.Fatal(err)
	}
	plain, err := io.ReadAll(z)
	if err != nil {
		t.Fatal(err)
	}
	has(t, string(plain), `<objectType>KalturaLiveStreamListResponse</objectType><objects><item><objectType>KalturaLiveStreamAdminEntry</objectType><id>0_demolive</id>`, `</item></objects><totalCount>1</totalCount></result>`)
	r = httptest.NewRequest(http.MethodGet, target, nil)
	r.Header.Set("Accept-Encoding", "gzip;q=0")
	if res := f.do(r); res.Header.Get("Content-Encoding") != "" {
		t.Error("gzip;q=0 was answered with gzip")
	}
	res = f.do(httptest.NewRequest(http.MethodGet, "/api_v3/service/livestream/action/isLive/id/0_demolive?format=9&callback=cb.x", nil))
	if body := f.body(res); body != "cb.x(false);" || res.Header.Get("Content-Type") != "application/javascript" {
		t.Errorf("JSONP: %s %s", body, res.Header.Get("Content-Type"))
	}
	res = f.do(httptest.NewRequest(http.MethodGet, "/api_v3/service/livestream/action/get/entryId/0_demolive/partnerId/102", nil))
	if res.Header.Get("X-Kaltura") != "error-SERVICE_FORBIDDEN" {
		t.Errorf("X-Kaltura: %q", res.Header.Get("X-Kaltura"))
	}
}

// TestScalarCoercion is contract §1.3: text becomes numbers, booleans and enumerations.
func TestScalarCoercion(t *testing.T) {
	f := start(t)
	register := func(fields ...string) string {
		return f.form("liveStream.registerMediaServer", append([]string{"format", "1", "entryId", DemoEntry, "hostname", "ms1"}, fields...)...)
	}
	// An enumeration reads true as 1; false in any case is no.
	body := register("mediaServerIndex", "true", "shouldCreateRecordedEntry", "FALSE")
	has(t, body, `"liveStatus":1`)
	lacks(t, body, "recordedEntryId")
	if _, ok := f.stored().Nodes[1]; !ok {
		t.Errorf("mediaServerIndex=true registered %v", f.stored().Nodes)
	}
	for _, no := range []string{"0", "", "false"} {
		lacks(t, register("mediaServerIndex", "False", "shouldCreateRecordedEntry", no), "recordedEntryId")
	}
	has(t, register("mediaServerIndex", "0", "shouldCreateRecordedEntry", "anything"), `"recordedEntryId":"0_`)
	has(t, register("mediaServerIndex", "yes"), `"code":"INVALID_ENUM_VALUE"`, `"args":{"ENUM_VAL":"yes","PARAM_NAME":"mediaServerIndex","ENUM_TYPE":"KalturaEntryServerNodeType"}`)
	// Leading digits count, as in PHP.
	has(t, f.formAs(ks(102, 2), "", "liveStream.list", "format", "1", "pager:pageSize", "1x", "pager:pageIndex", "junk"), `"totalCount":1`)
	has(t, f.form("flavorParams.get", "format", "1", "id", "33 and more"), `"id":33`)
}
