package controlplane

import (
	"bytes"
	"errors"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"testing"
	"time"

	"klive/infra/kaltura"
)

// TestSession is contract §9.14 and §2.1.
func TestSession(t *testing.T) {
	f := start(t)
	startSession := func(fields ...string) string {
		return f.formAs("", "", "session.start", append([]string{"format", "1"}, fields...)...)
	}
	ks := strings.Trim(startSession("secret", testSecret, "userId", "me", "type", "2", "partnerId", "102", "privileges", "disableentitlement", "expiry", "999999"), `"`)
	k, err := kaltura.ParseKS(ks, func(int) []string { return []string{testSecret} })
	if err != nil || k.Version != 2 || k.PartnerID != 102 || k.UserID != "me" || !k.Admin() || k.Privileges != "disableentitlement" {
		t.Fatalf("session %+v, %v", k, err)
	}
	has(t, startSession("secret", "wrong", "type", "2", "partnerId", "102"), `"code":"START_SESSION_ERROR"`, `"args":{"PID":"102"}`)
	has(t, startSession("secret", testSecret, "partnerId", "7"), `"code":"START_SESSION_ERROR"`)
	has(t, startSession("partnerId", "7"), `"args":{"PARAM_NAME":"secret"}`)
	has(t, startSession("secret", testSecret, "type", "1", "partnerId", "102"), `"code":"INVALID_ENUM_VALUE"`)

	if _, err := change(t.Context(), f.state, partnerKey(102), func(p *Partner) error { p.UserSecret = "user-secret"; return nil }); err != nil {
		t.Fatal(err)
	}
	has(t, startSession("secret", "user-secret", "type", "2", "partnerId", "102"), `"code":"START_SESSION_ERROR"`)
	user := strings.Trim(startSession("secret", "user-secret", "type", "0", "p", "102"), `"`)
	body := f.formAs(user, "", "liveStream.get", "format", "1", "entryId", DemoEntry)
	has(t, body, `"objectType":"KalturaLiveStreamEntry"}`)
	lacks(t, body, DemoToken)
	// The user's secret signs nothing by itself.
	forged, _ := kaltura.SignV2("user-secret", kaltura.KS{PartnerID: 102, Expiry: 1 << 40, Type: 2})
	has(t, f.formAs(forged, "", "liveStream.list", "format", "1"), `"code":"INVALID_KS"`)

	has(t, f.formAs(ks, "", "liveStream.get", "format", "1", "entryId", DemoEntry), `"objectType":"KalturaLiveStreamAdminEntry"}`)
	if got := f.formAs(ks, "", "session.end", "format", "1"); got != "null" {
		t.Errorf("session.end: %s", got)
	}
	has(t, f.formAs(ks, "", "liveStream.get", "format", "1", "entryId", DemoEntry), `"code":"INVALID_KS"`, `"KSID":"LOGOUT"`)
	if void := f.formAs(user, "", "session.end"); !strings.Contains(void, "<result></result>") {
		t.Errorf("session.end in XML: %s", void)
	}
	text, err := f.SignKS(t.Context(), 102, kaltura.KS{Type: 2, UserID: "cli"}, 0)
	if err != nil {
		t.Fatal(err)
	}
	has(t, f.formAs(text, "", "liveStream.get", "format", "1", "entryId", DemoEntry), `"id":"0_demolive"`)
}

// TestImpersonation holds every action to contract §2.5.
func TestImpersonation(t *testing.T) {
	allowed := map[string]bool{
		"liveStream.authenticate": true, "liveStream.registerMediaServer": true, "liveStream.unregisterMediaServer": true,
		"liveStream.get": true, "liveStream.update": true, "conversionProfileAssetParams.list": true, "flavorParams.get": true,
		"flavorParams.list": true, "flavorAsset.list": true, "baseEntry.update": true, "uploadToken.add": true, "uploadToken.upload": true,
		"liveStream.appendRecording": true, "media.get": true, "media.cancelReplace": true,
		// These need no session, so the media server's does no harm.
		"session.start": true, "liveStream.isLive": true, "liveStream.getDetails": true,
	}
	allowedNow := map[string]bool{
		"conversionProfile.get": true, "serverNode.add": true, "serverNode.get": true, "serverNode.list": true, "serverNode.reportStatus": true,
		"entryServerNode.get": true, "entryServerNode.list": true, "entryServerNode.update": true, "entryServerNode.updateStatus": true,
		"wowza_liveConversionProfile.serve": true, "wowza_liveStreamConversionProfile.serve": true,
	}
	for _, g := range []Generation{GenerationNow, Generation2015} {
		f := start(t, func(c *Config) { c.Generation = g })
		for _, a := range table() {
			name := a.service + "." + a.name
			want := allowed[name] || allowedNow[name] && g == GenerationNow
			body := f.form(name, "format", "1")
			if got := !strings.Contains(body, `"code":"SERVICE_FORBIDDEN"`); got != want {
				t.Errorf("%s: -5 in the name of 102 may call %s: %v, want %v (%s)", g, name, got, want, body)
			}
			if a.access == anyone {
				continue
			}
			has(t, f.formAs("", "102", name, "format", "1"), `"code":"SERVICE_FORBIDDEN"`)
			has(t, f.formAs(ks(103, 2), "102", name, "format", "1"), `"code":"SERVICE_FORBIDDEN"`)
		}
	}
}

