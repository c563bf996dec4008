package node

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"strconv"
	"time"

	"klive/gateway"
	"klive/infra/kaltura"
	"klive/infra/live"
	"klive/workers/registrar"
)

// admissionAPI lets a gateway ask Kaltura through the client.
type admissionAPI struct {
	client      *kaltura.Client
	partner     int // the client's own partner; negative when it acts for every entry's
	application string
	byProfile   bool // ladders come from the profile itself
	log         *slog.Logger
}

// Authenticate implements [gateway.API] (contract §3.1).
func (a admissionAPI) Authenticate(ctx context.Context, r gateway.AuthRequest) (live.EntryFacts, error) {
	if a.partner >= 0 && r.Partner != a.partner {
		// Without impersonation the API would refuse it anyway, in words about services.
		return live.EntryFacts{}, &gateway.APIError{
			Code:    kaltura.CodeForbidden,
			Message: fmt.Sprintf("this klive serves partner %d alone; the address names partner %d", a.partner, r.Partner),
		}
	}
	e, err := a.client.Authenticate(ctx, r.Partner, kaltura.AuthenticateRequest{
		EntryID: r.Entry, Token: r.Token, Index: int(r.Index), ApplicationName: a.application,
	})
	if err != nil {
		return live.EntryFacts{}, gatewayError(err)
	}
	return facts(e), nil
}

// facts is what klive needs of an entry.
func facts(e *kaltura.LiveStreamEntry) live.EntryFacts {
	return live.EntryFacts{
		DVR:                 e.DVRStatus == 1,
		DVRWindow:           time.Duration(e.DVRWindow) * time.Minute,
		Record:              e.RecordStatus,
		RecordedEntryID:     e.RecordedEntryID,
		SegmentDuration:     time.Duration(e.SegmentDuration) * time.Millisecond,
		SRTPass:             e.SRTPass,
		ConversionProfileID: e.ConversionProfileID,
		Started:             e.CurrentBroadcastStartTime > 0,
	}
}

// Ladder implements [gateway.API]: the template says what is made of the stream, the
// entry's assets say under which ids (contract §3.7, §6.2, §6.4).
func (a admissionAPI) Ladder(ctx context.Context, r gateway.LadderRequest) (live.Ladder, error) {
	assets, err := a.assets(ctx, r)
	if err != nil && a.byProfile {
		return live.Ladder{}, gatewayError(err)
	}
	if err != nil {
		// The template alone is enough to go on air (row 38).
		a.log.Warn("can't load the entry's assets", "entry", r.Entry, "error", err)
	}
	if assets != nil && len(assets.Live) > 0 && !assets.HasSuffix(strconv.Itoa(r.Suffix)) {
		return live.Ladder{}, gateway.ErrUnknownStream
	}
	ladder, err := a.outputs(ctx, r, assets)
	switch odd, answered := errors.AsType[*kaltura.AnswerError](err); {
	case kaltura.IsCode(err, kaltura.CodeIngestNotInProfile):
		return live.Ladder{}, fmt.Errorf("%w: %w", gateway.ErrUnknownStream, err)
	case errors.Is(err, kaltura.ErrNoOutputs):
		return live.Ladder{}, fmt.Errorf("%w: %w", gateway.ErrNoOutputs, err)
	case errors.Is(err, kaltura.ErrTemplate), answered && odd.Status == http.StatusOK:
		return live.Ladder{}, fmt.Errorf("%w: %w", gateway.ErrNoTemplate, err)
	case err != nil:
		return live.Ladder{}, gatewayError(err)
	}
	if assets != nil {
		assets.Complete(&ladder)
	}
	for _, note := range ladder.Notes {
		a.log.Warn("not everything that the conversion profile asks for can be done", "entry", r.Entry, "stream", r.StreamName, "what", note)
	}
	return ladder, nil
}

// assets loads what the entry's profile consists of; nil when the entry has none.
func (a admissionAPI) assets(ctx context.Context, r gateway.LadderRequest) (*kaltura.Assets, error) {
	if r.ConversionProfileID <= 0 && !a.byProfile {
		return nil, nil
	}
	return a.client.LoadAssets(ctx, r.Partner, r.ConversionProfileID, r.Entry)
}

