package srt

import (
	"errors"

	srt "github.com/datarhei/gosrt"

	"klive/gateway"
)

// Refusals that SRT itself has codes for.
var (
	errUnsecure = &gateway.Refusal{Reason: gateway.ReasonAuth, Text: "the entry asks for encryption: set the entry's SRT passphrase in the encoder"}
	errPlain    = &gateway.Refusal{Reason: gateway.ReasonAuth, Text: "the entry has no SRT passphrase: switch encryption off in the encoder, or give the entry one"}
	errSecret   = &gateway.Refusal{Reason: gateway.ReasonAuth, Text: "the passphrase is wrong: copy the entry's SRT passphrase into the encoder"}
)

// rejection is the code with which a caller is refused (SRT access control, "Rejection
// codes"; the first three are SRT's own).
func rejection(err error) srt.RejectionReason {
	var mode *refusedMode
	var r *gateway.Refusal
	switch {
	case errors.Is(err, errUnsecure), errors.Is(err, errPlain):
		return srt.REJ_UNSECURE
	case errors.Is(err, errSecret):
		return srt.REJ_BADSECRET
	case errors.As(err, &mode):
		return srt.REJX_BAD_MODE
	case !errors.As(err, &r):
		return srt.REJX_ISE
	}
	switch r.Reason {
	case gateway.ReasonParams:
		return srt.REJX_BAD_REQUEST
	case gateway.ReasonAuth:
		return authRejection(r)
	case gateway.ReasonLimit:
		return srt.REJX_OVERLOAD
	case gateway.ReasonBusy:
		return srt.REJX_CONFLICT
	case gateway.ReasonMedia:
		return srt.REJX_UNACCEPTABLE
	case gateway.ReasonAPI:
		return srt.REJX_GW
	case gateway.ReasonNotReady, gateway.ReasonShutdown:
		return srt.REJX_DOWN
	}
	return srt.REJX_FORBIDDEN
}

// authRejection tells a wrong token from an entry that is not there and from what may not be.
func authRejection(r *gateway.Refusal) srt.RejectionReason {
	var api *gateway.APIError
	if errors.As(r.Err, &api) {
		switch api.Code {
		case "ENTRY_ID_NOT_FOUND":
			return srt.REJX_NOTFOUND
		case "LIVE_STREAM_INVALID_TOKEN":
			return srt.REJX_UNAUTHORIZED
		}
	}
	return srt.REJX_FORBIDDEN
}
