package node

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"

	"klive/infra/bus"
	"klive/infra/config"
	"klive/infra/live"
	"klive/infra/telemetry"
	"klive/storage/timeline/buslog"
	"klive/workers"
	"klive/workers/sweeper"
)

// processFile keeps the name of the process that the data folder belongs to.
const processFile = "process"

// startBus connects to the bus, or starts the embedded one under the data folder, and opens
// what every role needs of it.
func (n *Node) startBus(ctx context.Context) error {
	if n.roles == All {
		if err := os.MkdirAll(n.settings.Data, 0o755); err != nil {
			return fmt.Errorf("can't make the data folder: %w; choose one that can be written (key data)", err)
		}
	}
	if !cluster(n.settings) {
		return firstError(ctx, n.openBus, n.startPulse, n.openRecords, n.closeDeadFeeds, n.openRing)
	}
	return firstError(ctx, n.joinBus, n.startPulse,
		func(ctx context.Context) error { return n.await(ctx, "the bus to open its records", n.openRecords) },
		func(ctx context.Context) error { return n.await(ctx, "the bus to carry media", n.openStreams) })
}

// firstError takes steps until one fails.
func firstError(ctx context.Context, steps ...func(context.Context) error) error {
	for _, step := range steps {
		if err := step(ctx); err != nil {
			return err
		}
	}
	return nil
}

// openBus starts the bus inside this process.
func (n *Node) openBus(ctx context.Context) (err error) {
	if n.cfg.Control == nil {
		server, err := bus.StartNode(ctx, bus.NodeConfig{Dir: filepath.Join(n.settings.Data, "bus"), Logger: n.log})
		if err != nil {
			return err
		}
		n.onClose(func(context.Context) { server.Close() })
		n.control = server.Control()
		n.watchDisk(ctx, server.Broken)
	} else {
		n.control = n.cfg.Control
	}
	// The folder is this process's now, and so is the name in it: after a restart its leases
	// are its own.
	n.process, err = keptName(filepath.Join(n.settings.Data, processFile), newName)
	return err
}

// joinBus connects to the bus that the nodes of a deployment share.
func (n *Node) joinBus(ctx context.Context) (err error) {
	n.process, n.address = newName(), n.internalAddress()
	if n.cfg.Control != nil {
		n.control = n.cfg.Control
		return nil
	}
	if err := n.takeData(); err != nil {
		return err
	}
	c := busConfig(n.settings)
	c.Name, c.Logger = n.process, n.log
	err = n.await(ctx, "the bus at "+withoutPasswords(c.URL), func(ctx context.Context) (err error) {
		n.control, err = bus.Connect(ctx, c)
		return err
	})
	if err != nil {
		return err
	}
	n.onClose(func(context.Context) { n.control.Close() })
	return nil
}

// takeData takes the data folder for this process. A role that keeps nothing there does without,
// where there can be none.
func (n *Node) takeData() error {
	release, err := bus.TakeDir(n.settings.Data)
	switch {
	case errors.Is(err, bus.ErrInUse):
		return err
	case err != nil:
		n.log.Debug("there is no data folder", "error", err)
		return nil
	}
	n.onClose(func(context.Context) { release() })
	return nil
}

// busConfig is what the configuration says of the bus.
func busConfig(c *config.Config) bus.ConnectConfig {
	b := c.Bus
	return bus.ConnectConfig{
		URL: b.URL, Credentials: b.Credentials, User: b.User, Password: b.Password.Reveal(), TLS: busTLS(c), Replicas: b.Replicas,
	}
}

// busTLS are the files with which the bus is encrypted.
func busTLS(c *config.Config) bus.TLSFiles {
	return bus.TLSFiles{CA: c.Bus.TLS.CA, Cert: c.Bus.TLS.Cert, Key: c.Bus.TLS.Key}
}

// startPulse begins to watch over the bus.
func (n *Node) startPulse(ctx context.Context) error {
	ctx, stop := context.WithCancel(context.WithoutCancel(ctx))
	n.pulse = newPulse(ctx, func() error { return n.checkBus(ctx) }, func() bool { return !n.control.Connected() }, n.log, n.cfg.Registry)
	n.running.Go(func() { n.pulse.run(ctx) })
	n.onClose(func(context.Context) { stop() })
	return nil
}

// checkBus asks whether the bus answers. What it has lost of its records is made anew: every
// node would go on with the others' silence otherwise.
func (n *Node) checkBus(ctx context.Context) error {
	if err := n.control.Healthy(); err != nil {
		return err
	}
	made, err := n.control.Restore(ctx)
	if len(made) > 0 {
		n.log.Error("the bus came back without its data; what it held of live streams is told to it again, and owners begin anew", "made", made)
	}
	if err != nil || !cluster(n.settings) {
		return err
	}
	n.control.Complete(ctx)
	return n.checkWrites(ctx)
}

// ledEvery is how many pulses pass between questions for the leaders of what this node uses,
// while all have one.
const ledEvery = 3

