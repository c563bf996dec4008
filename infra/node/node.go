// Package node puts the rooms together into one running process: the bus, Kaltura's API
// (or the embedded control plane), the gateway with its protocols, the workers, the origin
// and the admin listener. Everything that touches the outside (listeners, the way to the
// API, the bus) can be given in, so that the same assembly runs on sockets and, in tests,
// on pipes in virtual time.
package node

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"go.opentelemetry.io/otel/trace"

	"klive/gateway"
	"klive/gateway/push"
	"klive/gateway/rtmp"
	"klive/gateway/srt"
	"klive/gateway/whip"
	"klive/infra/bus"
	"klive/infra/config"
	"klive/infra/kaltura"
	"klive/infra/kaltura/controlplane"
	"klive/infra/telemetry"
	"klive/storage"
	"klive/storage/origin"
	"klive/storage/spool"
	"klive/storage/timeline"
	"klive/workers"
	"klive/workers/recorder"
)

// Config is what a node needs beyond its settings. Settings, Log and Registry are required.
type Config struct {
	Settings *config.Config
	// Roles are what the process runs; none means all.
	Roles    Roles
	Version  string
	Log      *slog.Logger
	Registry *prometheus.Registry
	// Listen opens listeners; nil means TCP. Listeners that are given in are streams: SRT
	// and WHIP, which need datagrams, are off with them.
	Listen ListenFunc
	// Transport carries the calls to Kaltura's API; nil means TCP.
	Transport http.RoundTripper
	// DialInternal reaches other nodes' internal listeners; nil means TCP.
	DialInternal func(ctx context.Context, network, address string) (net.Conn, error)
	// Control is the bus's control plane; nil means the one that Settings name. The node does
	// not close one that was given.
	Control *bus.Control
	// Load measures what this process uses of its host; nil means that it does so itself.
	Load func() telemetry.Load
	// Transcoder works off transcode jobs; nil means workers/transcode with ffmpeg.
	Transcoder Transcoder
	// Observe is called with each request of Kaltura's embedded API; may be nil.
	Observe func(http.Handler) http.Handler
}

// Node is one running klive.
type Node struct {
	cfg      Config
	settings *config.Config
	roles    Roles
	log      *slog.Logger
	process  string // this process's name; no other that runs has it
	address  string // where other nodes reach it; empty when they can't

	listeners   listeners
	servers     []*http.Server
	certificate *gateway.CertFile // nil without encrypted listeners
	rtmp        *rtmp.Server      // nil without listeners for it
	stopRTMP    func()
	srt         *srt.Server // nil when it is off
	stopSRT     func()
	webrtc      webrtcSockets
	datagrams   bool // listeners are the system's own, so there are UDP ones too

	control    *bus.Control
	server     *bus.Server // of a node of the bus; it has nothing of what follows
	pulse      *pulse
	unasked    int                         // pulses since the last question for leaders; the pulse's own
	streams    atomic.Pointer[bus.Streams] // media, for the pulse; nil on a bus of its own
	feeds      *bus.Bucket
	broadcasts *bus.Bucket
	clocks     *bus.Bucket
	claims     *bus.Bucket
	sections   *bus.Bucket
	epochs     *bus.Bucket
	owners     *bus.Bucket
	usages     *bus.Bucket // of what partners have used
	usage      *usage      // what they use here; nil without gateway and live worker
	pins       *bus.Bucket // of operators' choices between encoders
	media      mediaPlane
	beats      *bus.Beats // nil on a bus of its own
	clock      clock
	store      storage.Store
	spool      *spool.Spool // in front of a worker's store; nil without the role
	timelines  timeline.Log
	jobs       *bus.Queue             // transcode jobs, the log of their ends and that of dead ones; nil where
	ends, dead *bus.Log               // nothing is transcoded
	jobless    atomic.Pointer[string] // why this process takes no transcode jobs; nil while it does
	view       *timeline.View
	origin     *origin.Origin                // nil without the role
	viewer     atomic.Pointer[config.Viewer] // who may watch, by the newest configuration
	secret     string                        // of the embedded control plane
	plane      *controlplane.Server
	planeNow   atomic.Pointer[controlplane.Server] // plane, for who asks while the node starts
	client     *kaltura.Client
	tracer     trace.Tracer    // nil without traces
	owner      *kaltura.Client // of the demo partner's entries; nil without the embedded control plane
	gateway    *gateway.Gateway
	disk       atomic.Pointer[fullDisk] // nil without a bus in this process
	load       atomic.Pointer[load]     // nil where no streams are taken
	forwarder  *gateway.Forwarder
	push       *push.Handler // nil when it is off
	whip       *whip.Server  // nil when it is off
	workers    *workers.Pool
	recordings recordingStore // where recorded files rest
	recorders  *recorder.Pool
	orders     *bus.Bucket // for recorders; nil where no operator asks

	waiting   atomic.Pointer[string] // what a starting node waits for
	assembled atomic.Bool            // the fields above are what they will be
	drain     drain
	retire    func()      // has the live worker hand its entries over; nil without the role
	closing   atomic.Bool // parts may end
	running   sync.WaitGroup
	// failed gets the first error of a part that should run as long as the node.
	failed chan error
	// closers undo the start, last first.
	closers []func(context.Context)
}

// mediaPlane is the engine that carries parts.
type mediaPlane interface {
	bus.Media
	Close()
}

// closeTimeout bounds how long one part may take to end; workers have a time of their own.
const closeTimeout = 15 * time.Second

// errStarting is returned to those who ask before a node's parts are there.
var errStarting = errors.New("starting; try again in a moment")

