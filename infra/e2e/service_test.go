package e2e

import (
	"context"
	"log/slog"
	"net/http"
	"testing"

	"github.com/prometheus/client_golang/prometheus"

	"klive/infra/bus/bustest"
	"klive/infra/check"
	"klive/infra/config"
	"klive/infra/node"
)

// service is the whole of klive in this process, on pipes instead of sockets.
type service struct {
	node  *node.Node
	net   *check.Pipes
	calls callLog
	http  *http.Client
	log   lines
}

// startService starts a service with the given settings; it ends with the test. In a
// synctest bubble it lives in virtual time; [bustest.Prepare] has to come before the bubble.
func startService(t *testing.T, settings []check.Setting) *service {
	t.Helper()
	return startServiceWith(t, settings, nil)
}

// startServiceWith is startService with something that works off transcode jobs.
func startServiceWith(t *testing.T, settings []check.Setting, work node.Transcoder) *service {
	t.Helper()
	s := &service{net: check.NewPipes()}
	env := []string{config.EnvName("data") + "=" + t.TempDir(), config.EnvName("kaltura.hostname") + "=ms1.example.com",
		config.EnvName("control.secret") + "=" + controlSecret, config.EnvName("rtmps.listen") + "=", config.EnvName("https.listen") + "=",
		config.EnvName("transcode.encoder") + "=none"} // virtual time has no subprocesses
	for _, set := range settings {
		env = append(env, config.EnvName(set.Key)+"="+set.Value)
	}
	cfg, _, err := config.Load("", env)
	if err != nil {
		t.Fatal(err)
	}
	api := &http.Transport{DialContext: s.net.Dialer("admin.listen"), DisableKeepAlives: true}
	s.node, err = node.Start(t.Context(), node.Config{
		Settings: cfg, Version: "test", Registry: prometheus.NewRegistry(), Listen: s.net.Listen,
		Log:     slog.New(slog.NewTextHandler(&s.log, &slog.HandlerOptions{Level: slog.LevelDebug})),
		Control: bustest.Start(t), Transport: api, Observe: s.calls.observe, Transcoder: work,
	})
	if err != nil {
		t.Fatalf("%v\n%s", err, &s.log)
	}
	player := &http.Transport{DialContext: s.net.Dialer("http.listen")}
	s.http = &http.Client{Transport: player}
	t.Cleanup(func() {
		player.CloseIdleConnections()
		s.node.Close(context.Background())
		api.CloseIdleConnections()
		if t.Failed() {
			t.Logf("the service said:\n%s", &s.log)
		}
	})
	return s
}

// system is the service as scenarios see it.
func (s *service) system() *check.System {
	return &check.System{
		DialRTMP: s.net.Dialer("rtmp.listen"), HTTP: s.http, Base: "http://klive.test", Calls: s.calls.list,
	}
}
