package packager

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	"klive/infra/bus"
	"klive/infra/live"
	"klive/workers/transcode/transcodetest"
)

// refusingQueue takes no task.
type refusingQueue struct{ err error }

func (q refusingQueue) Put(context.Context, string, []byte) error { return q.err }

// TestJobsThatNoQueueTakes holds that a rung's gap names the queue, and comes at once when trying again
// can't help.
func TestJobsThatNoQueueTakes(t *testing.T) {
	for _, cause := range []error{bus.ErrTooLarge, bus.ErrUnavailable} {
		ladderRig(t, func(t *testing.T, g *rig, _ *transcodetest.Worker) {
			g.jobs = refusingQueue{fmt.Errorf("put: %w", cause)}
			result, _ := g.start()
			go g.on(publish{feed: feedOf(live.Primary, 1, 1), ladder: coded(), duration: 20 * time.Second, rate: 30, video: hd(t), audio: aac(t)})
			if err := <-result; err != nil {
				t.Fatal(err)
			}
			for _, it := range g.items(g.state().Current()) {
				if m := it.Of(entry + "_33"); m == nil || !m.Gap || m.Encode == nil || !strings.Contains(m.Encode.Failure, "could not be put into the queue") {
					t.Errorf("%v: item %d says %+v", cause, it.Seq, m)
				}
			}
		})
	}
}
