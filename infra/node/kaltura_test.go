package node

import (
	"errors"
	"log/slog"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"klive/gateway"
	"klive/infra/kaltura"
	"klive/infra/live"
	"klive/workers/registrar"
)

// apiError is an error answer of Kaltura's API in JSON (contract §1.7).
func apiError(code string) string {
	return `{"code":"` + code + `","message":"no","objectType":"KalturaAPIException","args":[]}`
}

const jsonType, xmlType = "application/json", "text/xml"

func newClient(t *testing.T, partner int, answer api) *kaltura.Client {
	t.Helper()
	c, err := kaltura.NewClient(kaltura.ClientConfig{
		URL: "http://kaltura.test", PartnerID: partner, AdminSecret: "0123456789abcdef", Hostname: "ms1", Transport: answer,
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	return c
}

func admissionOf(t *testing.T, partner int, answer api) admissionAPI {
	t.Helper()
	return admissionAPI{client: newClient(t, partner, answer), partner: partner, application: "kLive", log: slog.New(slog.DiscardHandler)}
}

func TestAuthenticate(t *testing.T) {
	token := "demo1234"
	var sent url.Values
	a := admissionOf(t, -5, func(call string, params url.Values) (string, string) {
		if call != "liveStream.authenticate" {
			t.Errorf("call %s", call)
		}
		sent = params
		return jsonType, `{"id":"0_rkij47dr","dvrStatus":1,"dvrWindow":30,"recordStatus":2,"recordedEntryId":"0_vod12345",
			"segmentDuration":6000,"conversionProfileId":501,"objectType":"KalturaLiveStreamEntry"}`
	})
	got, err := a.Authenticate(t.Context(), gateway.AuthRequest{Partner: 102, Entry: "0_rkij47dr", Token: &token, Index: live.Backup})
	if err != nil {
		t.Fatal(err)
	}
	want := live.EntryFacts{
		DVR: true, DVRWindow: 30 * time.Minute, Record: 2, RecordedEntryID: "0_vod12345", SegmentDuration: 6 * time.Second, ConversionProfileID: 501,
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	for name, value := range map[string]string{
		"partnerId": "102", "entryId": "0_rkij47dr", "token": token, "mediaServerIndex": "1", "applicationName": "kLive",
	} {
		if sent.Get(name) != value {
			t.Errorf("%s=%s was sent, want %s", name, sent.Get(name), value)
		}
	}
}

// An answer that says no is told from no answer: the gateway may go on without the latter.
func TestAuthenticateErrors(t *testing.T) {
	for answer, code := range map[string]string{
		apiError("LIVE_STREAM_INVALID_TOKEN"):        "LIVE_STREAM_INVALID_TOKEN",
		apiError("ENTRY_ID_NOT_FOUND"):               "ENTRY_ID_NOT_FOUND",
		apiError("INVALID_KS"):                       "INVALID_KS",
		apiError("INTERNAL_SERVERL_ERROR"):           "", // its own breakdown
		apiError("INTERNAL_DATABASE_ERROR"):          "",
		"<html><body>Welcome to nginx</body></html>": "",
		"": "",
	} {
		a := admissionOf(t, -5, func(string, url.Values) (string, string) { return jsonType, answer })
		_, err := a.Authenticate(t.Context(), gateway.AuthRequest{Partner: 102, Entry: "0_rkij47dr"})
		var said *gateway.APIError
		switch {
		case err == nil:
			t.Errorf("%q: accepted", answer)
		case code == "" && errors.As(err, &said):
			t.Errorf("%q: %v counts as an answer", answer, said)
		case code != "" && (!errors.As(err, &said) || said.Code != code):
			t.Errorf("%q: got %v, want code %s", answer, err, code)
		}
	}
}

// With a partner of its own a klive takes no streams of others, and does not ask.
func TestOwnPartnerAlone(t *testing.T) {
	calls := 0
	a := admissionOf(t, 102, func(string, url.Values) (string, string) {
		calls++
		return jsonType, `{"id":"0_rkij47dr","objectType":"KalturaLiveStreamEntry"}`
	})
	_, err := a.Authenticate(t.Context(), gateway.AuthRequest{Partner: 103, Entry: "0_rkij47dr"})
	var said *gateway.APIError
	if !errors.As(err, &said) || said.Code != kaltura.CodeForbidden || calls != 0 {
		t.Errorf("got %v after %d calls", err, calls)
	}
	if _, err := a.Authenticate(t.Context(), gateway.AuthRequest{Partner: 102, Entry: "0_rkij47dr"}); err != nil || calls != 1 {
		t.Errorf("the own partner: %v after %d calls", err, calls)
	}
}

// template is a conversion profile that passes the stream through (contract §9.9).
const template = `<?xml version="1.0"?><Root><Transcode><Encodes><Encode><Enable>true</Enable><Name>Source</Name>
	<StreamName>0_rkij47dr_32</StreamName><Video><Codec>PassThru</Codec></Video><Audio><Codec>AAC</Codec><Bitrate>96000</Bitrate></Audio></Encode></Encodes>
	<StreamNameGroups><StreamNameGroup><Name>all</Name><StreamName>${SourceStreamName}_all</StreamName>
	<Members><Member><EncodeName>Source</EncodeName></Member></Members></StreamNameGroup></StreamNameGroups></Transcode></Root>`

const noOutputs = `<?xml version="1.0"?><Root><Transcode><Encodes></Encodes></Transcode></Root>`

// assets are what the multirequest of contract §9.10 answers for a profile with suffix 1.
const assets = `[{"objects":[{"conversionProfileId":501,"assetParamsId":32,"readyBehavior":0,"origin":1,"systemName":"Source",
	"objectType":"KalturaConversionProfileAssetParams"}],"totalCount":1,"objectType":"KalturaConversionProfileAssetParamsListResponse"},
	{"objects":[{"id":"0_as5et001","entryId":"0_rkij47dr","flavorParamsId":32,"tags":"source,recording_anchor","objectType":"KalturaLiveAsset"}],
	"totalCount":1,"objectType":"KalturaFlavorAssetListResponse"}]`

const params = `{"id":32,"name":"Source","streamSuffix":"1","objectType":"KalturaLiveParams"}`

func TestLadder(t *testing.T) {
	for _, c := range []struct {
		name             string
		suffix           int
		assets, document string
		is               error // what it wraps
		code             string
	}{
		{"all there", 1, assets, template, nil, ""},
		{"unknown suffix", 2, assets, template, gateway.ErrUnknownStream, ""},
		{"no assets to be had", 1, "", template, nil, ""},
		{"assets refused", 1, apiError("SERVICE_FORBIDDEN"), template, nil, ""},
		{"profile without the stream", 1, "", apiError("INGEST_NOT_FOUND_IN_CONVERSION_PROFILE"), gateway.ErrUnknownStream, ""},
		{"profile without outputs", 1, assets, noOutputs, gateway.ErrNoOutputs, ""},
		{"stream name refused", 1, assets, apiError("INVALID_STREAM_NAME"), nil, "INVALID_STREAM_NAME"},
		{"a page instead of a template", 1, assets, "Welcome to nginx", gateway.ErrNoTemplate, ""},
		{"half a template", 1, assets, template[:len(template)/2], gateway.ErrNoTemplate, ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			a := admissionOf(t, -5, func(call string, _ url.Values) (string, string) {
				switch call {
				case "multirequest":
					return jsonType, c.assets
				case "flavorParams.get":
					return jsonType, params
				case "wowza_liveConversionProfile.serve":
					return xmlType, c.document
				}
				t.Errorf("call %s", call)
				return jsonType, ""
			})
			l, err := a.Ladder(t.Context(), gateway.LadderRequest{
				Partner: 102, Entry: "0_rkij47dr", StreamName: "0_rkij47dr_1", Suffix: c.suffix, ConversionProfileID: 501,
			})
			var said *gateway.APIError
			switch {
			case c.is != nil && !errors.Is(err, c.is):
				t.Errorf("got %v, want %v", err, c.is)
			case c.code != "" && (!errors.As(err, &said) || said.Code != c.code):
				t.Errorf("got %v, want code %s", err, c.code)
			case c.is == nil && c.code == "" && (err != nil || len(l.Rungs) != 1 || l.Rungs[0].Rendition("0_rkij47dr") != "0_rkij47dr_32"):
				t.Errorf("got %+v, %v", l, err)
			}
		})
	}
}

func TestRegistrarErrors(t *testing.T) {
	const entry = `{"id":"0_rkij47dr","objectType":"KalturaLiveStreamEntry"}`
	for _, c := range []struct {
		name, answer         string
		register, unregister error // what they wrap; nil for success
		noAnswer             bool
	}{
		{"taken", entry, nil, nil, false},
		{"blocked", apiError("SERVICE_FORBIDDEN_CONTENT_BLOCKED"), registrar.ErrBlocked, registrar.ErrBlocked, false},
		{"refused", apiError("MEDIA_SERVER_NOT_FOUND"), registrar.ErrRefused, registrar.ErrRefused, false},
		{"off already", apiError("ENTRY_SERVER_NODE_NOT_FOUND"), registrar.ErrRefused, nil, false},
		{"unknown entry", apiError("ENTRY_ID_NOT_FOUND"), registrar.ErrRefused, registrar.ErrRefused, false},
		{"no session", apiError("INVALID_KS"), registrar.ErrRefused, registrar.ErrRefused, false},
		{"host unknown", apiError("SERVER_NODE_NOT_FOUND"), registrar.ErrRefused, registrar.ErrRefused, false},
		{"forbidden", apiError("SERVICE_FORBIDDEN"), registrar.ErrRefused, registrar.ErrRefused, false},
		{"no status in 2015", apiError("INVALID_ENUM_VALUE"), registrar.ErrRefused, registrar.ErrRefused, false},
		{"broken down", apiError("INTERNAL_SERVERL_ERROR"), nil, nil, true},
		{"nobody there", "", nil, nil, true},
	} {
		t.Run(c.name, func(t *testing.T) {
			a := registrarAPI{newClient(t, -5, func(string, url.Values) (string, string) { return jsonType, c.answer })}
			call := registrar.Call{Partner: 102, Entry: "0_rkij47dr", Hostname: "ms1", Status: registrar.Broadcasting}
			_, err := a.RegisterMediaServer(t.Context(), call)
			for action, got := range map[string]error{"register": err, "unregister": a.UnregisterMediaServer(t.Context(), call)} {
				want := map[string]error{"register": c.register, "unregister": c.unregister}[action]
				switch {
				case c.noAnswer && (got == nil || errors.Is(got, registrar.ErrRefused) || errors.Is(got, registrar.ErrBlocked)):
					t.Errorf("%s: %v, want an error that may pass", action, got)
				case !c.noAnswer && !errors.Is(got, want):
					t.Errorf("%s: %v, want %v", action, got, want)
				case errors.Is(got, registrar.ErrRefused) && c.name != "off already" && !strings.Contains(got.Error(), "; "):
					t.Errorf("%s: %v does not say what to do", action, got)
				}
			}
		})
	}
}
