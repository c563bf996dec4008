package e2e

import (
	"context"
	"encoding/json"
	"os"
	"path/filepath"
	"testing"
	"time"

	"klive/infra/check"
)

// TestClusterOnlyBucketLeft ends every process and deletes all that it kept, but for the
// bucket, in the middle of a broadcast.
func TestClusterOnlyBucketLeft(t *testing.T) {
	beside(t)
	c := startCluster(t, shape{settings: clusterSegments})
	s := c.air("only the bucket is left")
	s.await(uint64(length(10, 3)))
	f := s.fault("everything but the bucket is gone")
	for _, m := range c.all() {
		m.Kill()
		if err := os.RemoveAll(filepath.Join(c.dir, m.Name)); err != nil {
			t.Fatal(err)
		}
	}
	seen := uint64(0)
	for _, v := range s.viewers {
		last, _ := v.Last()
		seen = max(seen, last)
	}
	before := c.head(s.entry.ID)
	for _, m := range c.buses {
		m.Relaunch()
	}
	c.control.Restart()
	for _, m := range c.all() {
		if !m.Running() {
			m.Relaunch()
		}
	}
	for _, m := range c.all() {
		m.WaitReady()
	}
	f.Until = time.Now()
	s.table.Add("everything runs again after", f.Until.Sub(f.At), "")
	s.await(4)
	s.encoder.Stop()
	after := c.head(s.entry.ID)
	s.table.Add("next sequence number before", before.NextSeq, "")
	s.table.Add("next sequence number after", after.NextSeq, "")
	s.table.Add("newest segment that a viewer had seen", seen, "")
	if after.Epoch <= before.Epoch || after.NextSeq <= max(before.NextSeq, seen+1) {
		t.Errorf("epoch %d and number %d became %d and %d", before.Epoch, before.NextSeq, after.Epoch, after.NextSeq)
	}
	if lost := before.without(after); lost > 0 {
		t.Errorf("%d of %d items of the past are gone from the timeline", lost, len(before.numbers()))
	}
	for _, v := range s.viewers {
		v.Stop()
		if err := v.Rules(); err != nil {
			t.Error(err)
		}
	}
	s.past(after)
}

// timelineHead is what tests read of a timeline's head object.
type timelineHead struct {
	Epoch      uint64 `json:"epoch"`
	NextSeq    uint64 `json:"nextSeq"`
	Broadcasts []struct {
		ID       string `json:"id"`
		Chapters []struct {
			FirstSeq uint64 `json:"firstSeq"`
			LastSeq  uint64 `json:"lastSeq"`
		} `json:"chapters"`
		Items []struct {
			Seq   uint64 `json:"seq"`
			Media []struct {
				Name   string `json:"name"`
				Stored bool   `json:"stored"`
			} `json:"media"`
		} `json:"items"`
	} `json:"broadcasts"`
}

// head reads an entry's timeline from the bucket's folder.
func (c *cluster) head(entry string) timelineHead {
	c.t.Helper()
	b, err := os.ReadFile(filepath.Join(c.bucketDir, "klive", "state", entry, "head.json"))
	if err != nil {
		c.t.Fatal(err)
	}
	var h struct {
		State timelineHead `json:"state"`
	}
	if err := json.Unmarshal(b, &h); err != nil {
		c.t.Fatal(err)
	}
	return h.State
}

// numbers are the items that the timeline holds, with their broadcast.
func (h timelineHead) numbers() map[uint64]string {
	out := map[uint64]string{}
	for _, b := range h.Broadcasts {
		for _, ch := range b.Chapters {
			for seq := ch.FirstSeq; seq <= ch.LastSeq; seq++ {
				out[seq] = b.ID
			}
		}
		for _, it := range b.Items {
			out[it.Seq] = b.ID
		}
	}
	return out
}

// without counts the items of h that are not in the later timeline.
func (h timelineHead) without(later timelineHead) (n int) {
	there := later.numbers()
	for seq, broadcast := range h.numbers() {
		if there[seq] != broadcast {
			n++
		}
	}
	return n
}

// past reads the DVR window: what was there before is played as before.
func (s *show) past(h timelineHead) {
	s.t.Helper()
	var f *check.Follower
	s.eventually(20*time.Second, "the DVR window", func() (err error) {
		f, err = check.Archive(context.Background(), s.c.client, s.c.origins[0].playlist(s.entry.ID, true))
		return err
	})
	items := f.Main().Items
	s.table.Add("DVR window", len(items), "segments")
	s.table.AddAudit("DVR window", f.Audit(s.encoder.Sent()))
	if current := h.Broadcasts[len(h.Broadcasts)-1]; len(h.Broadcasts) == 1 && items[0].Seq != 1 {
		s.t.Errorf("broadcast %s goes on, but its window begins with segment %d", current.ID, items[0].Seq)
	}
}
