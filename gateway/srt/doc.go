// Package srt takes SRT callers (IETF draft-sharabayko-srt-01): the wire, by gosrt, on one
// side, an MPEG transport stream for a [gateway.Publication] on the other.
//
// The library reads what comes from the network. One malformed handshake makes it panic
// where a request is accepted, in our own goroutine; that is caught there. Each request is
// decided in a goroutine of its own, so that none waits for another's answer from Kaltura.
package srt
