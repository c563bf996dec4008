// Package flv reads and writes the bodies of FLV audio and video tags, which RTMP carries
// as its audio and video messages (Adobe Flash Video File Format 10.1 annex E, Enhanced
// RTMP v2). It turns them into access units in the form of [media.Frame]: NAL units with
// four-byte lengths, without parameter sets, access unit delimiters and filler.
//
// The usual tag is read without an allocation: the access unit is a part of the tag's body.
package flv

import (
	"errors"

	"klive/infra/media"
)

var (
	// ErrMalformed is returned for a tag whose body contradicts itself. The tags after it
	// may be sound.
	ErrMalformed = errors.New("flv: malformed tag")
	// ErrCodec is returned for a tag of a codec that can't be used. Its text names the codec
	// and says what to send instead.
	ErrCodec = errors.New("flv: unsupported codec")
)

// Unit is what one tag body holds.
type Unit struct {
	// Params are set when the track's parameters begin or change with this tag: the access
	// unit below and those after it belong to them.
	Params media.Params
	// Payload is the access unit as [media.Frame] holds it; nil when the tag has none. It
	// may be a part of the body that was parsed.
	Payload []byte
	// Offset is presentation minus decode time in milliseconds.
	Offset int32
	// Key marks a random access point, judged by the NAL unit types and not by the tag's flag.
	Key bool
}
