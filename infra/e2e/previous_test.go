package e2e

import (
	"bytes"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"klive/infra/bus"
	"klive/infra/live"
	"klive/infra/media"
	"klive/storage"
	"klive/storage/storagetest"
	"klive/storage/timeline"
)

// The files in testdata/previous were written by the release before this one: what it had
// on the bus 50 s into a broadcast of 200 s, a part, and at the end the timeline's log, its
// head and a chapter. A release reads what the one before it wrote.
func previous(t *testing.T, name string) []byte {
	t.Helper()
	b, err := os.ReadFile(filepath.Join("testdata", "previous", name))
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func TestPreviousPart(t *testing.T) {
	wire := previous(t, "part.bin")
	p, err := live.UnmarshalPart(wire)
	if err != nil {
		t.Fatal(err)
	}
	feed := live.Feed{FeedID: live.FeedID{Entry: "0_rkij47dr", Suffix: 1}, Epoch: 3}
	if p.Feed != feed || p.Seq != 9 || !p.Last || len(p.Frames) != 2 || len(p.Segment.Tracks) != 4 {
		t.Fatalf("the part reads %+v", p)
	}
	f := p.Frames[0]
	if f.PTS != 1_772_366_401_234_567_890 || !f.Key || string(f.Payload) != "picture" || p.Segment.Tracks[0].Params.Kind() != media.Video {
		t.Errorf("its first frame reads %+v", f)
	}
	again, err := p.AppendBinary(nil)
	if err != nil || !bytes.Equal(wire, again) {
		t.Errorf("written again it has other bytes (%v): the release before this one may not read it", err)
	}
}

func TestPreviousRecords(t *testing.T) {
	var buckets map[string]map[string]json.RawMessage
	if err := json.Unmarshal(previous(t, "buckets.json"), &buckets); err != nil {
		t.Fatal(err)
	}
	feed, err := live.UnmarshalFeedRecord(buckets[live.FeedsBucket]["0_demolive.0.1"])
	if err != nil {
		t.Fatal(err)
	}
	if feed.FirstSeq != 1 || feed.Target != 4*time.Second || feed.Grant.PartnerID != 102 || len(feed.Grant.Ladder.Rungs) != 1 || !feed.Grant.Accepts("0_demolive", "demo1234") {
		t.Errorf("the feed reads %+v", feed)
	}
	broadcast, err := live.UnmarshalBroadcastRecord(buckets[live.BroadcastsBucket]["0_demolive"])
	if err != nil || broadcast.Target != 4*time.Second || broadcast.Ended {
		t.Errorf("the broadcast reads %+v: %v", broadcast, err)
	}
	holder, err := bus.LeaseHolder(bus.KeyValue{Key: "0_demolive", Value: buckets["owners"]["0_demolive"]})
	if err != nil || holder == "" {
		t.Errorf("the lease is held by %q: %v", holder, err)
	}
}

// TestPreviousTimeline folds the log of the release before this one: the state must be the
// one that it stored itself.
func TestPreviousTimeline(t *testing.T) {
	store := storagetest.NewMemory()
	put := func(key, name string) {
		if _, err := store.Put(t.Context(), key, [][]byte{previous(t, name)}, storage.PutOptions{}); err != nil {
			t.Fatal(err)
		}
	}
	put(timeline.HeadKey("0_demolive"), "head.json")
	stored, err := timeline.LoadHead(t.Context(), store, "0_demolive")
	if err != nil {
		t.Fatal(err)
	}
	folded := timeline.New("0_demolive")
	kinds := map[string]bool{}
	for line := range strings.Lines(string(previous(t, "timeline.jsonl"))) {
		var record struct {
			Seq  uint64
			Data json.RawMessage
		}
		if err := json.Unmarshal([]byte(line), &record); err != nil {
			t.Fatal(err)
		}
		e, err := timeline.UnmarshalEnvelope(record.Data)
		if err != nil {
			t.Fatal(err)
		}
		if folded, err = folded.Apply(e, record.Seq); err != nil {
			t.Fatalf("record %d: %v", record.Seq, err)
		}
		var kind struct{ Type string }
		if err := json.Unmarshal(record.Data, &kind); err != nil {
			t.Fatal(err)
		}
		kinds[kind.Type] = true
	}
	if len(kinds) < 7 || !folded.Current().Ended {
		t.Errorf("the log holds %v", kinds)
	}
	// That release did not keep where runs begin.
	if runs := folded.Current().Runs; len(runs) != 1 || runs[0].Seq != 1 || stored.Current().Runs != nil {
		t.Errorf("runs %+v", runs)
	}
	folded.Current().Runs = nil
	if diff := cmp.Diff(stored, folded); diff != "" {
		t.Errorf("the log folds to another state than the one that was stored (-stored +folded):\n%s", diff)
	}
	chapters := stored.Current().Chapters
	put(chapters[0].Key, "chapter.json")
	items, err := timeline.LoadChapter(t.Context(), store, stored.Current().ID, chapters[0])
	if err != nil || len(items) != 16 || items[0].Seq != 1 || !items[15].Settled() {
		t.Errorf("the chapter reads %d items: %v", len(items), err)
	}
}
