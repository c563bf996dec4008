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
	// standAfter is how long an encoder with a stored grant waits for Kaltura.
	standAfter time.Duration
	verdicts   *verdicts
}

// connect decides on a connect (contract rows 31–35). feeds are the records of the entry's
// feeds.
func (a *admission) connect(ctx context.Context, c Connect, feeds []live.FeedRecord) (*Permit, error) {
	p := &Permit{connect: c, stored: a.stored(c.Params, feeds, time.Now())}
	facts, err, known := a.verdicts.find(c.Params)
	if !known {
		facts, err = a.authenticate(ctx, p)
	}
	if err == nil {
		p.grant, p.profile = a.grant(c.Params, facts), facts.ConversionProfileID
		return p, nil
	}
	if g, ok := p.anyStored(); ok && (unavailable(err) || code(err) == "LIVE_STREAM_ALREADY_BROADCASTING") {
		p.grant, p.standing = g, true
		p.grant.Ladder = live.Ladder{}
		return p, nil
	}
	if known {
		return nil, err
	}
	refusal := refuse(c.Params, err)
	if !unavailable(err) {
		a.verdicts.keep(c.Params, facts, refusal)
	}
	return nil, refusal
}

// authenticate asks Kaltura.
func (a *admission) authenticate(ctx context.Context, p *Permit) (live.EntryFacts, error) {
	params := p.connect.Params
	ctx, done := a.patience(ctx, len(p.stored) > 0)
	defer done()
	facts, err := a.api.Authenticate(ctx, AuthRequest{
		Partner: params.Partner, Entry: params.Entry, Token: params.Token, Index: params.Index,
	})
	if err == nil {
		a.verdicts.keep(params, facts, nil)
	}
	return facts, err
}

// patience bounds a call without which the encoder could do: it has been off the air since it
// lost its connection, and may give up itself before a call has.
func (a *admission) patience(ctx context.Context, stored bool) (context.Context, context.CancelFunc) {
	if !stored {
		return ctx, func() {}
	}
	return context.WithTimeout(ctx, a.standAfter)
}

