// Package gateway holds the encoders' connections: it asks Kaltura whether an encoder
// may publish (Admission), turns the source's wrapped clock into media time (clock), cuts
// frames into parts and segments (cutter) and puts them on the bus (Session). Each
// protocol has a package of its own below it, which knows the wire and nothing else.
package gateway

import (
	"time"

	"klive/infra/live"
	"klive/infra/media"
)

// Connect is what a protocol knows when an encoder has said where it wants to publish.
type Connect struct {
	// Protocol is "rtmp", "rtmps", "srt", "whip" or "push".
	Protocol string
	// Peer is the encoder's network address.
	Peer   string
	Params Params
}

// Publish is what a protocol knows when an encoder has named its stream.
type Publish struct {
	// Name is the stream name, "<entry>_<suffix>" or a bare entry id.
	Name string
	// Encoder is what the encoder calls itself; may be empty.
	Encoder string
	Clock   SourceClock
	// Joins says that the stream is another bitrate of one that is on the air, with its keyframes
	// in the same pictures: it begins where a segment of that one does.
	Joins bool
	// Link tells how the connection does, for the feed's record; nil where the protocol knows
	// nothing of it. It is called from another goroutine, once a second.
	Link func() live.LinkStats
	// Suits says whether something can be made of the stream by the ladder that it gets; nil takes
	// any. Its error is a *Refusal.
	Suits func(live.Ladder) error
}

// SourceClock says how a protocol counts time.
type SourceClock struct {
	// Rate is in ticks per second: 1000 for RTMP, 90000 for MPEG-TS.
	Rate uint32
	// Bits is the width at which the counter wraps: 32 for RTMP, 33 for MPEG-TS, at most 64.
	Bits uint8
}

// AccessUnit is one access unit as it came from the encoder.
type AccessUnit struct {
	Track media.TrackID
	// Time is the source's decode time in ticks of the publish's SourceClock, wrapped.
	Time uint64
	// Offset is presentation minus decode time in ticks.
	Offset int32
	Key    bool
	// Came is when it arrived, where that is not when it is written; zero is now.
	Came time.Time
	// Payload becomes the frame's: see [media.Frame]. The gateway keeps it.
	Payload []byte
}

// Publication is one publish on the air: what a protocol feeds and watches. *Session
// implements it.
type Publication interface {
	// SetTrack announces a track, or its new parameters, for the access units that follow.
	SetTrack(media.Track) error
	// Expect says of which kinds the tracks are that the encoder has announced, one for each
	// track, so that the first segment can wait a moment for all of them.
	Expect(kinds ...media.Kind)
	// Write takes one access unit. It waits for the bus only where time begins or jumps, for at
	// most three seconds; an error ends the publication and says why.
	Write(AccessUnit) error
	// Data takes timed data that goes along with the media, as far as bounds allow.
	Data(Datum) error
	// Done is closed when the gateway ends the publication by itself: kicked, taken over,
	// shut down. Err then says why, in words for the encoder.
	Done() <-chan struct{}
	Err() error
	// Close ends the publication; cause is nil when the encoder stopped in order. It returns
	// when the last part is on the bus.
	Close(cause error)
}

// Datum is timed data as an encoder sends it.
type Datum struct {
	Format media.DataFormat
	// Time is in ticks of the source clock, wrapped; only when Timed is set. Else it means now.
	Time    uint64
	Timed   bool
	Payload []byte
}

// Reason classifies a refusal, so that each protocol can map it to its own codes.
type Reason string

// The reasons for refusing an encoder.
const (
	ReasonParams    Reason = "params"     // the address lacks something or is malformed
	ReasonAuth      Reason = "auth"       // Kaltura says no: entry, token, permission
	ReasonLimit     Reason = "limit"      // a limit of the partner or of this gateway
	ReasonBusy      Reason = "busy"       // the stream name is on the air
	ReasonNotReady  Reason = "not-ready"  // this gateway can't take a stream now
	ReasonAPI       Reason = "api"        // Kaltura did not answer
	ReasonMedia     Reason = "media"      // codec or stream can't be used
	ReasonKicked    Reason = "kicked"     // Kaltura or an operator ended it
	ReasonTakenOver Reason = "taken-over" // another connection publishes this stream name now
	ReasonShutdown  Reason = "shutdown"   // this gateway is going down
)

// Refusal is the error with which a connect or publish is refused, or a publication ended.
// Its text is for the encoder's operator: what is wrong and what to do. It never holds a token.
type Refusal struct {
	Reason Reason
	Text   string
	// Err is the cause for the log; may be nil.
	Err error
	// Told says that the operator's log has a line for it.
	Told bool
}

func (r *Refusal) Error() string { return r.Text }

// Unwrap returns the cause.
func (r *Refusal) Unwrap() error { return r.Err }

// Limits of the clock and the cutter (design rules "one clock" and "one grid").
const (
	// MaxJump is the distance between two source times beyond which time is anchored anew.
	MaxJump = 10 * time.Second
	// AlignWindow is how closely the source clocks of two feeds of one (entry, index) must
	// agree to share one mapping.
	AlignWindow = time.Second
	// MaxTarget is the longest target duration.
	MaxTarget = 12 * time.Second
)
