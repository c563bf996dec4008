package kaltura_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"klive/infra/kaltura"
)

const clientSecret = "0123456789abcdef0123456789abcdef"

// roundTrip answers requests without a network.
type roundTrip func(r *http.Request) (*http.Response, error)

func (f roundTrip) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }

func reply(status int, contentType, body string) *http.Response {
	return &http.Response{StatusCode: status, Header: http.Header{"Content-Type": {contentType}}, Body: io.NopCloser(strings.NewReader(body))}
}

func client(t *testing.T, rt http.RoundTripper, tune ...func(*kaltura.ClientConfig)) *kaltura.Client {
	t.Helper()
	config := kaltura.ClientConfig{URL: "http://api.example.com/", AdminSecret: clientSecret, Hostname: "ms1.example.com", Transport: rt}
	for _, f := range tune {
		f(&config)
	}
	c, err := kaltura.NewClient(config)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	return c
}

func form(t *testing.T, r *http.Request) map[string]string {
	t.Helper()
	if err := r.ParseForm(); err != nil {
		t.Error(err)
	}
	out := map[string]string{}
	for name, v := range r.PostForm {
		out[name] = v[0]
	}
	return out
}

func token(s string) *string { return &s }

func TestClientSendsTheContractsForm(t *testing.T) {
	var got map[string]string
	c := client(t, roundTrip(func(r *http.Request) (*http.Response, error) {
		if r.Method != http.MethodPost || r.URL.String() != "http://api.example.com/api_v3/index.php?service=liveStream&action=authenticate" {
			t.Errorf("%s %s", r.Method, r.URL)
		}
		got = form(t, r)
		return reply(200, "application/json", `{"id":"0_rkij47dr","partnerId":"102","dvrStatus":"1","dvrWindow":"60","status":2,"recordStatus":2,"currentBroadcastStartTime":"12.5","type":7,"liveStreamConfigurations":[{"protocol":"hls"}],"publishConfigurations":[],"unknown":{"x":[1]},"objectType":"KalturaLiveStreamAdminEntry"}`), nil
	}))
	e, err := c.Authenticate(t.Context(), 102, kaltura.AuthenticateRequest{EntryID: "0_rkij47dr", Token: token("dj94kfit"), Index: 1, ApplicationName: "kLive"})
	if err != nil {
		t.Fatal(err)
	}
	// Numbers may come as strings and the other way round.
	if e.PartnerID != 102 || e.DVRWindow != 60 || e.DVRStatus != 1 || e.Status != "2" || e.Type != "7" || e.CurrentBroadcastStartTime != 12.5 ||
		e.ObjectType != "KalturaLiveStreamAdminEntry" || len(e.LiveStreamConfigurations) != 1 {
		t.Errorf("entry %+v", e)
	}
	k, err := kaltura.ParseKS(got["ks"], func(p int) []string { return []string{clientSecret} })
	if err != nil || k.PartnerID != -5 || k.Version != 1 || k.UserID != "MediaServer" || k.Privileges != "disableentitlement" || k.Type != 2 || k.Expiry != time.Now().Unix()+86400 && k.Expiry != time.Now().Unix()+86399 {
		t.Errorf("session %+v, %v", k, err)
	}
	delete(got, "ks")
	want := map[string]string{"format": "1", "ignoreNull": "1", "clientTag": "MediaServer-ms1.example.com", "partnerId": "102", "entryId": "0_rkij47dr",
		"token": "dj94kfit", "hostname": "ms1.example.com", "mediaServerIndex": "1", "applicationName": "kLive"}
	if fmt.Sprint(got) != fmt.Sprint(want) {
		t.Errorf("sent %v\nwant %v", got, want)
	}
	// An encoder without token: none is sent, the API decides.
	if _, err := c.Authenticate(t.Context(), 102, kaltura.AuthenticateRequest{EntryID: "0_rkij47dr"}); err != nil {
		t.Fatal(err)
	}
	if _, sent := got["token"]; sent {
		t.Error("a token was sent although there is none")
	}
}

