package node

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"klive/infra/admin"
	"klive/infra/bus"
	"klive/infra/live"
	"klive/infra/telemetry"
	"klive/storage/timeline"
	"klive/workers"
)

// behindAfter is how far an entry's newest item may be from now, in its target durations,
// before an operator sees it as behind.
const behindAfter = 3

// overview tells operators who does what: of all nodes, on any of them.
type overview struct{ n *Node }

// Nodes implements [admin.Cluster].
func (o overview) Nodes(context.Context) ([]admin.NodeState, error) {
	if !o.n.assembled.Load() {
		return nil, errStarting
	}
	now := time.Now()
	self := o.n.describe()
	out := []admin.NodeState{nodeState(&self, now)}
	out[0].Self = true
	if o.n.beats == nil {
		return out, nil
	}
	for _, p := range known(o.n.beats.Peers()) {
		if p.Name == o.n.process {
			continue
		}
		s := nodeState(&p.Beat, p.heard)
		if now.Sub(p.heard) > heardLately {
			s.Ready = false // whatever it said
			s.Why = "it was heard last " + now.Sub(p.heard).Round(time.Second).String() + " ago: it has ended, or is parted from the bus"
		}
		out = append(out, s)
	}
	slices.SortFunc(out, func(a, b admin.NodeState) int { return cmp.Compare(a.Name, b.Name) })
	return out, nil
}

func nodeState(b *live.Beat, heard time.Time) admin.NodeState {
	s := admin.NodeState{
		Name: b.Name, Roles: b.Roles, Version: b.Release, Address: b.Internal, Ready: b.Ready, Why: b.Why, Draining: b.Draining,
		Feeds: b.Feeds, BusRTT: b.BusRTT.Seconds(), Heard: heard,
	}
	if b.Worker != nil {
		s.Owned, s.Load = b.Worker.Owned, b.Worker.Load
	}
	if b.Spool != nil {
		s.SpoolBytes, s.SpoolOldest, s.StoreAway = b.Spool.Bytes, b.Spool.Oldest, b.Spool.Away
	}
	if b.Transcode != nil {
		s.TranscodeAway = b.Transcode.Away
	}
	return s
}

// Live implements [admin.Cluster]: the entries that somebody owns or publishes.
func (o overview) Live(ctx context.Context) ([]admin.LiveEntry, error) {
	if !o.n.assembled.Load() {
		return nil, errStarting
	}
	leases, err := o.n.owners.List(ctx, "")
	if err != nil {
		return nil, err
	}
	feeds, err := o.n.feeds.List(ctx, "")
	if err != nil {
		return nil, err
	}
	now := time.Now()
	entries := map[string]*admin.LiveEntry{}
	at := func(id string) *admin.LiveEntry {
		if entries[id] == nil {
			entries[id] = &admin.LiveEntry{ID: id}
		}
		return entries[id]
	}
	for _, kv := range leases {
		if holder, err := bus.LeaseHolder(kv); err == nil {
			at(kv.Key).Owner = holder
		}
	}
	for _, kv := range feeds {
		if r, err := live.UnmarshalFeedRecord(kv.Value); err == nil && r.Alive(now) {
			e := at(r.Feed.Entry)
			e.Feeds = append(e.Feeds, r.Feed.FeedID.String())
		}
	}
	mine := o.owned()
	out := make([]admin.LiveEntry, 0, len(entries))
	for _, e := range entries {
		e.Health, e.Text = o.judge(ctx, e, now)
		if s, ok := mine[e.ID]; ok {
			e.Since, e.MovingTo = s.Since, s.MovingTo
			if s.Error != nil {
				e.Text = strings.TrimPrefix(e.Text+"; "+s.Error.Error(), "; ")
			}
		}
		out = append(out, *e)
	}
	slices.SortFunc(out, func(a, b admin.LiveEntry) int { return cmp.Compare(a.ID, b.ID) })
	return out, nil
}

// owned are the entries that this process owns.
func (o overview) owned() map[string]workers.Tenure {
	if o.n.workers == nil {
		return nil
	}
	return o.n.workers.Owned()
}