// outputs makes the ladder from what kaltura.ladder names.
func (a admissionAPI) outputs(ctx context.Context, r gateway.LadderRequest, assets *kaltura.Assets) (live.Ladder, error) {
	if a.byProfile {
		return assets.Ladder(strconv.Itoa(r.Suffix))
	}
	document, err := a.client.Template(ctx, r.Partner, r.StreamName, a.client.Hostname())
	if kaltura.IsCode(err, kaltura.CodeNoService, kaltura.CodeNoAction, kaltura.CodeForbidden) {
		a.log.Warn("this Kaltura gives no transcoding template: let it serve wowza_liveConversionProfile to this host (internal_ip_range), or set kaltura.ladder to profile", "error", err)
	}
	if err != nil {
		return live.Ladder{}, err
	}
	return kaltura.ParseTemplate(document, r.Entry)
}

// gatewayError turns the API's no into the gateway's words; other errors stay as they are.
func gatewayError(err error) error {
	var e *kaltura.APIError
	if errors.As(err, &e) && !kaltura.Unavailable(err) {
		return &gateway.APIError{Code: e.Code, Message: e.Message}
	}
	return err
}

// registrarAPI lets a registrar tell Kaltura through the client.
type registrarAPI struct{ client *kaltura.Client }

// RegisterMediaServer implements [registrar.API] (contract §3.2).
func (a registrarAPI) RegisterMediaServer(ctx context.Context, c registrar.Call) (live.EntryFacts, error) {
	e, err := a.client.RegisterMediaServer(ctx, c.Partner, kaltura.RegisterRequest{
		EntryID: c.Entry, Hostname: c.Hostname, Index: int(c.Index), ApplicationName: c.Application,
		LiveEntryStatus: int(c.Status),
	})
	if err != nil {
		return live.EntryFacts{}, registrarError(err)
	}
	return facts(e), nil
}

// SetBroadcastStart implements [registrar.API] (contract §3.11).
func (a registrarAPI) SetBroadcastStart(ctx context.Context, partner int, entry string, at time.Time) error {
	return registrarError(a.client.SetBroadcastStart(ctx, partner, entry, float64(at.UnixMilli())/1000))
}

// UnregisterMediaServer implements [registrar.API] (contract §3.3). An entry that is off
// already is no error.
func (a registrarAPI) UnregisterMediaServer(ctx context.Context, c registrar.Call) error {
	_, err := a.client.UnregisterMediaServer(ctx, c.Partner, kaltura.UnregisterRequest{
		EntryID: c.Entry, Hostname: c.Hostname, Index: int(c.Index),
	})
	if kaltura.IsCode(err, kaltura.CodeEntryNodeNotFound) {
		return nil
	}
	return registrarError(err)
}

// registrarError says what kind of error the API's is, and what an operator can do about it.
func registrarError(err error) error {
	var e *kaltura.APIError
	kind := registrar.ErrRefused
	switch {
	case err == nil:
		return nil
	case kaltura.Unavailable(err) || !errors.As(err, &e):
		return err
	case e.Code == kaltura.CodeContentBlocked:
		kind = registrar.ErrBlocked
	}
	if advice := advice(e.Code); advice != "" {
		return fmt.Errorf("%w: %w; %s", kind, err, advice)
	}
	return fmt.Errorf("%w: %w", kind, err)
}

// advice is what to do about an error code of the calls about media servers (contract §3.2, §3.3).
func advice(code string) string {
	switch code {
	case kaltura.CodeEntryNotFound:
		return "the entry was removed, or belongs to another partner; end the stream (klive feed kick), or restore the entry"
	case kaltura.CodeServerNodeNotFound, kaltura.CodeNodeNotFound:
		return "add a server node with the host name of kaltura.hostname at Kaltura and enable it"
	case kaltura.CodeInvalidKS, kaltura.CodeMissingKS, "ACCESS_UNAUTHORIZED", "USER_BLOCKED", "ACTION_BLOCKED":
		return "check kaltura.partnerId and kaltura.secret, and from which addresses Kaltura takes this partner's calls"
	case kaltura.CodeForbidden:
		return "give the media servers' partner its permissions at Kaltura"
	case "INVALID_ENUM_VALUE":
		return "a Kaltura of 2015 does not know the status: set kaltura.liveEntryStatus to false"
	}
	return ""
}
