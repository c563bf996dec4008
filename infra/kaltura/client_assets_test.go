package kaltura_test

import (
	"bytes"
	"log/slog"
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"klive/infra/kaltura"
)

// assetAnswers are what the API says, by call; a call that is not there fails.
type assetAnswers map[string]string

const (
	profileList = `{"objects":[{"conversionProfileId":501,"assetParamsId":32,"origin":1,"systemName":"Source","objectType":"KalturaConversionProfileAssetParams"},` +
		`{"conversionProfileId":501,"assetParamsId":33,"origin":0,"objectType":"KalturaConversionProfileAssetParams"}],"totalCount":2,"objectType":"KalturaConversionProfileAssetParamsListResponse"}`
	assetList = `{"objects":[{"id":"0_as5et001","entryId":"0_rkij47dr","flavorParamsId":32,"tags":"source","status":2,"objectType":"KalturaLiveAsset"}],"totalCount":1,"objectType":"KalturaFlavorAssetListResponse"}`
	source32  = `{"id":32,"systemName":"Source","streamSuffix":"1","tags":"source,ingest","objectType":"KalturaLiveParams"}`
	small33   = `{"id":33,"systemName":"Basic_Small_400","videoCodec":"h264b","videoBitrate":400,"width":480,"objectType":"KalturaLiveParams"}`
	noEntry   = `{"code":"ENTRY_ID_NOT_FOUND","message":"no entry","objectType":"KalturaAPIException","args":{"ENTRY_ID":"0_rkij47dr"}}`
	forbidden = `{"code":"SERVICE_FORBIDDEN","message":"no","objectType":"KalturaAPIException","args":{"SERVICE":"flavorparams->getByConversionProfileId"}}`
)

// loadAssets returns what the client made of the answers, the calls it made and what it logged.
func loadAssets(t *testing.T, answers assetAnswers, byProfile bool) (a *kaltura.Assets, calls []string, said string, err error) {
	t.Helper()
	var log bytes.Buffer
	c := client(t, roundTrip(func(r *http.Request) (*http.Response, error) {
		f := form(t, r)
		call := r.URL.Query().Get("service") + "." + r.URL.Query().Get("action") + f["id"] + f["conversionProfileId"]
		calls = append(calls, call)
		if call == "multirequest." {
			for name, want := range map[string]string{
				"1:service": "conversionProfileAssetParams", "1:action": "list", "1:filter:objectType": "KalturaConversionProfileAssetParamsFilter", "1:filter:conversionProfileIdEqual": "501",
				"2:service": "flavorAsset", "2:action": "list", "2:filter:objectType": "KalturaLiveAssetFilter", "2:filter:entryIdEqual": "0_rkij47dr", "partnerId": "102",
			} {
				if f[name] != want {
					t.Errorf("%s=%s, want %s", name, f[name], want)
				}
			}
		}
		return reply(200, "application/json", answers[call]), nil
	}), func(c *kaltura.ClientConfig) {
		c.ByProfile, c.Logger = byProfile, slog.New(slog.NewTextHandler(&log, nil))
	})
	a, err = c.LoadAssets(t.Context(), 102, 501, "0_rkij47dr")
	return a, calls, log.String(), err
}

// An entry's assets in one multirequest and then what is not known yet, or by the profile
// (rows 38 and 39, contract §9.10 and §9.11).
func TestLoadAssets(t *testing.T) {
	both := "[" + profileList + "," + assetList + "]"
	for _, c := range []struct {
		name      string
		answers   assetAnswers
		byProfile bool
		calls     []string
		params    []int
		says      string
	}{
		{"one by one", assetAnswers{"multirequest.": both, "flavorParams.get32": source32, "flavorParams.get33": small33}, false,
			[]string{"multirequest.", "flavorParams.get32", "flavorParams.get33"}, []int{32, 33}, ""},
		{"by profile", assetAnswers{"multirequest.": both, "flavorParams.getByConversionProfileId501": "[" + source32 + "," + small33 + "]"}, true,
			[]string{"multirequest.", "flavorParams.getByConversionProfileId501"}, []int{32, 33}, ""},
		{"by profile, which is forbidden", assetAnswers{"multirequest.": both, "flavorParams.getByConversionProfileId501": forbidden, "flavorParams.get32": source32, "flavorParams.get33": small33}, true,
			[]string{"multirequest.", "flavorParams.getByConversionProfileId501", "flavorParams.get32", "flavorParams.get33"}, []int{32, 33}, "kaltura.flavorParams"},
		{"one is gone", assetAnswers{"multirequest.": both, "flavorParams.get32": source32, "flavorParams.get33": `{"code":"FLAVOR_PARAMS_ID_NOT_FOUND","message":"no"}`}, false,
			[]string{"multirequest.", "flavorParams.get32", "flavorParams.get33"}, []int{32}, "flavorParamsId=33"},
	} {
		t.Run(c.name, func(t *testing.T) {
			a, calls, log, err := loadAssets(t, c.answers, c.byProfile)
			if err != nil {
				t.Fatal(err)
			}
			var params []int
			for id := range a.Params {
				params = append(params, id)
			}
			slices.Sort(params)
			if diff := cmp.Diff(c.calls, calls); diff != "" {
				t.Errorf("calls (-want +got):\n%s", diff)
			}
			if diff := cmp.Diff(c.params, params); diff != "" {
				t.Errorf("params (-want +got):\n%s", diff)
			}
			if len(a.Live) != 1 || len(a.Profile) != 2 || !a.HasSuffix("1") || a.HasSuffix("2") || !strings.Contains(log, c.says) || c.says == "" && log != "" {
				t.Errorf("assets %+v; log %s", a, log)
			}
		})
	}
	// The error of one call is the error of all (contract §9.10).
	if _, _, _, err := loadAssets(t, assetAnswers{"multirequest.": "[" + profileList + "," + noEntry + "]"}, false); !kaltura.IsCode(err, kaltura.CodeEntryNotFound) {
		t.Errorf("got %v", err)
	}
	if _, _, _, err := loadAssets(t, assetAnswers{"multirequest.": "[" + profileList + "]"}, false); !kaltura.Unavailable(err) {
		t.Errorf("half the results: %v", err)
	}
}

// Settings are remembered over entries.
func TestFlavorParamsAreRemembered(t *testing.T) {
	calls := map[string]int{}
	c := client(t, roundTrip(func(r *http.Request) (*http.Response, error) {
		call := r.URL.Query().Get("service") + "." + r.URL.Query().Get("action")
		calls[call]++
		return reply(200, "application/json", assetAnswers{
			"multirequest.": "[" + profileList + "," + assetList + "]", "flavorParams.get": small33,
			"flavorParams.list": `{"objects":[` + source32 + `],"totalCount":1,"objectType":"KalturaFlavorParamsListResponse"}`,
		}[call]), nil
	}))
	if all, err := c.FlavorParamsList(t.Context(), kaltura.MediaServerPartner); err != nil || len(all) != 1 {
		t.Fatalf("%+v, %v", all, err)
	}
	for range 3 {
		if _, err := c.LoadAssets(t.Context(), 102, 501, "0_rkij47dr"); err != nil {
			t.Fatal(err)
		}
	}
	if calls["flavorParams.get"] != 1 || calls["multirequest."] != 3 {
		t.Errorf("%v", calls)
	}
}
