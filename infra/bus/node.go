package bus

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
)

const (
	defaultStoreLimit  = 4 << 30
	defaultMemoryLimit = 512 << 20

	nodeMaxPayload = 8 << 20
	nodeMaxPending = 64 << 20
	nodeSync       = 10 * time.Second
	nodeStart      = 30 * time.Second

	// localBeat is Control.beat towards a server in the same process.
	localBeat = 15 * time.Second
)

// NodeConfig is what [StartNode] needs. The zero value is a node that keeps
// everything in memory.
type NodeConfig struct {
	// Name names the node in logs; empty means "klive".
	Name string
	// Dir is the folder for what must survive a restart. It is made if need be and
	// belongs to one process at a time. Empty means that nothing is kept: buckets
	// and logs live in memory whatever they ask for.
	Dir string
	// StoreLimit and MemoryLimit bound what all buckets and logs may take on disk
	// and in memory, in bytes; 0 means 4 GiB and 512 MiB.
	StoreLimit, MemoryLimit int64
	// Logger takes the node's warnings and errors; nil drops them.
	Logger *slog.Logger
}

// Node is a NATS JetStream server inside this process. It listens on no port.
type Node struct {
	server  *server.Server
	memory  bool
	log     *slog.Logger
	control *Control
	said    *nodeLogger
	release func() // gives the folder back
	close   sync.Once
}

// StartNode starts a node that is ready when it returns. A folder that another
// process uses is refused with [ErrInUse].
func StartNode(ctx context.Context, c NodeConfig) (*Node, error) {
	c = c.withDefaults()
	n := &Node{memory: c.Dir == "", log: c.Logger, said: &nodeLogger{log: c.Logger}}
	dir, err := n.takeDir(c.Dir)
	if err != nil {
		return nil, err
	}
	options := nodeOptions(c.Name, c)
	options.StoreDir, options.DontListen = dir, true
	if n.server, err = launch(ctx, options, n.said); err != nil {
		n.Close()
		return nil, err
	}
	if n.control, err = n.Connect(ctx, c.Name); err != nil {
		n.Close()
		return nil, err
	}
	return n, nil
}

func (c NodeConfig) withDefaults() NodeConfig {
	if c.Name == "" {
		c.Name = "klive"
	}
	if c.StoreLimit <= 0 {
		c.StoreLimit = defaultStoreLimit
	}
	if c.MemoryLimit <= 0 {
		c.MemoryLimit = defaultMemoryLimit
	}
	if c.Dir == "" { // what asks for disk gets memory
		c.MemoryLimit += c.StoreLimit
	}
	if c.Logger == nil {
		c.Logger = slog.New(slog.DiscardHandler)
	}
	return c
}

// takeDir makes and locks the folder, or makes one for the node's lifetime.
func (n *Node) takeDir(dir string) (string, error) {
	if dir == "" {
		dir, err := os.MkdirTemp("", "klive-bus-")
		if err != nil {
			return "", fmt.Errorf("bus: cannot make a temporary folder: %w", err)
		}
		n.release = func() { _ = os.RemoveAll(dir) }
		return dir, nil
	}
	dir, release, err := takeDir(dir)
	n.release = release
	return dir, err
}

// takeDir makes and locks a data folder.
func takeDir(dir string) (path string, release func(), err error) {
	if path, err = filepath.Abs(dir); err != nil {
		return "", nil, fmt.Errorf("bus: data folder: %w", err)
	}
	if err := os.MkdirAll(path, 0o700); err != nil {
		return "", nil, fmt.Errorf("bus: cannot make the data folder: %w: choose a folder that can be written (key data)", err)
	}
	release, err = lockDir(path)
	return path, release, err
}

// TakeDir makes a data folder and takes it for this process, as a node does with its own. It
// returns [ErrInUse] when another process has it.
func TakeDir(dir string) (release func(), err error) {
	_, release, err = takeDir(dir)
	return release, err
}

