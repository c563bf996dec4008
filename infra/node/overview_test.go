package node

import (
	"context"
	"errors"
	"slices"
	"strings"
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

// Any node tells why another takes no work: whoever is called by an alert need not find its admin listener first.
func TestNodesSayWhyTheyAreNotReady(t *testing.T) {
	bustest.Prepare(t)
	synctest.Test(t, func(t *testing.T) {
		d := newDeployment(t)
		d.start("control", Control)
		gateway := d.start("gateway", Gateway)
		why := func() (ready bool, why string) {
			t.Helper()
			var answer struct {
				Nodes []admin.NodeState `json:"nodes"`
			}
			d.get("control", "/v1/nodes", &answer)
			for _, n := range answer.Nodes {
				if slices.Contains(n.Roles, "gateway") {
					return n.Ready, n.Why
				}
			}
			t.Fatalf("no gateway is heard: %+v", answer)
			return false, ""
		}
		time.Sleep(5 * time.Second)
		if ready, text := why(); !ready || text != "" {
			t.Errorf("at first: %v, %q", ready, text)
		}
		gateway.Drain()
		time.Sleep(5 * time.Second)
		if ready, text := why(); ready || !strings.Contains(text, "klive drain --cancel") {
			t.Errorf("draining: %v, %q", ready, text)
		}
		gateway.part(true)
		time.Sleep(heardLately + 2*time.Second)
		if ready, text := why(); ready || !strings.Contains(text, "it was heard last") {
			t.Errorf("parted: %v, %q", ready, text)
		}
	})
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
	some := append(slices.Clip(records), sc.Adopt(4*time.Second, false), sc.Gap(tt.Video, tt.Audio))
	nothing := sc.Adopt(4*time.Second, false)
	for i := range nothing.Item.Media {
		m := &nothing.Item.Media[i]
		m.Gap, m.Feed, m.FirstPart, m.LastPart = true, live.Feed{}, 0, 0
	}
	lost := append(slices.Clip(some), nothing)
	for _, c := range []struct {
		name    string
		records []timeline.Record
		gaps    int // of six segments
		in      int // renditions
		health  int
		nobodys int
	}{
		{"older ones", records, 0, 0, 90, 0},
		{"one that could not be stored", some, 2, 2, 60, 0},
		{"one that was lost on the way", lost, 4, 2, 30, 2},
	} {
		s, err := tt.Fold(c.records...)
		if err != nil {
			t.Fatalf("%s: %v", c.name, err)
		}
		got := newestGaps(s.Current(), nil)
		if got.gaps != c.gaps || got.segments != 6 || len(got.in) != c.in {
			t.Errorf("%s: %+v, want %d of 6 in %d renditions", c.name, got, c.gaps, c.in)
		}
		score := 90
		stream := admin.Stream{Health: &score}
		lower(&stream, got)
		if *stream.Health != c.health || score != 90 || (stream.Problem != "") != (c.gaps > 0) {
			t.Errorf("%s: the stream's health is %d (%q), want %d; what its gateway said is %d", c.name, *stream.Health, stream.Problem, c.health, score)
		}
		// Of another encoder's media nothing is said of this one's, but for what is nobody's.
		if other := newestGaps(s.Current(), &live.FeedID{Entry: tt.Entry, Index: live.Backup, Suffix: 1}); other.gaps != c.nobodys || other.segments != c.nobodys {
			t.Errorf("%s: the backup: %+v", c.name, other)
		}
	}
}
