package node

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"path/filepath"
	"strings"
	"time"

	"klive/infra/bus"
	"klive/infra/media"
	"klive/storage/timeline"
	"klive/workers/recorder"
	"klive/workers/sweeper"
)

// recordingStore is the store of recorded files, and how Kaltura's servers may find one there.
type recordingStore struct {
	store recorder.Recordings
	path  string // template of a path that servers share
	sign  func(ctx context.Context, key string) (string, error)
}

// signedFor is how long a signed address holds: the API may queue what it is to fetch.
const signedFor = 24 * time.Hour

// openRecordings opens the store of recorded files, and the way to whoever records.
func (n *Node) openRecordings(ctx context.Context) error {
	if n.server != nil || n.control == nil {
		return nil
	}
	if err := n.await(ctx, "the bus to open the recorders' orders", func(ctx context.Context) (err error) {
		n.orders, err = n.control.Bucket(ctx, bus.BucketConfig{Name: recorder.OrdersBucket})
		return err
	}); err != nil {
		return err
	}
	if !n.roles.Has(LiveWorker | Control) {
		return nil
	}
	address, err := n.settings.StorageURL()
	if err != nil {
		return err
	}
	own := n.settings.Storage.Recordings.URL
	if own != "" {
		address = own
	}
	u, err := url.Parse(address)
	if err != nil {
		return errors.New("storage.recordings.url can't be read; want file:///path or s3://bucket/prefix?region=…")
	}
	if u.Scheme == "s3" {
		return n.openRecordingBucket(ctx, address, own != "")
	}
	dir := filepath.FromSlash(u.Path)
	n.recordings.path = filepath.Join(dir, "{key}")
	if own != "" {
		store, err := n.folder(dir, "storage.recordings.url")
		if err == nil {
			n.recordings.store = store
		}
		return err
	}
	return n.recordInStore()
}

// recordInStore puts recorded files into the store of media.
func (n *Node) recordInStore() error {
	both, ok := n.store.(recorder.Recordings)
	if !ok {
		return errors.New("the store takes no recordings; set storage.recordings.url")
	}
	n.recordings.store = both
	return nil
}

// openRecordingBucket has a client of its own for the bucket, which signs addresses as well.
func (n *Node) openRecordingBucket(ctx context.Context, address string, own bool) error {
	store, err := openS3(ctx, n.settings, address, n.log, nil)
	if err != nil {
		return err
	}
	n.onClose(func(context.Context) { store.Close() })
	n.recordings.path = strings.SplitN(store.String(), " ", 2)[0] + "{key}"
	n.recordings.sign = func(ctx context.Context, key string) (string, error) { return store.SignedURL(ctx, key, signedFor) }
	if !own {
		return n.recordInStore()
	}
	n.recordings.store = store
	return n.await(ctx, "the store of recordings "+store.String(), store.Check)
}

// floors tells which media recordings still need; false when nothing is recorded.
func (n *Node) floors() (recorder.Floors, bool) {
	return recorder.Floors{Store: n.store, Timelines: n.view}, n.settings.Recording.Enabled
}

func (n *Node) keepForRecording() func(context.Context, *timeline.State, bool) (media.Time, bool, error) {
	if f, ok := n.floors(); ok {
		return f.Keep
	}
	return nil
}

func (n *Node) recordingFloor() sweeper.Floor {
	if f, ok := n.floors(); ok {
		return f
	}
	return nil
}

// startRecorders records the entries that this worker owns, and what others left unfinished.
func (n *Node) startRecorders(ctx context.Context) error {
	c := n.settings.Recording
	if !n.roles.Has(LiveWorker) || !c.Enabled {
		return nil
	}
	config := recorder.PoolConfig{
		Name: n.process, Control: n.control, Store: n.store, Recordings: n.recordings.store, Timelines: n.view, API: n.client, Media: n.media,
		Sign: n.recordings.sign, Owned: n.workers.OwnedFeeds, Feeds: n.workers.FeedsOf, Log: n.log, Registerer: n.cfg.Registry, Scan: c.Scan, Writing: c.Writing,
		Options: recorder.Options{
			Segment: c.Segment, Strategy: recorder.Strategy(c.Strategy), Path: c.Path, Address: c.Address, Keep: c.Keep,
			RetryMost: c.Retry, Unknown: c.Unknown, Settle: c.Settle, Remake: c.Remake,
			Backup: c.Backup, Resume: n.settings.Broadcast.Resume, Upscale: n.settings.Transcode.Upscale,
		},
	}
	if n.jobs != nil && n.ends != nil {
		config.Rungs = &recorder.Rungs{Jobs: n.jobs, Ends: n.ends, Media: n.media}
	}
	if config.Options.Path == "" {
		config.Options.Path = n.recordings.path
	}
	if err := n.await(ctx, "the bus to open the recorders' records", func(ctx context.Context) (err error) {
		n.recorders, err = recorder.NewPool(ctx, config)
		return err
	}); err != nil {
		return err
	}
	_, end := n.part(ctx, "recorders", func(ctx context.Context) error {
		return fmt.Errorf("ended: %w", n.recorders.Run(ctx))
	})
	n.onClose(func(context.Context) { end() })
	return nil
}