// ladder decides on a publish of the permitted entry (rows 28 and 75).
func (a *admission) ladder(ctx context.Context, p *Permit, id live.FeedID) (live.Grant, error) {
	stored, held := p.stored[id]
	if p.standing && held {
		return stored, nil
	}
	ctx, done := a.patience(ctx, held)
	defer done()
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

// grant builds what the feed record carries.
func (a *admission) grant(p Params, f live.EntryFacts) live.Grant {
	g := live.Grant{PartnerID: p.Partner, Entry: p.Entry, TokenHash: live.HashToken(p.Entry, token(p)), At: time.Now()}
	g.Refresh(f, a.maxDVR)
	g.SRTPass = f.SRTPass
	return g
}

// stored picks the grants of recent feeds that hold for these parameters.
func (a *admission) stored(p Params, feeds []live.FeedRecord, now time.Time) map[live.FeedID]live.Grant {
	held := map[live.FeedID]live.Grant{}
	for i := range feeds {
		r := &feeds[i]
		if r.Grant.PartnerID == p.Partner && r.Grant.Accepts(p.Entry, token(p)) && r.Recent(now, a.resume) {
			g := r.Grant
			g.Unstarted = false // that was so when Kaltura was asked
			held[r.Feed.FeedID] = g
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
		return false // those have no code
	}
	switch code(err) {
	case "", "INTERNAL_SERVERL_ERROR", "INTERNAL_DATABASE_ERROR":
		return true
	}
	return false
}

// refuse says in plain words why Kaltura let nobody in, and what to do (contract §1.7, §3.1).
func refuse(p Params, err error) *Refusal {
	c := code(err)
	if unavailable(err) {
		return &Refusal{Reason: ReasonAPI, Text: "Kaltura does not answer; the encoder may try again", Err: err}
	}
	r := &Refusal{Reason: ReasonAuth, Err: err}
	switch c {
	case "LIVE_STREAM_ALREADY_BROADCASTING":
		r.Reason = ReasonBusy
		r.Text = fmt.Sprintf("entry %s is being broadcast from another server; stop that encoder first", p.Entry)
	case "MISSING_MANDATORY_PARAMETER":
		if p.Token == nil {
			r.Reason, r.Text = ReasonParams, fmt.Sprintf("the address lacks t=, the token of entry %s", p.Entry)
			break
		}
		fallthrough
	case "INVALID_KS", "MISSING_KS", "ACCESS_UNAUTHORIZED", "USER_BLOCKED", "ACTION_BLOCKED", "MEDIA_SERVER_NOT_FOUND", "SERVER_NODE_NOT_FOUND",
		"SERVICE_NOT_SPECIFIED", "SERVICE_DOES_NOT_EXISTS", "ACTION_NOT_SPECIFIED", "ACTION_DOES_NOT_EXISTS",
		"INVALID_ENUM_VALUE", "INVALID_PARAMETER_CHAR", "OBJECT_TYPE_ABSTRACT":
		r.Reason, r.Text = ReasonAPI, ours(c)
	default:
		r.Text = theirs(p, c)
		if strings.HasPrefix(c, "LIVE_STREAM_EXCEEDED_") {
			r.Reason = ReasonLimit
		}
	}
	return r
}

// theirs is what the owner of the account, or of the encoder, can do something about.
func theirs(p Params, code string) string {
	switch code {
	case "ENTRY_ID_NOT_FOUND":
		return fmt.Sprintf("partner %d has no live entry %s; check e= and p=", p.Partner, p.Entry)
	case "LIVE_STREAM_INVALID_TOKEN":
		return fmt.Sprintf("the token of entry %s is wrong; copy t= from the entry's broadcast address", p.Entry)
	case "LIVE_STREAM_EXCEEDED_MAX_PASSTHRU":
		return fmt.Sprintf("partner %d broadcasts as many live streams as its account allows; stop one of them", p.Partner)
	case "LIVE_STREAM_EXCEEDED_MAX_TRANSCODED":
		return fmt.Sprintf("partner %d broadcasts as many transcoded live streams as its account allows; stop one or use a pass-through profile", p.Partner)
	case "LIVE_STREAM_EXCEEDED_MAX_CONCURRENT_BY_ADMIN_TAG":
		return fmt.Sprintf("partner %d broadcasts as many live streams of this entry's admin tag as its account allows (BY_ADMIN_TAG); stop one of them", p.Partner)
	case "SERVICE_FORBIDDEN_CONTENT_BLOCKED":
		return fmt.Sprintf("partner %d is blocked or unknown; check p=, or ask the account's administrator", p.Partner)
	case "INVALID_PARTNER_ID", "UNKNOWN_PARTNER_ID":
		return fmt.Sprintf("there is no partner %d; check p=", p.Partner)
	case "SERVICE_FORBIDDEN":
		return fmt.Sprintf("partner %d may not broadcast live: the feature is off, or this server serves another partner; check p=, or ask the account's administrator", p.Partner)
	}
	if strings.HasPrefix(code, "LIVE_STREAM_EXCEEDED_") {
		return fmt.Sprintf("a limit of partner %d for live streams is reached (%s); stop one of them", p.Partner, code)
	}
	return fmt.Sprintf("Kaltura refuses entry %s (%s); check the address, or ask the account's administrator", p.Entry, code)
}

// ours is what only the operator of this server can do something about.
func ours(code string) string {
	switch code {
	case "INVALID_KS", "MISSING_KS", "ACCESS_UNAUTHORIZED", "USER_BLOCKED", "ACTION_BLOCKED":
		return fmt.Sprintf("this server's own session is not accepted by Kaltura (%s); its operator has to check the partner and the secret", code)
	case "MEDIA_SERVER_NOT_FOUND", "SERVER_NODE_NOT_FOUND":
		return fmt.Sprintf("Kaltura does not know this media server (%s); its operator has to register its host name", code)
	}
	return fmt.Sprintf("Kaltura does not understand this server (%s); its operator has to check kaltura.url and the log", code)
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
			Text: fmt.Sprintf("stream %s: the conversion profile of entry %s makes no outputs of it; choose another profile", id.StreamName(), id.Entry)}
	case errors.Is(err, ErrNoTemplate):
		return &Refusal{Reason: ReasonMedia, Err: err,
			Text: fmt.Sprintf("stream %s: Kaltura has no usable conversion template for it; check the conversion profile of entry %s", id.StreamName(), id.Entry)}
	case c == "INVALID_STREAM_NAME":
		return &Refusal{Reason: ReasonParams, Err: err,
			Text: fmt.Sprintf("stream name %s is not accepted by Kaltura; it has to be <entry id>_<index>", id.StreamName())}
	}
	return refuse(p, err)
}
