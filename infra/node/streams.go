package node

import (
	"cmp"
	"context"
	"slices"
	"time"

	"klive/infra/admin"
	"klive/infra/live"
	"klive/storage/playlist"
	"klive/storage/timeline"
)

// silentAfter is how long a feed may send nothing that is due before an operator sees it as silent. Its record
// is up to a beat old, and clocks may differ by a second.
const silentAfter = 2 * live.FeedBeat

// streams tells the console what is on the air: the feed records of the whole deployment,
// with what their entries' timelines say.
type streams struct{ n *Node }

// Streams implements [admin.Streams].
func (s streams) Streams(ctx context.Context) ([]admin.Stream, error) {
	if !s.n.assembled.Load() {
		return nil, errStarting
	}
	kvs, err := s.n.feeds.List(ctx, "")
	if err != nil {
		return nil, err
	}
	chosen, err := s.n.pinned(ctx)
	if err != nil {
		return nil, err
	}
	now := time.Now()
	var records []live.FeedRecord
	for _, kv := range kvs {
		r, err := live.UnmarshalFeedRecord(kv.Value)
		if err != nil || !r.Recent(now, s.n.settings.Broadcast.Resume) {
			continue
		}
		records = append(records, r)
	}
	slices.SortFunc(records, func(a, b live.FeedRecord) int { return cmp.Compare(a.Feed.FeedID.String(), b.Feed.FeedID.String()) })
	here := map[live.FeedID]bool{}
	for i := range records {
		here[records[i].Feed.FeedID] = records[i].Alive(now)
	}
	out := make([]admin.Stream, 0, len(records))
	states := map[string]*timeline.Broadcast{}
	for i := range records {
		entry := records[i].Feed.Entry
		if _, ok := states[entry]; !ok {
			states[entry] = s.broadcast(ctx, entry)
		}
		one := stream(&records[i], states[entry], here, now)
		one.Preferred = chosen[entry]
		one.Pinned = one.Preferred == one.Index
		out = append(out, one)
	}
	return out, nil
}

// broadcast is the entry's broadcast that players see, or nil.
func (s streams) broadcast(ctx context.Context, entry string) *timeline.Broadcast {
	state, err := s.n.view.State(ctx, entry)
	if err != nil || state == nil {
		return nil
	}
	b := playlist.OnAir(state)
	if b == nil || b.Ended {
		return nil
	}
	return b
}

// stream is a feed with what its entry's broadcast says of it; here are the feeds that are connected.
func stream(r *live.FeedRecord, b *timeline.Broadcast, here map[live.FeedID]bool, now time.Time) admin.Stream {
	out := admin.Stream{
		Entry: r.Feed.Entry, Feed: r.Feed.FeedID.String(), Name: r.Feed.StreamName(), Index: r.Feed.Index.String(),
		State: state(r, b, here, now),
		Video: r.Stats.Video, Audio: r.Stats.Audio, Width: r.Stats.Width, Height: r.Stats.Height,
		FrameRate: r.Stats.FrameRate, Bitrate: r.Stats.Bitrate, Frames: r.Stats.Frames, Bytes: r.Stats.Bytes,
		Opened: r.Opened, Protocol: r.Protocol, Encoder: r.Encoder, Peer: r.Peer, Gateway: r.Gateway, Link: r.Stats.Link, Health: r.Stats.Health,
	}
	if now.Sub(r.Beat) > silentAfter {
		out.Health = nil // its gateway is dead, or can't say: what it said last is not so any more
	}
	if out.State == admin.StateGone {
		out.Gone = r.Beat
		if !r.Closed.IsZero() {
			out.Gone = r.Closed
		}
		out.Health, out.Bitrate, out.FrameRate = nil, 0, 0
	}
	if b != nil && out.State == admin.StateLive {
		lower(&out, newestGaps(b, &r.Feed.FeedID))
	}
	if b != nil {
		out.Started = b.Start.Std()
		out.Rungs = rungs(b)
		out.PlayPath = "/" + playlist.GroupKey(r.Feed.Entry, "all", false)
	}
	return out
}

// lower takes from a stream's health what viewers do not get of what arrives.
func lower(s *admin.Stream, g gaps) {
	if g.gaps == 0 {
		return
	}
	s.Problem = g.String()
	if s.Health != nil {
		left := *s.Health * (g.segments - g.gaps) / g.segments
		s.Health = &left // the record keeps its own
	}
}

// rungs says how the renditions stand that transcode workers make.
func rungs(b *timeline.Broadcast) (out []admin.Rung) {
	for i := range b.Renditions {
		d := &b.Renditions[i]
		if !d.Encoded {
			continue
		}
		r := admin.Rung{Rendition: d.Name, Width: d.Width, Height: d.Height}
		for k := range b.Items {
			m := b.Items[k].Of(d.Name)
			if m == nil || !m.Settled() {
				continue
			}
			r.Segments++
			if m.Gap {
				r.Gaps++
				if r.Failed = m.Name; m.Encode != nil {
					r.Reason = m.Encode.Failure
				}
			}
		}
		out = append(out, r)
	}
	return out
}

// state says what viewers have of a feed. A feed that made the newest item is live; one
// that arrives beside it stands by, until the other is gone: then the next item is made of it.
func state(r *live.FeedRecord, b *timeline.Broadcast, here map[live.FeedID]bool, now time.Time) admin.State {
	switch {
	case !r.Alive(now):
		return admin.StateGone
	case r.Silence(now) > silentAfter:
		return admin.StateSilent
	case b == nil:
		return admin.StateStarting
	case len(b.Items) > 0 && isBehind(b, now):
		return admin.StateStalled
	}
	newest := newestMedia(b)
	for _, m := range newest {
		if feed, _ := m.MadeOf(); feed.FeedID == r.Feed.FeedID {
			return admin.StateLive
		}
	}
	other, connected := false, false
	for _, m := range newest {
		feed, _ := m.MadeOf()
		other = other || feed.Index != r.Feed.Index
		connected = connected || here[feed.FeedID]
	}
	switch {
	case !other:
		return admin.StateStarting
	case connected:
		return admin.StateStandby
	}
	return admin.StateLive
}

// isBehind reports whether the newest item of a broadcast is older than it may be.
func isBehind(b *timeline.Broadcast, now time.Time) bool {
	end := b.Start
	for i := range b.Items {
		end = max(end, b.Items[i].End())
	}
	return now.Sub(end.Std()) > time.Duration(behindAfter*max(1, b.Target))*time.Second
}

// newestMedia are those of the broadcast's newest item that was made of a feed; what was lost on the way was not.
func newestMedia(b *timeline.Broadcast) []timeline.Media {
	for _, it := range slices.Backward(b.Items) {
		if slices.ContainsFunc(it.Media, func(m timeline.Media) bool { feed, _ := m.MadeOf(); return feed.Epoch != 0 }) {
			return it.Media
		}
	}
	return nil
}
