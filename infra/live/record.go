package live

import (
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"klive/infra/media"
)

// FeedsBucket is the control-plane bucket of feed records, keyed by [FeedID.String].
const FeedsBucket = "feeds"

// EpochsBucket is the control-plane bucket of counters, keyed by entry: the last feed
// epoch given out.
const EpochsBucket = "epochs"

// ClocksBucket is the control-plane bucket where gateways agree on mappings: a
// [ClockRecord] as JSON under "<entry>.<index>", the mapping that was anchored last. Its
// values live as long as feed records.
const ClocksBucket = "clocks"

// ClaimsBucket is the control-plane bucket in which gateways agree on who answers the first
// requests of a feed that is no connection: the internal address of one, by [FeedID.String]. A
// claim lives until the feed's record is there.
const (
	ClaimsBucket = "claims"
	ClaimLife    = 10 * time.Second
)

// BroadcastsBucket is the control-plane bucket of [BroadcastRecord]s, keyed by entry.
const BroadcastsBucket = "broadcasts"

// KickSubject is where a worker asks every gateway to drop an entry's publishers; the
// notice is a [Kick].
func KickSubject(entry string) string { return "ctl.kick." + entry }

// PinsBucket is the control-plane bucket of [PinRecord]s, keyed by entry.
const PinsBucket = "pins"

// PinRecord is an operator's choice between an entry's two encoders. It holds until it is taken
// back or the broadcast is over.
type PinRecord struct {
	Version int   `json:"v"`
	Index   Index `json:"index"`
	// At is when it was chosen.
	At time.Time `json:"at"`
}

// Marshal returns the record's wire form.
func (r PinRecord) Marshal() ([]byte, error) {
	r.Version = pinRecordVersion
	return json.Marshal(r)
}

// UnmarshalPinRecord reads what [PinRecord.Marshal] wrote.
func UnmarshalPinRecord(b []byte) (PinRecord, error) {
	var r PinRecord
	if err := json.Unmarshal(b, &r); err != nil {
		return r, fmt.Errorf("live: pin record: %w", err)
	}
	if r.Version != pinRecordVersion {
		return r, fmt.Errorf("pin record version %d: %w", r.Version, ErrVersion)
	}
	if r.Index != Primary && r.Index != Backup {
		return r, fmt.Errorf("live: pin record: index %d", r.Index)
	}
	return r, nil
}

// Kick is the notice on [KickSubject].
type Kick struct {
	Reason string `json:"reason"`
}

// ParseKick reads a notice on [KickSubject]; one that can't be read still kicks.
func ParseKick(data []byte) Kick {
	k := Kick{}
	if err := json.Unmarshal(data, &k); err != nil || k.Reason == "" {
		k.Reason = "no reason given"
	}
	return k
}

// FeedBeat is how often a gateway refreshes the record of a feed it holds, FeedLook how often it
// looks whether the record has to say something else sooner, and FeedStale the age at which a
// record that was not refreshed counts as a dead gateway's: longer than a cluster of NATS servers
// needs to elect a leader, when no record can be written.
const (
	FeedBeat  = 2 * time.Second
	FeedLook  = time.Second
	FeedStale = 12 * time.Second
)

// FeedRecord is what the control plane knows of a feed. Its gateway writes it at open, each
// [FeedBeat], within [FeedLook] of what [FeedRecord.Tells] finds, and at close.
type FeedRecord struct {
	Version int  `json:"v"`
	Feed    Feed `json:"feed"`
	// Gateway is the internal address of the process that holds the encoder.
	Gateway  string    `json:"gateway"`
	Protocol string    `json:"protocol"`
	Peer     string    `json:"peer"`
	Encoder  string    `json:"encoder,omitempty"`
	Opened   time.Time `json:"opened"`
	Beat     time.Time `json:"beat"`
	// Closed is when the feed ended, in order; zero while it is open.
	Closed time.Time `json:"closed,omitzero"`
	// FirstSeq is the media-plane number of the feed's first part, 1; 0 until it is out.
	FirstSeq uint64 `json:"firstSeq,omitempty"`
	// Target is the target duration that the feed is cut for; 0 until it is known.
	Target time.Duration `json:"target,omitempty"`
	Grant  Grant         `json:"grant"`
	Clock  ClockRecord   `json:"clock"`
	Stats  FeedStats     `json:"stats"`
	// Due is when media are due again, when those will have been shown that came: later than their
	// arrival where they come ahead of time, as those of a packager's segments do. Zero when no media
	// came, or the gateway does not say (a release before it was measured).
	Due time.Time `json:"due,omitzero"`
}

