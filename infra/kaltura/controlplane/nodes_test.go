package controlplane

import (
	"strconv"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"klive/infra/kaltura"
)

// value finds a member's text in a JSON answer.
func value(body, name string) string {
	_, rest, _ := strings.Cut(body, `"`+name+`":`)
	rest = strings.TrimPrefix(rest, `"`)
	if end := strings.IndexAny(rest, `",}]`); end >= 0 {
		rest = rest[:end]
	}
	return rest
}

// TestServerNodes is contract §3.14, the part of today's servers, and §5.8.
func TestServerNodes(t *testing.T) {
	f := start(t)
	own := func(action string, fields ...string) string {
		return f.formAs(ks(-5, 2), "-5", "serverNode."+action, append([]string{"format", "1"}, fields...)...)
	}
	has(t, own("reportStatus", "hostName", "ms1"), `"code":"SERVER_NODE_NOT_FOUND"`, `"args":{"HOST_NAME":"ms1"}`)
	has(t, own("reportStatus", "hostName", "ms1", "serverNode:objectType", "KalturaServerNode"), `"code":"OBJECT_TYPE_ABSTRACT"`, `"args":{"OBJ_TYPE":"KalturaServerNode"}`)
	body := own("reportStatus", "hostName", "ms1", "serverNode:objectType", "KalturaWowzaMediaServerNode", "serverNode:name", "first", "serverNode:tags", "a,b", "serverNode:GPUID", "3")
	has(t, body, `"hostName":"ms1"`, `"status":2`, `"type":"wowza.WOWZA_MEDIA_SERVER"`, `"name":"first"`, `"GPUID":3`, `"partnerId":-5`, `"objectType":"KalturaWowzaMediaServerNode"}`)
	id := value(body, "id")
	has(t, own("reportStatus", "hostName", "ms1"), `"id":`+id, `"status":1`, `"heartbeatTime":`)
	has(t, own("reportStatus", "hostName", "ms1", "serverNodeStatus", "5"), `"status":1`)
	has(t, own("reportStatus", "hostName", "ms1", "serverNodeStatus", "9"), `"code":"INVALID_ENUM_VALUE"`, `"ENUM_TYPE":"KalturaServerNodeStatus"`)
	has(t, own("add", "serverNode:objectType", "KalturaWowzaMediaServerNode", "serverNode:hostName", "ms1"), `"code":"HOST_NAME_ALREADY_EXISTS"`)
	has(t, own("add", "serverNode:objectType", "KalturaWowzaMediaServerNode"), `"code":"PROPERTY_VALIDATION_CANNOT_BE_NULL"`, `"PROP_NAME":"hostName"`)
	has(t, own("add", "serverNode:objectType", "KalturaWowzaMediaServerNode", "serverNode:hostName", "ms2", "serverNode:environment", "west"), `"status":4`, `"environment":"west"`)
	has(t, own("list", "filter:hostNameLike", "MS"), `"totalCount":2`, `"objectType":"KalturaServerNodeListResponse"}`)
	has(t, own("list", "filter:tagsLike", "b"), `"totalCount":1`, `"hostName":"ms1"`)
	has(t, own("get", "serverNodeId", id), `"hostName":"ms1"`)
	has(t, own("get", "serverNodeId", "99"), `"code":"SERVER_NODE_NOT_FOUND"`, `"args":{"SERVER_NODE_ID":"99"}`)
	has(t, own("update", "serverNodeId", id, "serverNode:objectType", "KalturaWowzaMediaServerNode", "serverNode:transcoder", "Intel", "serverNode:hostName", "stolen"),
		`"transcoder":"Intel"`, `"hostName":"ms1"`)
	// The row of 2015 is the same server.
	has(t, f.formAs(ks(-5, 2), "-5", "mediaServer.get", "format", "1", "hostname", "ms1"), `"id":`+id)
	// A partner that runs media servers of its own sees its own.
	has(t, f.formAs(ks(102, 2), "102", "serverNode.list", "format", "1"), `"totalCount":0`)
	has(t, f.formAs(ks(102, 2), "102", "serverNode.reportStatus", "format", "1", "hostName", "ms1"), `"code":"SERVER_NODE_NOT_FOUND"`)
	has(t, f.formAs(ks(103, 2), "103", "serverNode.list", "format", "1"), `"code":"SERVICE_FORBIDDEN"`)
	// What is known of the host goes into its template.
	f.useProfile("Cloud transcode")
	doc := compact(f.body(f.serve("wowza_liveConversionProfile/action/serve/streamName/0_demolive_1/hostname/ms1")))
	has(t, doc, "<Video><Transcoder>Intel</Transcoder><GPUID>3</GPUID>")
}