// checkWrites asks whether records and media can be written. What cannot is asked for each time.
func (n *Node) checkWrites(ctx context.Context) error {
	if s := n.streams.Load(); s != nil {
		if err := s.Healthy(); err != nil {
			return err
		}
	}
	if n.unasked++; n.unasked < ledEvery {
		return nil
	}
	err := n.control.Led(ctx)
	if err == nil {
		n.unasked = 0
	}
	return err
}

// openRecords opens the buckets and logs that are shared.
func (n *Node) openRecords(ctx context.Context) (err error) {
	for _, b := range []struct {
		into   **bus.Bucket
		config bus.BucketConfig
	}{
		{&n.feeds, bus.BucketConfig{Name: live.FeedsBucket, TTL: n.feedTTL()}},
		{&n.claims, bus.BucketConfig{Name: live.ClaimsBucket, TTL: live.ClaimLife}},
		{&n.sections, bus.BucketConfig{Name: live.SectionsBucket, TTL: live.SectionsLife}},
		{&n.clocks, bus.BucketConfig{Name: live.ClocksBucket, TTL: n.feedTTL()}},
		{&n.broadcasts, bus.BucketConfig{Name: live.BroadcastsBucket}},
		{&n.epochs, bus.BucketConfig{Name: live.EpochsBucket, Lasting: true}},
		{&n.owners, bus.BucketConfig{Name: workers.OwnersBucket}},
		{&n.usages, bus.BucketConfig{Name: live.UsageBucket, TTL: live.UsageKeep}},
		{&n.pins, bus.BucketConfig{Name: live.PinsBucket}},
		{nil, bus.BucketConfig{Name: sweeper.LeasesBucket}}, // a node that ends at once must not be about to make it
		{nil, bus.BucketConfig{Name: statusBucket}},         // nor this
	} {
		bucket, err := n.control.Bucket(ctx, b.config)
		if err != nil {
			return err
		}
		if b.into != nil {
			*b.into = bucket
		}
	}
	n.timelines, err = buslog.Open(ctx, n.control)
	return err
}

// openRing makes the media plane of one process: parts live and die with it.
func (n *Node) openRing(context.Context) error {
	bytes, total := ringBounds(n.settings.Bus.Retention, telemetry.ContainerMemory())
	if total < int64(n.settings.Bus.Retention.Total) {
		n.log.Info("this container's memory is limited: media that wait to be stored are kept below, whatever bus.retention.total says", "MiB", total>>20)
	}
	n.media = bus.NewRing(bus.RingConfig{
		MaxAge: n.settings.Bus.Retention.Age, MaxBytes: bytes, MaxTotalBytes: total, Registerer: n.cfg.Registry,
	})
	n.onClose(func(context.Context) { n.media.Close() })
	return nil
}

// ringShare is how much of a container's memory media on the way may take while the store does not
// take them: a process that grew beyond the limit would be killed, and all streams with it.
const ringShare = 0.25

// ringBounds are the bytes that the media plane of one process keeps of a feed and in all.
func ringBounds(r config.Retention, container int64) (bytes, total int64) {
	total = int64(r.Total)
	if container > 0 {
		total = min(total, int64(ringShare*float64(container)))
	}
	return min(int64(r.Bytes), total), total
}

// openStreams makes the media plane of a deployment: parts outlive the process that sent them.
func (n *Node) openStreams(ctx context.Context) error {
	b := n.settings.Bus
	streams, err := bus.NewStreams(ctx, n.control, bus.StreamsConfig{
		Replicas: b.Replicas, Shards: b.Shards, MaxAge: b.Retention.Age, MaxBytes: int64(b.Retention.Bytes),
		MaxTotalBytes: int64(b.Retention.Total),
		Decode:        func(wire []byte) (bus.Body, error) { return live.UnmarshalPart(wire) },
		Registerer:    n.cfg.Registry, Logger: n.log,
	})
	if err != nil {
		return err
	}
	n.media = streams
	n.streams.Store(streams)
	n.onClose(func(context.Context) { streams.Close() })
	return nil
}

// feedTTL is how long a feed's record outlives its last beat: beyond the resume time, so
// that a late reconnect still finds its grant and clock.
func (n *Node) feedTTL() time.Duration {
	return (n.settings.Broadcast.Resume + 2*time.Minute).Truncate(time.Second)
}

// newName is a name that no other process has: this host's, and something drawn.
func newName() string { return hostname() + "-" + strings.ToLower(rand.Text()[:8]) }

// keptName is the name in a file, or a new one that is put there.
func keptName(path string, fresh func() string) (string, error) {
	b, err := os.ReadFile(path)
	if name := strings.TrimSpace(string(b)); err == nil && name != "" {
		return name, nil
	}
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return "", err
	}
	name := fresh()
	if err := replaceFile(path, []byte(name+"\n"), 0o644); err != nil {
		return "", fmt.Errorf("can't keep this process's name: %w; choose a data folder that can be written (key data)", err)
	}
	return name, nil
}

// hostname tells this host from the others of the deployment.
func hostname() string {
	host, err := os.Hostname()
	if err != nil {
		return "klive"
	}
	return host
}
