// Package ts reads and writes MPEG transport streams (ISO/IEC 13818-1).
//
// It is not built yet; RTMP does not need it.
package ts
