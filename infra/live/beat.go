package live

import (
	"encoding/json"
	"fmt"
	"strings"
	"time"
)

const beatVersion = 1

// Limits of what a beat lists.
const (
	maxBeatRoles = 16
	maxBeatText  = 256
	maxBeatAway  = 512
)

// Beat is what each process of a deployment says of itself, about twice a second, to all
// others.
type Beat struct {
	Version int `json:"v"`
	// Name names the process; no two that run share one.
	Name string `json:"name"`
	// Roles are what it does: gateway, worker, origin, control.
	Roles []string `json:"roles,omitempty"`
	// Release is the version of klive that it runs.
	Release string `json:"release,omitempty"`
	// Internal is the address by which others reach it; empty when they can't.
	Internal string `json:"internal,omitempty"`
	// Time is its wall clock.
	Time  time.Time `json:"time"`
	Ready bool      `json:"ready"`
	// Why is why it is not ready, or is and takes no new streams, at most 512 bytes.
	Why string `json:"why,omitempty"`
	// Draining says that it was asked to end: it takes nothing on.
	Draining bool `json:"draining,omitempty"`
	// BusRTT is how long the bus took for its last answer.
	BusRTT time.Duration `json:"busRtt,omitempty"`
	// Feeds is how many encoders it holds.
	Feeds int `json:"feeds,omitempty"`
	// Worker is set by a process that owns live entries; Spool by one that keeps media for a
	// store that is away.
	Worker *WorkerBeat `json:"worker,omitempty"`
	Spool  *SpoolBeat  `json:"spool,omitempty"`
	// Transcode is set by a process that takes transcode jobs, or would.
	Transcode *TranscodeBeat `json:"transcode,omitempty"`
}

// WorkerBeat is what a worker says of its share of the live entries.
type WorkerBeat struct {
	// Owned is how many entries it owns or is about to.
	Owned int `json:"owned"`
	// Load is the sum of their feeds' bitrates in bit/s.
	Load int64 `json:"load"`
}

// Weight compares workers: entries, and each 10 Mbit/s of them as much as one more.
func (w WorkerBeat) Weight() float64 { return float64(w.Owned) + float64(w.Load)/10e6 }

// SpoolBeat is what waits on a process's disk for the store.
type SpoolBeat struct {
	Bytes int64 `json:"bytes"`
	// Oldest is when the oldest of it came; zero when nothing waits.
	Oldest time.Time `json:"oldest,omitzero"`
	// Away is why the store does not take it, at most 512 bytes; empty while it does.
	Away string `json:"away,omitempty"`
}

// TranscodeBeat is what a transcode worker says of itself.
type TranscodeBeat struct {
	// Away is why it takes no jobs, at most 512 bytes; empty while it does.
	Away string `json:"away,omitempty"`
}

// Marshal returns the beat's wire form.
func (b Beat) Marshal() ([]byte, error) {
	b.Version = beatVersion
	b.Why = cutAway(b.Why)
	if b.Spool != nil {
		short := *b.Spool
		short.Away = cutAway(short.Away)
		b.Spool = &short
	}
	if b.Transcode != nil {
		b.Transcode = &TranscodeBeat{Away: cutAway(b.Transcode.Away)}
	}
	return json.Marshal(b)
}

// cutAway keeps a reason's beginning, without what JSON would write longer than it is.
func cutAway(why string) string {
	return strings.ToValidUTF8(why[:min(len(why), maxBeatAway)], "")
}

// UnmarshalBeat reads what [Beat.Marshal] wrote, of this release or another: fields that it
// does not know are ignored, a newer version is ErrVersion. The bus bounds its length.
func UnmarshalBeat(data []byte) (Beat, error) {
	var b Beat
	// The version first: the fields of a newer one may have other types.
	var v struct {
		Version int `json:"v"`
	}
	if err := json.Unmarshal(data, &v); err != nil {
		return b, fmt.Errorf("live: beat: %w", err)
	}
	if v.Version != beatVersion {
		return b, fmt.Errorf("beat version %d: %w", v.Version, ErrVersion)
	}
	if err := json.Unmarshal(data, &b); err != nil {
		return b, fmt.Errorf("live: beat: %w", err)
	}
	if b.Name == "" || len(b.Name) > maxBeatText || len(b.Release) > maxBeatText || len(b.Internal) > maxBeatText || len(b.Roles) > maxBeatRoles {
		return b, fmt.Errorf("live: beat: it has no name, or lists more than a beat may")
	}
	if len(b.Why) > maxBeatAway || b.Spool != nil && len(b.Spool.Away) > maxBeatAway || b.Transcode != nil && len(b.Transcode.Away) > maxBeatAway {
		return b, fmt.Errorf("live: beat of %s: its reason is too long", b.Name)
	}
	if w := b.Worker; w != nil && (w.Owned < 0 || w.Load < 0) {
		return b, fmt.Errorf("live: beat of %s: a negative share", b.Name)
	}
	return b, nil
}
