package media

import "time"

// TrackID names a track within a feed. Video is 0 when there is video; audio tracks
// count from 1. It is the same number in frames, parts and containers.
type TrackID uint8

// VideoTrack and FirstAudioTrack are the ids of the usual pair of tracks.
const (
	VideoTrack      TrackID = 0
	FirstAudioTrack TrackID = 1
)

// Track is one elementary stream with the parameters in force. A change of Params is a
// new Track value under the same id.
type Track struct {
	ID     TrackID
	Params Params
	// Language is an RFC 5646 tag; empty when it is not known. In segments it is set for sound
	// alone, and only when the feed brings several tracks of it.
	Language string
}

// DataFormat is what timed data beside pictures and sound is.
type DataFormat uint8

// The formats of timed data: SCTE 35 splice information sections, and ID3 tags ("Timed Metadata
// for HTTP Live Streaming").
const (
	SCTE35 DataFormat = iota + 1
	ID3
)

func (f DataFormat) String() string {
	switch f {
	case SCTE35:
		return "SCTE-35"
	case ID3:
		return "ID3"
	}
	return "unknown"
}

// MaxData bounds one datum in bytes.
const MaxData = 16 << 10

// Data is timed data that an encoder sends beside pictures and sound, as it came.
type Data struct {
	Format DataFormat
	// Time is when it is to be taken note of.
	Time    Time
	Payload []byte
}

// Frame is one access unit. It is immutable once it has left the protocol that made it:
// its payload is shared by everyone downstream.
type Frame struct {
	Track TrackID
	// DTS and PTS are decode and presentation time; DTS strictly increases per track.
	// For audio they are equal.
	DTS, PTS Time
	// Duration is the distance to the track's next DTS. It is 0 until the cutter has set it.
	Duration time.Duration
	// Key marks a random access point: an IDR, or an HEVC CRA or BLA picture. Every audio
	// frame is one.
	Key bool
	// Payload is, for H264 and HEVC, the access unit as NAL units with four-byte lengths
	// (ISO/IEC 14496-15), without parameter sets that equal the track's, access unit
	// delimiters and filler; for AV1 one temporal unit
	// without its delimiter; for VP8 one frame, for VP9 one frame or superframe; for AAC one raw_data_block; for MP3 and AC-3 one
	// frame with its header; for Opus one packet.
	Payload []byte
}

// End is the frame's PTS plus its duration.
func (f *Frame) End() Time { return f.PTS.Add(f.Duration) }