// judge fills in what the entry's timeline says, and says how the entry is.
func (o overview) judge(ctx context.Context, e *admin.LiveEntry, now time.Time) (h admin.Health, why string) {
	state, err := o.n.view.State(ctx, e.ID)
	if errors.Is(err, timeline.ErrNoTimeline) {
		return admin.HealthStarting, "its owner has written nothing of it yet"
	}
	if errors.Is(err, timeline.ErrDamaged) || errors.Is(err, timeline.ErrVersion) {
		return admin.HealthDamaged, err.Error()
	}
	if err != nil {
		return admin.HealthUnknown, err.Error() // bus or store are away, or too much is asked of this node
	}
	e.Epoch = state.Epoch
	b := state.Current()
	if b == nil || b.Ended {
		return admin.HealthStarting, "its owner has written nothing of its next broadcast yet"
	}
	e.Broadcast, e.Started = b.ID, b.Start.Std()
	end, settled := b.Start, b.Start
	for i := range b.Items {
		it := &b.Items[i]
		end = max(end, it.End())
		if it.Settled() {
			settled = max(settled, it.End())
		} else {
			e.Pending++
		}
		if len(it.Media) > 0 {
			e.LastSegment, e.LastSeq = it.Media[0].Name, it.Seq
		}
	}
	e.Lag = max(0, now.Sub(end.Std()).Seconds())
	switch {
	case e.Owner == "":
		return admin.HealthOrphan, "no worker owns it; is one running and ready?"
	case len(e.Feeds) == 0:
		return admin.HealthWaiting, "its encoders are away; the broadcast waits for them"
	case e.Lag > float64(behindAfter*max(1, b.Target)):
		return admin.HealthBehind, "no new segment for longer than three target durations"
	case e.Pending > 0 && now.Sub(settled.Std()) > time.Duration(behindAfter*max(1, b.Target))*time.Second:
		return admin.HealthHeld, "the store is away: its newest segments wait in the owner's spool" + o.reason(e.Owner)
	}
	if g := newestGaps(b, nil); g.gaps > 0 {
		return admin.HealthGaps, g.String()
	}
	return admin.HealthLive, ""
}

// newest is how many items back gaps tell of the present.
const newest = 3

// gaps is what viewers lack of a broadcast's newest items, in renditions as encoders send them. Those of the
// ladder are told of with their streams.
type gaps struct {
	segments, gaps int // that are settled, and those of them that are gaps
	in             []string
}

func (g gaps) String() string {
	return fmt.Sprintf("of its %s %s for viewers, in %s: lost on the way, or not stored; the log of its owner says why",
		telemetry.Count(g.segments, "newest segment", "newest segments"), telemetry.Count(g.gaps, "is a gap", "are gaps"), strings.Join(g.in, ", "))
}

// newestGaps looks at a broadcast's newest items, with feed only at what was made of that. What was lost on the way is
// nobody's, and a gap whoever was on the air.
func newestGaps(b *timeline.Broadcast, feed *live.FeedID) (g gaps) {
	for _, it := range b.Items[max(0, len(b.Items)-newest):] {
		for i := range it.Media {
			m := &it.Media[i]
			r := b.Rendition(m.Rendition)
			if r == nil || r.Encoded || !m.Settled() || feed != nil && m.Feed.Epoch != 0 && m.Feed.FeedID != *feed {
				continue
			}
			g.segments++
			if m.Gap {
				g.gaps++
				if !slices.Contains(g.in, r.Name) {
					g.in = append(g.in, r.Name)
				}
			}
		}
	}
	return g
}

// reason is why the store is away, as the owner hears it, behind a colon; empty when nothing is
// known.
func (o overview) reason(owner string) string {
	away := ""
	switch {
	case owner == o.n.process && o.n.spool != nil:
		away = o.n.spool.Stats().Reason
	case o.n.beats != nil:
		for _, p := range known(o.n.beats.Peers()) {
			if p.Name == owner && p.Spool != nil {
				away = p.Spool.Away
			}
		}
	}
	if away == "" {
		return ""
	}
	return ": " + away
}
