package node

import (
	"context"
	"fmt"
	"log/slog"
	"net/url"
	"path/filepath"

	"github.com/prometheus/client_golang/prometheus"

	"klive/infra/config"
	"klive/infra/telemetry"
	"klive/storage"
	"klive/storage/disk"
	"klive/storage/origin"
	"klive/storage/s3"
	"klive/storage/spool"
	"klive/storage/timeline"
)

// openStorage opens the store, and the view of the timelines in it.
func (n *Node) openStorage(ctx context.Context) error {
	address, err := n.settings.StorageURL()
	if err != nil {
		return err
	}
	u, err := url.Parse(address)
	switch {
	case err == nil && u.Scheme == "s3":
		err = n.openBucket(ctx, address)
	case err == nil && u.Scheme == "file":
		err = n.openFolder(filepath.FromSlash(u.Path))
	default:
		err = fmt.Errorf("storage.url: want file:///path or s3://bucket/prefix?region=…")
	}
	if err != nil {
		return err
	}
	n.view = timeline.NewView(timeline.ViewConfig{Store: n.store, Log: n.timelines, Logger: n.log, Registerer: n.cfg.Registry})
	n.onClose(func(context.Context) { n.view.Close() })
	if n.roles.Has(Origin) {
		n.origin = origin.New(origin.Config{
			Timelines: n.view, Store: n.store, Media: n.media, Window: n.settings.HLS.Window, Access: access(&n.settings.Viewer), TS: n.settings.HLS.Container == "ts",
			Thumbnails: origin.Thumbnails{Every: n.settings.Thumbnail.Every, Width: n.settings.Thumbnail.Width},
			Logger:     n.log, Registerer: n.cfg.Registry,
		})
	}
	return nil
}

// access says who may watch; the settings have been checked.
func access(v *config.Viewer) origin.Access {
	a := origin.Access{ShieldHeader: v.ShieldHeader, ShieldSecrets: v.Shields()}
	keys, _ := v.TokenKeys()
	for _, k := range keys {
		a.Keys = append(a.Keys, origin.Key{ID: k.ID, Secret: k.Secret.Reveal()})
	}
	return a
}

func (n *Node) openFolder(dir string) error {
	store, err := n.folder(dir, "storage.url")
	if err != nil {
		return err
	}
	n.store = store
	return n.openSpool() // a folder may be on a disk that fills up, or on another host
}

// folder opens a folder as a store of media or recordings, until the node closes.
func (n *Node) folder(dir, setting string) (*disk.Store, error) {
	store, err := disk.Open(disk.Config{Dir: dir, Sync: n.settings.Storage.Fsync, Reserve: reserve(n.settings), Setting: setting})
	if err != nil {
		return nil, err
	}
	n.onClose(func(context.Context) { store.Close() })
	return store, nil
}

func openS3(ctx context.Context, c *config.Config, address string, log *slog.Logger, r prometheus.Registerer) (*s3.Store, error) {
	s := c.Storage
	return s3.Open(ctx, s3.Config{
		URL: address, Timeout: s.Timeout, Deadline: s.Deadline, Encryption: s.Encryption, KMSKey: s.KMSKey, Logger: log, Registerer: r,
	})
}

// openBucket waits for the bucket where the roles can't do without. A worker has a spool in
// front of it: what it has packaged outlives an outage.
func (n *Node) openBucket(ctx context.Context, address string) error {
	store, err := openS3(ctx, n.settings, address, n.log, n.cfg.Registry)
	if err != nil {
		return err
	}
	n.onClose(func(context.Context) { store.Close() })
	n.store = store
	switch what := "the store " + store.String(); {
	case n.roles.Has(LiveWorker):
		if err := n.await(ctx, what, store.Check); err != nil {
			return err
		}
		return n.openSpool()
	case n.roles.Has(Origin):
		return n.await(ctx, what, func(ctx context.Context) error {
			_, err := store.List(ctx, "state/", "", 1)
			return err
		})
	}
	return nil // only operators' questions go there
}

// reserveMost bounds reserve.
const reserveMost = 64 << 20

// reserve is what media leave free on a disk, where records, playlists and the bus's own files may
// have to be written still: a quarter of what has to be free for new streams, but never so much
// that a generous limits.disk keeps streams that go on from being stored.
func reserve(c *config.Config) int64 { return min(int64(c.Limits.Disk)/4, reserveMost) }

// roomInData says why so many bytes more have no room in the data folder; nil when they have, or when that is not known.
func (n *Node) roomInData(bytes int64) error {
	free, err := telemetry.DiskFree(n.settings.Data)
	if most := free - reserve(n.settings); err == nil && bytes > most {
		return fmt.Errorf("%w: free space on the disk of the data folder %s (%d MiB are wanted, %d MiB are free, and klive leaves %d MiB)",
			storage.ErrFull, n.settings.Data, bytes>>20, free>>20, reserve(n.settings)>>20)
	}
	return nil
}

// openSpool puts a spool in front of the store of a process that packages.
func (n *Node) openSpool() (err error) {
	if !n.roles.Has(LiveWorker) {
		return nil
	}
	c := n.settings.Spool
	dir := c.Dir
	if dir == "" {
		dir = filepath.Join(n.settings.Data, "spool")
	}
	n.spool, err = spool.Open(spool.Config{
		Store: n.store, Dir: dir, MaxBytes: int64(c.Bytes), MaxAge: c.Age, After: c.After, Reserve: reserve(n.settings), Logger: n.log, Registerer: n.cfg.Registry,
	})
	if err != nil {
		return err
	}
	n.store = n.spool
	n.onClose(func(context.Context) { n.spool.Close() })
	return nil
}
