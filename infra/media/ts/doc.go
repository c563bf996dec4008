// Package ts reads and writes MPEG transport streams (ISO/IEC 13818-1).
//
// [Mux] makes segments of it; the reader is not built yet.
package ts
