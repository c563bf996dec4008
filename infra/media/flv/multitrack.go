package flv

import "fmt"

// The shapes of a multitrack packet (Enhanced RTMP v2 "AvMultitrackType").
const (
	oneTrack             = 0
	manyTracks           = 1
	manyTracksManyCodecs = 2
)

// maxTrackTags bounds the tracks of one packet.
const maxTrackTags = 32

// TrackTag is the share of one track in a multitrack packet: the body of the tag that would have
// brought it alone.
type TrackTag struct {
	ID   byte
	Body []byte
}

// Multitrack reports whether a tag may be a multitrack packet, by its first byte: all that follow
// a ModEx prefix may.
func Multitrack(body []byte, video bool) bool {
	if len(body) == 0 {
		return false
	}
	typ := body[0] & 0x0f
	if video {
		return body[0]&0x80 != 0 && (typ == exVideoMultitrack || typ == exModEx)
	}
	return body[0]>>4 == soundEx && (typ == exMultitrack || typ == exModEx)
}

// Tracks takes the body of a tag apart that [Multitrack] says may be one of several tracks (Enhanced
// RTMP v2 "ExVideoTagBody", "ExAudioTagBody"). A tag of one track is that of track 0. Errors:
// ErrMalformed.
func Tracks(body []byte, video bool) ([]TrackTag, error) {
	b, typ, err := skipModEx(body[1:], body[0]&0x0f)
	if err != nil {
		return nil, err
	}
	multitrack := byte(exMultitrack)
	if video {
		multitrack = exVideoMultitrack
	}
	if typ != multitrack {
		return []TrackTag{{Body: body}}, nil
	}
	if len(b) < 1 || b[0]&0x0f == multitrack || b[0]&0x0f == exModEx || b[0]>>4 > manyTracksManyCodecs {
		return nil, fmt.Errorf("%w: multitrack packet", ErrMalformed)
	}
	shape, head, b := b[0]>>4, body[0]&0xf0|b[0]&0x0f, b[1:]
	var tags []TrackTag
	var codec []byte
	for first := true; first || len(b) > 0; first = false {
		if first || shape == manyTracksManyCodecs {
			if len(b) < 4 {
				return nil, fmt.Errorf("%w: codec name ends early", ErrMalformed)
			}
			codec, b = b[:4], b[4:]
		}
		if len(b) < 1 || len(tags) == maxTrackTags {
			return nil, fmt.Errorf("%w: track number ends early, or more than %d tracks", ErrMalformed, maxTrackTags)
		}
		id, size := b[0], len(b)-1
		b = b[1:]
		if shape != oneTrack {
			if len(b) < 3 {
				return nil, fmt.Errorf("%w: track size ends early", ErrMalformed)
			}
			size, b = uint24(b), b[3:]
			if size > len(b) {
				return nil, fmt.Errorf("%w: track of %d bytes in %d", ErrMalformed, size, len(b))
			}
		}
		alone := make([]byte, 0, 5+size)
		alone = append(append(append(alone, head), codec...), b[:size]...)
		tags = append(tags, TrackTag{ID: id, Body: alone})
		b = b[size:]
	}
	return tags, nil
}
