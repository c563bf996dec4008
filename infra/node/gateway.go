package node

import (
	"context"
	"crypto/tls"
	"errors"
	"time"

	"klive/gateway"
	"klive/gateway/rtmp"
	"klive/gateway/srt"
	"klive/infra/bus"
	"klive/infra/live"
)

// startGateway makes the gateway that the protocols' servers reach through n.door.
func (n *Node) startGateway(context.Context) (err error) {
	if !n.roles.Has(Gateway) {
		return nil
	}
	c := n.settings
	n.gateway, err = gateway.New(gateway.Config{
		Log:     n.log,
		Metrics: n.cfg.Registry,
		API: admissionAPI{
			client: n.client, partner: n.client.Partner(), application: c.Kaltura.Application, byProfile: c.Kaltura.Ladder == "profile", log: n.log,
		},
		Media: n.media, Feeds: n.feeds, Clocks: n.clocks, Broadcasts: n.broadcasts, Epochs: n.epochs,
		Subscribe: n.subscribe,
		Ready:     n.takesStreams,
		Room:      func() error { return n.load.Load().full() },
		PartnerStreams: func(partner int) int {
			return c.Limits.PartnerStreamsOf(partner)
		},
		Address: n.address,
		Used: func(partner int, media time.Duration) {
			n.usage.add(partner, live.UsageRecord{IngestSeconds: media.Seconds()})
		},

		SegmentDuration: c.Segment.Duration,
		PartDuration:    c.Part.Duration,
		Resume:          c.Broadcast.Resume,
		Takeover:        c.Gateway.Takeover,
		MaxDVR:          c.DVR.MaxWindow,
		KeyframeTimeout: c.Gateway.KeyframeTimeout,
		StandAfter:      c.Gateway.StandAfter,
		AcceptFor:       c.Gateway.AcceptFor,
		RefuseFor:       c.Gateway.RefuseFor,
		EntryDigits:     c.Kaltura.EntryDigits,
	})
	if err != nil {
		return err
	}
	n.onClose(func(ctx context.Context) {
		if err := n.gateway.Close(ctx); err != nil {
			n.log.Warn("not every stream could be closed in order", "error", err)
		}
	})
	return nil
}

// subscribe fits the bus's notices to what a gateway asks for.
func (n *Node) subscribe(pattern string, f func(subject string, data []byte)) (func(), error) {
	s, err := n.control.Subscribe(pattern, func(m bus.Notice) { f(m.Subject, m.Data) })
	if err != nil {
		return nil, err
	}
	return s.Close, nil
}

// door is the gateway as protocols' servers see it, which take connections before it is
// there: encoders hear then that they are early.
type door struct{ n *Node }

var errEarly = &gateway.Refusal{Reason: gateway.ReasonNotReady, Text: "this server can't take a stream yet; try again in a moment", Err: errStarting}

// Connect implements [rtmp.Gateway].
func (d door) Connect(ctx context.Context, c gateway.Connect) (*gateway.Permit, error) {
	if !d.n.assembled.Load() {
		return nil, errEarly
	}
	return d.n.gateway.Connect(ctx, c)
}

// Publish implements [rtmp.Gateway].
func (d door) Publish(ctx context.Context, p *gateway.Permit, pub gateway.Publish) (gateway.Publication, error) {
	return d.n.gateway.Publish(ctx, p, pub) // there is a permit, so there is a gateway
}

