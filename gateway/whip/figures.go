package whip

import (
	"time"

	"klive/infra/live"
)

// look reads the connection's figures. They count for the stream that a track goes to when they
// are read, so those of a stream never go back.
func (s *session) look() {
	rtt := s.measure()
	s.mu.Lock()
	defer s.mu.Unlock()
	var news live.LinkStats
	news.RTT = rtt
	for _, t := range s.tracks {
		link := &s.link
		if to := t.slot.Load(); to != nil {
			link = &to.link
		}
		is := t.figures()
		count(link, &t.looked, &is)
		count(&news, &t.looked, &is)
		t.looked = is
		link.RTT = rtt
	}
	s.server.metrics.link(news)
}

// count adds what came between two looks to a sum.
func count(sum, was, is *live.LinkStats) {
	sum.Received += is.Received - was.Received
	sum.Lost += is.Lost - was.Lost
	sum.Retransmitted += is.Retransmitted - was.Retransmitted
	sum.Belated += is.Belated - was.Belated
	sum.Dropped += is.Dropped - was.Dropped
	sum.Damaged += is.Damaged - was.Damaged
	sum.NACKs += is.NACKs - was.NACKs
	sum.PLIs += is.PLIs - was.PLIs
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

// figures is the state of the connection for the record of a feed.
func (s *session) figures(of *live.LinkStats) live.LinkStats {
	s.mu.Lock()
	defer s.mu.Unlock()
	is := *of
	is.Latency, is.Encrypted = float64(s.server.cfg.Latency.Milliseconds()), true
	return is
}
