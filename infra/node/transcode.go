package node

import (
	"context"
	"path/filepath"
	"time"

	"klive/infra/bus"
	"klive/infra/live"
	"klive/workers/transcode"
)

// Transcoder works off transcode jobs until its context ends. Tests in virtual time have one
// that needs no ffmpeg.
type Transcoder func(ctx context.Context, jobs *bus.Queue, ends *bus.Log, media bus.Media) error

// noEncoder is the value of transcode.encoder by which a process transcodes nothing.
const noEncoder = "none"

// transcodes reports whether this process works off transcode jobs.
func (n *Node) transcodes() bool {
	return n.roles.Has(Transcode) && (n.settings.Transcode.Encoder != noEncoder || n.cfg.Transcoder != nil)
}

// openJobs opens the queue of transcode jobs and the log of their ends. A process that is alone
// and transcodes nothing has neither: its ladders are left out of the playlists.
func (n *Node) openJobs(ctx context.Context) error {
	if !n.roles.Has(LiveWorker|Transcode) || !cluster(n.settings) && !n.transcodes() {
		return nil
	}
	return n.await(ctx, "the bus to open the transcode jobs", func(ctx context.Context) (err error) {
		if n.jobs, err = n.control.Queue(ctx, bus.QueueConfig{Name: live.JobsQueue}); err != nil {
			return err
		}
		if n.ends, err = n.control.Log(ctx, bus.LogConfig{Name: live.RungsLog, MaxAge: live.RungsKeep, MaxBytes: 64 << 20, MaxPerSubject: 1}); err != nil {
			return err
		}
		n.dead, err = n.control.Log(ctx, bus.LogConfig{Name: live.DeadLog, MaxAge: live.DeadKeep, MaxBytes: 32 << 20, MaxPerSubject: 100})
		return err
	})
}

// startTranscode works off transcode jobs.
func (n *Node) startTranscode(ctx context.Context) error {
	if !n.transcodes() {
		return nil
	}
	_, end := n.part(ctx, "transcode", func(ctx context.Context) error {
		if n.cfg.Transcoder != nil {
			return n.cfg.Transcoder(ctx, n.jobs, n.ends, n.media)
		}
		return n.transcode(ctx)
	})
	n.onClose(func(context.Context) { end() })
	return nil
}

// encoderAgain is how long a process waits before it looks again for an encoder that works.
const encoderAgain = 30 * time.Second

// transcode waits until the encoder works, and runs a worker then.
func (n *Node) transcode(ctx context.Context) error {
	c := n.settings.Transcode
	var encoder transcode.Encoder
	for {
		var err error
		if encoder, err = transcode.Choose(ctx, c.FFmpeg, c.Encoder); err == nil {
			break
		}
		if ctx.Err() != nil {
			return ctx.Err()
		}
		n.log.Error("nothing can be transcoded here; rungs that need it show gaps unless other workers make them", "error", err)
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(encoderAgain):
		}
	}
	if !encoder.Tested {
		n.log.Warn("this encoder is not covered by klive's tests; watch klive_transcode_rungs_total", "encoder", encoder.Name)
	}
	w, err := transcode.New(transcode.Config{
		Name: n.process, Queue: n.jobs, Ends: n.ends, Dead: n.dead, Media: n.media, FFmpeg: c.FFmpeg, Encoder: encoder, Preset: c.Preset,
		Jobs: c.Jobs, Threads: c.Threads, Memory: int64(c.Memory), Stall: c.Stall, Tries: c.Tries,
		DeadDir: filepath.Join(n.settings.Data, "deadjobs"), Log: n.log, Registerer: n.cfg.Registry, Tracer: n.tracer,
	})
	if err != nil {
		return err
	}
	return w.Run(ctx)
}
