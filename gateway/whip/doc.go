// Package whip takes publishers over WebRTC, as RFC 9725 (WHIP) has it: browsers, OBS, ffmpeg,
// GStreamer.
//
//	POST   /whip/<stream name>        an offer; 201 with the answer and the session's address
//	PATCH  /whip/<stream name>/<id>   candidates, or an ICE restart (RFC 8840)
//	DELETE /whip/<stream name>/<id>   the end
//
// A session is one peer connection and one publish, or one for each size in which the pictures
// come (simulcast). It is on the air from the answer on.
// Packets go through a reorder buffer that asks for what is missing, then through a
// depacketizer that knows what is missing for good: a picture that depends on a lost packet is
// left out, and all others up to the next keyframe.
package whip
