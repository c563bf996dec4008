// Package check is what tests hold a running service against: a checker of the rules that
// every sequence of playlists keeps, an audit that says which of an encoder's frames
// reached the stored segments, and scenarios: a small text language in which encoders
// connect, drop, jump and stop, and in which the outcome is stated.
package check
