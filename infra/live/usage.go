package live

import (
	"encoding/json"
	"fmt"
	"strconv"
	"strings"
	"time"
)

// UsageBucket is the control-plane bucket of [UsageRecord]s, keyed by [UsageKey].
const UsageBucket = "usage"

// UsageKeep is how long a month's records stay after the last change.
const UsageKeep = 400 * 24 * time.Hour

// UsageRecord is what one partner has used in one month (UTC), over the whole deployment. Every
// process adds its own share.
type UsageRecord struct {
	Version int `json:"v"`
	// IngestSeconds are seconds of media that came in, of all streams together.
	IngestSeconds float64 `json:"ingestSeconds"`
	// RungSeconds are seconds of media that transcode workers made, of all renditions together.
	RungSeconds float64 `json:"rungSeconds"`
	// BytesStored is media put into the store; what has expired since is not taken off.
	BytesStored int64 `json:"bytesStored"`
}

// Add adds another's figures.
func (r *UsageRecord) Add(o UsageRecord) {
	r.IngestSeconds += o.IngestSeconds
	r.RungSeconds += o.RungSeconds
	r.BytesStored += o.BytesStored
}

// UsageKey is the key of a partner's record of a month: "102.2026-11".
func UsageKey(partner int, month time.Time) string {
	return strconv.Itoa(partner) + "." + month.UTC().Format(usageMonth)
}

const usageMonth = "2006-01"

// ParseUsageKey reads what [UsageKey] wrote; month is "2026-11".
func ParseUsageKey(key string) (partner int, month string, err error) {
	p, month, ok := strings.Cut(key, ".")
	if partner, err = strconv.Atoi(p); !ok || err != nil {
		return 0, "", fmt.Errorf("live: %q is no key of a usage record", key)
	}
	if _, err := time.Parse(usageMonth, month); err != nil {
		return 0, "", fmt.Errorf("live: %q is no key of a usage record", key)
	}
	return partner, month, nil
}

const usageRecordVersion = 1

// Marshal returns the record's wire form.
func (r UsageRecord) Marshal() ([]byte, error) {
	r.Version = usageRecordVersion
	return json.Marshal(r)
}

// UnmarshalUsageRecord reads what [UsageRecord.Marshal] wrote.
func UnmarshalUsageRecord(b []byte) (UsageRecord, error) {
	var r UsageRecord
	if err := json.Unmarshal(b, &r); err != nil {
		return r, fmt.Errorf("live: usage record: %w", err)
	}
	if r.Version != usageRecordVersion {
		return r, fmt.Errorf("usage record version %d: %w", r.Version, ErrVersion)
	}
	return r, nil
}
