package node

import (
	"cmp"
	"net"
	"net/url"
	"slices"
	"strings"
	"time"

	"klive/gateway/push"
	"klive/infra/admin"
	"klive/infra/config"
	"klive/storage/origin"
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

// playback is where players find the playlists: http.publicUrl, or the plain or else the
// encrypted HTTP listener on this machine; empty when neither is on.
func playback(c *config.Config) string {
	if c.HTTP.PublicURL != "" {
		return strings.TrimRight(c.HTTP.PublicURL, "/")
	}
	return localHTTP(c)
}

// publicHost is the host name that addresses in API answers carry.
func publicHost(c *config.Config) string {
	if u, err := url.Parse(playback(c)); err == nil && u.Hostname() != "" {
		return u.Hostname()
	}
	return "127.0.0.1"
}

// PlayURL is the address of an entry's multivariant playlist, as seen from this machine or,
// with http.publicUrl, from everywhere. It is empty when no HTTP listener is on.
func PlayURL(c *config.Config, entry string) string {
	base := playback(c)
	if base == "" {
		return ""
	}
	return base + "/" + playlist.GroupKey(entry, "all", false)
}

// SignedPlayURL is what [PlayURL] says, with a viewer's token.
func SignedPlayURL(c *config.Config, entry, token string) string {
	base := playback(c)
	if base == "" {
		return ""
	}
	return base + origin.SignedPath(token, "/"+playlist.GroupKey(entry, "all", false))
}

// IngestURL is the RTMP server and application to tell people of: under rtmp.publicUrl, or
// what [LocalIngestURL] says.
func IngestURL(c *config.Config) string {
	if c.RTMP.PublicURL != "" {
		return strings.TrimRight(c.RTMP.PublicURL, "/") + "/" + c.RTMP.App
	}
	return LocalIngestURL(c)
}

// LocalIngestURL is the RTMP server and application that encoders on this machine publish to,
// "rtmp://127.0.0.1:1935/kLive", or the RTMPS one when that alone is on. It is empty when
// neither is.
func LocalIngestURL(c *config.Config) string {
	switch {
	case c.RTMP.Listen != "":
		return "rtmp://" + Dialable(c.RTMP.Listen) + "/" + c.RTMP.App
	case c.RTMPS.Listen != "":
		return "rtmps://" + Dialable(c.RTMPS.Listen) + "/" + c.RTMP.App
	}
	return ""
}

// SRTURL is the SRT address to tell people of, "srt://127.0.0.1:8890"; empty when it is off.
func SRTURL(c *config.Config) string {
	addresses := c.SRT.Addresses()
	if len(addresses) == 0 {
		return ""
	}
	return "srt://" + Dialable(addresses[0])
}

// PushURL is the address below which encoders on this machine publish over HTTP,
// "http://127.0.0.1:8080/ingest/"; empty when they can't.
func PushURL(c *config.Config) string {
	if base := localHTTP(c); base != "" && c.Push.Enabled {
		return base + push.Prefix
	}
	return ""
}

// WHIPURL is the address below which encoders on this machine publish over WebRTC,
// "http://127.0.0.1:8080/whip/"; empty when they can't.
func WHIPURL(c *config.Config) string {
	if base := localHTTP(c); base != "" && whipOn(c) {
		return base + admin.WHIPPath
	}
	return ""
}

// localHTTP is the public HTTP listener on this machine, the plain one where both are on.
func localHTTP(c *config.Config) string {
	switch {
	case c.HTTP.Listen != "":
		return "http://" + Dialable(c.HTTP.Listen)
	case c.HTTPS.Listen != "":
		return "https://" + Dialable(c.HTTPS.Listen)
	}
	return ""
}

// Servers are the addresses of all protocols to tell people of: under rtmp.publicUrl and
// whip.publicUrl, or the listeners on this machine. Protocols that are off have none, and in a
// deployment whose gateways may be on other hosts those that nothing says the address of.
func Servers(c *config.Config) admin.Servers {
	var s admin.Servers
	whip := strings.TrimRight(c.WHIP.PublicURL, "/")
	if c.RTMP.PublicURL != "" {
		s.RTMP = IngestURL(c)
	}
	if c.Bus.URL == "" {
		s.RTMP, s.SRT, s.Push, whip = IngestURL(c), SRTURL(c), PushURL(c), cmp.Or(whip, localHTTP(c))
		if c.RTMPS.Listen != "" {
			s.RTMPS = "rtmps://" + Dialable(c.RTMPS.Listen) + "/" + c.RTMP.App
		}
	}
	if whip != "" && whipOn(c) {
		s.WHIP = whip + admin.WHIPPath
	}
	return s
}

// whipOn says whether gateways take WHIP.
func whipOn(c *config.Config) bool { return c.WHIP.Enabled && c.WebRTC.Listen != "" }

// places are the addresses that operators are shown. A node shows its own listeners only for
// what it does itself.
func (n *Node) places() admin.Places {
	c := n.settings
	p := admin.Places{
		App: c.RTMP.App, Ingest: n.ingest, IngestURL: n.ingestHTTP, PublicURL: c.HTTP.PublicURL, Sign: n.sign,
		Push: c.Push.Enabled, WHIP: whipOn(c), WHIPURL: c.WHIP.PublicURL,
	}
	if n.roles.Has(Gateway) {
		p.IngestHTTP, p.IngestHTTPS = c.HTTP.Listen, c.HTTPS.Listen
		p.RTMP, p.RTMPS = c.RTMP.Listen, c.RTMPS.Listen
		if a := c.SRT.Addresses(); len(a) > 0 {
			p.SRT = a[0]
		}
	}
	if n.roles.Has(Origin) {
		p.HTTP, p.PublicURL = c.HTTP.Listen, n.publicURL()
	}
	return p
}

// sign signs what the console plays with the first of viewer.keys, if there are any. Its tokens
// are the same for half a day, so that a player is not begun anew with every look, and last as
// long again.
func (n *Node) sign(entry, path string) string {
	keys, err := n.viewer.Load().TokenKeys()
	if err != nil || len(keys) == 0 {
		return path
	}
	const half = 12 * time.Hour
	key := origin.Key{ID: keys[0].ID, Secret: keys[0].Secret.Reveal()}
	return origin.SignedPath(origin.Sign(key, entry, time.Now().Truncate(half).Add(2*half)), path)
}

// ingest is where encoders reach the deployment by RTMP, when its own listener does not say: under
// rtmp.publicUrl, or at a gateway that was heard, if it listens where this node would.
func (n *Node) ingest() string {
	c := n.settings
	if c.RTMP.PublicURL != "" {
		return strings.TrimRight(c.RTMP.PublicURL, "/")
	}
	if host := n.heardGateway(); host != "" && c.RTMP.Listen != "" {
		return "rtmp://" + net.JoinHostPort(host, portOf(c.RTMP.Listen))
	}
	return ""
}

// ingestHTTP is where publishers over HTTP reach a gateway that was heard; empty when none was.
func (n *Node) ingestHTTP() string {
	if host := n.heardGateway(); host != "" && n.settings.HTTP.Listen != "" {
		return "http://" + net.JoinHostPort(host, portOf(n.settings.HTTP.Listen))
	}
	return ""
}

// heardGateway is the host of a gateway that was heard lately; empty when there is none, or this
// node is one itself.
func (n *Node) heardGateway() string {
	if n.roles.Has(Gateway) || !n.assembled.Load() || n.beats == nil {
		return ""
	}
	for _, p := range lately(n.beats.Peers(), time.Now()) {
		host, _, err := net.SplitHostPort(p.Internal)
		if err == nil && p.Ready && slices.Contains(p.Roles, Gateway.String()) {
			return host
		}
	}
	return ""
}

// internalAddress is where other nodes reach this one's internal listener; empty when it is
// off.
func (n *Node) internalAddress() string {
	l := n.listeners.internal
	if l == nil {
		return ""
	}
	if a := n.settings.Internal.Address; a != "" {
		return a
	}
	host, port, err := net.SplitHostPort(l.Addr().String())
	if err != nil {
		return l.Addr().String()
	}
	if ip := net.ParseIP(host); ip != nil && ip.IsUnspecified() {
		host = hostname()
	}
	return net.JoinHostPort(host, port)
}
