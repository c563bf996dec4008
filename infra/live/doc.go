// Package live holds the words that gateways, workers and origins share about a live
// entry (feed, grant, ladder, part, segment) and the forms in which they travel on the
// bus. Every wire form carries a version; a reader refuses versions it does not know.
package live
