package e2e

import (
	"encoding/json"
	"net/http"
	"net/url"
	"testing"
)

// controlPlane is the embedded control plane as its clients reach it.
type controlPlane struct {
	client *http.Client
	admin  string // host:port
}

// api calls the control plane over its socket and decodes the JSON answer.
func (p controlPlane) api(t testing.TB, service, action string, form url.Values, dst any) {
	t.Helper()
	form.Set("format", "1")
	resp, err := p.client.PostForm("http://"+p.admin+"/api_v3/index.php?service="+service+"&action="+action, form)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	var raw json.RawMessage
	if err := json.NewDecoder(resp.Body).Decode(&raw); err != nil || resp.StatusCode != http.StatusOK {
		t.Fatalf("%s.%s: %s: %v", service, action, resp.Status, err)
	}
	var no struct{ Code, Message string }
	if json.Unmarshal(raw, &no) == nil && no.Code != "" {
		t.Fatalf("%s.%s: %s: %s", service, action, no.Code, no.Message)
	}
	if err := json.Unmarshal(raw, dst); err != nil {
		t.Fatalf("%s.%s: %v", service, action, err)
	}
}

// entry is a live entry that a test has added.
type entry struct {
	ID    string `json:"id"`
	Token string `json:"streamPassword"`
}

// addEntries adds live entries to partner 102.
func (p *process) addEntries(t testing.TB, n int) []entry {
	t.Helper()
	return controlPlane{p.client, p.admin}.addEntries(t, n)
}

// cloudTranscode is the profile "Cloud transcode" of partner 102: the source and three rungs.
const cloudTranscode = "502"

func (p controlPlane) addEntries(t testing.TB, n int) []entry { return p.addEntriesOf(t, "", n) }

// addEntriesOf adds entries with a conversion profile, or the partner's default.
func (p controlPlane) addEntriesOf(t testing.TB, profile string, n int) []entry {
	t.Helper()
	var ks string
	p.api(t, "session", "start", url.Values{"secret": {controlSecret}, "type": {"2"}, "partnerId": {"102"}}, &ks)
	out := make([]entry, n)
	for i := range out {
		p.api(t, "liveStream", "add", url.Values{
			"ks": {ks}, "liveStreamEntry:objectType": {"KalturaLiveStreamEntry"}, "liveStreamEntry:name": {"test"}, "sourceType": {"32"}, "liveStreamEntry:conversionProfileId": {profile},
		}, &out[i])
	}
	return out
}
