package node

import (
	"context"
	"crypto/tls"
	"errors"
	"time"

	"klive/gateway"
	"klive/gateway/rtmp"
	"klive/infra/bus"
	"klive/infra/live"
	"klive/workers"
	"klive/workers/packager"
	"klive/workers/registrar"
)

// feedTTL is how long a feed's record outlives its last beat: beyond the resume time, so
// that a late reconnect still finds its grant and clock.
func (n *Node) feedTTL() time.Duration {
	return (n.settings.Broadcast.Resume + 2*time.Minute).Truncate(time.Second)
}

func (n *Node) startGateway(ctx context.Context) error {
	clocks, err := n.control.Bucket(ctx, bus.BucketConfig{Name: live.ClocksBucket, TTL: n.feedTTL()})
	if err != nil {
		return err
	}
	epochs, err := n.control.Bucket(ctx, bus.BucketConfig{Name: live.EpochsBucket})
	if err != nil {
		return err
	}
	c := n.settings
	n.gateway, err = gateway.New(gateway.Config{
		Log:     n.log,
		Metrics: n.cfg.Registry,
		API: admissionAPI{
			client: n.client, partner: n.client.Partner(), application: c.Kaltura.Application, log: n.log,
		},
		Media: n.media, Feeds: n.feeds, Clocks: clocks, Broadcasts: n.broadcasts, Epochs: epochs,
		Subscribe: n.subscribe,
		Ready:     func() error { return n.Ready(context.Background()) },
		Address:   hostname(),

		SegmentDuration: c.Segment.Duration,
		PartDuration:    c.Part.Duration,
		Resume:          c.Broadcast.Resume,
		Takeover:        c.Gateway.Takeover,
		MaxDVR:          c.DVR.MaxWindow,
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

func (n *Node) startWorkers(ctx context.Context) error {
	c := n.settings
	var err error
	n.workers, err = workers.New(ctx, workers.Config{
		Name: hostname(), Control: n.control, Feeds: n.feeds, Broadcasts: n.broadcasts,
		Media: n.media, Store: n.store, Timeline: n.timelines,
		API:      registrarAPI{n.client},
		Chapters: n.view.Items,
		Packager: packager.Options{
			FailoverAfter: c.Failover.After,
			ReturnAfter:   c.Failover.Health,
			Resume:        c.Broadcast.Resume,
			LiveWindow:    c.HLS.Window,
		},
		Registrar: registrar.Options{
			Hostname: n.name(), Application: c.Kaltura.Application, StartDelay: c.Kaltura.StartDelay,
			KeepAlive: c.Kaltura.KeepAlive, PlayableSegments: c.Kaltura.PlayableSegments,
			OmitStatus: !c.Kaltura.LiveEntryStatus, UnregisterGrace: c.Kaltura.UnregisterGrace,
			CallTimeout: c.Kaltura.Timeout,
		},
		Log: n.log, Registerer: n.cfg.Registry,
	})
	if err != nil {
		return err
	}
	run, stop := context.WithCancel(context.WithoutCancel(ctx))
	ended := make(chan struct{})
	n.run("workers", func() error {
		defer close(ended)
		if err := n.workers.Run(run); !errors.Is(err, context.Canceled) {
			return err
		}
		return nil
	})
	n.onClose(func(context.Context) { stop(); <-ended })
	return nil
}

func (n *Node) startRTMP(ctx context.Context) error {
	c := n.settings.RTMP
	if n.listeners.rtmp == nil && n.listeners.rtmps == nil {
		return nil
	}
	cfg := rtmp.Config{
		Listener: n.listeners.rtmp, TLSListener: n.listeners.rtmps, Gateway: n.gateway, App: c.App,
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
	serve, stop := context.WithCancel(context.WithoutCancel(ctx))
	ended := make(chan struct{})
	n.run("RTMP", func() error {
		defer close(ended)
		if err := n.rtmp.Serve(serve); !errors.Is(err, context.Canceled) && !errors.Is(err, rtmp.ErrClosed) {
			return err
		}
		return nil
	})
	n.onClose(func(context.Context) {
		stop()
		<-ended
		n.rtmp.Close()
	})
	return nil
}

// tlsConfig serves the certificate of every encrypted listener.
func (n *Node) tlsConfig() *tls.Config {
	return &tls.Config{MinVersion: tls.VersionTLS12, GetCertificate: n.certificate.GetCertificate}
}
