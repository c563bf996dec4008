// Package ledger is what has been recorded of an entry and what Kaltura was told of it, as
// data: the broadcasts that are being recorded, and the files that were cut of them, each on
// its way from planned to confirmed. One object in storage holds it. Whoever records the entry
// claims it under an epoch of its own and writes it on condition, so of two recorders that
// believe in themselves one is fenced.
package ledger
