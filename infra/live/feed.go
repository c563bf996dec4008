package live

import (
	"errors"
	"fmt"
	"regexp"
	"strconv"
	"strings"
)

// Index is Kaltura's media server index: which of an entry's two encoders a feed is.
type Index uint8

// The media server indexes (contract §4, KalturaMediaServerIndex).
const (
	Primary Index = 0
	Backup  Index = 1
)

func (i Index) String() string {
	if i == Backup {
		return "backup"
	}
	return "primary"
}

// FeedID names a place where an encoder may publish: one entry, primary or backup, one
// stream suffix.
type FeedID struct {
	Entry  string `json:"entry"`
	Index  Index  `json:"index"`
	Suffix int    `json:"suffix"`
}

// String is the form for logs and bucket keys: "0_rkij47dr.0.1".
func (f FeedID) String() string {
	return f.Entry + "." + strconv.Itoa(int(f.Index)) + "." + strconv.Itoa(f.Suffix)
}

// StreamName is what the encoder publishes: "0_rkij47dr_1".
func (f FeedID) StreamName() string { return f.Entry + "_" + strconv.Itoa(f.Suffix) }

// ParseFeedID reads what [FeedID.String] wrote.
func ParseFeedID(s string) (FeedID, error) {
	p := strings.Split(s, ".")
	if len(p) != 3 {
		return FeedID{}, fmt.Errorf("live: %q is no feed id (entry.index.suffix)", s)
	}
	index, err := strconv.ParseUint(p[1], 10, 1)
	if err != nil {
		return FeedID{}, fmt.Errorf("live: feed id %q: the index is 0 or 1", s)
	}
	suffix, err := strconv.Atoi(p[2])
	if err != nil || suffix < 1 || suffix > MaxSuffix {
		return FeedID{}, fmt.Errorf("live: feed id %q: the suffix is 1 to %d", s, MaxSuffix)
	}
	if !ValidEntryID(p[0]) {
		return FeedID{}, fmt.Errorf("live: feed id %q: %w", s, ErrEntryID)
	}
	return FeedID{Entry: p[0], Index: Index(index), Suffix: suffix}, nil
}

// Feed is one publish: a FeedID and the epoch of this connect. An epoch is never used
// twice within an entry.
type Feed struct {
	FeedID
	Epoch uint64 `json:"epoch"`
}

func (f Feed) String() string { return fmt.Sprintf("%s#%d", f.FeedID, f.Epoch) }

// Subject is the media-plane subject that carries the feed's parts. No other publish ever
// has it, so its messages are numbered from 1 by one publisher.
func (f Feed) Subject() string {
	return "m." + f.FeedID.String() + "." + strconv.FormatUint(f.Epoch, 10)
}

// MaxSuffix is the largest stream suffix (contract §5.3: audio-only languages use 1000–1019).
const MaxSuffix = 9999

// ErrEntryID says that a text is no entry id.
var ErrEntryID = errors.New("an entry id is one digit, an underscore and eight letters, digits or underscores")

// ErrStreamName says that a text is no stream name.
var ErrStreamName = errors.New("a stream name is <entry id>_<index>, for example 0_rkij47dr_1")

var (
	entryID    = regexp.MustCompile(`^[0-9]_[0-9A-Za-z_]{8}$`)
	streamName = regexp.MustCompile(`^([0-9]_[0-9A-Za-z_]{8})(?:_([0-9]{1,4}))?$`)
)

// ValidEntryID reports whether s follows the entry id grammar (contract §6.3, row 24).
func ValidEntryID(s string) bool { return entryID.MatchString(s) }

// ParseStreamName splits a published stream name. A bare entry id means suffix 1
// (contract row 25).
func ParseStreamName(s string) (entry string, suffix int, err error) {
	m := streamName.FindStringSubmatch(s)
	if m == nil {
		return "", 0, fmt.Errorf("stream name %.80q: %w", s, ErrStreamName)
	}
	if m[2] == "" {
		return m[1], 1, nil
	}
	suffix, _ = strconv.Atoi(m[2])
	if suffix == 0 {
		return "", 0, fmt.Errorf("stream name %.80q: %w", s, ErrStreamName)
	}
	return m[1], suffix, nil
}
