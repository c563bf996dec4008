package live

import (
	"crypto/sha256"
	"crypto/subtle"
	"time"
)

// Grant is Kaltura's permission to publish one stream of an entry, with all that klive
// needs to know of the entry while it lasts. It travels in the feed record, so that
// whoever takes over needs no API.
type Grant struct {
	PartnerID int    `json:"partnerId"`
	Entry     string `json:"entry"`
	// TokenHash identifies the token that was accepted, without holding it.
	TokenHash []byte    `json:"tokenHash"`
	At        time.Time `json:"at"`

	DVR bool `json:"dvr"`
	// DVRWindow is 0 when DVR is off.
	DVRWindow time.Duration `json:"dvrWindow,omitempty"`
	// Record is the entry's recordStatus (contract §4): 0 off, 1 appended, 2 per session.
	Record          int    `json:"record,omitempty"`
	RecordedEntryID string `json:"recordedEntryId,omitempty"`
	// SegmentDuration is the entry's own, or 0.
	SegmentDuration time.Duration `json:"segmentDuration,omitempty"`
	// Unstarted says that the entry had no currentBroadcastStartTime when Kaltura was asked
	// (row 46); false too when it was not asked.
	Unstarted bool `json:"unstarted,omitempty"`
	// SRTPass is the passphrase with which SRT callers encrypt, or "". A grant that stands in
	// for Kaltura's answer has to know it.
	SRTPass string `json:"srtPass,omitempty"`
	// Ladder is what is to be made of this stream.
	Ladder Ladder `json:"ladder"`
}

// EntryFacts is what klive needs to know of an entry. Kaltura says it with each answer to
// authenticate and registerMediaServer (contract rows 37 and 49).
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
	// Started says that the entry has a currentBroadcastStartTime.
	Started bool
}

// The bounds within which an entry's own segment duration counts.
const (
	minSegment = time.Second
	maxSegment = 20 * time.Second
)

// Refresh takes over what Kaltura says of the entry (contract rows 79 to 81). maxDVR is the
// longest DVR window, and that of entries that name none.
func (g *Grant) Refresh(f EntryFacts, maxDVR time.Duration) {
	g.DVR, g.Record, g.RecordedEntryID, g.Unstarted = f.DVR, f.Record, f.RecordedEntryID, !f.Started
	g.DVRWindow, g.SegmentDuration = 0, 0
	if f.DVR {
		if g.DVRWindow = f.DVRWindow; g.DVRWindow <= 0 || g.DVRWindow > maxDVR {
			g.DVRWindow = maxDVR
		}
	}
	if f.SegmentDuration >= minSegment && f.SegmentDuration <= maxSegment {
		g.SegmentDuration = f.SegmentDuration
	}
}

// HashToken is the form in which a grant remembers a token.
func HashToken(entry, token string) []byte {
	h := sha256.Sum256([]byte(entry + "\x00" + token))
	return h[:]
}

// Accepts reports whether the grant was given for this entry and token.
func (g *Grant) Accepts(entry, token string) bool {
	return g.Entry == entry && subtle.ConstantTimeCompare(g.TokenHash, HashToken(entry, token)) == 1
}
