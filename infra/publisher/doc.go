// Package publisher publishes over RTMP ([Publisher]) and WebRTC ([WHIP]): clients that cost so
// little that fifty of them in one process don't drown the server they load. They send clips
// (synthetic ones or files made by an encoder) whose access units carry a number each, so that
// whoever reads the stream back can say which of them arrived. It also runs ffmpeg as the source
// of a moving test pattern, which goes out over these, SRT and HTTP ([Pattern]).
package publisher
