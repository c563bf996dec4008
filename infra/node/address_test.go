package node

import (
	"testing"

	"klive/infra/config"
)

func TestDialable(t *testing.T) {
	for listen, want := range map[string]string{
		":1935": "127.0.0.1:1935", "0.0.0.0:80": "127.0.0.1:80", "[::]:80": "127.0.0.1:80",
		"10.0.0.1:80": "10.0.0.1:80", "live.example.com:80": "live.example.com:80", "": "",
	} {
		if got := Dialable(listen); got != want {
			t.Errorf("%q: got %q, want %q", listen, got, want)
		}
	}
}

func TestPublicIngest(t *testing.T) {
	s := config.Default()
	s.RTMP.PublicURL = "rtmps://live.example.com:443/"
	if got := IngestURL(s); got != "rtmps://live.example.com:443/kLive" {
		t.Errorf("shown: %s", got)
	}
	if got := LocalIngestURL(s); got != "rtmp://127.0.0.1:1935/kLive" {
		t.Errorf("on this host: %s", got)
	}
}

func TestAddresses(t *testing.T) {
	const path = "/kLive/smil:0_demolive_all.smil/playlist.m3u8"
	for _, c := range []struct {
		name                           string
		rtmp, rtmps, http, https, base string
		play, ingest, host             string
	}{
		{"plain", ":1935", "", ":8080", "", "", "http://127.0.0.1:8080" + path, "rtmp://127.0.0.1:1935/kLive", "127.0.0.1"},
		{"both", ":1935", ":1936", ":8080", ":8443", "", "http://127.0.0.1:8080" + path, "rtmp://127.0.0.1:1935/kLive", "127.0.0.1"},
		{"encrypted alone", "", ":1936", "", "live.example.com:8443", "", "https://live.example.com:8443" + path, "rtmps://127.0.0.1:1936/kLive", "live.example.com"},
		{"behind a CDN", ":1935", "", ":8080", "", "https://cdn.example.com/", "https://cdn.example.com" + path, "rtmp://127.0.0.1:1935/kLive", "cdn.example.com"},
		{"nothing", "", "", "", "", "", "", "", "127.0.0.1"},
	} {
		s := config.Default()
		s.RTMP.Listen, s.RTMPS.Listen, s.HTTP.Listen, s.HTTPS.Listen, s.HTTP.PublicURL = c.rtmp, c.rtmps, c.http, c.https, c.base
		if got := PlayURL(s, "0_demolive"); got != c.play {
			t.Errorf("%s: play %q, want %q", c.name, got, c.play)
		}
		if got := IngestURL(s); got != c.ingest {
			t.Errorf("%s: ingest %q, want %q", c.name, got, c.ingest)
		}
		if got := publicHost(s); got != c.host {
			t.Errorf("%s: host %q, want %q", c.name, got, c.host)
		}
	}
}
