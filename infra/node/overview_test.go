package node

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"klive/infra/admin"
	"klive/infra/bus"
	"klive/infra/bus/bustest"
	"klive/infra/live"
	"klive/storage"
	"klive/storage/storagetest"
	"klive/storage/timeline"
	tt "klive/storage/timeline/timelinetest"
)

// A timeline that can't be read at this moment is not damaged.
func TestHealthOfUnreadable(t *testing.T) {
	for name, c := range map[string]struct {
		head string
		away bool
		want admin.Health
	}{
		"no head": {want: admin.HealthStarting},
		"cut":     {head: `{"v":`, want: admin.HealthDamaged},
		"newer":   {head: `{"v":99}`, want: admin.HealthDamaged},
		"away":    {away: true, want: admin.HealthUnknown},
	} {
		t.Run(name, func(t *testing.T) {
			store := storagetest.NewMemory()
			if c.head != "" {
				if _, err := store.Put(t.Context(), timeline.HeadKey(tt.Entry), [][]byte{[]byte(c.head)}, storage.PutOptions{}); err != nil {
					t.Fatal(err)
				}
			}
			if c.away {
				store.Before = func(context.Context, string, string) error { return errors.New("503") }
			}
			view := timeline.NewView(timeline.ViewConfig{Store: store, Log: tt.NewLog()})
			defer view.Close()
			h, why := overview{&Node{view: view}}.judge(t.Context(), &admin.LiveEntry{ID: tt.Entry}, time.Now())
			if h != c.want || why == "" {
				t.Errorf("%s (%s), want %s", h, why, c.want)
			}
		})
	}
}

// Any node tells why the store of an entry's owner is away.
func TestReasonOfTheOwner(t *testing.T) {
	bustest.Prepare(t)
	synctest.Test(t, func(t *testing.T) {
		control := bustest.Start(t)
		hear := func(name string, payload func() []byte) *bus.Beats {
			b, err := bus.StartBeats(t.Context(), control, bus.BeatsConfig{Name: name, Every: 100 * time.Millisecond, Payload: payload})
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(b.Close)
			return b
		}
		hear("worker-1-abcdefgh", func() []byte {
			wire, err := live.Beat{Name: "worker-1-abcdefgh", Spool: &live.SpoolBeat{Bytes: 9, Away: "the bucket: AccessDenied"}}.Marshal()
			if err != nil {
				t.Error(err)
			}
			return wire
		})
		beats := hear("origin-1-ijklmnop", func() []byte { return nil })
		time.Sleep(time.Second)
		o := overview{&Node{process: "origin-1-ijklmnop", beats: beats}}
		if got := o.reason("worker-1-abcdefgh"); got != ": the bucket: AccessDenied" {
			t.Errorf("the owner's reason is %q", got)
		}
		if got := o.reason("worker-2-qrstuvwx"); got != "" {
			t.Errorf("a node that is not heard: %q", got)
		}
	})
}

// A broadcast whose newest segments are gaps is not well; older ones, and gaps of a rung, are the past
// or are told elsewhere.
func TestGapsAreTold(t *testing.T) {
	sc := tt.NewScript()
	records := sc.Open(tt.Broadcast, 0)
	for i := range 6 {
		records = append(records, sc.Adopt(4*time.Second, false))
		if i == 1 {
			records = append(records, sc.Gap(tt.Video))
		} else {
			records = append(records, sc.Store())
		}
	}
	for _, c := range []struct {
		records []timeline.Record
		want    int
	}{{records, 0}, {append(records, sc.Adopt(4*time.Second, false), sc.Gap(tt.Video, tt.Audio)), 2}} {
		s, err := tt.Fold(c.records...)
		if err != nil {
			t.Fatal(err)
		}
		if got := missing(s.Current()); len(got) != c.want {
			t.Errorf("gaps in %v, want %d renditions", got, c.want)
		}
	}
}
