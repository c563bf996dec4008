package node

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"klive/infra/bus"
	"klive/infra/check/fault"
	"klive/infra/publisher"
	"klive/storage/s3"
)

func TestAwait(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var log buffer
		n := &Node{log: slog.New(slog.NewTextHandler(&log, nil))}
		back := time.Now().Add(35 * time.Second)
		var refused error = errors.New("connection refused")
		try := func(context.Context) error {
			if time.Now().Before(back) {
				return refused
			}
			return nil
		}
		go func() {
			time.Sleep(time.Second)
			if err := n.Ready(t.Context()); err == nil || err.Error() != "waiting for the bus: connection refused" {
				t.Errorf("while it waits: %v", err)
			}
		}()
		if err := n.await(t.Context(), "the bus", try); err != nil {
			t.Fatal(err)
		}
		if late := time.Since(back); late > awaitMost {
			t.Errorf("noticed after %v", late)
		}
		if text := log.String(); strings.Count(text, "waiting for the bus") != 4 || strings.Count(text, "the wait is over") != 1 {
			t.Errorf("the log says\n%s", text)
		}
		if err := n.Ready(t.Context()); !errors.Is(err, errStarting) {
			t.Errorf("after it: %v", err)
		}

		ctx, cancel := context.WithTimeout(t.Context(), 3*time.Second)
		defer cancel()
		back = time.Now().Add(time.Hour)
		if err := n.await(ctx, "the bus", try); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("told to end: %v", err)
		}
		for _, hopeless := range []error{bus.ErrInvalid, s3.ErrUnconditional} {
			refused = fmt.Errorf("replicas 4: %w", hopeless)
			if err := n.await(t.Context(), "the bus", try); !errors.Is(err, hopeless) {
				t.Errorf("what no waiting makes right: %v", err)
			}
		}
	})
}

// What gives no answer at all is waited for in words as well, long before its own deadline.
func TestAwaitSilence(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var log buffer
		n := &Node{log: slog.New(slog.NewTextHandler(&log, nil))}
		tries := 0
		try := func(context.Context) error {
			if tries++; tries == 2 {
				return nil
			}
			time.Sleep(15 * time.Second)
			return errors.New("i/o timeout")
		}
		go func() {
			time.Sleep(awaitSlow + time.Second)
			const want = "waiting for the store: no answer yet"
			if err := n.Ready(t.Context()); err == nil || err.Error() != want || strings.Count(log.String(), want) != 1 {
				t.Errorf("while nothing answers: %v; the log says\n%s", err, log.String())
			}
		}()
		if err := n.await(t.Context(), "the store", try); err != nil {
			t.Fatal(err)
		}
		if text := log.String(); !strings.Contains(text, "i/o timeout") || !strings.Contains(text, "the wait is over") {
			t.Errorf("the log says\n%s", text)
		}
		if err := n.Ready(t.Context()); !errors.Is(err, errStarting) {
			t.Errorf("after it: %v", err)
		}
	})
}

func TestWithoutPasswords(t *testing.T) {
	for in, want := range map[string]string{
		"nats://bus-1:4222":                          "nats://bus-1:4222",
		"nats://klive:geheim@a:4222, tls://u:pw@b:1": "nats://klive:xxxxx@a:4222,tls://u:xxxxx@b:1",
		"nats://u:p%@a":                              "(an address that can't be read)",
	} {
		if got := withoutPasswords(in); got != want {
			t.Errorf("%s is shown as %s, want %s", in, got, want)
		}
	}
}

// A node whose bus is not there answers health and says what it waits for; encoders hear
// that they are early; and it ends when it is told to.
func TestStartWithoutBus(t *testing.T) {
	settings := testSettings(t)
	settings.Bus.URL = "nats://klive:geheim@" + fault.Ports(t, 1)[0]
	settings.Internal.Listen = fault.Ports(t, 1)[0]
	ctx, cancel := context.WithCancel(t.Context())
	var log buffer
	ended := make(chan error, 1)
	go func() {
		_, err := Start(ctx, Config{Settings: settings, Version: "test", Log: slog.New(slog.NewTextHandler(&log, nil)), Registry: prometheus.NewRegistry()})
		ended <- err
	}()
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	get := func(address, path string) (int, string) {
		t.Helper()
		var err error
		for range 200 {
			var res *http.Response
			if res, err = client.Get("http://" + address + path); err == nil {
				defer res.Body.Close()
				text, err := io.ReadAll(res.Body)
				if err != nil {
					t.Fatal(err)
				}
				return res.StatusCode, string(text)
			}
			time.Sleep(10 * time.Millisecond)
		}
		t.Fatal(err)
		return 0, ""
	}
	for _, address := range []string{settings.HTTP.Listen, settings.Admin.Listen} {
		if code, _ := get(address, "/healthz"); code != http.StatusOK {
			t.Errorf("%s: health is %d", address, code)
		}
		var code int
		var text string
		for range 200 {
			if code, text = get(address, "/readyz"); strings.Contains(text, "refused") {
				break
			}
			time.Sleep(10 * time.Millisecond)
		}
		if code != http.StatusServiceUnavailable || !strings.Contains(text, "waiting for the bus at nats://klive:xxxxx@127.0.0.1:") || !strings.Contains(text, "connection refused") {
			t.Errorf("%s: readiness is %d %q", address, code, text)
		}
	}
	for _, path := range []string{"/v1/streams", "/v1/entries"} {
		if code, _ := get(settings.Admin.Listen, path); code != http.StatusServiceUnavailable {
			t.Errorf("%s answers %d", path, code)
		}
	}
	for address, path := range map[string]string{settings.HTTP.Listen: "/kLive/x.m3u8", settings.Admin.Listen: "/api_v3/service/session/action/get"} {
		if code, text := get(address, path); code != http.StatusServiceUnavailable || !strings.Contains(text, "waiting for the bus") {
			t.Errorf("%s answers %d %q", path, code, text)
		}
	}
	_, err := publisher.Dial(t.Context(), publisher.Config{
		URL:         "rtmp://" + settings.RTMP.Listen + "/kLive/?p=102&e=0_demolive&i=0&t=demo1234/0_demolive_1",
		DialContext: (&net.Dialer{}).DialContext,
	})
	if err == nil || !strings.Contains(err.Error(), "can't take a stream yet") {
		t.Errorf("an encoder hears %v", err)
	}
	cancel()
	if err := <-ended; !errors.Is(err, context.Canceled) {
		t.Errorf("it ended with %v", err)
	}
	if text := log.String(); strings.Contains(text, "geheim") || strings.Count(text, "waiting for the bus") != 1 {
		t.Errorf("the log says\n%s", text)
	}
}
