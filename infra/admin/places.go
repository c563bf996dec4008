package admin

import (
	"cmp"
	"net"
	"net/http"
	"strings"
)

// Places are the addresses of this klive, as its configuration has them. A listener
// without a host is reached under whatever host the console itself was asked for.
type Places struct {
	// RTMP, RTMPS, SRT, HTTP are listeners such as ":1935"; empty means off. HTTP is that of
	// playback; IngestHTTP and IngestHTTPS are where this process takes encoders' requests.
	RTMP, RTMPS, SRT, HTTP, IngestHTTP, IngestHTTPS string
	// Push and WHIP say whether encoders may publish over HTTP in these ways.
	Push, WHIP bool
	// Ingest tells where encoders reach RTMP, such as "rtmp://live.example.com:1935"; nil or ""
	// means the listener's own address.
	Ingest func() string
	// IngestURL tells the same of HTTP, "http://10.0.0.4:8080".
	IngestURL func() string
	// WHIPURL is where WHIP publishers reach the gateways, "https://live.example.com"; "" means where
	// others over HTTP do.
	WHIPURL string
	// App is RTMP's application.
	App string
	// PublicURL is where viewers reach playback; empty means the HTTP listener.
	PublicURL string
	// Sign puts a viewer's token for an entry into a playback path; nil when none is needed.
	Sign func(entry, path string) string
}

// server returns the address of an RTMP listener's application; empty when it is off.
func (p Places) server(scheme, listen, usualPort string, r *http.Request) string {
	if listen == "" {
		return ""
	}
	return scheme + "://" + authority(listen, usualPort, r) + "/" + p.App
}

func (p Places) rtmp(r *http.Request) string {
	if p.Ingest != nil {
		if base := p.Ingest(); base != "" {
			return base + "/" + p.App
		}
	}
	return p.server("rtmp", p.RTMP, "1935", r)
}

func (p Places) rtmps(r *http.Request) string { return p.server("rtmps", p.RTMPS, "443", r) }

// srt returns the address for SRT callers; empty when it is off.
func (p Places) srt(r *http.Request) string {
	if p.SRT == "" {
		return ""
	}
	return "srt://" + authority(p.SRT, "", r)
}

// ingestHTTP returns where encoders publish over HTTP, without a path; empty when they can't. Who
// asks over TLS gets the encrypted listener where there is one: a browser lets a page that came over
// TLS ask nothing else.
func (p Places) ingestHTTP(r *http.Request) string {
	if p.IngestURL != nil {
		if base := p.IngestURL(); base != "" {
			return strings.TrimRight(base, "/")
		}
	}
	secure := r.TLS != nil || r.Header.Get("X-Forwarded-Proto") == "https"
	switch {
	case p.IngestHTTPS != "" && (secure || p.IngestHTTP == ""):
		return "https://" + authority(p.IngestHTTPS, "443", r)
	case p.IngestHTTP != "":
		return "http://" + authority(p.IngestHTTP, "80", r)
	}
	return ""
}

// servers are the addresses of all protocols for who asks.
func (p Places) servers(r *http.Request) Servers {
	s := Servers{RTMP: p.rtmp(r), RTMPS: p.rtmps(r), SRT: p.srt(r)}
	base := p.ingestHTTP(r)
	if base != "" && p.Push {
		s.Push = base + PushPath
	}
	if base = cmp.Or(strings.TrimRight(p.WHIPURL, "/"), base); base != "" && p.WHIP {
		s.WHIP = base + WHIPPath
	}
	return s
}

// watch is play of an entry's playlist, with a viewer's token where one is needed.
func (p Places) watch(entry, path string, r *http.Request) string {
	if p.Sign != nil && path != "" {
		path = p.Sign(entry, path)
	}
	return p.play(path, r)
}

// play returns the address of a playback path, "" for an empty path or when playback is off.
func (p Places) play(path string, r *http.Request) string {
	switch {
	case path == "":
		return ""
	case p.PublicURL != "":
		return strings.TrimRight(p.PublicURL, "/") + path
	case p.HTTP != "":
		return "http://" + authority(p.HTTP, "80", r) + path
	default:
		return ""
	}
}

// authority is host and port under which the asker reaches a listener.
func authority(listen, usualPort string, r *http.Request) string {
	host, port, err := net.SplitHostPort(listen)
	if err != nil {
		return listen
	}
	if ip := net.ParseIP(host); host == "" || (ip != nil && ip.IsUnspecified()) {
		host = r.Host
		if name, _, err := net.SplitHostPort(r.Host); err == nil {
			host = name
		}
		host = strings.Trim(host, "[]")
	}
	if port == usualPort {
		if strings.Contains(host, ":") {
			return "[" + host + "]"
		}
		return host
	}
	return net.JoinHostPort(host, port)
}

// masterPath is the path of an entry's multivariant playlist.
func masterPath(entry string) string { return "/kLive/smil:" + entry + "_all.smil/playlist.m3u8" }
