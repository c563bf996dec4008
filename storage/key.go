package storage

import (
	"fmt"
	"strings"
)

// Limits of the key grammar.
const (
	// MaxKey is the longest key in bytes.
	MaxKey = 512
	// MaxKeySegment is the longest stretch between two slashes, which is a file's name on disk.
	MaxKeySegment = 255
)

// CheckKey returns an error that wraps ErrKey unless key is a relative path of segments
// joined by single slashes, with no ".", ".." or empty segment, no backslash and no byte
// outside printable ASCII, of at most MaxKey bytes in all and MaxKeySegment in a segment.
func CheckKey(key string) error {
	if key == "" || len(key) > MaxKey {
		return fmt.Errorf("%w: %.64q has %d bytes, 1 to %d are allowed", ErrKey, key, len(key), MaxKey)
	}
	for i := range len(key) {
		if c := key[i]; c <= ' ' || c > '~' || c == '\\' {
			return fmt.Errorf("%w: %.64q has the byte %#02x", ErrKey, key, c)
		}
	}
	for segment := range strings.SplitSeq(key, "/") {
		if segment == "" || segment == "." || segment == ".." || len(segment) > MaxKeySegment {
			return fmt.Errorf("%w: %.64q has the segment %.64q", ErrKey, key, segment)
		}
	}
	return nil
}
