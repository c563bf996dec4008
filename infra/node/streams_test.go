package node

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	"klive/infra/admin"
	"klive/infra/bus/bustest"
	"klive/infra/live"
	"klive/infra/media"
	"klive/infra/publisher"
	"klive/storage/timeline"
)

func TestState(t *testing.T) {
	now := time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
	feed := func(index live.Index) live.Feed {
		return live.Feed{FeedID: live.FeedID{Entry: "0_demolive", Index: index, Suffix: 1}, Epoch: 3}
	}
	record := func(beat, arrival time.Duration) *live.FeedRecord {
		return &live.FeedRecord{Feed: feed(live.Primary), Beat: now.Add(-beat), Clock: live.ClockRecord{LastArrival: media.At(now.Add(-arrival))}}
	}
	closed := record(0, 0)
	closed.Closed = now
	items := func(feeds ...live.Feed) *timeline.Broadcast {
		b := &timeline.Broadcast{Start: media.At(now.Add(-time.Minute)), Target: 2}
		for _, f := range feeds {
			b.Items = append(b.Items, timeline.Item{Start: media.At(now.Add(-2 * time.Second)), Duration: 2 * time.Second, Media: []timeline.Media{{Rendition: "0_demolive_32", Feed: f}}})
		}
		return b
	}
	gap := func(b *timeline.Broadcast) *timeline.Broadcast {
		b.Items = append(b.Items, timeline.Item{Start: media.At(now), Media: []timeline.Media{{Rendition: "0_demolive_32", Gap: true}}})
		return b
	}
	gone, both := map[live.FeedID]bool{feed(live.Backup).FeedID: true}, map[live.FeedID]bool{feed(live.Backup).FeedID: true, feed(live.Primary).FeedID: true}
	backup := record(0, 0)
	backup.Feed = feed(live.Backup)
	old := items(feed(live.Primary))
	old.Items[0].Start = media.At(now.Add(-9 * time.Second))
	for _, c := range []struct {
		name      string
		record    *live.FeedRecord
		broadcast *timeline.Broadcast
		here      map[live.FeedID]bool
		want      admin.State
	}{
		{"closed in order", closed, items(feed(live.Primary)), both, admin.StateGone},
		{"its gateway is dead", record(live.FeedStale, 0), items(feed(live.Primary)), both, admin.StateGone},
		{"sends nothing", record(0, silentAfter+time.Millisecond), items(feed(live.Primary)), both, admin.StateSilent},
		{"has sent nothing yet", &live.FeedRecord{Feed: feed(live.Primary), Beat: now}, nil, both, admin.StateStarting},
		{"nothing stored yet", record(0, 0), nil, both, admin.StateStarting},
		{"an empty broadcast", record(0, 0), items(), both, admin.StateStarting},
		{"made the newest item", record(0, 0), items(feed(live.Backup), feed(live.Primary)), both, admin.StateLive},
		{"the backup made it", record(0, 0), items(feed(live.Primary), feed(live.Backup)), both, admin.StateStandby},
		{"nothing but a gap", record(0, 0), gap(items()), both, admin.StateStarting},
		{"nothing new for long", record(0, 0), old, both, admin.StateStalled},
		{"a gap is newest", record(0, 0), gap(items(feed(live.Primary))), both, admin.StateLive},
		{"beside the other", backup, items(feed(live.Primary)), both, admin.StateStandby},
		{"the other is gone", backup, items(feed(live.Primary)), gone, admin.StateLive},
	} {
		if got := state(c.record, c.broadcast, c.here, now); got != c.want {
			t.Errorf("%s: %s, want %s", c.name, got, c.want)
		}
	}
}

