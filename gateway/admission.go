package gateway

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"klive/infra/live"
)

// Permit is an accepted connect: leave to publish streams of one entry. It comes from
// [Gateway.Connect] and goes into [Gateway.Publish], any number of times.
type Permit struct {
	connect Connect
	// grant is for the entry as a whole: it has no ladder yet.
	grant   live.Grant
	profile int
	// standing says that the permit stands on grants of earlier publishes.
	standing bool
	// stored are the grants of the entry's recent feeds that were given for this token.
	stored map[live.FeedID]live.Grant
}

// Entry is the entry that the permit is for.
func (p *Permit) Entry() string { return p.connect.Params.Entry }

// SRTPass is the passphrase with which SRT callers have to encrypt; empty when the entry asks
// for none.
func (p *Permit) SRTPass() string { return p.grant.SRTPass }

// admission asks Kaltura and turns its answers into grants and refusals.
type admission struct {
	api    API
	resume time.Duration
	maxDVR time.Duration
}

// connect decides on a connect (contract rows 31–35). feeds are the records of the entry's
// feeds.
func (a *admission) connect(ctx context.Context, c Connect, feeds []live.FeedRecord) (*Permit, error) {
	p := &Permit{connect: c, stored: a.stored(c.Params, feeds, time.Now())}
	facts, err := a.api.Authenticate(ctx, AuthRequest{
		Partner: c.Params.Partner, Entry: c.Params.Entry, Token: c.Params.Token, Index: c.Params.Index,
	})
	if err == nil {
		p.grant, p.profile = a.grant(c.Params, facts), facts.ConversionProfileID
		return p, nil
	}
	if g, ok := p.anyStored(); ok && (unavailable(err) || code(err) == "LIVE_STREAM_ALREADY_BROADCASTING") {
		p.grant, p.standing = g, true
		p.grant.Ladder = live.Ladder{}
		return p, nil
	}
	return nil, refuse(c.Params, err)
}

// ladder decides on a publish of the permitted entry (rows 28 and 75).
func (a *admission) ladder(ctx context.Context, p *Permit, id live.FeedID) (live.Grant, error) {
	stored, held := p.stored[id]
	if p.standing && held {
		return stored, nil
	}
	ladder, err := a.api.Ladder(ctx, LadderRequest{
		Partner: p.grant.PartnerID, Entry: id.Entry, StreamName: id.StreamName(), Suffix: id.Suffix, ConversionProfileID: p.profile,
	})
	if err == nil && len(ladder.Rungs) == 0 {
		err = ErrNoOutputs
	}
	if err != nil {
		if held && unavailable(err) {
			return stored, nil
		}
		return live.Grant{}, refuseStream(p.connect.Params, id, err)
	}
	g := p.grant
	g.Ladder = ladder
	return g, nil
}

// grant builds what the feed record carries (contract rows 79–81).
func (a *admission) grant(p Params, f EntryFacts) live.Grant {
	g := live.Grant{
		PartnerID: p.Partner, Entry: p.Entry, TokenHash: live.HashToken(p.Entry, token(p)), At: time.Now(),
		DVR: f.DVR, Record: f.Record, RecordedEntryID: f.RecordedEntryID, SRTPass: f.SRTPass,
	}
	if f.DVR {
		if g.DVRWindow = f.DVRWindow; g.DVRWindow <= 0 || g.DVRWindow > a.maxDVR {
			g.DVRWindow = a.maxDVR
		}
	}
	if f.SegmentDuration >= time.Second && f.SegmentDuration <= 20*time.Second {
		g.SegmentDuration = f.SegmentDuration
	}
	return g
}

// stored picks the grants of recent feeds that hold for these parameters.
func (a *admission) stored(p Params, feeds []live.FeedRecord, now time.Time) map[live.FeedID]live.Grant {
	held := map[live.FeedID]live.Grant{}
	for i := range feeds {
		r := &feeds[i]
		if r.Grant.PartnerID == p.Partner && r.Grant.Accepts(p.Entry, token(p)) && r.Recent(now, a.resume) {
			held[r.Feed.FeedID] = r.Grant
		}
	}
	return held
}

func (p *Permit) anyStored() (live.Grant, bool) {
	ids := make([]live.FeedID, 0, len(p.stored))
	for id := range p.stored {
		ids = append(ids, id)
	}
	if len(ids) == 0 {
		return live.Grant{}, false
	}
	slices.SortFunc(ids, func(a, b live.FeedID) int { return strings.Compare(a.String(), b.String()) })
	return p.stored[ids[0]], true
}