// TestEntryServerNodes follows a registration through entryServerNode.* (contract §5.8).
func TestEntryServerNodes(t *testing.T) {
	f := start(t)
	f.register(0, "ms1", kaltura.StatusPlayable)
	f.register(1, "ms2", kaltura.StatusBroadcasting)
	body := f.form("entryServerNode.list", "format", "1", "filter:entryIdEqual", DemoEntry)
	has(t, body, `"totalCount":2`, `"entryId":"0_demolive","serverNodeId":0,"partnerId":102,`, `"status":1,"serverType":"0"`, `"status":2,"serverType":"1"`, `"objectType":"KalturaLiveEntryServerNode"}`)
	id := value(body, "id")
	has(t, f.form("entryServerNode.list", "format", "1"), `"code":"MUST_FILTER_ON_ENTRY_OR_SERVER_TYPE"`)
	has(t, f.form("entryServerNode.list", "format", "1", "filter:serverTypeIn", "1,2"), `"totalCount":1`)
	has(t, f.form("entryServerNode.get", "format", "1", "id", id), `"serverType":"0"`)
	has(t, f.form("entryServerNode.get", "format", "1", "id", "777"), `"code":"ENTRY_SERVER_NODE_NOT_FOUND"`, `"args":{"ENTRY_ID":"777","SERVER_TYPE":""}`)
	has(t, f.formAs(ks(-5, 2), "103", "entryServerNode.get", "format", "1", "id", id), `"code":"ENTRY_SERVER_NODE_NOT_FOUND"`)
	has(t, f.form("entryServerNode.update", "format", "1", "id", id, "entryServerNode:objectType", "KalturaEntryServerNode"), `"code":"OBJECT_TYPE_ABSTRACT"`)
	has(t, f.form("entryServerNode.update", "format", "1", "id", id, "entryServerNode:objectType", "KalturaLiveEntryServerNode",
		"entryServerNode:streams:0:objectType", "KalturaLiveStreamParams", "entryServerNode:streams:0:bitrate", "2500000", "entryServerNode:streams:0:flavorId", "32"),
		`"streams":[{"bitrate":2500000,"flavorId":"32","width":0,"height":0,"objectType":"KalturaLiveStreamParams"}]`)
	// What a caller invents is not written into answers.
	has(t, f.form("entryServerNode.update", "id", id, "entryServerNode:objectType", "KalturaLiveEntryServerNode",
		"entryServerNode:streams:0:objectType", "</streams>", "entryServerNode:streams:0:<x>", "1"), "<streams><item><objectType>KalturaLiveStreamParams</objectType><bitrate>0</bitrate>")
	has(t, f.form("entryServerNode.update", "format", "1", "id", id, "entryServerNode:objectType", "KalturaLiveEntryServerNode",
		"entryServerNode:streams:0:codec", strings.Repeat("x", 20000)), `"code":"PROPERTY_VALIDATION_MAX_LENGTH"`)
	has(t, f.form("entryServerNode.updateStatus", "format", "1", "id", id, "status", "0"), `"status":0`)
	if got := f.live(); got != "false" {
		t.Errorf("isLive with a stopped primary and a backup that only broadcasts: %s", got)
	}
	// The number stays while the registration does.
	f.register(0, "ms1", kaltura.StatusPlayable)
	has(t, f.form("entryServerNode.get", "format", "1", "id", id), `"status":1`, `"streams":[`)
}

