// Package media holds what every protocol and container agrees on: instants on the
// media clock, tracks with their codec parameters, and frames (one access unit each).
// Wire formats live below it: media/nal, which several of them share, media/flv, media/ts and
// media/mp4.
package media