func token(p Params) string {
	if p.Token == nil {
		return ""
	}
	return *p.Token
}

// code is the API's error code, or "".
func code(err error) string {
	var e *APIError
	if errors.As(err, &e) {
		return e.Code
	}
	return ""
}

// unavailable reports whether Kaltura gave no answer. It answers its own breakdowns with
// codes.
func unavailable(err error) bool {
	if errors.Is(err, ErrNoOutputs) || errors.Is(err, ErrUnknownStream) {
		return false
	}
	switch code(err) {
	case "", "INTERNAL_SERVERL_ERROR", "INTERNAL_DATABASE_ERROR":
		return true
	}
	return false
}

// refuse says in plain words why Kaltura let nobody in (contract §1.7, §3.1).
func refuse(p Params, err error) *Refusal {
	say := func(r Reason, format string, args ...any) *Refusal {
		return &Refusal{Reason: r, Text: fmt.Sprintf(format, args...), Err: err}
	}
	c := code(err)
	switch {
	case unavailable(err):
		return say(ReasonAPI, "Kaltura does not answer; the encoder may try again")
	case c == "ENTRY_ID_NOT_FOUND":
		return say(ReasonAuth, "partner %d has no live entry %s; check e= and p=", p.Partner, p.Entry)
	case c == "LIVE_STREAM_INVALID_TOKEN":
		return say(ReasonAuth, "the token of entry %s is wrong; copy t= from the entry's broadcast address", p.Entry)
	case c == "MISSING_MANDATORY_PARAMETER" && p.Token == nil:
		return say(ReasonParams, "the address lacks t=, the token of entry %s", p.Entry)
	case c == "LIVE_STREAM_ALREADY_BROADCASTING":
		return say(ReasonBusy, "entry %s is being broadcast from another server; stop that encoder first", p.Entry)
	case c == "LIVE_STREAM_EXCEEDED_MAX_PASSTHRU":
		return say(ReasonLimit, "partner %d broadcasts as many live streams as its account allows; stop one of them", p.Partner)
	case c == "LIVE_STREAM_EXCEEDED_MAX_TRANSCODED":
		return say(ReasonLimit, "partner %d broadcasts as many transcoded live streams as its account allows; stop one or use a pass-through profile", p.Partner)
	case strings.HasPrefix(c, "LIVE_STREAM_EXCEEDED_"):
		return say(ReasonLimit, "a limit of partner %d for live streams is reached (%s)", p.Partner, c)
	case c == "SERVICE_FORBIDDEN_CONTENT_BLOCKED":
		return say(ReasonAuth, "partner %d is blocked or unknown; check p=", p.Partner)
	case c == "SERVICE_FORBIDDEN":
		return say(ReasonAuth, "partner %d may not broadcast live: the feature is off, or this server serves another partner", p.Partner)
	case c == "INVALID_KS" || c == "MISSING_KS" || c == "ACCESS_UNAUTHORIZED":
		return say(ReasonAPI, "this server's own session is not accepted by Kaltura (%s); its operator has to check the partner and the secret", c)
	case c == "MEDIA_SERVER_NOT_FOUND" || c == "SERVER_NODE_NOT_FOUND":
		return say(ReasonAPI, "Kaltura does not know this media server (%s); its operator has to register its host name", c)
	}
	return say(ReasonAuth, "Kaltura refuses entry %s (%s)", p.Entry, c)
}

// refuseStream says why a stream of a permitted entry can't be published.
func refuseStream(p Params, id live.FeedID, err error) *Refusal {
	c := code(err)
	switch {
	case errors.Is(err, ErrUnknownStream) || c == "INGEST_NOT_FOUND_IN_CONVERSION_PROFILE":
		return &Refusal{Reason: ReasonParams, Err: err,
			Text: fmt.Sprintf("stream %s: the conversion profile of entry %s has no stream with suffix %d", id.StreamName(), id.Entry, id.Suffix)}
	case errors.Is(err, ErrNoOutputs):
		return &Refusal{Reason: ReasonMedia, Err: err,
			Text: fmt.Sprintf("stream %s: the conversion profile of entry %s makes no outputs of it", id.StreamName(), id.Entry)}
	case c == "INVALID_STREAM_NAME":
		return &Refusal{Reason: ReasonParams, Err: err,
			Text: fmt.Sprintf("stream name %s is not accepted by Kaltura; it has to be <entry id>_<index>", id.StreamName())}
	}
	return refuse(p, err)
}
