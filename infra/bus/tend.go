package bus

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

const (
	// tendEvery is how often the node that leads the cluster looks after it.
	tendEvery = time.Second
	// mediaLost is how long a media stream is without a leader before it is taken for lost.
	// Elections last four to nine seconds, on machines that are loaded up to fifteen; what is
	// deleted then would be lost for nothing.
	mediaLost = 20 * time.Second
	// mediaAsked is how often it must have been asked in that time: a machine that stands still
	// makes neither leaders nor questions.
	mediaAsked = 10

	// leaderTry bounds one question to a stream's leader.
	leaderTry = time.Second
)

// tender does what no client of a cluster can do safely, because several would at once. It runs
// on each node and acts on the one that leads the cluster, which a minority never does.
type tender struct {
	server  *Server
	control *Control
	silent  map[string]*silence // streams in memory without a leader, by name
	gone    map[string]time.Time
}

// silence is a time without a leader.
type silence struct {
	since time.Time
	asked int
}

// startTending begins to look after the cluster.
func (s *Server) startTending() error {
	t := &tender{server: s, control: s.control, silent: map[string]*silence{}, gone: map[string]time.Time{}}
	_, err := s.control.run(t.run)
	return err
}

func (t *tender) run(ctx context.Context) {
	tick := time.NewTicker(tendEvery)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		t.server.watchMissing()
		if !t.server.server.JetStreamIsLeader() {
			clear(t.silent)
			clear(t.gone)
			continue
		}
		t.memory(ctx)
		t.peers(ctx)
	}
}

// memory deletes the streams that have lost their memory: media and queues. A replica that comes back empty may
// vote only where all of a stream's servers are heard: it can't know what it had agreed to. So
// after a stop of all servers, most of them alone elect no leader of a stream in memory. Nothing
// in it is worth waiting for: who publishes or follows makes it anew and goes on counting.
func (t *tender) memory(ctx context.Context) {
	names, err := t.control.memoryStreams(ctx)
	if err != nil {
		return // there is no leader of the cluster either
	}
	// One that others have deleted meanwhile begins anew when it is made again.
	maps.DeleteFunc(t.silent, func(name string, _ *silence) bool { return !slices.Contains(names, name) })
	led := t.control.led(ctx, names)
	now := time.Now()
	for _, name := range names {
		if led[name] {
			delete(t.silent, name)
			continue
		}
		q := t.silent[name]
		if q == nil {
			q = &silence{since: now}
			t.silent[name] = q
		}
		if q.asked++; q.asked < mediaAsked || now.Sub(q.since) < mediaLost {
			continue
		}
		delete(t.silent, name)
		if err := t.control.deleteStream(ctx, name); err != nil {
			t.server.log.Warn("bus: a stream in memory without a leader could not be deleted; it is tried again", "stream", name, "error", err)
			continue
		}
		t.server.log.Warn("bus: a stream in memory was without a leader for longer than any election lasts, because too many of its servers have lost their memory; it is deleted, and made anew without what it held",
			"stream", name, "after", now.Sub(q.since).Round(time.Second))
	}
}

// memoryStreams names the media streams and queues that the cluster's leader knows.
func (c *Control) memoryStreams(ctx context.Context) (names []string, err error) {
	ctx, cancel := context.WithTimeout(ctx, healthTimeout)
	defer cancel()
	list := c.js.StreamNames(ctx)
	for name := range list.Name() {
		if memorySubject(name) != "" {
			names = append(names, name)
		}
	}
	return names, list.Err()
}

// memorySubject is a subject of a media stream or queue; empty for other streams.
func memorySubject(stream string) string {
	if shard, ok := strings.CutPrefix(stream, mediaStream); ok {
		return mediaSubjects + shard + ".leader"
	}
	if name, ok := strings.CutPrefix(stream, queueStream); ok {
		return queueSubjects + name
	}
	return ""
}

// led asks media streams and queues, all at once, whether they have a leader.
func (c *Control) led(ctx context.Context, names []string) map[string]bool {
	led := make(map[string]bool, len(names))
	var mu sync.Mutex
	var asking sync.WaitGroup
	for _, name := range names {
		asking.Go(func() {
			err := c.askLeader(ctx, memorySubject(name))
			mu.Lock()
			defer mu.Unlock()
			led[name] = err == nil
		})
	}
	asking.Wait()
	return led
}

// askLeader says whether the stream that keeps a subject has a leader: it is sent a message that
// every leader refuses, and only leaders answer.
func (c *Control) askLeader(ctx context.Context, subject string) error {
	ctx, cancel := context.WithTimeout(ctx, leaderTry)
	defer cancel()
	m := nats.NewMsg(subject)
	m.Header.Set(nats.ExpectedStreamHdr, "none")
	_, err := c.nc.RequestMsgWithContext(ctx, m)
	return err
}

// deleteStream deletes a stream that has no leader. That it is gone is the answer: who would
// give another one is not there.
func (c *Control) deleteStream(ctx context.Context, name string) error {
	ctx, cancel := bounded(ctx)
	defer cancel()
	err := c.js.DeleteStream(ctx, name)
	if errors.Is(err, jetstream.ErrStreamNotFound) {
		return nil
	}
	return busError(fmt.Sprintf("delete %s", name), err)
}
