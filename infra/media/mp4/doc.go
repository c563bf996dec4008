// Package mp4 writes and reads MP4 (ISO/IEC 14496-12). What viewers get is CMAF (ISO/IEC
// 23000-19), with one track a file: an initialization section ([Init]) and media segments of
// one fragment each ([Segment]). Frames' payloads are never copied: a segment is a header and
// the payload slices. Times in these files are absolute: decode times are ticks since the Unix
// epoch in 64 bits, so that every segment of every rendition stands on one time line.
//
// Beside them are the files that encoders send ([Movie]), those that transcoders are given and
// give back ([File], [ParseFile]), and those of recordings ([Progressive]).
package mp4

import "klive/infra/media"

// VideoTimescale is the number of ticks per second of video tracks. Audio tracks count in
// samples.
const VideoTimescale = 90000

// trackID is the number of the only track in a CMAF file.
const trackID = 1

// Timescale returns the ticks per second of a track with the given parameters.
func Timescale(p media.Params) uint32 {
	if a, ok := p.(media.AudioParams); ok {
		return a.SampleRate()
	}
	return VideoTimescale
}
