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
	// SRTPass is the passphrase with which SRT callers encrypt, or "". A grant that stands in
	// for Kaltura's answer has to know it.
	SRTPass string `json:"srtPass,omitempty"`
	// Ladder is what is to be made of this stream.
	Ladder Ladder `json:"ladder"`
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