// Start runs a node. It is ready when Start returns; an error leaves nothing behind. A node
// on a bus that others share waits for it, and for its store, as long as ctx lasts. Its
// listeners answer meanwhile.
func Start(ctx context.Context, c Config) (*Node, error) {
	if c.Settings == nil || c.Log == nil || c.Registry == nil {
		return nil, errors.New("node: Settings, Log and Registry are required")
	}
	datagrams := c.Listen == nil
	if c.Listen == nil {
		c.Listen = ListenTCP
	}
	if c.Roles == 0 {
		c.Roles = All
	}
	if err := checkSettings(c.Roles, c.Settings); err != nil {
		return nil, err
	}
	n := &Node{cfg: c, datagrams: datagrams, settings: c.Settings, roles: c.Roles, log: c.Log, failed: make(chan error, 1)}
	n.viewer.Store(&c.Settings.Viewer)
	n.showReadiness()
	n.showDrain()
	for _, start := range []func(context.Context) error{
		n.openListeners, n.openWebRTC, n.startHTTP, n.startRTMP, n.startSRT, n.tellOfDatagrams, // they say "not yet" until all is there
		n.startBus, n.openStorage, n.openRecordings, n.startControlPlane, n.startTraces, n.startClient,
		n.closeHTTPHere, // after its users: the embedded API answers on it until they are gone
		n.startClock, n.startBeats, n.startUsage, n.openJobs, n.startTranscode, n.startWorkers, n.startRecorders, n.startGateway, n.startLoad, n.startInternal, n.closeProtocolsHere, n.checkKaltura, n.startStatus,
	} {
		if err := start(ctx); err != nil {
			n.Close(context.WithoutCancel(ctx))
			return nil, err
		}
	}
	n.assembled.Store(true)
	n.drain.act.Lock()
	n.letGo() // if it drains since before there was anything to let go of
	n.drain.act.Unlock()
	n.tell()
	return n, nil
}

// Reload takes over what may change while the node runs: who may watch. The settings have been
// checked.
func (n *Node) Reload(c *config.Config) {
	n.viewer.Store(&c.Viewer)
	if n.origin != nil {
		n.origin.SetAccess(access(&c.Viewer))
	}
}

// showReadiness makes readiness a metric.
func (n *Node) showReadiness() {
	n.cfg.Registry.MustRegister(prometheus.NewGaugeFunc(
		prometheus.GaugeOpts{Name: "klive_node_ready", Help: "1 while this process takes work."},
		func() float64 {
			if n.Ready(context.Background()) != nil {
				return 0
			}
			return 1
		}))
}

// tell lets the other nodes know at once that this one takes work, or no more of it.
func (n *Node) tell() {
	if n.beats != nil {
		n.beats.Send()
	}
}

// Failed delivers the error of a part that ended although the node goes on.
func (n *Node) Failed() <-chan error { return n.failed }

// Ready returns nil while the node takes work, and says otherwise why not. A gateway that is well
// but has no room for another stream says so behind [Full].
func (n *Node) Ready(context.Context) error {
	if err := n.able(); err != nil {
		return err
	}
	return n.full()
}

// full says, behind [Full], why a gateway that is well has no room for another stream; nil while it has.
func (n *Node) full() error {
	if err := n.load.Load().full(); err != nil {
		return errors.New(Full + err.Error())
	}
	return nil
}

// able returns nil while nothing is wrong with the node, however much it has to do.
func (n *Node) able() error {
	if err := n.drain.why(); err != nil {
		return err
	}
	switch {
	case n.assembled.Load() && n.server != nil:
		if err := n.server.Healthy(); err != nil {
			return err
		}
		return n.disk.Load().full()
	case n.assembled.Load():
		if err := n.disk.Load().full(); err != nil {
			return err
		}
		if err := n.pulse.failing(); err != nil {
			return err
		}
		return n.clock.wrong()
	}
	if reason := n.waiting.Load(); reason != nil {
		return errors.New(*reason)
	}
	return errStarting
}

// Close ends the node in the order that loses nothing: encoders first, then what is on
// the bus is stored and unregistered, then what serves players. Encoders have gateway.drain
// to go by themselves, workers worker.drain to hand over; each other part has until ctx ends,
// at most 15 s.
func (n *Node) Close(ctx context.Context) {
	n.beginDrain(finalEnd)
	wait, cancel := context.WithDeadline(ctx, n.drainUntil())
	n.vacated(wait)
	cancel()
	n.closing.Store(true)
	for _, undo := range slices.Backward(n.closers) {
		step, cancel := context.WithTimeout(ctx, closeTimeout)
		undo(step)
		cancel()
	}
	n.closers = nil
	n.running.Wait()
}

// onClose adds a step that Close takes before those added so far.
func (n *Node) onClose(f func(context.Context)) { n.closers = append(n.closers, f) }

// part runs f in a context of its own, as run does, until stop is called, which does not wait, or end, which does.
func (n *Node) part(ctx context.Context, name string, f func(context.Context) error) (stop, end func()) {
	own, stop := context.WithCancel(context.WithoutCancel(ctx))
	ended := make(chan struct{})
	n.run(name, func() error {
		defer close(ended)
		if err := f(own); !errors.Is(err, context.Canceled) {
			return err
		}
		return nil
	})
	return stop, func() { stop(); <-ended }
}

// beside runs what can't fail from now on until the node closes what was started later.
func (n *Node) beside(ctx context.Context, name string, f func(context.Context)) {
	_, end := n.part(ctx, name, func(ctx context.Context) error { f(ctx); return nil })
	n.onClose(func(context.Context) { end() })
}

// run starts a part that should live as long as the node.
func (n *Node) run(name string, f func() error) {
	n.running.Go(func() {
		err := f()
		if err == nil || n.closing.Load() {
			return
		}
		select {
		case n.failed <- fmt.Errorf("%s: %w", name, err):
		default:
		}
	})
}
