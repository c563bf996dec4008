package gateway

import (
	"context"
	"errors"
	"fmt"
	"time"

	"klive/infra/bus"
	"klive/infra/live"
)

// API is what a gateway asks of Kaltura. An error that wraps an *[APIError] is an answer
// that says no; every other error means that there was no answer.
type API interface {
	// Authenticate asks whether the encoder may publish (contract §3.1).
	Authenticate(context.Context, AuthRequest) (EntryFacts, error)
	// Ladder asks what is to be made of one published stream (contract §3.7). It returns
	// [ErrNoOutputs] when nothing is, [ErrUnknownStream] when the entry has no such stream.
	Ladder(context.Context, LadderRequest) (live.Ladder, error)
}

// AuthRequest is what an encoder has shown.
type AuthRequest struct {
	Partner int
	Entry   string
	// Token is nil when the encoder sent none.
	Token *string
	Index live.Index
}

// EntryFacts is what a gateway needs to know of an entry.
type EntryFacts struct {
	DVR bool
	// DVRWindow is what the entry asks for; 0 when it doesn't say.
	DVRWindow time.Duration
	// Record is the entry's recordStatus (contract §4).
	Record          int
	RecordedEntryID string
	// SegmentDuration is the entry's own; 0 when it has none.
	SegmentDuration time.Duration
	// SRTPass is the entry's passphrase for SRT; empty when it has none.
	SRTPass string
	// ConversionProfileID says which profile the ladder comes from.
	ConversionProfileID int
}

// LadderRequest names a published stream.
type LadderRequest struct {
	Partner             int
	Entry               string
	StreamName          string
	Suffix              int
	ConversionProfileID int
}

// APIError is an error answer of Kaltura's API. Message must not hold a token or KS.
type APIError struct {
	Code, Message string
}

func (e *APIError) Error() string { return fmt.Sprintf("Kaltura answers %s: %s", e.Code, e.Message) }

// ErrNoOutputs says that an entry's conversion profile makes nothing of a stream.
var ErrNoOutputs = errors.New("gateway: the conversion profile has no outputs for the stream")

// ErrUnknownStream says that an entry's conversion profile knows no stream of that suffix.
var ErrUnknownStream = errors.New("gateway: the conversion profile does not know the stream's suffix")

// Bucket is what a gateway needs of a control-plane bucket; *bus.Bucket has it.
type Bucket interface {
	Get(ctx context.Context, key string) (bus.KeyValue, error)
	Create(ctx context.Context, key string, value []byte, ttl time.Duration) (revision uint64, err error)
	Update(ctx context.Context, key string, value []byte, revision uint64) (next uint64, err error)
	List(ctx context.Context, pattern string) ([]bus.KeyValue, error)
}

// Counter gives out numbers that are never given out twice; *bus.Bucket has it.
type Counter interface {
	Next(ctx context.Context, key string) (uint64, error)
}

// Publisher is the side of the media plane that a gateway uses; bus.Media has it.
type Publisher interface {
	Publish(ctx context.Context, subject, id string, body bus.Body) (seq uint64, err error)
}

// Subscribe calls f for each notice on the subjects that match the pattern, until stop is
// called; stop waits for f.
type Subscribe func(pattern string, f func(subject string, data []byte)) (stop func(), err error)