// ClockRecord lets another feed of the same (entry, index) join this feed's mapping from
// source time to media time.
type ClockRecord struct {
	// Offset is media time minus unwrapped source time.
	Offset time.Duration `json:"offset"`
	// LastMedia is the end of the newest frame, LastArrival the wall clock when it came.
	LastMedia   media.Time `json:"lastMedia"`
	LastArrival media.Time `json:"lastArrival"`
}

// Recent reports whether the feed is on the air, or was within the given time before now. That may be
// less than a record's age while its gateway still holds the feed.
func (r *FeedRecord) Recent(now time.Time, within time.Duration) bool {
	last := r.Beat
	if !r.Closed.IsZero() {
		last = r.Closed
	}
	return r.Alive(now) || now.Sub(last) <= within
}

// Quiet reports whether nothing had come for a while when the record was written.
func (r *FeedRecord) Quiet() bool {
	return r.Clock.LastArrival == 0 || r.Beat.Sub(r.Clock.LastArrival.Std()) >= FeedLook
}

// Silence is for how long the feed has sent nothing that was due; 0 when no media came yet.
func (r *FeedRecord) Silence(now time.Time) time.Duration {
	if r.Clock.LastArrival == 0 {
		return 0
	}
	since := r.Clock.LastArrival.Std()
	if r.Due.After(since) {
		since = r.Due
	}
	return max(0, now.Sub(since))
}

// Behind is how long after it was written a record may be all that is known of when media came last.
func (r *FeedRecord) Behind() time.Duration {
	if r.Quiet() {
		return FeedLook
	}
	return FeedBeat
}

// Tells reports whether the record, that of a feed whose record was before until now, says what
// others decide by and can't wait for: that media come or come no more, how good they are, and what
// they are.
func (r *FeedRecord) Tells(before *FeedRecord) bool {
	return r.Quiet() != before.Quiet() || !equal(r.Stats.Health, before.Stats.Health) ||
		r.Stats.Video != before.Stats.Video || r.Stats.Audio != before.Stats.Audio ||
		r.Stats.Width != before.Stats.Width || r.Stats.Height != before.Stats.Height
}

// equal reports whether two scores that may be unknown are the same.
func equal(a, b *int) bool { return a == b || a != nil && b != nil && *a == *b }

// BroadcastRecord is what gateways need to know of an entry's current broadcast. The
// entry's owner writes it when it has adopted an item and when the broadcast ends.
type BroadcastRecord struct {
	Version int        `json:"v"`
	ID      string     `json:"id"`
	Start   media.Time `json:"start"`
	// Target is the broadcast's target duration.
	Target time.Duration `json:"target"`
	// LastEnd is the end of the last item: nothing may be anchored before it.
	LastEnd media.Time `json:"lastEnd"`
	Ended   bool       `json:"ended,omitempty"`
}

// Marshal returns the record's wire form.
func (r BroadcastRecord) Marshal() ([]byte, error) {
	r.Version = broadcastRecordVersion
	return json.Marshal(r)
}

// UnmarshalBroadcastRecord reads what [BroadcastRecord.Marshal] wrote.
func UnmarshalBroadcastRecord(b []byte) (BroadcastRecord, error) {
	var r BroadcastRecord
	if err := json.Unmarshal(b, &r); err != nil {
		return r, fmt.Errorf("live: broadcast record: %w", err)
	}
	if r.Version != broadcastRecordVersion {
		return r, fmt.Errorf("broadcast record version %d: %w", r.Version, ErrVersion)
	}
	return r, nil
}

// RegistrationsBucket is the control-plane bucket of [RegistrationRecord]s, keyed by entry.
const RegistrationsBucket = "registrations"

// RegistrationRecord says under which indexes an entry may be registered with Kaltura. The
// entry's owner writes it before it registers and after it has unregistered; who owns the entry
// next takes back what the one before could not.
type RegistrationRecord struct {
	Version   int   `json:"v"`
	PartnerID int   `json:"partnerId"`
	Indexes   []int `json:"indexes"`
}

