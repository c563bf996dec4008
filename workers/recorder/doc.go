// Package recorder makes recordings of entries: it cuts their timelines into files, writes one
// progressive MP4 for each live asset and hands them to Kaltura with liveStream.appendRecording,
// each once and in order (contract §3.6, §6.9).
//
// What viewers see it records from the timeline and the store. Besides, it follows the backup
// encoder's feeds on the media plane, where they are recorded too, and has the gaps of rungs made
// again by way of the job queue. What it has decided and done is in the entry's ledger, so whoever
// comes after a recorder that died goes on where it was. An entry's recorder holds a lease of its
// own, not that of the entry: finishing a broadcast's files must not keep the next one from the
// air, and goes on when the entry has no owner any more.
package recorder