func TestDetails(t *testing.T) {
	f := start(t)
	details := func() string {
		return f.formAs("", "", "liveStream.getDetails", "format", "1", "id", DemoEntry)
	}
	if got, want := details(), `{"primaryStreamStatus":0,"secondaryStreamStatus":0,"viewMode":1,"wasBroadcast":false,"broadcastStatus":1,"objectType":"KalturaLiveStreamDetails"}`; got != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
	has(t, f.formAs("", "", "liveStream.getDetails", "format", "1", "id", "x"), `"code":"INVALID_ENTRY_ID"`)
	has(t, f.formAs(ks(102, 2), "", "liveStream.update", "format", "1", "entryId", DemoEntry, "liveStreamEntry:explicitLive", "1", "liveStreamEntry:viewMode", "0"), `"explicitLive":1`)
	f.register(0, "ms1", kaltura.StatusPlayable)
	has(t, details(), `"primaryStreamStatus":1`, `"viewMode":0`, `"wasBroadcast":true`, `"broadcastStatus":2`)
	if f.live() != "false" {
		t.Error("viewers see a preview")
	}
	has(t, f.formAs(ks(102, 2), "", "liveStream.isLive", "format", "1", "id", DemoEntry), "true")
	lacks(t, f.formAs(ks(102, 0), "", "liveStream.get", "format", "1", "entryId", DemoEntry), "playlist.m3u8")
	has(t, f.formAs(ks(102, 2), "", "baseEntry.update", "format", "1", "entryId", DemoEntry, "baseEntry:objectType", "KalturaLiveStreamEntry", "baseEntry:viewMode", "1"), `"viewMode":1`)
	has(t, details(), `"broadcastStatus":3`)
	if f.live() != "true" {
		t.Error("viewers do not see what was shown to them")
	}
}

// batchKS signs a session of the background jobs.
func (f *fixture) batchKS() string {
	f.t.Helper()
	text, err := f.SignKS(f.t.Context(), kaltura.BatchPartner, kaltura.KS{Type: 2}, time.Hour)
	if err != nil {
		f.t.Fatal(err)
	}
	return text
}

// TestBatchValidates has the background jobs take an entry off a server that fell silent,
// while the server's own sweeper sleeps (contract §3.5).
func TestBatchValidates(t *testing.T) {
	for _, g := range []Generation{GenerationNow, Generation2015} {
		synctest.Test(t, func(t *testing.T) {
			f := start(t, func(c *Config) { c.Generation, c.Sweep = g, 1000*time.Hour })
			f.register(0, "ms1", kaltura.StatusPlayable)
			batch := f.batchKS()
			validate := func(entry string) string {
				return f.formAs(batch, "102", "liveStream.validateRegisteredMediaServers", "format", "1", "entryId", entry)
			}
			has(t, f.formAs(batch, "", "liveStream.list", "format", "1", "filter:isLive", "1"), `"totalCount":1`)
			time.Sleep(119 * time.Second)
			if got := validate(DemoEntry); got != "null" || f.live() != "true" {
				t.Errorf("%s: after 119 s: %s, live %s", g, got, f.live())
			}
			time.Sleep(time.Second)
			if got := validate(DemoEntry); got != "null" || f.live() != "false" {
				t.Errorf("%s: after 120 s: %s, live %s", g, got, f.live())
			}
			if redirected := f.stored().Entry.RedirectEntryID != ""; redirected != (g == GenerationNow) {
				t.Errorf("%s: redirect set: %v", g, redirected)
			}
			has(t, validate("0_zzzzzzzz"), `"code":"ENTRY_ID_NOT_FOUND"`)
			for _, session := range []string{ks(-5, 2), ks(102, 2)} {
				has(t, f.formAs(session, "102", "liveStream.validateRegisteredMediaServers", "format", "1", "entryId", DemoEntry), `"code":"SERVICE_FORBIDDEN"`)
			}
			f.register(1, "ms2", kaltura.StatusPlayable)
			body := f.formAs(batch, "", "entryServerNode.list", "format", "1", "filter:serverTypeEqual", "1")
			time.Sleep(121 * time.Second)
			f.formAs(batch, "102", "entryServerNode.validateRegisteredEntryServerNode", "id", value(body, "id"))
			if _, there := f.stored().Nodes[1]; there {
				t.Errorf("%s: the backup is still there", g)
			}
			f.Close()
		})
	}
}

