package bus

import (
	"context"
	"errors"
	"fmt"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

// API error codes of the server for which the client library has no name.
const (
	codeTemporary             jetstream.ErrorCode = 10008 // no leader
	codeNoPeers               jetstream.ErrorCode = 10005
	codeReplicasUnsupported   jetstream.ErrorCode = 10074
	codeInProcess             jetstream.ErrorCode = 10158 // the same message is on its way
	codeInsufficientResources jetstream.ErrorCode = 10023
	codeMemoryExceeded        jetstream.ErrorCode = 10028
	codeStorageExceeded       jetstream.ErrorCode = 10047
	codeStoreFailed           jetstream.ErrorCode = 10077
)

// busError gives an error of the client library one of our sentinels and says
// what was being done and what to do about it.
func busError(doing string, err error) error {
	if err == nil {
		return nil
	}
	if errors.Is(err, nats.ErrReconnectBufExceeded) {
		err = nats.ErrDisconnected // which is what it means: nothing is buffered meanwhile
	}
	advice, sentinel := classify(err)
	if sentinel == nil {
		return fmt.Errorf("bus: %s: %w", doing, err)
	}
	if advice == "" {
		return fmt.Errorf("%w: %s: %w", sentinel, doing, err)
	}
	return fmt.Errorf("%w: %s: %w: %s", sentinel, doing, err, advice)
}

func classify(err error) (advice string, sentinel error) {
	if advice, s := classifyAPI(err); s != nil {
		return advice, s
	}
	is := func(targets ...error) bool {
		for _, t := range targets {
			if errors.Is(err, t) {
				return true
			}
		}
		return false
	}
	switch {
	case is(ErrClosed, ErrNotFound, ErrConflict, ErrInvalid, ErrTooLarge, ErrUnavailable, ErrDenied, ErrFull, ErrNoReply):
		return "", nil // one of ours already
	case is(context.Canceled):
		return "", nil
	case is(nats.ErrConnectionClosed, nats.ErrConnectionDraining, nats.ErrBadSubscription):
		return "", ErrClosed
	case is(jetstream.ErrKeyNotFound, jetstream.ErrMsgNotFound):
		return "", ErrNotFound
	case is(nats.ErrMaxPayload):
		return "", ErrTooLarge
	case is(nats.ErrAuthorization, nats.ErrAuthExpired, nats.ErrAuthRevoked, nats.ErrAccountAuthExpired):
		return "check bus.user and bus.password, or bus.credentials", ErrDenied
	case is(nats.ErrPermissionViolation):
		return "let the user of bus.user or bus.credentials publish and subscribe to klive.>, $KV.>, $JS.API.>, $JS.ACK.> and _INBOX.>", ErrDenied
	case is(jetstream.ErrStreamNotFound):
		return "the bus has lost it; it is made anew in a moment", ErrUnavailable
	case is(nats.ErrConnectionReconnecting, nats.ErrReconnectBufExceeded, nats.ErrDisconnected, nats.ErrStaleConnection):
		return "the connection to the bus is lost and is made again; see that the bus runs (most of its nodes, when it is a cluster)", ErrUnavailable
	case is(nats.ErrNoServers, nats.ErrTimeout, nats.ErrNoResponders,
		jetstream.ErrNoStreamResponse, context.DeadlineExceeded):
		return "check bus.url, and that the bus runs (most of its nodes, when it is a cluster)", ErrUnavailable
	}
	return "", nil
}

// classifyAPI sorts the errors that the server itself reports.
func classifyAPI(err error) (advice string, sentinel error) {
	var api *jetstream.APIError
	if js := jetstream.JetStreamError(nil); errors.As(err, &js) && js.APIError() != nil {
		api = js.APIError()
	} else if !errors.As(err, &api) {
		return "", nil
	}
	switch api.ErrorCode {
	case jetstream.JSErrCodeStreamWrongLastSequence, jetstream.JSErrCodeStreamWrongLastSequenceConstant:
		return "", ErrConflict
	case codeInsufficientResources, codeMemoryExceeded, codeStorageExceeded, codeStoreFailed:
		return "delete what is not needed, or give the bus a larger bound or disk", ErrFull
	case jetstream.JSErrCodeStreamMessageExceedsMaximum:
		return "", ErrTooLarge
	case codeTemporary:
		return ErrElecting.Error(), ErrUnavailable
	case codeInProcess:
		return "the same message is on its way; it is tried again", ErrUnavailable
	case codeNoPeers:
		return "fewer bus nodes are there, and have room, than it takes: start those that are missing, or give them a larger bus.maxMemory and bus.maxStore", ErrUnavailable
	case codeReplicasUnsupported:
		return "bus.replicas above 1 needs a NATS cluster: set bus.replicas to 1, or name a cluster in bus.url", ErrInvalid
	case jetstream.JSErrCodeJetStreamNotEnabled, jetstream.JSErrCodeJetStreamNotEnabledForAccount:
		return "enable JetStream on the NATS server and for this account; a server whose disk is full has switched it off by itself", ErrUnavailable
	}
	return "", nil
}
