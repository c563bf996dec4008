package node

import (
	"context"
	"fmt"
	"net/url"
	"os"
	"path/filepath"
	"strconv"

	"klive/infra/bus"
	"klive/infra/kaltura"
	"klive/infra/kaltura/controlplane"
	"klive/infra/live"
	"klive/storage/disk"
	"klive/storage/timeline"
	"klive/storage/timeline/buslog"
)

// controlBucket is where the embedded control plane keeps its documents.
const controlBucket = "kaltura"

func (n *Node) openListeners(ctx context.Context) (err error) {
	n.listeners, err = openListeners(ctx, n.cfg.Listen, n.settings)
	// The servers close their listeners; this is for a start that fails before they exist.
	n.onClose(func(context.Context) { n.listeners.close() })
	return err
}

// startBus connects to the bus, or starts the embedded one under the data folder.
func (n *Node) startBus(ctx context.Context) (err error) {
	if err := os.MkdirAll(n.settings.Data, 0o755); err != nil {
		return fmt.Errorf("can't make the data folder: %w; choose one that can be written (key data)", err)
	}
	switch {
	case n.cfg.Control != nil:
		n.control = n.cfg.Control
	case n.settings.Bus.URL != "":
		n.control, err = bus.Connect(ctx, bus.ConnectConfig{URL: n.settings.Bus.URL, Name: hostname(), Logger: n.log})
		if err != nil {
			return err
		}
		n.onClose(func(context.Context) { n.control.Close() })
	default:
		server, err := bus.StartNode(ctx, bus.NodeConfig{Dir: filepath.Join(n.settings.Data, "bus"), Logger: n.log})
		if err != nil {
			return err
		}
		n.onClose(func(context.Context) { server.Close() })
		n.control = server.Control()
	}
	if n.feeds, err = n.control.Bucket(ctx, bus.BucketConfig{Name: live.FeedsBucket, TTL: n.feedTTL()}); err != nil {
		return err
	}
	if err := n.closeDeadFeeds(ctx); err != nil {
		return err
	}
	if n.broadcasts, err = n.control.Bucket(ctx, bus.BucketConfig{Name: live.BroadcastsBucket}); err != nil {
		return err
	}
	n.media = bus.NewRing(bus.RingConfig{
		MaxAge:     n.settings.Bus.Retention.Age,
		MaxBytes:   int64(n.settings.Bus.Retention.Bytes),
		Registerer: n.cfg.Registry,
	})
	n.onClose(func(context.Context) { n.media.Close() })
	return nil
}

// openStorage opens the store, the timelines' log and the origin's view of them.
func (n *Node) openStorage(ctx context.Context) error {
	address, err := n.settings.StorageURL()
	if err != nil {
		return err
	}
	u, err := url.Parse(address)
	if err != nil || u.Scheme != "file" {
		return fmt.Errorf("storage.url %q: want file:///path", address)
	}
	store, err := disk.Open(disk.Config{Dir: filepath.FromSlash(u.Path), Sync: n.settings.Storage.Fsync})
	if err != nil {
		return err
	}
	n.store = store
	n.onClose(func(context.Context) { store.Close() })
	if n.timelines, err = buslog.Open(ctx, n.control); err != nil {
		return err
	}
	n.view = timeline.NewView(timeline.ViewConfig{Store: n.store, Log: n.timelines, Logger: n.log, Registerer: n.cfg.Registry})
	n.onClose(func(context.Context) { n.view.Close() })
	return nil
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
	state, err := n.control.Bucket(ctx, bus.BucketConfig{Name: controlBucket, MaxBytes: 256 << 20})
	if err != nil {
		return err
	}
	n.plane, err = controlplane.New(ctx, controlplane.Config{
		State:             state,
		Secret:            n.secret,
		MediaServerSecret: n.secret,
		PublicHost:        publicHost(n.settings),
		RTMPPort:          port(n.settings.RTMP.Listen, 1935),
		PlaybackURL:       playback(n.settings),
		Application:       n.settings.RTMP.App,
		RequireServerNode: n.settings.Control.RequireServerNode,
		Generation:        controlplane.Generation(n.settings.Control.Generation),
		Hostname:          n.name(),
		Logger:            n.log,
		Registerer:        n.cfg.Registry,
	})
	if err != nil {
		return err
	}
	n.onClose(func(context.Context) { n.plane.Close() })
	return nil
}

// embedded reports whether this node's Kaltura is its own.
func (n *Node) embedded() bool {
	return n.settings.Kaltura.URL == "" && n.settings.Control.Enabled
}

// startClient makes the API client. With the embedded control plane it goes over the admin
// listener, as any other client would.
func (n *Node) startClient(context.Context) error {
	k := n.settings.Kaltura
	cfg := kaltura.ClientConfig{
		URL: k.URL, PartnerID: k.PartnerID, AdminSecret: k.Secret.Reveal(), Hostname: n.name(), Timeout: k.Timeout,
		Transport: n.cfg.Transport, Logger: n.log, Registerer: n.cfg.Registry,
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

// name is what this deployment calls itself to Kaltura: one name, however many hosts it has.
func (n *Node) name() string {
	if n.settings.Kaltura.Hostname != "" {
		return n.settings.Kaltura.Hostname
	}
	return hostname()
}

// hostname tells this host from the others of the deployment.
func hostname() string {
	host, err := os.Hostname()
	if err != nil {
		return "klive"
	}
	return host
}

// port is the number in a listen address.
func port(listen string, otherwise int) int {
	if p, err := strconv.Atoi(portOf(listen)); err == nil && p > 0 {
		return p
	}
	return otherwise
}