func (n *Node) startRTMP(ctx context.Context) error {
	c := n.settings.RTMP
	if n.listeners.rtmp == nil && n.listeners.rtmps == nil {
		return nil
	}
	cfg := rtmp.Config{
		Listener: n.listeners.rtmp, TLSListener: n.listeners.rtmps, Gateway: door{n}, App: c.App,
		Limits: rtmp.Limits{
			MaxConnections: c.MaxConnections, MaxMessageSize: int(c.MaxMessage),
			MaxChunkStreams: c.MaxChunkStreams, MaxMemoryPerConnection: int(c.MaxMemory),
			MaxAMFDepth: c.MaxAMFDepth,
		},
		Deadlines: rtmp.Deadlines{
			Handshake: c.HandshakeTimeout, Publish: c.PublishTimeout, Idle: c.IdleTimeout, Write: c.WriteTimeout,
		},
		Logger: n.log, Registerer: n.cfg.Registry,
	}
	if n.listeners.rtmps != nil {
		cfg.TLS = n.tlsConfig()
	}
	var err error
	if n.rtmp, err = rtmp.NewServer(cfg); err != nil {
		return err
	}
	_, end := n.part(ctx, "RTMP", func(ctx context.Context) error {
		if err := n.rtmp.Serve(ctx); !errors.Is(err, rtmp.ErrClosed) {
			return err
		}
		return nil
	})
	n.stopRTMP = func() {
		end()
		n.rtmp.Close()
	}
	n.onClose(func(context.Context) { n.stopRTMP() }) // for a start that fails
	return nil
}

// startSRT opens the UDP listeners and takes callers on them.
func (n *Node) startSRT(ctx context.Context) error {
	c := n.settings.SRT
	if !n.datagrams || !n.roles.Has(Gateway) || len(c.Addresses()) == 0 {
		return nil
	}
	var err error
	n.srt, err = srt.Listen(srt.Config{
		Addresses: c.Addresses(), Gateway: door{n}, Partner: n.partnerOf,
		Latency: c.Latency, Buffer: int(c.Buffer), MaxConnections: c.MaxConnections,
		Admission: c.PublishTimeout, Publish: c.PublishTimeout, Idle: c.IdleTimeout, Peer: c.PeerTimeout,
		Logger: n.log, Registerer: n.cfg.Registry,
	})
	if err != nil {
		return explainListen(err, "srt.listen", c.Listen)
	}
	_, end := n.part(ctx, "SRT", func(ctx context.Context) error {
		if err := n.srt.Serve(ctx); !errors.Is(err, srt.ErrClosed) {
			return err
		}
		return nil
	})
	n.stopSRT = func() {
		end()
		n.srt.Close()
	}
	n.onClose(func(context.Context) { n.stopSRT() }) // for a start that fails
	return nil
}

// partnerOf tells whose an entry is, for addresses that name no partner.
func (n *Node) partnerOf(ctx context.Context, entry string) (int, error) {
	if !n.assembled.Load() {
		return 0, errEarly
	}
	if p := n.client.Partner(); p >= 0 {
		return p, nil
	}
	e, err := n.client.LiveStreamGet(ctx, 0, entry)
	var no *gateway.APIError
	switch err = gatewayError(err); {
	case err == nil:
		return e.PartnerID, nil
	case errors.As(err, &no):
		return 0, &gateway.Refusal{Reason: gateway.ReasonAuth, Text: "there is no live entry " + entry + "; check e=", Err: err}
	}
	return 0, &gateway.Refusal{Reason: gateway.ReasonAPI, Text: "Kaltura does not answer; the encoder may try again", Err: err}
}

// closeProtocolsHere ends the servers of the protocols before the parts that were started so
// far.
func (n *Node) closeProtocolsHere(context.Context) error {
	if n.rtmp != nil {
		n.onClose(func(context.Context) { n.stopRTMP() })
	}
	if n.srt != nil {
		n.onClose(func(context.Context) { n.stopSRT() })
	}
	if n.push != nil {
		n.onClose(func(context.Context) { n.push.Close() })
	}
	if n.whip != nil {
		n.onClose(func(context.Context) { n.whip.Close() })
	}
	return nil
}

// tlsConfig serves the certificate of every encrypted listener.
func (n *Node) tlsConfig() *tls.Config {
	return &tls.Config{MinVersion: tls.VersionTLS12, GetCertificate: n.certificate.GetCertificate}
}