func TestMediaServersFindEntriesOfAnyPartner(t *testing.T) {
	f := start(t)
	has(t, f.formAs(ks(-5, 2), "-5", "liveStream.get", "format", "1", "entryId", DemoEntry), `"partnerId":102`)
	has(t, f.formAs(ks(-5, 2), "", "liveStream.list", "format", "1"), `"totalCount":1`)
	old := start(t, in2015)
	has(t, old.formAs(ks(-5, 2), "-5", "liveStream.get", "format", "1", "entryId", DemoEntry), `"code":"ENTRY_ID_NOT_FOUND"`)
}

func TestProvisioning(t *testing.T) {
	f := start(t)
	session := ks(102, 2)
	body := f.formAs(session, "", "liveStream.add", "format", "1", "sourceType", "32", "liveStreamEntry:objectType", "KalturaLiveStreamEntry",
		"liveStreamEntry:name", "Böard <1>", "liveStreamEntry:partnerId", "7", "liveStreamEntry:id", "0_hijacked", "liveStreamEntry:dvrStatus", "1")
	has(t, body, `"name":"Böard <1>"`, `"partnerId":102`, `"status":"2"`, `"recordStatus":1`, `"conversionProfileId":501`, `"userId":"tester"`, `"dvrStatus":1`)
	_, rest, _ := strings.Cut(body, `"id":"`)
	id, _, _ := strings.Cut(rest, `"`)
	_, rest, _ = strings.Cut(body, `"streamPassword":"`)
	token, _, _ := strings.Cut(rest, `"`)
	if len(token) != 8 || id == "0_hijacked" || !strings.HasPrefix(id, "0_") {
		t.Fatalf("id %q, token %q", id, token)
	}
	has(t, f.formAs(session, "", "liveStream.list", "ignoreNull", "1", "filter:nameLike", "böard"), `<name>Böard &lt;1&gt;</name>`, `<totalCount>1</totalCount>`)
	has(t, f.formAs(session, "", "liveStream.list", "format", "1", "pager:pageSize", "1", "pager:pageIndex", "2", "filter:orderBy", "+createdAt"), `"totalCount":2`, `"objects":[{"id"`)
	has(t, f.formAs(session, "", "liveStream.list", "format", "1", "pager:pageIndex", "99999999"), `{"objects":[],"totalCount":2`)
	has(t, f.formAs(session, "", "liveStream.list", "format", "1", "filter:isLive", "1"), `{"objects":[],"totalCount":0`)

	for filter, want := range map[string]string{
		"userIdEqual=tester": "1", "userIdEqual=nobody": "0", "statusIn=1,2": "2", "statusEqual=4": "0", "tagsLike=x": "0", "adminTagsLike=y": "0",
		"createdAtLessThanOrEqual=5": "0", "createdAtGreaterThanOrEqual=5": "2", "idIn=" + id + ",0_none0000": "1",
	} {
		name, v, _ := strings.Cut(filter, "=")
		has(t, f.formAs(session, "", "liveStream.list", "format", "1", "filter:"+name, v), `"totalCount":`+want)
	}

	body = f.formAs(session, "", "liveStream.regenerateStreamToken", "format", "1", "entryId", id)
	has(t, body, `"streamPassword":"`)
	lacks(t, body, token)
	has(t, f.formAs(session, "", "liveStream.update", "format", "1", "entryId", id, "liveStreamEntry:streamPassword", ""), `"streamPassword":"`)
	has(t, f.formAs(session, "", "liveStream.update", "format", "1", "entryId", id, "liveStreamEntry:recordStatus", "9"), `"code":"INVALID_ENUM_VALUE"`)
	has(t, f.formAs(session, "", "liveStream.update", "format", "1", "entryId", id, "liveStreamEntry:name", strings.Repeat("x", 20000)), `"code":"PROPERTY_VALIDATION_MAX_LENGTH"`)
	has(t, f.formAs(session, "", "liveStream.update", "format", "1", "entryId", id, "liveStreamEntry:conversionProfileId", "9999"), `"code":"CONVERSION_PROFILE_ID_NOT_FOUND"`)
	has(t, f.formAs(session, "", "liveStream.add", "format", "1", "liveStreamEntry:conversionProfileId", "504"), `"code":"CONVERSION_PROFILE_ID_NOT_FOUND","message":"no live conversion profile 504"`)

	// Another profile: new assets, the old ones gone.
	has(t, f.formAs(session, "", "liveStream.update", "format", "1", "entryId", id, "liveStreamEntry:conversionProfileId", "502"), `"flavorParamsIds":"32,33,34,35"`)
	body = f.formAs(session, "", "flavorAsset.list", "format", "1", "filter:entryIdEqual", id)
	has(t, body, `"totalCount":4`, `"tags":"source,ingest,web,mobile,recording_anchor"`, `"flavorParamsId":35`)
	lacks(t, body, `"flavorParamsId":36`)

	has(t, f.formAs(session, "", "liveStream.delete", "format", "1", "entryId", id), "null")
	has(t, f.formAs(session, "", "liveStream.get", "format", "1", "entryId", id), `"code":"ENTRY_ID_NOT_FOUND"`)
	has(t, f.formAs(ks(102, 0), "", "liveStream.add", "format", "1", "liveStreamEntry:name", "x"), `"code":"SERVICE_FORBIDDEN"`)
}