func TestClientConfigIsChecked(t *testing.T) {
	for _, url := range []string{"", "kaltura.com", "ftp://x", "http://", "http://x/api_v3", "http://u:p@x", "http://x?a=b"} {
		if _, err := kaltura.NewClient(kaltura.ClientConfig{URL: url, AdminSecret: "s"}); err == nil || !strings.Contains(err.Error(), "kaltura.url") {
			t.Errorf("%q: %v", url, err)
		}
	}
	if _, err := kaltura.NewClient(kaltura.ClientConfig{URL: "http://x"}); err == nil {
		t.Error("a client without secret was made")
	}
}

// Without a name of its own a client reports under the host's (rows 135 and 136).
func TestClientIsNamedAfterItsHost(t *testing.T) {
	host, err := os.Hostname()
	if err != nil {
		t.Fatal(err)
	}
	var got map[string]string
	c := client(t, roundTrip(func(r *http.Request) (*http.Response, error) {
		got = form(t, r)
		return reply(200, "application/json", `{"id":1}`), nil
	}), func(c *kaltura.ClientConfig) { c.Hostname = "" })
	if _, err := c.ReportStatus(t.Context()); err != nil || got["hostname"] != host || got["clientTag"] != "MediaServer-"+host || c.Hostname() != host {
		t.Errorf("%v; sent %v", err, got)
	}
}

func TestClientRenewsItsSession(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var sessions []string
		refuse := ""
		c := client(t, roundTrip(func(r *http.Request) (*http.Response, error) {
			ks := form(t, r)["ks"]
			if n := len(sessions); n == 0 || sessions[n-1] != ks {
				sessions = append(sessions, ks)
			}
			if ks == refuse || refuse == "all" {
				return reply(200, "application/json", `{"code":"INVALID_KS","message":"Invalid KS `+ks+`","objectType":"KalturaAPIException","args":{"KSID":"`+ks+`"}}`), nil
			}
			return reply(200, "application/json", `{"id":"0_rkij47dr"}`), nil
		}))
		get := func() error {
			_, err := c.LiveStreamGet(t.Context(), 102, "0_rkij47dr")
			return err
		}
		for _, wait := range []time.Duration{0, 85_999 * time.Second, time.Second} {
			time.Sleep(wait)
			if err := get(); err != nil {
				t.Fatal(err)
			}
		}
		if len(sessions) != 2 {
			t.Fatalf("%d sessions within 86 000 s and after; want 2", len(sessions))
		}
		refuse = sessions[1]
		if err := get(); err != nil || len(sessions) != 3 {
			t.Errorf("after a refused session: %v, %d sessions", err, len(sessions))
		}
		refuse = "all"
		err := get()
		if !kaltura.IsCode(err, kaltura.CodeInvalidKS) || len(sessions) != 4 {
			t.Errorf("all refused: %v, %d sessions", err, len(sessions))
		}
		var api *kaltura.APIError
		if !errors.As(err, &api) || strings.Contains(err.Error()+api.Arg("KSID"), sessions[3]) {
			t.Errorf("the error shows the session: %v %v", err, api)
		}
		if kaltura.Unavailable(err) {
			t.Error("a refused session is an answer")
		}
	})
}

func TestClientRepeatsOnlyWhatIsSafe(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		calls := 0
		var failure error
		c := client(t, roundTrip(func(r *http.Request) (*http.Response, error) {
			if calls++; failure != nil && calls < 3 {
				return nil, failure
			}
			return reply(200, "application/json", `{"id":"0_rkij47dr"}`), nil
		}))
		dial := &net.OpError{Op: "dial", Err: errors.New("connection refused")}
		reset := &net.OpError{Op: "read", Err: errors.New("connection reset")}
		for _, x := range []struct {
			name    string
			failure error
			call    func() error
			calls   int
			ok      bool
		}{
			{"get after a reset", reset, func() error { _, err := c.LiveStreamGet(t.Context(), 1, "0_x"); return err }, 3, true},
			{"add after a reset", reset, func() error { _, err := c.LiveStreamAdd(t.Context(), 1, kaltura.NewEntry{}); return err }, 1, false},
			{"add without connection", dial, func() error { _, err := c.LiveStreamAdd(t.Context(), 1, kaltura.NewEntry{}); return err }, 3, true},
		} {
			calls, failure = 0, x.failure
			began := time.Now()
			err := x.call()
			if calls != x.calls || (err == nil) != x.ok {
				t.Errorf("%s: %d calls, %v", x.name, calls, err)
			}
			if err != nil && (!kaltura.Unavailable(err) || !errors.Is(err, x.failure)) {
				t.Errorf("%s: %v is not told from an answer", x.name, err)
			}
			if took := time.Since(began); x.calls == 3 && (took < 600*time.Millisecond || took > 900*time.Millisecond) {
				t.Errorf("%s: backoff took %v, want 0.6 to 0.9 s", x.name, took)
			}
		}
	})
}

func TestClientGivesUpInTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := client(t, roundTrip(func(r *http.Request) (*http.Response, error) {
			<-r.Context().Done()
			return nil, r.Context().Err()
		}), func(c *kaltura.ClientConfig) { c.Timeout = 7 * time.Second })
		began := time.Now()
		_, err := c.LiveStreamGet(t.Context(), 102, "0_x")
		if took := time.Since(began); took != 7*time.Second || !kaltura.Unavailable(err) || !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("after %v: %v", took, err)
		}
	})
}

func TestClientNamesOddAnswers(t *testing.T) {
	var answer *http.Response
	c := client(t, roundTrip(func(*http.Request) (*http.Response, error) { return answer, nil }))
	for name, x := range map[string]struct {
		answer *http.Response
		want   string
	}{
		"web page":      {reply(200, "text/html", "<html>login</html>"), "web page"},
		"gateway error": {reply(502, "text/html", "<html>"), "HTTP status 502"},
		"redirect":      {reply(301, "text/html", ""), "redirects"},
		"empty":         {reply(200, "application/json", " \n"), "empty"},
		"half":          {reply(200, "application/json", `{"id":"0_rki`), "no complete JSON"},
		"two":           {reply(200, "application/json", `{"id":"0_rkij47dr"}{}`), "no complete JSON"},
		"huge":          {reply(200, "application/json", `"`+strings.Repeat("x", 5<<20)), "larger than"},
		"other object":  {reply(200, "application/json", `{"objectType":"KalturaPartner"}`), "no live entry"},
		"wrong shape":   {reply(200, "application/json", `{"id":{"a":1}}`), "format scalar"},
		"scalar":        {reply(200, "application/json", `true`), "format object"},
		"deep":          {reply(200, "application/json", strings.Repeat(`[`, 100)), "too many values"},
		"text in html":  {reply(200, "text/html", "Fatal error"), "web page"},
	} {
		answer = x.answer
		_, err := c.LiveStreamGet(t.Context(), 102, "0_x")
		var odd *kaltura.AnswerError
		if !errors.As(err, &odd) || !kaltura.Unavailable(err) || !strings.Contains(err.Error(), x.want) {
			t.Errorf("%s: %v", name, err)
		}
	}
	// PHP may say text/html to JSON, and XML where a proxy dropped the format.
	answer = reply(200, "text/html", `{"id":"0_rkij47dr"}`)
	if _, err := c.LiveStreamGet(t.Context(), 102, "0_x"); err != nil {
		t.Error(err)
	}
	answer = reply(200, "text/xml", `<?xml version="1.0" encoding="utf-8"?><xml><result><error><code>ENTRY_ID_NOT_FOUND</code><message>none</message><objectType>KalturaAPIException</objectType><args><item><objectType>KalturaApiExceptionArg</objectType><name>ENTRY_ID</name><value>0_x</value></item></args></error></result></xml>`)
	_, err := c.LiveStreamGet(t.Context(), 102, "0_x")
	var api *kaltura.APIError
	if !errors.As(err, &api) || api.Arg("ENTRY_ID") != "0_x" || !kaltura.IsCode(err, "OTHER", kaltura.CodeEntryNotFound) {
		t.Errorf("XML error: %v", err)
	}
	answer = reply(200, "application/json", `{"code":"INTERNAL_SERVERL_ERROR","message":"x"}`)
	if _, err := c.LiveStreamGet(t.Context(), 102, "0_x"); !kaltura.Unavailable(err) {
		t.Errorf("an internal error of the API must count as unavailable: %v", err)
	}
}

