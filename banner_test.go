package main

import (
	"strings"
	"testing"

	"klive/infra/config"
)

// klive publish goes where the configuration says that gateways are.
func TestDemoURL(t *testing.T) {
	const where = demoQuery + "/" + demoName
	for _, c := range []struct{ bus, rtmp, rtmps, public, want string }{
		{"", ":1935", "", "", "rtmp://127.0.0.1:1935/kLive" + where},
		{"", "10.0.0.7:2935", "", "", "rtmp://10.0.0.7:2935/kLive" + where},
		{"", ":1935", "", "rtmp://ingest.example.com", "rtmp://127.0.0.1:1935/kLive" + where},
		{"nats://bus-1", ":1935", "", "rtmp://ingest.example.com:1935/", "rtmp://ingest.example.com:1935/kLive" + where},
		{"nats://bus-1", ":2935", "", "", "rtmp://127.0.0.1:2935/kLive" + where},
		{"", "", ":1936", "", "rtmps://127.0.0.1:1936/kLive" + where},
		{"", "", "", "", ""},
	} {
		s := config.Default()
		s.Bus.URL, s.RTMP.Listen, s.RTMPS.Listen, s.RTMP.PublicURL = c.bus, c.rtmp, c.rtmps, c.public
		if got := demoURL(s); got != c.want {
			t.Errorf("%+v: %s", c, got)
		}
	}
}

// The banner names the encrypted listeners that are on, once.
func TestBannerNamesEncryptedListeners(t *testing.T) {
	for _, c := range []struct {
		rtmp, rtmps, http, https string
		want                     []string
	}{
		{":1935", "", ":8080", "", nil},
		{":1935", ":1936", ":8080", ":8443", []string{"rtmps://127.0.0.1:1936/kLive takes", "https://127.0.0.1:8443/ plays"}},
		{"", ":1936", "", ":8443", []string{"Server      rtmps://127.0.0.1:1936/kLive/", "play     https://127.0.0.1:8443/kLive/"}},
	} {
		s := config.Default()
		s.RTMP.Listen, s.RTMPS.Listen, s.HTTP.Listen, s.HTTPS.Listen = c.rtmp, c.rtmps, c.http, c.https
		var b strings.Builder
		if err := banner(&b, &global{}, s, true); err != nil {
			t.Fatal(err)
		}
		for _, want := range c.want {
			if !strings.Contains(b.String(), want) {
				t.Errorf("%+v: no %q in\n%s", c, want, b.String())
			}
		}
		if c.rtmps == "" && strings.Contains(b.String(), "rtmps") || strings.Contains(b.String(), "takes the same") != (c.rtmp != "" && c.rtmps != "") {
			t.Errorf("%+v:\n%s", c, b.String())
		}
	}
}
