// Package ledger remembers what has been recorded and appended, so that each recording reaches Kaltura once.
//
// It is not built yet; klive does not record.
package ledger