// Marshal returns the record's wire form.
func (r RegistrationRecord) Marshal() ([]byte, error) {
	r.Version = registrationRecordVersion
	return json.Marshal(r)
}

// UnmarshalRegistrationRecord reads what [RegistrationRecord.Marshal] wrote.
func UnmarshalRegistrationRecord(b []byte) (RegistrationRecord, error) {
	var r RegistrationRecord
	if err := json.Unmarshal(b, &r); err != nil {
		return r, fmt.Errorf("live: registration record: %w", err)
	}
	if r.Version != registrationRecordVersion {
		return r, fmt.Errorf("registration record version %d: %w", r.Version, ErrVersion)
	}
	for _, i := range r.Indexes {
		if i != int(Primary) && i != int(Backup) {
			return r, fmt.Errorf("live: registration record: index %d", i)
		}
	}
	return r, nil
}

// FeedStats is what an operator wants to see of a feed, measured over the last seconds.
type FeedStats struct {
	Video     string  `json:"video,omitempty"` // "H264"
	Audio     string  `json:"audio,omitempty"` // "AAC"
	Width     int     `json:"width,omitempty"`
	Height    int     `json:"height,omitempty"`
	FrameRate float64 `json:"frameRate,omitempty"`
	Bitrate   int64   `json:"bitrate"` // bit/s
	Bytes     uint64  `json:"bytes"`   // since the feed opened
	Frames    uint64  `json:"frames"`
	// Health is how much of the last ten seconds the feed brought media for, less what was left
	// out as damaged: 0 to 100. Nil when the gateway does not say (a release before it was measured).
	Health *int `json:"health,omitempty"`
	// Link is the state of the connection, for protocols that know it; nil for others.
	Link *LinkStats `json:"link,omitempty"`
}

// LinkStats is how a connection does that may lose packets. All counts are since it opened.
type LinkStats struct {
	RTT     float64 `json:"rtt"`     // ms, smoothed
	Latency float64 `json:"latency"` // ms, the time there is for repeats
	// Received counts packets, repeats included. Lost were missing when they were due in the
	// order of sending, Retransmitted came again. Belated came too late, Dropped never came in
	// time: those are gone.
	Received      uint64 `json:"received"`
	Lost          uint64 `json:"lost"`
	Retransmitted uint64 `json:"retransmitted"`
	Belated       uint64 `json:"belated"`
	Dropped       uint64 `json:"dropped"`
	Undecrypted   uint64 `json:"undecrypted,omitempty"`
	Encrypted     bool   `json:"encrypted"`
	// Damaged are the access units that were left out because bytes of them are missing.
	Damaged uint64 `json:"damaged"`
	// NACKs are requests for packets, PLIs requests for keyframes; both of WHIP alone.
	NACKs uint64 `json:"nacks,omitempty"`
	PLIs  uint64 `json:"plis,omitempty"`
}

// Alive reports whether a gateway held the feed at the given moment.
func (r *FeedRecord) Alive(now time.Time) bool {
	return r.Closed.IsZero() && now.Sub(r.Beat) < FeedStale
}

const (
	feedRecordVersion         = 1
	broadcastRecordVersion    = 1
	registrationRecordVersion = 1
	pinRecordVersion          = 1
)

// ErrVersion is returned for a wire form that a newer or unknown release wrote.
var ErrVersion = errors.New("live: unknown version of a wire form; is another release of klive on this bus?")

// Marshal returns the record's wire form.
func (r FeedRecord) Marshal() ([]byte, error) {
	r.Version = feedRecordVersion
	return json.Marshal(r)
}

// UnmarshalFeedRecord reads what [FeedRecord.Marshal] wrote.
func UnmarshalFeedRecord(b []byte) (FeedRecord, error) {
	var r FeedRecord
	if err := json.Unmarshal(b, &r); err != nil {
		return r, fmt.Errorf("live: feed record: %w", err)
	}
	if r.Version != feedRecordVersion {
		return r, fmt.Errorf("feed record version %d: %w", r.Version, ErrVersion)
	}
	return r, nil
}