// TestFlavors is contract §9.10 and §9.11.
func TestFlavors(t *testing.T) {
	f := start(t)
	body := f.form("multirequest.null", "1:service", "conversionprofileassetparams", "1:action", "list",
		"1:filter:objectType", "KalturaConversionProfileAssetParamsFilter", "1:filter:conversionProfileIdEqual", "502",
		"2:service", "flavorasset", "2:action", "list", "2:filter:objectType", "KalturaLiveAssetFilter", "2:filter:entryIdEqual", DemoEntry, "format", "2", "ignoreNull", "1")
	has(t, body, `<result><item><objectType>KalturaConversionProfileAssetParamsListResponse</objectType><objects><item><objectType>KalturaConversionProfileAssetParams</objectType>`+
		`<conversionProfileId>502</conversionProfileId><assetParamsId>32</assetParamsId><readyBehavior>0</readyBehavior><origin>1</origin><systemName>Source</systemName></item>`,
		`</objects><totalCount>4</totalCount></item><item><objectType>KalturaFlavorAssetListResponse</objectType><objects><item><objectType>KalturaLiveAsset</objectType><id>0_`,
		`<entryId>0_demolive</entryId><partnerId>102</partnerId><version>0</version><size>0</size><tags>source,ingest,web,mobile,recording_anchor</tags>`,
		`<flavorParamsId>32</flavorParamsId><width>640</width><height>480</height><bitrate>900</bitrate><frameRate>0</frameRate><isOriginal>0</isOriginal><isWeb>0</isWeb><status>2</status></item>`,
		`</objects><totalCount>3</totalCount></item></result>`)
	has(t, f.form("flavorAsset.list", "format", "1", "filter:entryIdEqual", "0_zzzzzzzz"), `"code":"ENTRY_ID_NOT_FOUND"`)
	has(t, f.form("flavorAsset.list", "format", "1"), `"code":"PROPERTY_VALIDATION_CANNOT_BE_NULL"`)
	has(t, f.form("conversionProfileAssetParams.list", "format", "1", "filter:conversionProfileIdEqual", "9999"), `{"objects":[],"totalCount":0`)
	has(t, f.form("conversionProfileAssetParams.list", "format", "1", "filter:conversionProfileIdIn", "501,502", "filter:originEqual", "0"), `"totalCount":3`)

	by := f.formAs(ks(102, 2), "", "flavorParams.getByConversionProfileId", "format", "1", "conversionProfileId", "502")
	has(t, by, `[{"id":32,"partnerId":0,"name":"Source","systemName":"Source","isSystemDefault":1,"tags":"source,ingest,web,mobile","videoCodec":"","videoBitrate":900,"audioCodec":"","audioBitrate":0,`,
		`"width":640,"height":480,"frameRate":0,`, `"streamSuffix":"1","objectType":"KalturaLiveParams"},{"id":33,`, `"videoCodec":"h264b","videoBitrate":400,"audioCodec":"aac","audioBitrate":64,`)
	has(t, f.formAs(ks(102, 2), "", "flavorParams.getByConversionProfileId", "format", "1", "conversionProfileId", "999"), `"args":{"ID":"999"}`)
	has(t, f.formAs(ks(103, 2), "", "flavorParams.getByConversionProfileId", "format", "1", "conversionProfileId", "502"), `"code":"CONVERSION_PROFILE_ID_NOT_FOUND"`)
	has(t, f.form("flavorParams.get", "format", "1", "id", "38"), `"name":"Multicast transcode"`)
	has(t, f.form("flavorParams.get", "format", "1", "id", "1"), `"code":"FLAVOR_PARAMS_ID_NOT_FOUND"`, `"args":{"ID":"1"}`)
	has(t, f.form("flavorParams.list"), `<objectType>KalturaFlavorParamsListResponse</objectType>`, `<totalCount>`+strconv.Itoa(len(systemParams()))+`</totalCount>`)
}

