// Package srt takes encoders over SRT: the three stream-id forms, passphrases, MPEG-TS to access units.
//
// It is not built yet; an address with srt:// finds no listener.
package srt
