// Package push takes publishers over HTTP: POST and PUT to
//
//	/ingest/<stream name>[/t/<token>][/path]
//
// with a body that is an MPEG transport stream, endless or not; fragmented MP4, one long
// request for each track or one for each segment (DASH-IF Live Media Ingest Protocol,
// interface 1); or the segments and playlists of HLS and DASH packagers.
//
// A feed is one publish: one request with a transport stream, or all the requests of a
// packager. Its first request is authenticated, later ones are held against what that one
// showed. It is on the air from its first media on.
package push