// nodeOptions is what all nodes have in common.
func nodeOptions(name string, c NodeConfig) *server.Options {
	return &server.Options{
		ServerName:             name,
		JetStream:              true,
		StoreDir:               c.Dir,
		JetStreamMaxMemory:     c.MemoryLimit,
		JetStreamMaxStore:      c.StoreLimit,
		SyncInterval:           nodeSync,
		MaxPayload:             nodeMaxPayload,
		MaxPending:             nodeMaxPending,
		NoSigs:                 true,
		DisableJetStreamBanner: true,
	}
}

// launch starts a server that is up when it returns. When that fails, the server
// may be there all the same and must be shut down.
func launch(ctx context.Context, o *server.Options, logger *nodeLogger) (*server.Server, error) {
	s, err := server.NewServer(o)
	if err != nil {
		return nil, fmt.Errorf("bus: cannot set up the NATS node: %w", err)
	}
	s.SetLoggerV2(logger, false, false, false)
	s.Start()
	if fatal := logger.fatal.Load(); fatal != nil {
		return s, fmt.Errorf("bus: the NATS node did not start in %s: %s: check the folder's rights, free space and contents", o.StoreDir, *fatal)
	}
	wait := nodeStart
	if deadline, ok := ctx.Deadline(); ok {
		wait = min(wait, time.Until(deadline))
	}
	if !s.ReadyForConnections(wait) || !s.JetStreamEnabled() {
		return s, fmt.Errorf("%w: the NATS node in %s was not ready after %v: look for its errors in the log", ErrUnavailable, o.StoreDir, wait)
	}
	return s, ctx.Err()
}

// Control is this process's connection to the node. It ends with the node.
func (n *Node) Control() *Control { return n.control }

// Connect makes another connection to the node, as another process would have
// one. The caller closes it.
func (n *Node) Connect(ctx context.Context, name string) (*Control, error) {
	return connect(ctx, controlSetup{
		name: name, url: nats.DefaultURL, replicas: 1, memory: n.memory, log: n.log,
		beat:    localBeat,
		options: []nats.Option{nats.InProcessServer(n.server)},
		healthy: n.healthy,
	})
}

// Dial gives a connection to the node in place of a network's: with it as
// [ConnectConfig.Dial], [Connect] reaches the node as if it were far away.
func (n *Node) Dial(ctx context.Context, _, _ string) (net.Conn, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	conn, err := n.server.InProcessConn()
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrUnavailable, err)
	}
	return conn, nil
}

// healthy says whether the server still takes writes. It gives up by itself when
// its disk fails or is full.
func (n *Node) healthy() error {
	if err := n.Broken(); err != nil {
		return err
	}
	if !n.server.JetStreamEnabled() {
		return fmt.Errorf("%w: the embedded node stopped storing: free disk space or check the disk, then restart", ErrFull)
	}
	return nil
}

// Broken says that a write to the node's folder has failed, most often because its disk is full:
// NATS then stores nothing more in that stream, also when there is room again, until the node is
// started anew. Nil when none has.
func (n *Node) Broken() error { return n.said.broken() }

// Close stops the node and waits until everything is on disk.
func (n *Node) Close() {
	n.close.Do(func() {
		if n.control != nil {
			n.control.Close()
		}
		if n.server != nil {
			n.server.Shutdown()
			n.server.WaitForShutdown()
		}
		if n.release != nil {
			n.release()
		}
	})
}

// nodeLogger passes the server's lines on. Its notices are chatter to us.
type nodeLogger struct {
	log   *slog.Logger
	fatal atomic.Pointer[string]
	// crowded is when it was last told, in ns, that clients are refused for want of room.
	crowded atomic.Int64
	// stalled is when it was last told, in ns, that streams take no writes for want of nodes.
	stalled atomic.Int64
	// unwritten is the server's line about a write to its folder that failed.
	unwritten atomic.Pointer[string]
}

// criticalWrite is how the server says that a stream takes no more writes.
const criticalWrite = "critical write error"

// broken is why the node can't store any more; nil when it can.
func (l *nodeLogger) broken() error {
	if line := l.unwritten.Load(); line != nil {
		return fmt.Errorf("%w: the bus could not write to its folder: free space on its disk, then it begins anew by itself (%s)", ErrFull, *line)
	}
	return nil
}

