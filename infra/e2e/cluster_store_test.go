package e2e

import (
	"errors"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"klive/infra/check/fault"
)

// storeStall is the delay that a player at the live edge does not notice: it holds back three
// target durations. A write waits spool.after, 1 s, before the spool takes it over.
const storeStall = 1500 * time.Millisecond

// TestClusterStoreAway takes the store away: its process is gone, it hangs, it answers 503.
func TestClusterStoreAway(t *testing.T) {
	beside(t)
	c := startCluster(t, shape{settings: clusterSegments})
	s := c.air("the store is away")
	away := length(60*time.Second, 6*time.Second)
	c.store.Kill()
	down := s.fault("store stopped")
	time.Sleep(away)
	c.store.Restart()
	down.Until = time.Now()
	s.drained()
	s.during(away, "503", func() { c.trouble(fault.Trouble{Status: http.StatusServiceUnavailable}) }, func() { c.trouble(fault.Trouble{}) })
	s.drained()
	s.during(away, "store hangs", c.store.Stop, c.store.Continue)
	s.drained()
	s.await(2)
	if breaks := s.finish(); breaks > 0 || len(s.encoder.Connects()) != 1 || s.encoder.Late() > time.Second {
		t.Errorf("the encoder noticed: late by %v, %+v", s.encoder.Late(), s.encoder.Connects())
	}
	s.stalls(storeStall)
	s.undisturbed()
	s.rests()
}

// TestClusterEndWithoutStoreAndAPI ends a broadcast while the store and Kaltura's API are away, for so long that
// it is over before they come back. Its window is whole and ended, and it becomes one VOD.
func TestClusterEndWithoutStoreAndAPI(t *testing.T) {
	beside(t)
	c := startCluster(t, shape{settings: slices.Concat(clusterSegments, recordedSoon)})
	s := c.air("a broadcast ends without store and API")
	store, api := length(60*time.Second, 20*time.Second), length(10*time.Minute, 25*time.Second)
	away := s.fault("store and API away")
	c.control.Kill()
	c.store.Kill()
	s.await(3)
	s.encoder.Stop()
	time.Sleep(time.Until(away.At.Add(store)))
	c.store.Restart()
	time.Sleep(time.Until(away.At.Add(api)))
	c.control.Restart()
	away.Until = time.Now()
	s.finish()
	s.stalls(storeStall)
	s.undisturbed()
	s.eventually(time.Minute, "the end of the broadcast", func() error {
		told, err := checkArchive(c.client, c.origins[0].playlist(s.entry.ID, true))
		if err == nil && !told.Main().Ended {
			err = errors.New("the playlist has not ended")
		}
		return err
	})
	s.vod()
	s.fenced(nil)
}

// drained waits until what the spools held is in the store, and two segments more.
func (s *show) drained() {
	s.t.Helper()
	seen, _ := s.viewers[0].Last()
	begin := time.Now()
	s.eventually(60*time.Second, "the stored playlist to catch up", func() error {
		if last := s.storedLast(); last < seen {
			return os.ErrNotExist
		}
		return nil
	})
	s.table.Add("after "+s.faults[len(s.faults)-1].Name+": the bucket has caught up in", time.Since(begin), "")
	s.await(2)
}

// storedLast is the newest item that the playlist in the bucket lists.
func (s *show) storedLast() uint64 {
	server := s.c.bucketServer()
	defer server.Close()
	f, err := checkArchive(s.c.client, server.URL+playlistPath(s.entry.ID, false))
	if err != nil || f.Main() == nil {
		return 0
	}
	items := f.Main().Items
	return items[len(items)-1].Seq
}

// rests holds the bucket's own playlist against what the viewers saw: the live window that
// it lists ends with the newest segment.
func (s *show) rests() {
	s.t.Helper()
	seen, _ := s.viewers[0].Last()
	s.eventually(15*time.Second, "the stored playlist", func() error {
		if s.storedLast() != seen {
			return os.ErrNotExist
		}
		return nil
	})
	leftovers, err := filepath.Glob(filepath.Join(s.c.dir, "worker-*", "spool", "*", "*"))
	if err != nil {
		s.t.Fatal(err)
	}
	s.table.Add("files left in the spools", len(leftovers), "")
}
