// Package ts reads and writes MPEG transport streams (ISO/IEC 13818-1).
package ts
