package spool

import (
	"errors"
	"strings"
	"time"

	"klive/storage"
)

// How often the log tells of a store that stays away, and of a new reason at most.
const (
	stillEvery  = time.Minute
	reasonEvery = 10 * time.Second
)

// news is what the log has been told of the store. Spool.mu guards it.
type news struct {
	away   bool // its last word is that the store is away
	at     time.Time
	reason string
}

// still tells that the store is away: at once, when the reason is another one, and once a
// minute. s.mu is held.
func (n *news) still(s *Spool, err error, now time.Time) {
	reason, every := sense(err.Error()), stillEvery
	if !n.away || reason != n.reason {
		every = reasonEvery
	}
	if !n.at.IsZero() && now.Sub(n.at) < every {
		return
	}
	text := "spool: the store is away; finished media wait on this host"
	if n.away {
		text = "spool: the store is still away; finished media wait on this host"
	}
	s.log.Warn(text, "err", err, "since", s.health.since.UTC().Format(time.RFC3339), "objects", len(s.shelf.byKey), "bytes", s.shelf.bytes)
	*n = news{away: true, at: now, reason: reason}
}

// back tells that the store answers again, if the log's last word is another one. s.mu is held.
func (n *news) back(s *Spool, now time.Time) {
	if !n.away {
		return
	}
	n.away = false
	text := "spool: the store answers again"
	if errors.Is(s.health.cause, storage.ErrFull) { // which takes small objects all the time
		text = "spool: the store takes objects again; it was full, and may be so still for larger ones"
	}
	s.log.Info(text, "away", now.Sub(s.health.since).Round(time.Millisecond),
		"objects", len(s.shelf.byKey), "bytes", s.shelf.bytes)
}

// sense is a reason without what changes from one object and one attempt to the next: paths,
// addresses, identifiers. Words of three characters stay: statuses are.
func sense(reason string) string {
	words := strings.Fields(reason)
	kept := words[:0]
	for _, w := range words {
		if !strings.Contains(w, "/") && (len(w) == 3 || !strings.ContainsAny(w, "0123456789")) {
			kept = append(kept, w)
		}
	}
	return strings.Join(kept, " ")
}
