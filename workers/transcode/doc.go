// Package transcode will take jobs of one segment each from the bus, let ffmpeg make the
// rungs of the ladder that need encoding, and put the result back on the bus. Until it
// does, the packager leaves such rungs out of the playlists and says so in one log line.
package transcode
