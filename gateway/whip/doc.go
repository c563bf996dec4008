// Package whip takes publishers over WebRTC as WHIP (RFC 9725) has it.
//
// It is not built yet; POST /whip answers 404.
package whip
