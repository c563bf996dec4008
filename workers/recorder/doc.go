// Package recorder will turn an entry's timeline and stored segments into one progressive
// MP4 per live asset and hand it to Kaltura with liveStream.appendRecording. Until it does,
// the packager says in one log line that an entry's recording is left out.
package recorder