func TestSessionRestrictions(t *testing.T) {
	f := start(t)
	get := func(privileges string) string {
		text, err := kaltura.SignV2(testSecret, kaltura.KS{PartnerID: 102, Expiry: time.Now().Unix() + 60, Type: 2, Privileges: privileges})
		if err != nil {
			t.Fatal(err)
		}
		return f.formAs(text, "", "liveStream.get", "format", "1", "entryId", DemoEntry)
	}
	// httptest's requests come from 192.0.2.1.
	has(t, get("iprestrict:192.0.2.1"), `"id":"0_demolive"`)
	has(t, get("iprestrict:192.0.2.7"), `"code":"INVALID_KS"`, `"KSID":"EXCEEDED_RESTRICTED_IP"`)
	has(t, get("urirestrict:/api_v3/index.php"), `"id":"0_demolive"`)
	has(t, get("urirestrict:/other|/api_v3/*"), `"id":"0_demolive"`)
	has(t, get("urirestrict:/other/*"), `"KSID":"EXCEEDED_RESTRICTED_URI"`)
	session := ks(102, 2)
	body := f.formAs(session, "", "session.get", "format", "1")
	has(t, body, `"sessionType":2,"partnerId":102,"userId":"tester","expiry":`, `"privileges":"disableentitlement","objectType":"KalturaSessionInfo"}`)
	other := ks(102, 0)
	has(t, f.formAs(session, "", "session.get", "format", "1", "session", other), `"sessionType":0`)
	has(t, f.formAs(session, "", "session.get", "format", "1", "session", ks(103, 2)), `"code":"INVALID_KS"`)
}

func TestLimitsByAdminTag(t *testing.T) {
	f := start(t)
	if _, err := change(t.Context(), f.state, partnerKey(102), func(p *Partner) error { p.AdminTags = map[string]int{"room": 1}; return nil }); err != nil {
		t.Fatal(err)
	}
	add := func() string {
		return value(f.formAs(ks(102, 2), "", "liveStream.add", "format", "1", "liveStreamEntry:name", "x", "liveStreamEntry:adminTags", "a, room", "liveStreamEntry:streamPassword", "tok"), "id")
	}
	auth := func(entry string) string {
		return f.form("liveStream.authenticate", "format", "1", "entryId", entry, "token", "tok", "hostname", "ms1", "mediaServerIndex", "0")
	}
	first, second := add(), add()
	has(t, auth(first), `"id":"`+first+`"`)
	has(t, auth(second), `"code":"LIVE_STREAM_EXCEEDED_MAX_CONCURRENT_BY_ADMIN_TAG"`, `"args":{"ENTRY_ID":"`+second+`","ADMIN_TAG":"room","ALLOWED":"1"}`)
}

func TestLimitsByConfiguration(t *testing.T) {
	f := start(t, func(c *Config) { c.Partner = &PartnerLimits{Inputs: 0, Transcoded: Unlimited} })
	has(t, f.form("liveStream.authenticate", "format", "1", "entryId", DemoEntry, "token", DemoToken), `"code":"LIVE_STREAM_EXCEEDED_MAX_PASSTHRU"`)
}

