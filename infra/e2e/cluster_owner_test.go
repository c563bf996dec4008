package e2e

import (
	"encoding/json"
	"net/http"
	"strings"
	"testing"
	"time"

	"klive/infra/check/fault"
	"klive/storage/ledger"
)

// ownerStall is how long players may wait for a segment when its owner dies.
const ownerStall = 3 * time.Second

// TestClusterOwnerKilled kills the entry's owner again and again.
func TestClusterOwnerKilled(t *testing.T) {
	beside(t)
	c := startCluster(t, shape{settings: clusterSegments})
	s := c.air("the owner is killed")
	every := length(20*time.Second, 7*time.Second)
	for round := range int(length(9, 2)) {
		// The moment within a segment decides how long its viewers wait: take all of them in turn.
		time.Sleep(time.Duration(1+2*round%5) * length(4*time.Second, time.Second) / 5)
		owner, begin := c.owner(s.entry.ID), time.Now()
		s.fault("kill -9 %s", owner.Name)
		owner.Kill()
		time.Sleep(every / 4)
		owner.Relaunch() // as whoever looks after processes does
		time.Sleep(time.Until(begin.Add(every)))
		if now := c.owner(s.entry.ID); now == owner {
			t.Errorf("nobody has taken the entry from %s", owner.Name)
		}
	}
	s.await(1)
	if breaks := s.finish(); breaks > 0 || len(s.encoder.Connects()) != 1 {
		t.Errorf("the encoder noticed: %+v", s.encoder.Connects())
	}
	s.stalls(ownerStall)
	s.undisturbed()
	s.fenced(nil)
}

// TestClusterOwnerStopped freezes the owner until another one works, and lets it go on.
func TestClusterOwnerStopped(t *testing.T) {
	beside(t)
	c := startCluster(t, shape{settings: clusterSegments})
	s := c.air("the owner is stopped and goes on")
	owner := c.owner(s.entry.ID)
	s.during(length(30*time.Second, 7*time.Second), "SIGSTOP "+owner.Name, owner.Stop, owner.Continue)
	if now := c.owner(s.entry.ID); now == owner {
		t.Errorf("nobody has taken the entry from %s", owner.Name)
	}
	s.await(4)
	s.finish()
	s.stalls(ownerStall)
	s.undisturbed()
	s.fenced(owner)
}

// undisturbed says that no viewer's question ever failed.
func (s *show) undisturbed() {
	s.t.Helper()
	for _, v := range s.viewers {
		if f := v.Failures(); len(f) > 0 {
			s.t.Errorf("%s met %d failures, the first: %v", v.Name, len(f), f[0].Err)
		}
	}
}

// fenced reads the store's history: from the moment when a timeline of a higher epoch was
// taken, no timeline or playlist of the entry may come from anybody else; and so it is with the
// ledgers of recorders. Requests that were on their way at that moment don't count. old, which
// may be nil, is an owner that must have tried, or at least must not have succeeded.
func (s *show) fenced(old *member) {
	s.t.Helper()
	var epoch uint64
	var holder string
	var since time.Time
	var ledgers []fault.Write
	claims, written := 0, 0
	for _, w := range s.c.journal.Writes(func(w *fault.Write) bool { return w.Method == http.MethodPut && w.Done() }) {
		if !strings.Contains(w.Path, s.entry.ID) || !strings.HasSuffix(w.Path, ".json") && !strings.HasSuffix(w.Path, ".m3u8") {
			continue
		}
		if strings.Contains(w.Path, "/"+ledger.Prefix) {
			ledgers = append(ledgers, w)
			continue
		}
		written++
		if strings.HasSuffix(w.Path, "/head.json") {
			var head struct {
				State struct {
					Epoch uint64 `json:"epoch"`
				} `json:"state"`
			}
			if err := json.Unmarshal(w.Body, &head); err != nil || head.State.Epoch == 0 {
				s.t.Fatalf("a timeline by %s can't be read: %v: %.200q", w.From, err, w.Body)
			}
			switch e := head.State.Epoch; {
			case e > epoch:
				epoch, holder, since = e, w.From, w.At
				claims++
			case e < epoch && w.Asked.After(since):
				s.t.Errorf("%s wrote a timeline of epoch %d after epoch %d", w.From, e, epoch)
			}
		}
		if epoch > 0 && w.From != holder && w.Asked.After(since) { // before the first timeline nobody is fenced
			s.t.Errorf("%s wrote %s %v after epoch %d, which is %s's", w.From, w.Path, w.Asked.Sub(since).Round(time.Millisecond), epoch, holder)
		}
	}
	s.table.Add("store: timelines and playlists taken", written, "")
	s.table.Add("store: epochs", claims, "")
	s.recorded(ledgers)
	if old != nil && claims < 2 {
		s.t.Errorf("%d epochs: no other owner has claimed the timeline", claims)
	}
	if old != nil {
		refused := s.c.journal.Writes(func(w *fault.Write) bool {
			return w.From == old.Name && (w.Status == http.StatusPreconditionFailed || w.Status == http.StatusConflict)
		})
		s.table.Add("store: refused writes of "+old.Name, len(refused), "")
	}
}

// recorded holds the history of an entry's ledger to epochs of its own. Whoever records needs not be the
// owner: one that was stopped for less than the 15 s of its lease goes on when the entry is another's.
func (s *show) recorded(ledgers []fault.Write) {
	s.t.Helper()
	var epoch uint64
	var holder string
	var since time.Time
	for _, w := range ledgers {
		var l struct {
			Epoch uint64 `json:"epoch"`
		}
		if err := json.Unmarshal(w.Body, &l); err != nil || l.Epoch == 0 {
			s.t.Fatalf("a ledger by %s can't be read: %v: %.200q", w.From, err, w.Body)
		}
		switch {
		case l.Epoch > epoch:
			epoch, holder, since = l.Epoch, w.From, w.At
		case l.Epoch == epoch && w.From == holder || w.Asked.Before(since):
		default:
			s.t.Errorf("%s wrote a ledger of epoch %d after epoch %d, which is %s's", w.From, l.Epoch, epoch, holder)
		}
	}
	s.table.Add("store: ledgers taken", len(ledgers), "")
}
