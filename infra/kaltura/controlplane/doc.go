// Package controlplane is an API server of Kaltura's shape for people who run klive
// without Kaltura, and for tests: partners, live entries, their registrations on
// media servers, conversion profiles and the template of the transcoder.
//
// The HTTP side (request.go, multipart.go, answer.go) turns every encoding of api_v3 into one
// value tree and back; files of uploads go into a [Files] while they arrive (files.go). One table (table.go) names each action with its access rule, its
// parameters as a Go struct and its function; a further call is one more row. The
// state is versioned JSON documents in a [State], changed by compare and set, so
// several servers may share it.
package controlplane
