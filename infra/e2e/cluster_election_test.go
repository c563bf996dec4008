package e2e

import (
	"context"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
)

// election watches who leads the stream that keeps a subject, as somebody who does nothing
// but ask: with messages that each leader refuses.
type election struct {
	cancel context.CancelFunc
	done   sync.WaitGroup

	mu    sync.Mutex    // guards the fields below
	since time.Time     // the last answer
	worst time.Duration // between two answers
	back  time.Time     // when the second of them came
}

// elections watches the subject's stream from now on.
func (c *cluster) elections(t testing.TB, subject string) *election {
	t.Helper()
	nc := c.bus(t, c.busURLs...)
	ctx, cancel := context.WithCancel(t.Context())
	e := &election{cancel: cancel, since: time.Now()}
	e.done.Go(func() {
		defer nc.Close()
		for ctx.Err() == nil {
			e.ask(ctx, nc, subject)
			time.Sleep(20 * time.Millisecond)
		}
	})
	t.Cleanup(func() { e.end() })
	return e
}

func (e *election) ask(ctx context.Context, nc *nats.Conn, subject string) {
	ctx, cancel := context.WithTimeout(ctx, 200*time.Millisecond)
	defer cancel()
	m := nats.NewMsg(subject)
	m.Header.Set(nats.ExpectedStreamHdr, "another")
	if _, err := nc.RequestMsgWithContext(ctx, m); err != nil {
		return
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	now := time.Now()
	if silence := now.Sub(e.since); silence > e.worst {
		e.worst, e.back = silence, now
	}
	e.since = now
}

// led says whether a leader has answered a moment ago.
func (e *election) led() bool {
	e.mu.Lock()
	defer e.mu.Unlock()
	return time.Since(e.since) < time.Second
}

// end returns the longest time without a leader, and when it was over.
func (e *election) end() (time.Duration, time.Time) {
	e.cancel()
	e.done.Wait()
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.worst, e.back
}

// outage is a time in which a stream on the bus had no leader.
type outage struct{ begin, end time.Time }

// elected watches all streams that the live edge needs while something is done to the bus,
// and returns when the first has lost its leader and the last has one again.
func (s *show) elected(what string, during func()) outage {
	s.t.Helper()
	var watched []*election
	for shard := range busShards {
		watched = append(watched, s.c.elections(s.t, fmt.Sprintf("klive.media.%d.election", shard)))
	}
	for _, subject := range []string{"$KV.owners." + s.entry.ID, "klive.log.timeline.tl." + s.entry.ID, "$JS.API.INFO"} {
		watched = append(watched, s.c.elections(s.t, subject))
	}
	o := outage{begin: time.Now()}
	during()
	var longest time.Duration
	for _, e := range watched {
		s.eventually(time.Minute, "all streams to have a leader again", func() error {
			if !e.led() {
				return nats.ErrNoResponders
			}
			return nil
		})
		without, back := e.end()
		longest = max(longest, without)
		if back.After(o.end) {
			o.end = back
		}
	}
	s.table.Add(what+": longest time without a leader", longest, "")
	return o
}

// ownPart measures by how much segments were listed later than the bus's own pause
// explains: after they ended and all streams had leaders.
func (s *show) ownPart(outages []outage) {
	s.t.Helper()
	// What retries may add to an election, and polling to what is measured; other clusters take time too.
	most := length(time.Second, 20*time.Second)
	for _, v := range s.viewers {
		for i, o := range outages {
			var worst time.Duration
			for _, it := range v.Items() {
				due := it.Time.Add(it.Duration)
				if due.Before(o.begin) || due.After(o.end.Add(time.Second)) {
					continue
				}
				if due.Before(o.end) {
					due = o.end
				}
				worst = max(worst, it.FirstListed.Sub(due))
			}
			s.table.Add(fmt.Sprintf("%s: kill %d: listed after its end and the election by", v.Name, i+1), worst, "≤ "+most.String())
			if worst > most {
				s.t.Errorf("%s: kill %d: a segment was listed %v after the bus could have carried it", v.Name, i+1, worst)
			}
		}
	}
}
