package bus

import (
	"cmp"
	"context"
	"crypto/rand"
	"encoding/json"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"time"
)

const (
	// beatSubject carries the beats of those who watch over each other, to each other;
	// hereSubject those of all, to all.
	beatSubject = "ctl.beat"
	hereSubject = "ctl.here"
	beatVersion = 1

	// hereEvery is how often everybody hears of everybody. With n processes it costs n²
	// messages, so it is seldom.
	hereEvery = 2 * time.Second

	// MaxBeatBytes bounds what a process may say in a beat.
	MaxBeatBytes = 16 << 10
	// maxPeers bounds how many processes are remembered.
	maxPeers = 4096
	// peerForgotten is how long a silent process is remembered.
	peerForgotten = time.Minute
	// sentBeats is how many of the own beats may be on their way at once.
	sentBeats = 32
)

// BeatsConfig is what [StartBeats] needs.
type BeatsConfig struct {
	// Name names this process. No two running processes share a name.
	Name string
	// Every is the time between beats. Default 500 ms.
	Every time.Duration
	// Quiet is for a process that nobody watches over, and that watches over nobody: it
	// sends and hears beats each two seconds only.
	Quiet bool
	// Payload makes what a beat says, at most MaxBeatBytes; nil says nothing. It must not block.
	Payload func() []byte
	// Logger takes what is wrong with beats; nil drops it.
	Logger *slog.Logger
}

// Peer is a process whose beats are heard.
type Peer struct {
	Name string
	// Heard is when its last beat came.
	Heard time.Time
	// Data is what that beat said. It must not be changed.
	Data []byte
}

// beatEnvelope is a beat on the wire. Readers ignore fields they do not know.
type beatEnvelope struct {
	Version int    `json:"v"`
	Name    string `json:"name"`
	// Run tells one process from another of the same name; N counts its beats.
	Run  string `json:"run"`
	N    uint64 `json:"n"`
	Data []byte `json:"data,omitempty"`
	// Bye says that the process ends in order.
	Bye bool `json:"bye,omitempty"`
}

// Beats sends the beats of this process and hears those of all, its own included: each
// two seconds, and among those that are not quiet each time that they beat. That
// its own come back tells it that it would hear the others'.
type Beats struct {
	control *Control
	cfg     BeatsConfig
	run     string
	subs    []*Subscription
	end     func()
	now     chan struct{}

	// mu guards the fields below.
	mu    sync.Mutex
	n     uint64
	sent  [sentBeats]time.Time // when beat n was sent, by n modulo the length
	peers map[string]Peer
	// confirmed is when the newest own beat was sent that has come back; since is the
	// beginning of the time in which all of them have, but for a lost one.
	confirmed, since time.Time
	said             map[string]bool // log lines that are said once
}

// StartBeats begins to send and to hear. The first beat goes out at once.
func StartBeats(ctx context.Context, c *Control, cfg BeatsConfig) (*Beats, error) {
	if cfg.Name == "" || len(cfg.Name) > maxKeyBytes {
		return nil, fmt.Errorf("%w: beats: a process's name has 1 to %d bytes", ErrInvalid, maxKeyBytes)
	}
	if cfg.Every <= 0 {
		cfg.Every = 500 * time.Millisecond
	}
	if cfg.Quiet {
		cfg.Every = hereEvery
	}
	if cfg.Logger == nil {
		cfg.Logger = slog.New(slog.DiscardHandler)
	}
	b := &Beats{control: c, cfg: cfg, run: rand.Text(), now: make(chan struct{}, 1), peers: map[string]Peer{}, said: map[string]bool{}}
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	for i, subject := range b.subjects() {
		sub, err := c.Subscribe(subject, func(m Notice) { b.hear(m, i == 0) })
		if err != nil {
			b.deafen()
			return nil, err
		}
		b.subs = append(b.subs, sub)
	}
	var err error
	if b.end, err = c.run(b.beat); err != nil {
		b.deafen()
		return nil, err
	}
	return b, nil
}

// subjects are where this process's beats go and the others' come from. The own ones come
// back on the first.
func (b *Beats) subjects() []string {
	if b.cfg.Quiet {
		return []string{hereSubject}
	}
	return []string{beatSubject, hereSubject}
}

func (b *Beats) deafen() {
	for _, s := range b.subs {
		s.Close()
	}
}

// Close says good-bye and ends both sending and hearing.
func (b *Beats) Close() {
	b.end()
	for _, subject := range b.subjects() {
		b.send(subject, beatEnvelope{Bye: true})
	}
	b.deafen()
}

// Send sends a beat now, because what it says has changed. It does not block.
func (b *Beats) Send() {
	select {
	case b.now <- struct{}{}:
	default:
	}
}

// Peers returns the processes heard in the last minute, this one included, by name.
func (b *Beats) Peers() []Peer {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.forget(time.Now())
	out := make([]Peer, 0, len(b.peers))
	for _, p := range b.peers {
		out = append(out, p)
	}
	slices.SortFunc(out, func(x, y Peer) int { return cmp.Compare(x.Name, y.Name) })
	return out
}

