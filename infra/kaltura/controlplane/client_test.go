package controlplane

import (
	"context"
	"net"
	"net/http"
	"net/http/httptest"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"klive/infra/kaltura"
	"klive/infra/live"
)

func dial(t *testing.T, url string, partner int, rt http.RoundTripper) *kaltura.Client {
	t.Helper()
	secret := serverSecret
	if partner == DemoPartner {
		secret = testSecret
	}
	c, err := kaltura.NewClient(kaltura.ClientConfig{URL: url, PartnerID: partner, AdminSecret: secret, Hostname: "ms1.example.com", Transport: rt})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	return c
}

// code fails the test unless err is an API error of the code.
func code(t *testing.T, err error, want string) {
	t.Helper()
	if !kaltura.IsCode(err, want) {
		t.Errorf("got %v, want code %s", err, want)
	}
}

// TestClientAgainstServer makes every call of the client over a real socket.
func TestClientAgainstServer(t *testing.T) {
	f := start(t)
	web := httptest.NewServer(f)
	defer web.Close()
	exercise(t, dial(t, web.URL, 0, nil), dial(t, web.URL, DemoPartner, nil))
}

func exercise(t *testing.T, c, own *kaltura.Client) {
	ctx := t.Context()
	demo := DemoToken
	check := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	e, err := c.Authenticate(ctx, DemoPartner, kaltura.AuthenticateRequest{EntryID: DemoEntry, Token: &demo, ApplicationName: "kLive"})
	check(err)
	if e.ID != DemoEntry || e.PartnerID != DemoPartner || e.DVRStatus != 1 || e.DVRWindow != 120 || e.RecordStatus != 1 || e.SourceType != "32" {
		t.Errorf("entry %+v", e)
	}
	wrong := "wrong"
	_, err = c.Authenticate(ctx, DemoPartner, kaltura.AuthenticateRequest{EntryID: DemoEntry, Token: &wrong})
	code(t, err, kaltura.CodeInvalidToken)
	_, err = c.Authenticate(ctx, DemoPartner, kaltura.AuthenticateRequest{EntryID: DemoEntry})
	code(t, err, kaltura.CodeMissingParameter)
	_, err = own.Authenticate(ctx, 103, kaltura.AuthenticateRequest{EntryID: DemoEntry, Token: &demo})
	code(t, err, kaltura.CodeForbidden)

	assets, err := c.LoadAssets(ctx, DemoPartner, e.ConversionProfileID, DemoEntry)
	check(err)
	if len(assets.Live) != 3 || len(assets.Profile) != 3 || !assets.HasSuffix("3") || assets.HasSuffix("4") || assets.Params[36].SystemName != "Ingest_2" {
		t.Errorf("assets %+v", assets)
	}
	_, err = c.LoadAssets(ctx, DemoPartner, e.ConversionProfileID, "0_zzzzzzzz")
	code(t, err, kaltura.CodeEntryNotFound)
	params, err := c.FlavorParamsList(ctx, kaltura.MediaServerPartner)
	check(err)
	if len(params) != len(systemParams()) {
		t.Errorf("%d params", len(params))
	}

	doc, err := c.Template(ctx, DemoPartner, DemoEntry+"_1", c.Hostname())
	check(err)
	ladder, err := kaltura.ParseTemplate(doc, DemoEntry)
	check(err)
	assets.Complete(&ladder)
	if len(ladder.Rungs) != 1 || !ladder.Rungs[0].PassThrough() || ladder.Rungs[0].AssetID == "" || !slices.Contains(ladder.Rungs[0].Tags, anchorTag) ||
		len(ladder.Groups) != 1 || ladder.Groups[0].Name != "all" || ladder.Rungs[0].Audio.Mode != live.ModeEncode {
		t.Errorf("ladder %+v", ladder)
	}
	_, err = c.Template(ctx, DemoPartner, DemoEntry+"_9", "")
	code(t, err, kaltura.CodeIngestNotInProfile)
	_, err = c.Template(ctx, DemoPartner, "bad", "")
	code(t, err, kaltura.CodeInvalidStreamName)

	check(c.SetBroadcastStart(ctx, DemoPartner, DemoEntry, 1425000000.125))
	for _, status := range []int{kaltura.StatusBroadcasting, kaltura.StatusPlayable} {
		e, err = c.RegisterMediaServer(ctx, DemoPartner, kaltura.RegisterRequest{EntryID: DemoEntry, ApplicationName: "kLive", LiveEntryStatus: status})
		check(err)
		if e.LiveStatus != status || e.CurrentBroadcastStartTime != 1425000000.125 || e.RecordedEntryID == "" {
			t.Errorf("registered entry %+v", e)
		}
	}
	on, err := c.IsLive(ctx, DemoEntry, "hls")
	check(err)
	if !on {
		t.Error("not live after the register call")
	}
	e, err = c.UnregisterMediaServer(ctx, DemoPartner, kaltura.UnregisterRequest{EntryID: DemoEntry})
	check(err)
	if e.RedirectEntryID != e.RecordedEntryID || e.CurrentBroadcastStartTime != 0 {
		t.Errorf("unregistered entry %+v", e)
	}
	_, err = c.IsLive(ctx, "0_zzzzzzzz", "hls")
	code(t, err, "INVALID_ENTRY_ID")
	server, err := c.ReportStatus(ctx)
	check(err)
	if server.Hostname != "ms1.example.com" || server.ID != 1 {
		t.Errorf("media server %+v", server)
	}
	_, err = own.ReportStatus(ctx)
	code(t, err, kaltura.CodeForbidden)
	provision(t, c, own)
}

