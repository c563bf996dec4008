package live

import (
	"encoding/json"
	"errors"
	"fmt"
	"time"
)

// SectionsBucket is the control-plane bucket of [SectionsRecord]s, keyed by [FeedID.String]. A
// record lives for SectionsLife after its last write.
const (
	SectionsBucket = "sections"
	SectionsLife   = 24 * time.Hour
)

// MaxSections bounds the bytes of a record's sections together; sections are one or two KiB each.
const MaxSections = 256 << 10

// SectionsRecord holds the initialization sections of a feed of fragmented MP4. Most packagers
// send theirs once, so whoever goes on with the feed, another gateway or the same one after a
// restart, needs them from here.
type SectionsRecord struct {
	Version  int       `json:"v"`
	Sections []Section `json:"sections"`
}

// Section is one initialization section.
type Section struct {
	// Path is where it was sent to, below the stream's name.
	Path string `json:"path"`
	// Moov is its moov box (ISO/IEC 14496-12 §8.2.1).
	Moov []byte `json:"moov"`
}

const sectionsRecordVersion = 1

var errSections = errors.New("live: malformed sections record")

// Marshal returns the record's wire form.
func (r SectionsRecord) Marshal() ([]byte, error) {
	if err := r.check(); err != nil {
		return nil, err
	}
	r.Version = sectionsRecordVersion
	return json.Marshal(r)
}

// UnmarshalSectionsRecord reads what [SectionsRecord.Marshal] wrote.
func UnmarshalSectionsRecord(b []byte) (SectionsRecord, error) {
	var r SectionsRecord
	if err := json.Unmarshal(b, &r); err != nil {
		return SectionsRecord{}, fmt.Errorf("%w: %w", errSections, err)
	}
	if r.Version != sectionsRecordVersion {
		return SectionsRecord{}, fmt.Errorf("sections record version %d: %w", r.Version, ErrVersion)
	}
	if err := r.check(); err != nil {
		return SectionsRecord{}, err
	}
	return r, nil
}

func (r *SectionsRecord) check() error {
	size := 0
	for _, s := range r.Sections {
		size += len(s.Path) + len(s.Moov)
	}
	if size > MaxSections {
		return fmt.Errorf("%w: %d bytes, more than %d", errSections, size, MaxSections)
	}
	return nil
}
