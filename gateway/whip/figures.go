package whip

import (
	"time"

	"klive/infra/live"
)

// look reads the connection's figures.
func (s *session) look() {
	common := live.LinkStats{Latency: float64(s.server.cfg.Latency.Milliseconds()), Encrypted: true, RTT: s.measure()}
	link, total := common, common
	for _, t := range s.trackList() {
		is := t.look(common)
		add(&total, &is)
		if !t.own.Load() {
			add(&link, &is)
		}
	}
	s.mu.Lock()
	was := s.total
	s.link, s.total = link, total
	s.mu.Unlock()
	s.server.metrics.link(was, total)
}

// add adds the counts of one to a sum.
func add(sum, one *live.LinkStats) {
	sum.Received += one.Received
	sum.Lost += one.Lost
	sum.Retransmitted += one.Retransmitted
	sum.Belated += one.Belated
	sum.Dropped += one.Dropped
	sum.Damaged += one.Damaged
	sum.NACKs += one.NACKs
	sum.PLIs += one.PLIs
}

// measure reads the round trip of the connectivity checks, in ms.
func (s *session) measure() float64 {
	pair, ok := s.pc.SCTP().Transport().ICETransport().GetSelectedCandidatePairStats()
	if !ok || pair.CurrentRoundTripTime <= 0 {
		return 0
	}
	s.rtt.Store(int64(pair.CurrentRoundTripTime * float64(time.Second)))
	return pair.CurrentRoundTripTime * 1000
}

func (s *session) roundTrip() time.Duration { return time.Duration(s.rtt.Load()) }

// stats is the state of the connection for the feed's record.
func (s *session) stats() live.LinkStats {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.link
}