// provision goes through what the entry commands do.
func provision(t *testing.T, c, own *kaltura.Client) {
	ctx, one := t.Context(), 1
	made, err := own.LiveStreamAdd(ctx, DemoPartner, kaltura.NewEntry{Name: "Town hall", StreamPassword: "tok12345", DVRStatus: &one, DVRWindow: 60})
	if err != nil {
		t.Fatal(err)
	}
	if made.StreamPassword != "tok12345" || made.DVRWindow != 60 || made.PrimaryBroadcastingURL != "rtmp://live.example.com:1935/kLive/?p=102&e="+made.ID+"&i=0&t=tok12345" {
		t.Errorf("new entry %+v", made)
	}
	_, err = c.LiveStreamAdd(ctx, DemoPartner, kaltura.NewEntry{Name: "x"})
	code(t, err, kaltura.CodeForbidden)
	found, err := own.LiveStreamList(ctx, DemoPartner, kaltura.LiveStreamFilter{Name: "town"}, 1, 500)
	if err != nil || found.TotalCount != 1 || found.Objects[0].ID != made.ID || found.Objects[0].ObjectType != "KalturaLiveStreamAdminEntry" {
		t.Errorf("list %+v, %v", found, err)
	}
	got, err := c.LiveStreamGet(ctx, 0, made.ID)
	if err != nil || got.PartnerID != DemoPartner {
		t.Errorf("the media server partner finds no entry of others: %+v, %v", got, err)
	}
	if err := own.LiveStreamDelete(ctx, DemoPartner, made.ID); err != nil {
		t.Error(err)
	}
	_, err = own.LiveStreamGet(ctx, DemoPartner, made.ID)
	code(t, err, kaltura.CodeEntryNotFound)
	ks, err := c.SessionStart(ctx, kaltura.SessionRequest{PartnerID: DemoPartner, Secret: testSecret, Type: kaltura.SessionAdmin, Seconds: 60})
	if err != nil {
		t.Error(err)
	}
	if k, err := kaltura.ParseKS(ks, func(int) []string { return []string{testSecret} }); err != nil || k.Expiry > time.Now().Unix()+60 {
		t.Errorf("session %+v, %v", k, err)
	}
	_, err = c.SessionStart(ctx, kaltura.SessionRequest{PartnerID: DemoPartner, Secret: "no", Type: kaltura.SessionAdmin})
	code(t, err, "START_SESSION_ERROR")
	for version := 1; version <= 2; version++ {
		text, err := own.SignKS(version, kaltura.SessionAdmin, "cli", "*", time.Minute)
		if k, parseErr := kaltura.ParseKS(text, func(int) []string { return []string{testSecret} }); err != nil || parseErr != nil || k.PartnerID != DemoPartner || k.Version != version {
			t.Errorf("signed session %+v, %v, %v", k, err, parseErr)
		}
	}
}

// pipes is a listener whose connections are net.Pipes, for a synctest bubble.
type pipes struct {
	conns chan net.Conn
	once  sync.Once
	done  chan struct{}
}

func newPipes() *pipes { return &pipes{conns: make(chan net.Conn), done: make(chan struct{})} }

func (p *pipes) Accept() (net.Conn, error) {
	select {
	case c := <-p.conns:
		return c, nil
	case <-p.done:
		return nil, net.ErrClosed
	}
}

func (p *pipes) Close() error {
	p.once.Do(func() { close(p.done) })
	return nil
}

func (p *pipes) Addr() net.Addr { return &net.TCPAddr{} }

func (p *pipes) dial(ctx context.Context, _, _ string) (net.Conn, error) {
	near, far := net.Pipe()
	select {
	case p.conns <- far:
		return near, nil
	case <-p.done:
		return nil, &net.OpError{Op: "dial", Err: net.ErrClosed}
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

// TestClientAgainstServerInABubble does it all in virtual time, and lets the server
// vanish and come back while an entry is on air.
func TestClientAgainstServerInABubble(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := start(t)
		l := newPipes()
		web := &http.Server{Handler: f}
		serving := make(chan error)
		go func() { serving <- web.Serve(l) }()
		transport := &http.Transport{DialContext: l.dial}
		c := dial(t, "http://api.test", 0, transport)
		exercise(t, c, dial(t, "http://api.test", DemoPartner, transport))

		for range 5 {
			if _, err := c.RegisterMediaServer(t.Context(), DemoPartner, kaltura.RegisterRequest{EntryID: DemoEntry, LiveEntryStatus: kaltura.StatusPlayable}); err != nil {
				t.Fatal(err)
			}
			time.Sleep(time.Minute)
		}
		if on, err := c.IsLive(t.Context(), DemoEntry, "hls"); err != nil || !on {
			t.Errorf("on air %v, %v while the calls went on", on, err)
		}
		transport.CloseIdleConnections()
		if err := web.Close(); err != nil {
			t.Error(err)
		}
		<-serving
		_, err := c.RegisterMediaServer(t.Context(), DemoPartner, kaltura.RegisterRequest{EntryID: DemoEntry})
		if !kaltura.Unavailable(err) {
			t.Errorf("without server: %v", err)
		}
		f.Close()
	})
}
