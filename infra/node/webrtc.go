package node

import (
	"context"
	"errors"
	"net"
	"net/http"
	"strconv"
	"syscall"
	"time"

	"klive/gateway"
	"klive/gateway/whip"
)

// addressTimeout bounds the search for the public address at the start.
const addressTimeout = 10 * time.Second

// webrtcSockets are what WebRTC's media come over; nil where it is off.
type webrtcSockets struct {
	udp net.PacketConn
	tcp net.Listener
}

// takesWHIP reports whether this process takes publishers over WebRTC.
func (n *Node) takesWHIP() bool { return n.webrtc.udp != nil }

// openWebRTC opens the UDP port and the TCP port of the same number, before anything else
// starts.
func (n *Node) openWebRTC(ctx context.Context) error {
	c := n.settings
	if !n.datagrams || !n.roles.Has(Gateway) || !c.WHIP.Enabled || c.WebRTC.Listen == "" {
		return nil
	}
	var err error
	if n.webrtc.udp, n.webrtc.tcp, err = listenBoth(ctx, c.WebRTC.Listen); err != nil {
		return explainListen(err, "webrtc.listen", c.WebRTC.Listen)
	}
	n.onClose(func(context.Context) { // for a start that fails; the server closes them otherwise
		_ = n.webrtc.udp.Close()
		_ = n.webrtc.tcp.Close()
	})
	if u, ok := n.webrtc.udp.(*net.UDPConn); ok {
		_ = u.SetReadBuffer(int(c.WebRTC.Buffer)) // the system grants what it does
	}
	return nil
}

// listenBoth opens a UDP and a TCP port of one number. For port 0 a free pair is looked for.
func listenBoth(ctx context.Context, address string) (net.PacketConn, net.Listener, error) {
	host, port, err := net.SplitHostPort(address)
	if err != nil {
		return nil, nil, err
	}
	const tries = 10
	for try := 1; ; try++ {
		udp, err := (&net.ListenConfig{}).ListenPacket(ctx, "udp", address)
		if err != nil {
			return nil, nil, err
		}
		got := udp.LocalAddr().(*net.UDPAddr).Port
		tcp, err := (&net.ListenConfig{}).Listen(ctx, "tcp", net.JoinHostPort(host, strconv.Itoa(got)))
		if err == nil {
			return udp, tcp, nil
		}
		udp.Close()
		if port != "0" || try == tries || !errors.Is(err, syscall.EADDRINUSE) {
			return nil, nil, err
		}
	}
}

// startWHIP makes the server of publishers over WebRTC.
func (n *Node) startWHIP() error {
	if !n.takesWHIP() {
		return nil
	}
	c, w := n.settings.WHIP, n.settings.WebRTC
	source, err := w.Public()
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(context.Background(), addressTimeout)
	defer cancel()
	public, err := whip.PublicAddresses(ctx, whip.AddressSource{Addresses: source.Addresses, STUN: source.STUN, URL: source.URL, Cloud: source.Cloud})
	if err != nil {
		n.log.Error("the public address for WebRTC was not found; only encoders that reach this host's own addresses can publish over WHIP",
			"webrtc.publicAddress", w.PublicAddress, "error", err)
	}
	var servers []whip.ICEServer
	for _, url := range w.Servers() {
		one := whip.ICEServer{URL: url}
		if url[0] == 't' {
			one.Username, one.Credential = w.ICEUser, w.ICEPassword.Reveal()
		}
		servers = append(servers, one)
	}
	n.whip, err = whip.New(whip.Config{
		Gateway: door{n}, Elsewhere: n.forwarder, Partner: n.partnerOf,
		UDP: n.webrtc.udp, TCP: n.webrtc.tcp, PublicAddresses: public, Loopback: len(public) == 0, Lite: w.Lite, ICEServers: servers,
		MaxSessions: c.MaxSessions, MaxOffer: int(c.MaxOffer),
		Publish: c.PublishTimeout, Idle: c.IdleTimeout, Keyframe: c.Keyframe, Latency: c.Latency,
		Logger: n.log, Registerer: n.cfg.Registry,
	})
	return err
}

// serveWHIP answers encoders that publish over WebRTC.
func (n *Node) serveWHIP(w http.ResponseWriter, r *http.Request) {
	if !n.assembled.Load() {
		w.Header().Set("Retry-After", "2")
		gateway.Problem(w, http.StatusServiceUnavailable, errEarly.Error())
		return
	}
	n.whip.ServeHTTP(w, r)
}