// Silence is how long the named process has been silent while this one could hear it: 0
// while the own beats do not come back, and counted anew from when they do.
func (b *Beats) Silence(name string) time.Duration {
	b.mu.Lock()
	defer b.mu.Unlock()
	now := time.Now()
	hearing := b.hearing(now)
	if p, ok := b.peers[name]; ok {
		return min(hearing, now.Sub(p.Heard))
	}
	return hearing
}

// Hearing is how long this process has heard the bus without a hole: 0 while its own beats
// do not come back, and counted anew from when they do.
func (b *Beats) Hearing() time.Duration {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.hearing(time.Now())
}

// hearing is Hearing's with b.mu held.
func (b *Beats) hearing(now time.Time) time.Duration {
	if b.confirmed.IsZero() || now.Sub(b.confirmed) > b.hole() {
		return 0
	}
	return now.Sub(b.since)
}

// hole is the silence of the own beats after which others may have been missed too.
func (b *Beats) hole() time.Duration { return b.cfg.Every * 5 / 2 }

// beat sends until the context ends.
func (b *Beats) beat(ctx context.Context) {
	ticker := time.NewTicker(b.cfg.Every)
	defer ticker.Stop()
	here := time.Now() // when the next beat goes to all
	for {
		var data []byte
		if b.cfg.Payload != nil {
			data = b.cfg.Payload()
		}
		if len(data) > MaxBeatBytes {
			b.once("large", "bus: what this process says of itself is too long for a beat and is left out", "bytes", len(data), "most", MaxBeatBytes)
			data = nil
		}
		if !b.cfg.Quiet {
			b.send(beatSubject, beatEnvelope{Data: data})
		}
		if now := time.Now(); !now.Before(here) {
			b.send(hereSubject, beatEnvelope{Data: data})
			here = now.Add(hereEvery - b.cfg.Every/2) // between two ticks
		}
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
		case <-b.now:
			here = time.Time{}
		}
	}
}

// send sends one beat. One that the bus does not take is not sent later.
func (b *Beats) send(subject string, e beatEnvelope) {
	b.mu.Lock()
	b.n++
	e.Version, e.Name, e.Run, e.N = beatVersion, b.cfg.Name, b.run, b.n
	b.sent[b.n%sentBeats] = time.Now()
	b.mu.Unlock()
	wire, err := json.Marshal(e)
	if err == nil {
		err = b.control.Notify(subject, wire)
	}
	if err != nil {
		b.cfg.Logger.Debug("bus: a beat was not sent", "error", err)
	}
}

// hear takes one beat, of this process or another. An own one counts on the subject that
// carries them all.
func (b *Beats) hear(m Notice, counts bool) {
	var e beatEnvelope
	if err := json.Unmarshal(m.Data, &e); err != nil || e.Version < beatVersion || e.Name == "" || len(e.Name) > maxKeyBytes || len(e.Data) > MaxBeatBytes {
		b.once("unreadable", "bus: ignored a beat that can't be read", "error", err)
		return
	}
	if e.Version > beatVersion {
		b.once("version "+e.Name, "bus: ignored the beats of a newer release", "from", e.Name, "version", e.Version)
		return
	}
	if e.Name == b.cfg.Name && e.Run != b.run {
		b.once("double", "bus: another running process has this one's name; give each a name of its own, or they take each other's leases", "name", e.Name)
		return
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	now := time.Now()
	if e.Bye {
		delete(b.peers, e.Name)
		return
	}
	if e.Name == b.cfg.Name && counts {
		b.confirm(e.N, now)
	}
	if _, known := b.peers[e.Name]; !known && len(b.peers) >= maxPeers {
		if b.forget(now); len(b.peers) >= maxPeers {
			return
		}
	}
	b.peers[e.Name] = Peer{Name: e.Name, Heard: now, Data: e.Data}
}

// confirm notes that an own beat has come back, with b.mu held. What was sent before a
// pause of this process says nothing of the time after it, so the moment of sending counts.
// One that comes back late was late for others too.
func (b *Beats) confirm(n uint64, now time.Time) {
	if n > b.n || b.n-n >= sentBeats {
		return
	}
	sent := b.sent[n%sentBeats]
	if b.confirmed.IsZero() || sent.Sub(b.confirmed) > b.hole() || now.Sub(sent) > b.hole() {
		b.since = now
	}
	if sent.After(b.confirmed) {
		b.confirmed = sent
	}
}

// forget drops who was silent for a minute, with b.mu held.
func (b *Beats) forget(now time.Time) {
	for name, p := range b.peers {
		if now.Sub(p.Heard) > peerForgotten {
			delete(b.peers, name)
		}
	}
}

// once logs a line the first time for each key.
func (b *Beats) once(key, text string, args ...any) {
	b.mu.Lock()
	seen := b.said[key]
	if len(b.said) < maxPeers {
		b.said[key] = true
	}
	b.mu.Unlock()
	if !seen {
		b.cfg.Logger.Warn(text, args...)
	}
}
