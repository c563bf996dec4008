package node

import (
	"context"
	"time"

	"klive/infra/live"
	"klive/workers"
	"klive/workers/packager"
	"klive/workers/registrar"
	"klive/workers/sweeper"
)

// startWorkers runs the owners of live entries.
func (n *Node) startWorkers(ctx context.Context) error {
	if !n.roles.Has(LiveWorker) {
		return nil
	}
	c := n.settings
	config := workers.Config{
		Name: n.process, Control: n.control, Beats: n.beats, Answering: n.pulse.answering, Feeds: n.feeds, Broadcasts: n.broadcasts,
		Media: n.media, Store: n.store, Timeline: n.timelines,
		API:      registrarAPI{n.client},
		Chapters: n.view.Items,
		Jobs:     jobsOf(n), Ends: endsOf(n),
		Keep: n.keepForRecording(),
		Used: func(partner int, rung time.Duration, bytes int64) {
			n.usage.add(partner, live.UsageRecord{RungSeconds: rung.Seconds(), BytesStored: bytes})
		},
		Packager: packager.Options{
			FailoverAfter: c.Failover.After,
			ReturnAfter:   c.Failover.Health,
			ReturnByHand:  c.Failover.Return == "manual",
			MinHealth:     c.Failover.MinHealth,
			Resume:        c.Broadcast.Resume,
			LiveWindow:    c.HLS.Window,
			LiveGrace:     c.DVR.Grace,
			Upscale:       c.Transcode.Upscale,
			WhyLate:       n.whyLate,
			KeepUnused:    c.Recording.Enabled && c.Recording.Backup,
		},
		Registrar: registrar.Options{
			Hostname: n.deployment(), Application: c.Kaltura.Application, StartDelay: c.Kaltura.StartDelay,
			KeepAlive: c.Kaltura.KeepAlive, PlayableSegments: c.Kaltura.PlayableSegments,
			OmitStatus: !c.Kaltura.LiveEntryStatus, UnregisterGrace: c.Kaltura.UnregisterGrace,
			CallTimeout: c.Kaltura.Timeout, Jitter: c.Kaltura.KeepAliveJitter, UnregisterGiveUp: c.Kaltura.UnregisterGiveUp,
		},
		MaxDVR:     c.DVR.MaxWindow,
		StealAfter: c.Worker.StealAfter, MoveEvery: c.Worker.MoveEvery, ShutdownTimeout: c.Worker.Drain,
		Log: n.log, Registerer: n.cfg.Registry,
	}
	if err := n.await(ctx, "the bus to open the owners' records", func(ctx context.Context) (err error) {
		n.workers, err = workers.New(ctx, config)
		return err
	}); err != nil {
		return err
	}
	retire, end := n.part(ctx, "workers", n.workers.Run)
	n.retire = retire
	n.onClose(func(ctx context.Context) {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), c.Worker.Drain)
		defer cancel()
		end()
		n.spool.Drain(ctx)
	})
	return n.startSweeper(ctx)
}

// startSweeper lets this worker stand by to remove what no timeline names.
func (n *Node) startSweeper(ctx context.Context) error {
	c := n.settings
	s, err := sweeper.New(sweeper.Config{
		Name: n.process, Control: n.control, Owners: n.owners, Store: n.store, Log: n.timelines,
		Every: c.Sweeper.Every, After: c.Sweeper.After, Keep: c.DVR.Keep, Window: c.HLS.Window, Floor: n.recordingFloor(), Logger: n.log, Registerer: n.cfg.Registry,
	})
	if err != nil {
		return err
	}
	_, end := n.part(ctx, "sweeper", s.Run)
	n.onClose(func(context.Context) { end() })
	return nil
}

// jobsOf and endsOf are the ways to transcode workers, as interfaces that are nil where there
// are none.
func jobsOf(n *Node) packager.Jobs {
	if n.jobs == nil {
		return nil
	}
	return n.jobs
}

func endsOf(n *Node) packager.Ends {
	if n.ends == nil {
		return nil
	}
	return n.ends
}