func TestClientKeepsSecretsOutOfLogsAndErrors(t *testing.T) {
	var log bytes.Buffer
	registry := prometheus.NewPedanticRegistry()
	secret := ""
	c := client(t, roundTrip(func(r *http.Request) (*http.Response, error) {
		f := form(t, r)
		secret = f["ks"]
		return reply(200, "application/json", fmt.Sprintf(`{"code":"LIVE_STREAM_INVALID_TOKEN","message":"bad %s %s %s","args":{"A":"%s"}}`, f["token"], f["ks"], clientSecret, f["token"])), nil
	}), func(c *kaltura.ClientConfig) {
		c.Logger = slog.New(slog.NewTextHandler(&log, &slog.HandlerOptions{Level: slog.LevelDebug}))
		c.Registerer = registry
	})
	_, err := c.Authenticate(t.Context(), 102, kaltura.AuthenticateRequest{EntryID: "0_rkij47dr", Token: token("dj94kfit")})
	if !kaltura.IsCode(err, kaltura.CodeInvalidToken) {
		t.Fatal(err)
	}
	all := fmt.Sprintf("%s %v %+v", log.String(), err, errors.Unwrap(fmt.Errorf("%w", err)))
	for _, s := range []string{"dj94kfit", secret, clientSecret} {
		if strings.Contains(all, s) {
			t.Errorf("%q stands in %s", s, all)
		}
	}
	for _, s := range []string{"call=liveStream.authenticate", "entryId=0_rkij47dr", "code=LIVE_STREAM_INVALID_TOKEN", "took="} {
		if !strings.Contains(log.String(), s) {
			t.Errorf("log lacks %s: %s", s, log.String())
		}
	}
	if got := counts(t, registry); len(got) != 1 || got["liveStream.authenticate LIVE_STREAM_INVALID_TOKEN"] != 1 {
		t.Errorf("counted %v", got)
	}
}

func TestClientDoesNotFollowRedirects(t *testing.T) {
	var leaked atomic.Int64
	other := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { leaked.Add(1) }))
	defer other.Close()
	api := httptest.NewServer(http.RedirectHandler(other.URL, http.StatusTemporaryRedirect))
	defer api.Close()
	c := client(t, nil, func(c *kaltura.ClientConfig) { c.URL = api.URL })
	if _, err := c.LiveStreamGet(t.Context(), 102, "0_x"); err == nil || leaked.Load() != 0 {
		t.Errorf("%v; %d requests went to the other server", err, leaked.Load())
	}
}

func TestTemplateWithoutSessionFor2015(t *testing.T) {
	calls := 0
	c := client(t, roundTrip(func(r *http.Request) (*http.Response, error) {
		calls++
		if form(t, r)["ks"] != "" {
			return reply(200, "application/json", `{"code":"SERVICE_FORBIDDEN","message":"no"}`), nil
		}
		return reply(200, "text/xml", "<Root/>"), nil
	}))
	if body, err := c.Template(t.Context(), 102, "0_rkij47dr_1", ""); err != nil || string(body) != "<Root/>" || calls != 2 {
		t.Errorf("%q, %v after %d calls", body, err, calls)
	}
	own := client(t, c2015{}, func(c *kaltura.ClientConfig) { c.PartnerID = 102 })
	if _, err := own.Template(t.Context(), 102, "0_rkij47dr_1", ""); !kaltura.IsCode(err, kaltura.CodeForbidden) {
		t.Errorf("a partner of its own must not ask without session: %v", err)
	}
}

type c2015 struct{}

func (c2015) RoundTrip(*http.Request) (*http.Response, error) {
	return reply(200, "application/json", `{"code":"SERVICE_FORBIDDEN","message":"no"}`), nil
}