func TestMultirequest(t *testing.T) {
	f := start(t)
	post := func(body string) string {
		r := httptest.NewRequest(http.MethodPost, "/api_v3/service/multirequest", strings.NewReader(body))
		r.Header.Set("Content-Type", "application/json")
		return f.body(f.do(r))
	}
	// The Node client numbers from 0, yet references count from 1.
	body := post(`{"format":1,"ks":"` + ks(102, 2) + `","0":{"service":"liveStream","action":"list"},"1":{"service":"liveStream","action":"get","entryId":"{1:result:objects:0:id}"},
		"2":{"service":"liveStream","action":"get","entryId":"{1:result:objects:5:id}"},"3":{"service":"flavorAsset","action":"list","filter":{"entryIdIn":"{1:result:objects:_all:id}"}},
		"4":{"service":"nosuch"},"5":{"service":"liveStream","action":"get","entryId":"{3:result:code}"},"6":{"service":"liveStream","action":"get","entryId":"{9:result:id}"},"8":{"service":"never"}}`)
	has(t, body, `[{"objects":[{"id":"0_demolive"`, `"objectType":"KalturaLiveStreamListResponse"},{"id":"0_demolive"`, `},{"code":"ENTRY_ID_NOT_FOUND","message":"no entry "`,
		`"totalCount":3,"objectType":"KalturaFlavorAssetListResponse"},{"code":"SERVICE_DOES_NOT_EXISTS"`, `"message":"no entry ENTRY_ID_NOT_FOUND"`)
	lacks(t, body, "never")
	// Forms number from 1; common parameters count for each call.
	body = f.form("multirequest.null", "format", "1", "1:service", "liveStream", "1:action", "get", "1:entryId", DemoEntry,
		"2:service", "liveStream", "2:action", "get", "2:entryId", "{1:result:id}", "2:partnerId", "103")
	has(t, body, `[{"id":"0_demolive"`, `,{"code":"ENTRY_ID_NOT_FOUND"`)
	// A file takes the place of everything.
	body = f.form("multirequest.null", "1:service", "liveStream", "1:action", "get", "1:entryId", DemoEntry,
		"2:service", "wowza_liveConversionProfile", "2:action", "serve", "2:streamName", DemoEntry+"_1")
	has(t, body, "<Root>")
	if got := f.form("multirequest.null", "format", "1"); got != "[]" {
		t.Errorf("no calls: %s", got)
	}
	has(t, f.form("multirequest.null"), `<result></result>`)
}

func TestPanicsAndStateFaultsAreErrorsOfOneCall(t *testing.T) {
	f := start(t)
	f.services["livestream"]["panic"] = &action{service: "liveStream", name: "panic", access: anyone, run: nil}
	has(t, f.formAs("", "", "liveStream.panic", "format", "1"), `"code":"INTERNAL_SERVERL_ERROR"`)
	f.state.mu.Lock()
	f.state.fail = errors.New("disk on fire")
	f.state.mu.Unlock()
	body := f.formAs("", "", "liveStream.isLive", "format", "1", "id", DemoEntry)
	has(t, body, `"code":"INTERNAL_DATABASE_ERROR"`)
	lacks(t, body, "fire")
}