// TestUpdatesOnAir refuses in words what holds for a whole broadcast.
func TestUpdatesOnAir(t *testing.T) {
	f := start(t)
	update := func(f *fixture, name, value string) string {
		return f.formAs(ks(102, 2), "", "liveStream.update", "format", "1", "entryId", DemoEntry, "liveStreamEntry:objectType", "KalturaLiveStreamEntry", "liveStreamEntry:"+name, value)
	}
	f.register(0, "ms1", kaltura.StatusPlayable)
	for name, v := range map[string]string{"dvrStatus": "0", "dvrWindow": "7", "recordStatus": "0", "conversionProfileId": "502", "segmentDuration": "4000", "explicitLive": "1"} {
		has(t, update(f, name, v), `"code":"CANNOT_UPDATE_FIELDS_WHILE_ENTRY_BROADCASTING"`, `"args":{"FIELD":"`+name+`"}`)
	}
	has(t, update(f, "dvrStatus", "1"), `"id":"0_demolive"`) // no change
	has(t, update(f, "name", "another"), `"name":"another"`)
	old := start(t, in2015)
	has(t, update(old, "dvrWindow", "7"), `"code":"PROPERTY_VALIDATION_NOT_UPDATABLE"`, `"args":{"PROP_NAME":"dvrWindow"}`)
	has(t, update(old, "name", "another"), `"name":"another"`)

	// A base entry has fewer properties than a live one.
	has(t, f.form("baseEntry.update", "format", "1", "entryId", DemoEntry, "baseEntry:objectType", "KalturaNonsense", "baseEntry:currentBroadcastStartTime", "5", "baseEntry:name", "third"),
		`"name":"third"`, `"currentBroadcastStartTime":0,`)
	at := f.formAs(ks(102, 2), "", "liveStream.update", "format", "1", "entryId", DemoEntry, "liveStreamEntry:startDate", "-60", "liveStreamEntry:endDate", "2000000000")
	from, err := strconv.ParseInt(value(at, "startDate"), 10, 64)
	if since := time.Now().Unix() - from; err != nil || since < 59 || since > 120 || value(at, "endDate") != "2000000000" {
		t.Errorf("startDate -60 became %d s ago, %v; endDate %s", since, err, value(at, "endDate"))
	}
}

func TestConversionProfiles(t *testing.T) {
	f := start(t)
	body := f.formAs(ks(102, 2), "", "conversionProfile.list", "format", "1", "filter:typeEqual", "2")
	has(t, body, `"totalCount":3`, `"id":501,"partnerId":102,"status":"2","type":"2","name":"Passthrough","systemName":"Passthrough_Live","flavorParamsIds":"32,36,37","isDefault":1,"objectType":"KalturaConversionProfile"}`)
	has(t, f.formAs(ks(102, 2), "", "conversionProfile.list", "format", "1", "filter:typeEqual", "1"), `"totalCount":0`)
	has(t, f.form("conversionProfile.get", "format", "1", "id", "502"), `"name":"Cloud transcode"`, `"isDefault":0`)
	has(t, f.formAs(ks(103, 2), "", "conversionProfile.get", "format", "1", "id", "502"), `"code":"CONVERSION_PROFILE_ID_NOT_FOUND"`, `"args":{"ID":"502"}`)
}

// TestSessionForSoManyCalls counts the calls of a session with the privilege actionslimit.
func TestSessionForSoManyCalls(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := start(t)
		session, err := kaltura.SignV2(testSecret, kaltura.KS{PartnerID: 102, Expiry: time.Now().Unix() + 60, Type: 2, Privileges: "actionslimit:2"})
		if err != nil {
			t.Fatal(err)
		}
		get := func() string { return f.formAs(session, "", "liveStream.get", "format", "1", "entryId", DemoEntry) }
		has(t, get(), `"id":"0_demolive"`)
		has(t, f.formAs(session, "", "multirequest.null", "format", "1", "1:service", "liveStream", "1:action", "list", "2:service", "liveStream", "2:action", "list"),
			`[{"objects"`, `,{"code":"INVALID_KS"`, `"KSID":"EXCEEDED_ACTIONS_LIMIT"`)
		has(t, get(), `"KSID":"EXCEEDED_ACTIONS_LIMIT"`)
		time.Sleep(2 * time.Minute)
		if left, err := f.state.List(t.Context(), everyUses); err != nil || len(left) != 0 {
			t.Errorf("counts left: %v, %v", left, err)
		}
		f.Close()
	})
}
