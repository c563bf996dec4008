package node

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"path/filepath"
	"slices"
	"strings"
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

// transcode runs a worker whenever the encoder works.
func (n *Node) transcode(ctx context.Context) error {
	var w *transcode.Worker
	for {
		encoder, err := n.awaitEncoder(ctx)
		if err != nil {
			return err
		}
		if w == nil {
			if w, err = n.newTranscoder(encoder); err != nil {
				return err
			}
		}
		w.Encoder = encoder
		if err = w.Run(ctx); !errors.Is(err, transcode.ErrStart) {
			return err
		}
		if err = n.restFromJobs(ctx, err); err != nil {
			return err
		}
	}
}

// awaitEncoder looks for an encoder that works, until there is one. Meanwhile this process says why it takes no jobs.
func (n *Node) awaitEncoder(ctx context.Context) (transcode.Encoder, error) {
	c := n.settings.Transcode
	for {
		encoder, err := transcode.Choose(ctx, c.FFmpeg, c.Encoder)
		if err == nil {
			n.jobless.Store(nil)
			if !encoder.Tested {
				n.log.Warn("this encoder is not covered by klive's tests; watch klive_transcode_rungs_total", "encoder", encoder.Name)
			}
			return encoder, nil
		}
		if ctx.Err() != nil {
			return encoder, ctx.Err()
		}
		if err := n.restFromJobs(ctx, err); err != nil {
			return encoder, err
		}
	}
}

// restFromJobs takes no jobs for a while, and says why.
func (n *Node) restFromJobs(ctx context.Context, why error) error {
	text := why.Error()
	n.jobless.Store(&text)
	n.log.Error("nothing can be transcoded here; rungs that need it show gaps unless other workers make them", "error", why)
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-time.After(encoderAgain):
		return nil
	}
}

func (n *Node) newTranscoder(encoder transcode.Encoder) (*transcode.Worker, error) {
	c := n.settings.Transcode
	return transcode.New(transcode.Config{
		Name: n.process, Queue: n.jobs, Ends: n.ends, Dead: n.dead, Media: n.media, FFmpeg: c.FFmpeg, Encoder: encoder, Preset: c.Preset,
		Jobs: c.Jobs, Threads: c.Threads, Memory: int64(c.Memory), Stall: c.Stall, Tries: c.Tries,
		DeadDir: filepath.Join(n.settings.Data, "deadjobs"), Log: n.log, Registerer: n.cfg.Registry, Tracer: n.tracer,
	})
}

// takesNoJobs is why this process takes no transcode jobs although it should; empty while it does.
func (n *Node) takesNoJobs() string {
	if why := n.jobless.Load(); why != nil {
		return *why
	}
	return ""
}

// whyLate tells owners of transcode workers that take no jobs.
func (n *Node) whyLate() string {
	if n.beats == nil {
		return n.takesNoJobs()
	}
	return jobless(lately(n.beats.Peers(), time.Now()))
}

// maxNamed is how many workers are named of those that take no jobs for one reason.
const maxNamed = 3

// jobless says which of the transcode workers take no jobs and why; empty when all that there are do.
func jobless(peers []peer) string {
	able := 0
	names := map[string][]string{} // by reason
	for i := range peers {
		p := &peers[i]
		switch {
		case !slices.Contains(p.Roles, Transcode.String()):
		case p.Transcode == nil || p.Transcode.Away == "": // a release before this one does not say
			able++
		default:
			names[p.Transcode.Away] = append(names[p.Transcode.Away], p.Name)
		}
	}
	if able+len(names) == 0 {
		return "no transcode worker is heard; start one (klive worker --roles transcode)"
	}
	var all []string
	for _, why := range slices.Sorted(maps.Keys(names)) {
		list := names[why]
		slices.Sort(list)
		who := strings.Join(list[:min(len(list), maxNamed)], ", ")
		if more := len(list) - maxNamed; more > 0 {
			who = fmt.Sprintf("%s and %d more", who, more)
		}
		all = append(all, who+": "+why)
	}
	if able > 0 && len(all) > 0 {
		all = append(all, "others take jobs, see klive_transcode_backlog_seconds")
	}
	return strings.Join(all, "; ")
}
