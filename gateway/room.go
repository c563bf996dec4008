package gateway

import (
	"context"
	"fmt"
	"time"

	"klive/infra/live"
	"klive/infra/telemetry"
)

// room refuses a connect that would be one stream too many for this gateway. An encoder that
// comes back within the resume time, with the token that it had, is let in: its broadcast is on
// the air already.
func (g *Gateway) room(c Connect, feeds []live.FeedRecord) error {
	if g.cfg.Room == nil {
		return nil
	}
	err := g.cfg.Room()
	if err == nil || len(g.admission.stored(c.Params, feeds, time.Now())) > 0 {
		return nil
	}
	return &Refusal{Reason: ReasonLimit, Err: err,
		Text: fmt.Sprintf("this server takes no more streams: %v; connect again to reach another one", err)}
}

// partnerRoom refuses a publish that would be one stream too many for its partner in the whole
// deployment. Gateways that let streams in at the same moment may exceed the limit by those.
func (g *Gateway) partnerRoom(ctx context.Context, partner int, id live.FeedID) error {
	if g.cfg.PartnerStreams == nil {
		return nil
	}
	most := g.cfg.PartnerStreams(partner)
	if most <= 0 {
		return nil
	}
	feeds, err := g.matching(ctx, "")
	if err != nil {
		return fmt.Errorf("counting the partner's streams: %w", err)
	}
	now, others := time.Now(), 0
	for i := range feeds {
		r := &feeds[i]
		switch {
		case r.Grant.PartnerID != partner:
		case r.Feed.FeedID == id && r.Recent(now, g.cfg.Resume):
			return nil // it comes back
		case r.Alive(now):
			others++
		}
	}
	if others < most {
		return nil
	}
	return &Refusal{Reason: ReasonLimit,
		Text: fmt.Sprintf("partner %d has %s on the air and may have %d; stop one of them, or ask this server's operator",
			partner, telemetry.Count(others, "stream", "streams"), most)}
}