// TestCallsAreLogged shows who called what, and neither session nor token.
func TestCallsAreLogged(t *testing.T) {
	var out bytes.Buffer
	f := start(t, func(c *Config) {
		c.Logger = slog.New(slog.NewTextHandler(&out, &slog.HandlerOptions{Level: slog.LevelDebug}))
	})
	session, err := kaltura.SignV1(serverSecret, kaltura.KS{PartnerID: -5, Expiry: time.Now().Unix() + 60, Type: 2, UserID: "MediaServer", Privileges: "disableentitlement"})
	if err != nil {
		t.Fatal(err)
	}
	f.formAs(session, "102", "liveStream.authenticate", "entryId", DemoEntry, "token", DemoToken, "clientTag", "MediaServer-ms1", "hostname", "ms1", "mediaServerIndex", "0")
	f.formAs(session, "102", "liveStream.authenticate", "entryId", DemoEntry, "token", "wrong-token")
	f.formAs(session+"x", "102", "liveStream.get", "entryId", DemoEntry)
	has(t, out.String(), "action=liveStream.authenticate code=ok partner=102", "session_partner=-5 user=MediaServer privileges=disableentitlement",
		"clienttag=MediaServer-ms1 entryid=0_demolive hostname=ms1 mediaserverindex=0", "code=LIVE_STREAM_INVALID_TOKEN", "action=liveStream.get code=INVALID_KS")
	lacks(t, out.String(), session, DemoToken, "wrong-token")
}

// TestSystemData is contract §5.3: the params and profiles that every partner starts with.
func TestSystemData(t *testing.T) {
	f := start(t)
	body := f.form("flavorParams.list", "format", "1", "filter:systemNameIn", "")
	for id, want := range map[int]string{
		32: `"systemName":"Source","isSystemDefault":1,"tags":"source,ingest,web,mobile","videoCodec":"","videoBitrate":900,"audioCodec":"","audioBitrate":0,`,
		33: `"systemName":"Basic_Small_400","isSystemDefault":1,"tags":"mbr,ipadnew,iphonenew,web,mobile","videoCodec":"h264b","videoBitrate":400,"audioCodec":"aac","audioBitrate":64,"audioChannels":2,"audioSampleRate":44100,"width":480,"height":0,`,
		34: `"systemName":"Basic_Small_600","isSystemDefault":1,"tags":"mbr,ipadnew,iphonenew,web,mobile","videoCodec":"h264b","videoBitrate":600,`,
		35: `"systemName":"SD_Small_900","isSystemDefault":1,"tags":"mbr,ipadnew,web,mobile","videoCodec":"h264m","videoBitrate":900,`,
		36: `"systemName":"Ingest_2","isSystemDefault":1,"tags":"mbr,ingest,web,mobile","videoCodec":"","videoBitrate":400,`,
		37: `"systemName":"Ingest_3","isSystemDefault":1,"tags":"mbr,ingest,web,mobile","videoCodec":"","videoBitrate":600,`,
		38: `"name":"Multicast transcode","isSystemDefault":1,"tags":"multicast_silverlight","videoCodec":"h264b","videoBitrate":360,"audioCodec":"aac","audioBitrate":40,`,
	} {
		_, rest, found := strings.Cut(body, `{"id":`+strconv.Itoa(id)+`,`)
		if end := strings.Index(rest, `"objectType"`); !found || !strings.Contains(rest[:max(end, 0)], want) {
			t.Errorf("params %d lack %s", id, want)
		}
	}
	for profile, want := range map[string]string{"501": "32:1,36:1,37:1", "502": "32:1,33:0,34:0,35:0", "503": "32:1,38:0"} {
		var got []string
		body := f.form("conversionProfileAssetParams.list", "format", "1", "filter:conversionProfileIdEqual", profile)
		for piece := range strings.SplitSeq(body, `{"conversionProfileId":`) {
			if value(piece, "assetParamsId") != "" {
				got = append(got, value(piece, "assetParamsId")+":"+value(piece, "origin"))
			}
		}
		if strings.Join(got, ",") != want {
			t.Errorf("profile %s has %v, want %s", profile, got, want)
		}
	}
}
