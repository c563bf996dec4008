package node

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
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
	log         *slog.Logger
}

// Authenticate implements [gateway.API] (contract §3.1).
func (a admissionAPI) Authenticate(ctx context.Context, r gateway.AuthRequest) (gateway.EntryFacts, error) {
	if a.partner >= 0 && r.Partner != a.partner {
		// Without impersonation the API would refuse it anyway, in words about services.
		return gateway.EntryFacts{}, &gateway.APIError{
			Code:    kaltura.CodeForbidden,
			Message: fmt.Sprintf("this klive serves partner %d alone; the address names partner %d", a.partner, r.Partner),
		}
	}
	e, err := a.client.Authenticate(ctx, r.Partner, kaltura.AuthenticateRequest{
		EntryID: r.Entry, Token: r.Token, Index: int(r.Index), ApplicationName: a.application,
	})
	if err != nil {
		return gateway.EntryFacts{}, gatewayError(err)
	}
	return gateway.EntryFacts{
		DVR:                 e.DVRStatus == 1,
		DVRWindow:           time.Duration(e.DVRWindow) * time.Minute,
		Record:              e.RecordStatus,
		RecordedEntryID:     e.RecordedEntryID,
		SegmentDuration:     time.Duration(e.SegmentDuration) * time.Millisecond,
		SRTPass:             e.SRTPass,
		ConversionProfileID: e.ConversionProfileID,
	}, nil
}

// Ladder implements [gateway.API]: the template says what is made of the stream, the
// entry's assets say under which ids (contract §3.7, §6.2, §6.4).
func (a admissionAPI) Ladder(ctx context.Context, r gateway.LadderRequest) (live.Ladder, error) {
	assets, err := a.client.LoadAssets(ctx, r.Partner, r.ConversionProfileID, r.Entry)
	if err != nil {
		// The template alone is enough to go on air (row 38).
		a.log.Warn("can't load the entry's assets", "entry", r.Entry, "error", err)
		assets = nil
	}
	if assets != nil && len(assets.Live) > 0 && !assets.HasSuffix(strconv.Itoa(r.Suffix)) {
		return live.Ladder{}, gateway.ErrUnknownStream
	}
	document, err := a.client.Template(ctx, r.Partner, r.StreamName, a.client.Hostname())
	if err != nil {
		if kaltura.IsCode(err, kaltura.CodeIngestNotInProfile) {
			return live.Ladder{}, fmt.Errorf("%w: %w", gateway.ErrUnknownStream, err)
		}
		return live.Ladder{}, gatewayError(err)
	}
	ladder, err := kaltura.ParseTemplate(document, r.Entry)
	if errors.Is(err, kaltura.ErrNoOutputs) {
		return live.Ladder{}, gateway.ErrNoOutputs
	}
	if err != nil {
		return live.Ladder{}, err
	}
	if assets != nil {
		assets.Complete(&ladder)
	}
	return ladder, nil
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
func (a registrarAPI) RegisterMediaServer(ctx context.Context, c registrar.Call) error {
	_, err := a.client.RegisterMediaServer(ctx, c.Partner, kaltura.RegisterRequest{
		EntryID: c.Entry, Hostname: c.Hostname, Index: int(c.Index), ApplicationName: c.Application,
		LiveEntryStatus: int(c.Status),
	})
	return registrarError(err)
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

func registrarError(err error) error {
	var e *kaltura.APIError
	switch {
	case err == nil:
		return nil
	case kaltura.IsCode(err, kaltura.CodeContentBlocked):
		return fmt.Errorf("%w: %w", registrar.ErrBlocked, err)
	case errors.As(err, &e):
		return fmt.Errorf("%w: %w", registrar.ErrRefused, err)
	}
	return err
}
