package node

import (
	"context"
	"log/slog"
	"slices"
	"strings"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"klive/infra/bus"
	"klive/infra/live"
)

const (
	// heardLately is how old a beat may be that a node's clock is held against.
	heardLately = 5 * time.Second
)

// startBeats tells the other nodes of this one, and hears them. A node with a bus of its own
// has no others.
func (n *Node) startBeats(ctx context.Context) (err error) {
	if !cluster(n.settings) {
		return nil
	}
	n.beats, err = bus.StartBeats(ctx, n.control, bus.BeatsConfig{
		Name: n.process, Every: n.settings.Worker.Beat, Quiet: !n.roles.Has(LiveWorker), Payload: n.beat, Logger: n.log,
	})
	if err != nil {
		return err
	}
	n.cfg.Registry.MustRegister(
		prometheus.NewGaugeFunc(prometheus.GaugeOpts{Name: "klive_node_peers", Help: "Nodes heard in the last five seconds, this one included."},
			func() float64 { return float64(len(lately(n.beats.Peers(), time.Now()))) }),
		prometheus.NewGaugeFunc(prometheus.GaugeOpts{Name: "klive_node_workers", Help: "Workers heard in the last five seconds that take live entries."},
			func() float64 { return float64(takers(lately(n.beats.Peers(), time.Now()))) }),
	)
	watch, stop := context.WithCancel(context.WithoutCancel(ctx))
	n.running.Go(func() { n.watchPeers(watch) })
	n.onClose(func(context.Context) { stop(); n.beats.Close() })
	return nil
}

// beat is what this process says of itself.
func (n *Node) beat() []byte {
	b := n.describe()
	wire, err := b.Marshal()
	if err != nil {
		n.log.Error("a beat can't be written", "error", err)
		return nil
	}
	return wire
}

// describe is this process as it is now.
func (n *Node) describe() live.Beat {
	why := n.Ready(context.Background())
	text := ""
	if why != nil {
		text = why.Error()
	}
	if n.server != nil { // its clock is nobody's concern
		return live.Beat{
			Name: n.process, Roles: []string{busRole}, Release: n.cfg.Version,
			Ready: why == nil, Why: text, Draining: n.Held().Draining,
		}
	}
	b := live.Beat{
		Name: n.process, Roles: n.doing().Names(), Release: n.cfg.Version, Internal: n.address, Time: time.Now(),
		Ready: why == nil, Why: text, Draining: n.Held().Draining, BusRTT: n.pulse.roundTrip(),
	}
	if n.roles.Has(LiveWorker) {
		b.Ready = n.able() == nil // a gateway in the same process that is full keeps no entry from it
	}
	if n.transcodes() {
		b.Transcode = &live.TranscodeBeat{Away: n.takesNoJobs()}
	}
	if !n.assembled.Load() {
		return b
	}
	if n.gateway != nil {
		b.Feeds = len(n.gateway.Sessions())
	}
	if n.workers != nil {
		share, draining := n.workers.Share()
		b.Worker, b.Draining = &share, b.Draining || draining
	}
	if n.spool != nil {
		s := n.spool.Stats()
		b.Spool = &live.SpoolBeat{Bytes: s.Bytes, Away: s.Reason}
		if s.Objects > 0 {
			b.Spool.Oldest = time.Now().Add(-s.Oldest)
		}
	}
	return b
}

// doing are the roles that this process fills: one that is told to transcode nothing is no transcode worker.
func (n *Node) doing() Roles {
	if !n.transcodes() {
		return n.roles &^ Transcode
	}
	return n.roles
}

// watchPeers holds this node against the others once a second.
func (n *Node) watchPeers(ctx context.Context) {
	tick := time.NewTicker(pulseEvery)
	defer tick.Stop()
	warned := false
	var idle noWorker
	var rival secondControl
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		peers := lately(n.beats.Peers(), time.Now())
		n.clock.compare(peers, n.process)
		if !warned {
			warned = n.warnOfFolder(peers)
		}
		if n.embedded() {
			rival.look(n.log, n.process, peers, time.Now())
		}
		if n.gateway != nil && n.assembled.Load() {
			idle.look(n.log, len(n.gateway.Sessions()), takers(peers), time.Now())
		}
	}
}

