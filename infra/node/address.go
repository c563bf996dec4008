package node

import (
	"net"
	"net/url"
	"strings"

	"klive/infra/config"
	"klive/storage/playlist"
)

// Dialable turns a listener's address into one that can be dialled from this machine.
func Dialable(listen string) string {
	host, port, err := net.SplitHostPort(listen)
	if err != nil {
		return listen
	}
	if ip := net.ParseIP(host); host == "" || (ip != nil && ip.IsUnspecified()) {
		host = "127.0.0.1"
	}
	return net.JoinHostPort(host, port)
}

// publicHost is the host name that addresses in API answers carry, and where players find
// the playlists: http.publicUrl, or the HTTP listener on this machine.
func publicHost(c *config.Config) (host, playback string) {
	if u, err := url.Parse(c.HTTP.PublicURL); err == nil && u.Host != "" {
		return u.Hostname(), c.HTTP.PublicURL
	}
	at := Dialable(c.HTTP.Listen)
	if host, _, err := net.SplitHostPort(at); err == nil {
		return host, "http://" + at
	}
	return "127.0.0.1", "http://127.0.0.1:8080"
}

// PlayURL is the address of an entry's multivariant playlist, as seen from this machine or,
// with http.publicUrl, from everywhere.
func PlayURL(c *config.Config, entry string) string {
	_, playback := publicHost(c)
	return strings.TrimRight(playback, "/") + "/" + playlist.GroupKey(entry, "all", false)
}
