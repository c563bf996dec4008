package node

import (
	"context"
	"fmt"
	"net/http"
	"path/filepath"
	"strconv"

	"klive/infra/bus"
	"klive/infra/config"
	"klive/infra/kaltura"
	"klive/infra/kaltura/controlplane"
)

// controlBucket is where the embedded control plane keeps its documents.
const controlBucket = "kaltura"

func (n *Node) openListeners(ctx context.Context) (err error) {
	n.listeners, err = openListeners(ctx, n.cfg.Listen, n.roles, n.settings)
	// The servers close their listeners; this is for a start that fails before they exist.
	n.onClose(func(context.Context) { n.listeners.close() })
	if err == nil {
		n.spareDescriptors()
	}
	return err
}

// startControlPlane starts the embedded API server when no Kaltura is configured.
func (n *Node) startControlPlane(ctx context.Context) error {
	if !n.embedded() {
		return nil
	}
	var err error
	if n.secret, err = ensureControlSecret(n.settings); err != nil {
		return err
	}
	var state *bus.Bucket
	if err := n.await(ctx, "the bus to open the control plane's documents", func(ctx context.Context) (err error) {
		state, err = n.control.Bucket(ctx, bus.BucketConfig{Name: controlBucket, MaxBytes: 256 << 20})
		return err
	}); err != nil {
		return err
	}
	c := n.settings.Control
	n.plane, err = controlplane.New(ctx, controlplane.Config{
		State:             state,
		Files:             n.uploadFiles(),
		Recorded:          recordedFiles{n},
		FFmpeg:            ffmpegPath(),
		Work:              filepath.Join(n.settings.Data, "join"),
		WorkRoom:          n.roomInData,
		AcceptURLResource: c.AcceptURLResource,
		Secret:            n.secret,
		MediaServerSecret: n.secret,
		PublicHost:        publicHost(n.settings),
		RTMPPort:          port(n.settings.RTMP.Listen, 1935),
		RTMPSPort:         securePort(n.settings),
		IngestURL:         publicIngest(n.settings),
		SRTPort:           srtPort(n.settings),
		PlaybackURL:       playback(n.settings),
		Application:       n.settings.RTMP.App,
		RequireServerNode: c.RequireServerNode,
		Generation:        controlplane.Generation(c.Generation),
		Alive:             c.Expiry,
		Sweep:             c.Sweep,
		Partner:           &controlplane.PartnerLimits{Inputs: c.MaxInputs, Transcoded: c.MaxTranscoded},
		UploadIdle:        c.UploadIdle,
		UploadKeep:        c.UploadKeep,
		Limits: controlplane.Limits{
			Body: int64(c.MaxRequest), Parameters: c.MaxParameters, Depth: c.MaxDepth, Calls: c.MaxCalls, Answer: int(c.MaxAnswer),
			File: int64(c.MaxUpload), Uploads: c.Uploads,
		},
		ProbeLive:  controlplane.NewProbe(&http.Client{Transport: n.cfg.Transport}),
		Hostname:   n.deployment(),
		Logger:     n.log,
		Registerer: n.cfg.Registry,
	})
	if err != nil {
		return err
	}
	n.planeNow.Store(n.plane)
	n.onClose(func(context.Context) { n.plane.Close() })
	return nil
}

// embedded reports whether this node runs Kaltura's API itself.
func (n *Node) embedded() bool {
	if n.roles != All {
		return n.roles.Has(Control)
	}
	return n.settings.Kaltura.URL == "" && n.settings.Control.Enabled
}

// startClient makes the API client. With the embedded control plane it goes over the admin
// listener, as any other client would.
func (n *Node) startClient(context.Context) error {
	if !n.roles.Has(Gateway | LiveWorker | Control) {
		return nil
	}
	k := n.settings.Kaltura
	cfg := kaltura.ClientConfig{
		URL: k.URL, PartnerID: k.PartnerID, AdminSecret: k.Secret.Reveal(), Hostname: n.deployment(), Timeout: k.Timeout,
		Breaker: breaker(k.Breaker), ByProfile: k.FlavorParams == "profile", Tracer: n.tracer, Transport: n.cfg.Transport, MaxConnections: k.MaxConnections, Logger: n.log, Registerer: n.cfg.Registry,
	}
	if n.embedded() {
		if n.listeners.admin == nil {
			return fmt.Errorf("the embedded control plane answers on the admin listener, which is off: set admin.listen, or kaltura.url of another API")
		}
		cfg.URL, cfg.PartnerID, cfg.AdminSecret = "http://"+Dialable(n.listeners.admin.Addr().String()), kaltura.MediaServerPartner, n.secret
	}
	var err error
	if n.client, err = kaltura.NewClient(cfg); err != nil {
		return err
	}
	n.onClose(func(context.Context) { n.client.Close() })
	if !n.embedded() {
		return nil
	}
	// A media server may not list a partner's entries. The console does, as the partner.
	cfg.PartnerID, cfg.Registerer = DemoPartner, nil
	if n.owner, err = kaltura.NewClient(cfg); err != nil {
		return err
	}
	n.onClose(func(context.Context) { n.owner.Close() })
	return nil
}

// breaker is the configuration's, in which 0 failures are never enough.
func breaker(b config.Breaker) kaltura.Breaker {
	if b.Failures == 0 {
		return kaltura.Breaker{Failures: -1}
	}
	return kaltura.Breaker{Failures: b.Failures, Pause: b.Pause}
}

// deployment is what this deployment calls itself to Kaltura: one name, however many hosts it has.
func (n *Node) deployment() string {
	if n.settings.Kaltura.Hostname != "" {
		return n.settings.Kaltura.Hostname
	}
	return hostname()
}

// publicIngest is where encoders publish from everywhere; empty when only the listeners are
// known.
func publicIngest(c *config.Config) string {
	if c.RTMP.PublicURL == "" && c.RTMP.Listen != "" {
		return ""
	}
	return IngestURL(c)
}

// securePort is where RTMPS is listened to, as far as addresses in API answers go; 0 is
// nowhere, or behind rtmp.publicUrl.
func securePort(c *config.Config) int {
	if c.RTMPS.Listen == "" || c.RTMP.PublicURL != "" {
		return 0
	}
	return port(c.RTMPS.Listen, 0)
}

// srtPort is the UDP port of SRT callers; 0 when SRT is off.
func srtPort(c *config.Config) int {
	if a := c.SRT.Addresses(); len(a) > 0 {
		return port(a[0], 0)
	}
	return 0
}

// port is the number in a listen address.
func port(listen string, otherwise int) int {
	if p, err := strconv.Atoi(portOf(listen)); err == nil && p > 0 {
		return p
	}
	return otherwise
}