// takers counts the workers that take entries.
func takers(peers []peer) (count int) {
	for _, p := range peers {
		if p.Worker != nil && p.Ready && !p.Draining {
			count++
		}
	}
	return count
}

// noWorker tells operators of a gateway's feeds that nobody works on.
type noWorker struct {
	since time.Time // zero while there is a worker, or no feed
	told  time.Time
}

// noWorkerAgain is how often it is said once more.
const noWorkerAgain = time.Minute

// look is called once a second.
func (w *noWorker) look(log *slog.Logger, feeds, workers int, now time.Time) {
	if feeds == 0 || workers > 0 {
		if !w.told.IsZero() && workers > 0 {
			log.Info("a worker is there again", "workers", workers, "after", now.Sub(w.since).Round(time.Second))
		}
		*w = noWorker{}
		return
	}
	if w.since.IsZero() {
		w.since = now
	}
	if now.Sub(w.since) >= heardLately && (w.told.IsZero() || now.Sub(w.told) >= noWorkerAgain) {
		w.told = now
		log.Warn("streams arrive here and no worker takes them: viewers get nothing, and what the bus does not keep is lost; start a worker, or see why those that run are not ready (/v1/nodes)",
			"feeds", feeds, "since", now.Sub(w.since).Round(time.Second))
	}
}

// secondControl tells operators of a control plane beside this one.
type secondControl struct {
	since time.Time // zero while there is none
	told  time.Time
}

const (
	// secondControlAfter is how long another must be heard: the one before this, that has just
	// been ended, is heard for a while.
	secondControlAfter = 2 * heardLately
	secondControlAgain = time.Minute
)

// look is called once a second.
func (s *secondControl) look(log *slog.Logger, self string, peers []peer, now time.Time) {
	i := slices.IndexFunc(peers, func(p peer) bool {
		return p.Name != self && !p.Draining && slices.Contains(p.Roles, Control.String())
	})
	if i < 0 {
		*s = secondControl{}
		return
	}
	if s.since.IsZero() {
		s.since = now
	}
	if now.Sub(s.since) >= secondControlAfter && (s.told.IsZero() || now.Sub(s.told) >= secondControlAgain) {
		s.told = now
		log.Warn("another process on this bus runs the control role too; there may be one: what is changed at one is not seen at the other; stop one of them",
			"other", peers[i].Name)
	}
}

// warnOfFolder reports whether it had to say that nodes may not share a store.
func (n *Node) warnOfFolder(peers []peer) bool {
	url := n.settings.Storage.URL
	for _, p := range peers {
		switch {
		case p.Name == n.process, slices.Contains(p.Roles, busRole):
		case url == "":
			n.log.Error("storage.url is empty, so this node keeps media in a folder of its own that other nodes do not see: set it to the same bucket or folder on every node",
				"other", p.Name)
			return true
		case strings.HasPrefix(url, "file:") && p.host() != hostOf(n.process):
			n.log.Warn("storage.url is a folder while nodes run on several hosts: every one of them has to see the same folder there, or take a bucket",
				"storage.url", url, "other", p.Name)
			return true
		}
	}
	return false
}

// peer is a node with the last beat that came from it.
type peer struct {
	live.Beat
	heard time.Time
}

func (p *peer) host() string { return hostOf(p.Name) }

// hostOf is the host in a process's name.
func hostOf(process string) string {
	if i := strings.LastIndexByte(process, '-'); i >= 0 {
		return process[:i]
	}
	return process
}

// known reads what was heard. A beat of a newer release leaves its name alone.
func known(peers []bus.Peer) []peer {
	out := make([]peer, 0, len(peers))
	for _, p := range peers {
		b, err := live.UnmarshalBeat(p.Data)
		if err != nil {
			b = live.Beat{}
		}
		b.Name = p.Name
		out = append(out, peer{b, p.Heard})
	}
	return out
}

func lately(peers []bus.Peer, now time.Time) []peer {
	return slices.DeleteFunc(known(peers), func(p peer) bool { return now.Sub(p.heard) > heardLately })
}