// What the console sees of a stream from its connect to long after its end.
func TestStreamsOfARunningNode(t *testing.T) {
	bustest.Prepare(t)
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, nil)
		defer r.close()
		list := func() []admin.Stream {
			t.Helper()
			l, err := streams{r.node}.Streams(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			return l
		}
		if l := list(); len(l) != 0 {
			t.Errorf("before the start: %+v", l)
		}
		if e, err := (entries{r.node}).Entries(t.Context()); err != nil || len(e) != 1 || e[0].ID != "0_demolive" || e[0].Token != "demo1234" {
			t.Errorf("entries %+v, %v", e, err)
		}
		if !r.node.HasEntry(t.Context(), "0_demolive") || r.node.HasEntry(t.Context(), "0_nosuchen") {
			t.Error("HasEntry is wrong")
		}
		e := r.publish()
		if err := e.play(10 * time.Second); err != nil {
			t.Fatal(err)
		}
		l := list()
		if len(l) != 1 || l[0].State != admin.StateLive || l[0].Video != "H264" || l[0].Audio != "AAC" || l[0].Height != 360 ||
			l[0].FrameRate < 29 || l[0].FrameRate > 31 || l[0].PlayPath != "/kLive/smil:0_demolive_all.smil/playlist.m3u8" || l[0].Index != "primary" {
			t.Errorf("on the air: %+v", l)
		}
		if h := l[0].Health; h == nil || *h < 90 {
			t.Errorf("on the air with a health of %v", h)
		}
		time.Sleep(5 * time.Second)
		if l := list(); len(l) != 1 || l[0].State != admin.StateSilent || l[0].Health == nil {
			t.Errorf("silent: %+v", l)
		}
		e.Close()
		time.Sleep(time.Second)
		if l := list(); len(l) != 1 || l[0].State != admin.StateGone || l[0].Health != nil || l[0].Bitrate != 0 || l[0].FrameRate != 0 || l[0].Frames == 0 {
			t.Errorf("gone: %+v", l)
		}
		time.Sleep(200 * time.Second)
		if l := list(); len(l) != 0 {
			t.Errorf("long after: %+v", l)
		}
	})
}

// TestStreamInPieces: an encoder that brings long segments in one piece each is live between them, and
// silent once the next one is overdue.
func TestStreamInPieces(t *testing.T) {
	bustest.Prepare(t)
	synctest.Test(t, func(t *testing.T) {
		const length = 8 * time.Second
		r := newRig(t, nil)
		defer r.close()
		state := func() admin.State {
			t.Helper()
			l, err := streams{r.node}.Streams(t.Context())
			if err != nil || len(l) != 1 {
				t.Fatalf("%+v, %v", l, err)
			}
			return l[0].State
		}
		e := r.publish()
		piece := func(n int) {
			t.Helper()
			if err := e.Play(context.Background(), publisher.Play{Clip: e.clip, Start: uint32(n) * uint32(length.Milliseconds()), Limit: length, Unpaced: true}); err != nil {
				t.Fatal(err)
			}
		}
		for n := range 6 {
			piece(n)
			for range 4 * int(length/time.Second) {
				time.Sleep(250 * time.Millisecond)
				if s := state(); s != admin.StateLive && (n > 0 || s != admin.StateStarting) {
					t.Fatalf("the stream is %s within piece %d", s, n)
				}
			}
		}
		time.Sleep(silentAfter + 500*time.Millisecond)
		if s := state(); s != admin.StateSilent {
			t.Errorf("the stream is %s when its next piece is overdue", s)
		}
		e.Close()
	})
}

// TestAbsentChoiceIsShown: what an operator prefers stands at the entry's streams, also while that encoder is not there.
func TestAbsentChoiceIsShown(t *testing.T) {
	bustest.Prepare(t)
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, nil)
		defer r.close()
		e := r.publish()
		defer e.Abort()
		for index, pinned := range map[string]bool{"backup": false, "primary": true, "": false} {
			if err := (pins{r.node}).Pin(t.Context(), "0_demolive", index); err != nil {
				t.Fatal(err)
			}
			list, err := streams{r.node}.Streams(t.Context())
			if err != nil || len(list) != 1 || list[0].Preferred != index || list[0].Pinned != pinned {
				t.Errorf("pinned to %q: %+v, %v", index, list, err)
			}
		}
	})
}
