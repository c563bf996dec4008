// Package publisher is a light RTMP publisher: a client that costs so little that fifty
// of them in one process don't drown the server they load. It sends clips (synthetic ones
// or files made by an encoder) whose access units carry a number each, so that whoever
// reads the stream back can say which of them arrived. It also runs ffmpeg as the source
// of a moving test pattern.
package publisher
