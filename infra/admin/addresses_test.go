package admin

import (
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// TestAddressesOfAnEntry has an address for each protocol that is on, and for no other.
func TestAddressesOfAnEntry(t *testing.T) {
	e := Entry{ID: "0_rkij47dr", Partner: 102, Token: "to+k=en", SRTPassphrase: "longer & secret"}
	const query = "/?p=102&e=0_rkij47dr&i="
	for name, c := range map[string]struct {
		servers Servers
		want    Addresses
	}{
		"nothing": {Servers{}, Addresses{}},
		"RTMP and RTMPS": {
			Servers{RTMP: "rtmp://h/kLive", RTMPS: "rtmps://h/kLive"},
			Addresses{Server: "rtmp://h/kLive" + query + "0&t=to+k=en", Backup: "rtmp://h/kLive" + query + "1&t=to+k=en", RTMPS: "rtmps://h/kLive" + query + "0&t=to+k=en",
				RTMPSBackup: "rtmps://h/kLive" + query + "1&t=to+k=en"},
		},
		"RTMPS": {
			Servers{RTMPS: "rtmps://h/kLive"},
			Addresses{Server: "rtmps://h/kLive" + query + "0&t=to+k=en", Backup: "rtmps://h/kLive" + query + "1&t=to+k=en"},
		},
		"SRT": {
			Servers{SRT: "srt://h:8890"},
			Addresses{SRT: "srt://h:8890?streamid=%23%21%3A%3Ar%3D0_rkij47dr_1%2Cm%3Dpublish%2Cu%3D102%2Ci%3D0%2Cs%3Dto%2Bk%3Den&passphrase=longer%20%26%20secret&pbkeylen=32",
				SRTBackup: "srt://h:8890?streamid=%23%21%3A%3Ar%3D0_rkij47dr_1%2Cm%3Dpublish%2Cu%3D102%2Ci%3D1%2Cs%3Dto%2Bk%3Den&passphrase=longer%20%26%20secret&pbkeylen=32"},
		},
		"HTTP": {
			Servers{Push: "http://h/ingest/", WHIP: "http://h/whip/"},
			Addresses{Push: "http://h/ingest/0_rkij47dr_1?p=102&i=0&t=to%2Bk%3Den", WHIP: "http://h/whip/0_rkij47dr_1?p=102&i=0",
				PushBackup: "http://h/ingest/0_rkij47dr_1?p=102&i=1&t=to%2Bk%3Den", WHIPBackup: "http://h/whip/0_rkij47dr_1?p=102&i=1"},
		},
	} {
		c.want.Key, c.want.Token = "0_rkij47dr_1", "to+k=en"
		if diff := cmp.Diff(c.want, c.servers.Of(e)); diff != "" {
			t.Errorf("%s (-want +got):\n%s", name, diff)
		}
	}
}

// TestServers says where encoders reach klive: by its listeners, or by what is configured.
func TestServers(t *testing.T) {
	plain := httptest.NewRequest(http.MethodGet, "http://10.0.0.7:8081/", nil)
	behind := plain.Clone(t.Context())
	behind.Header.Set("X-Forwarded-Proto", "https")
	both := Places{IngestHTTP: ":8080", IngestHTTPS: ":8443", Push: true, WHIP: true}
	named := both
	named.WHIPURL = "https://ingest.example.com/"
	heard := both
	heard.IngestURL = func() string { return "http://10.0.0.4:8080" }
	unheard := both
	unheard.IngestURL = func() string { return "" }
	encrypted := Places{IngestHTTPS: ":443", WHIP: true}
	for _, c := range []struct {
		name       string
		p          Places
		r          *http.Request
		push, whip string
	}{
		{"both listeners", both, plain, "http://10.0.0.7:8080/ingest/", "http://10.0.0.7:8080/whip/"},
		{"asked over TLS", both, behind, "https://10.0.0.7:8443/ingest/", "https://10.0.0.7:8443/whip/"},
		{"TLS alone", encrypted, plain, "", "https://10.0.0.7/whip/"},
		{"configured", named, plain, "http://10.0.0.7:8080/ingest/", "https://ingest.example.com/whip/"},
		{"heard", heard, plain, "http://10.0.0.4:8080/ingest/", "http://10.0.0.4:8080/whip/"},
		{"nobody heard", unheard, plain, "http://10.0.0.7:8080/ingest/", "http://10.0.0.7:8080/whip/"},
		{"off", Places{Push: true, WHIP: true}, plain, "", ""},
	} {
		if got := c.p.servers(c.r); got.Push != c.push || got.WHIP != c.whip {
			t.Errorf("%s: push %q, WHIP %q; want %q, %q", c.name, got.Push, got.WHIP, c.push, c.whip)
		}
	}
	h := handler(t, func(c *Config) { c.Places = both })
	var got struct{ Version, Push, Whip string }
	if err := json.Unmarshal([]byte(body(t, get(h, local+"/v1/server"))), &got); err != nil || got.Version != "v0.0.1" || got.Whip != "http://127.0.0.1:8080/whip/" {
		t.Errorf("/v1/server: %+v, %v", got, err)
	}
}
