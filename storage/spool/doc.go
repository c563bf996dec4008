// Package spool keeps finished media on local disk while the store fails, and stores it in order afterwards.
//
// It is not built yet; a segment that can't be stored in time becomes a gap.
package spool