var _ server.Logger = (*nodeLogger)(nil)

func (l *nodeLogger) Noticef(format string, v ...any) {
	l.log.Debug("nats: " + fmt.Sprintf(format, v...))
}
func (l *nodeLogger) Warnf(format string, v ...any) {
	l.tell(slog.LevelWarn, fmt.Sprintf(format, v...))
}
func (l *nodeLogger) Errorf(format string, v ...any) {
	l.tell(slog.LevelError, fmt.Sprintf(format, v...))
}
func (l *nodeLogger) Debugf(string, ...any) {}
func (l *nodeLogger) Tracef(string, ...any) {}

func (l *nodeLogger) Fatalf(format string, v ...any) {
	text := fmt.Sprintf(format, v...)
	l.fatal.Store(&text)
	l.log.Error("nats: " + text)
}

// crowdedEvery is how often it is told that clients are refused, or that streams take no writes.
const crowdedEvery = time.Minute

// again reports whether something may be told that was told last at an instant, which it then notes.
func (l *nodeLogger) again(last *atomic.Int64) bool {
	was, now := last.Load(), time.Now().UnixNano()
	return (was == 0 || now-was >= int64(crowdedEvery)) && last.CompareAndSwap(was, now)
}

// ofPeer is how the server begins a line about a connection: address, kind and number, and
// what the other side calls itself.
var ofPeer = regexp.MustCompile(`^(\S+:\d+) - [a-z_]+:\d+(?: - "[^"]*")* - `)

// ofRoute is a line about another node that does not answer, and why.
var ofRoute = regexp.MustCompile(`^Error trying to connect to route \(attempt \d+\): (.*)$`)

// tell passes a line on, the connection beside it, so that the same line about others is the
// same.
func (l *nodeLogger) tell(level slog.Level, text string) {
	var about []any
	if m := ofPeer.FindStringSubmatch(text); m != nil {
		text, about = text[len(m[0]):], []any{"peer", m[1]}
	}
	if level == slog.LevelError && strings.Contains(strings.ToLower(text), criticalWrite) {
		l.unwritten.CompareAndSwap(nil, &text)
	}
	switch lower := strings.ToLower(text); {
	case strings.Contains(lower, server.ErrTooManyConnections.Error()): // one for each that comes
		if !l.again(&l.crowded) {
			return
		}
		text = "clients are refused as they come: this node has as many connections as its file descriptors allow; let it have more (ulimit -n, LimitNOFILE), and look who connects"
	case strings.Contains(text, "has NO quorum"): // one for each stream and consumer, again and again
		if !l.again(&l.stalled) {
			return
		}
		about = append(about, "first", text)
		text = "nothing is written to streams of which most copies are on nodes that are away: start those"
	case strings.Contains(text, "resetting first sequence"): // once for each stream that has dropped old records while this node was away
		level = slog.LevelDebug
	case strings.Contains(text, "will rebuild"), strings.Contains(text, "Recovering stream state from index errored"), strings.Contains(text, "Stream state too short"), strings.Contains(text, "TTL state is outdated"): // after each end without a word, once for each stream: it is what disks are for
		level = slog.LevelDebug
	case strings.HasPrefix(lower, "plaintext passwords detected"): // bus.password stands in klive's configuration, or in a file of its own
		level = slog.LevelDebug
	case ofRoute.MatchString(text):
		m := ofRoute.FindStringSubmatch(text)
		level, text = slog.LevelWarn, "another bus node is not reached; it is tried again each second"
		about = append(about, "error", errors.New(m[1]))
	case strings.Contains(lower, "authentication error"), strings.Contains(lower, "authorization violation"), strings.Contains(lower, "authorization error"):
		about = append(about, "error", text)
		text = "a process with other bus.user and bus.password than this node's was refused, or refuses this node: give all bus nodes and all who connect the same"
	}
	l.log.Log(context.Background(), level, "nats: "+text, about...)
}
