package publisher

import mathbits "math/bits"

// bitWriter writes the bit strings of ITU-T H.264 §7.2 and ISO/IEC 14496-3.
type bitWriter struct {
	b    []byte
	free uint // bits that are still free in the last byte
}

// u writes the lowest n bits of v.
func (w *bitWriter) u(n uint, v uint32) {
	for ; n > 0; n-- {
		if w.free == 0 {
			w.b, w.free = append(w.b, 0), 8
		}
		w.free--
		w.b[len(w.b)-1] |= byte(v>>(n-1)&1) << w.free
	}
}

// ue writes an unsigned Exp-Golomb code (ITU-T H.264 §9.1).
func (w *bitWriter) ue(v uint32) {
	n := uint(mathbits.Len32(v + 1))
	w.u(n-1, 0)
	w.u(n, v+1)
}

// se writes a signed Exp-Golomb code (ITU-T H.264 §9.1.1).
func (w *bitWriter) se(v int32) {
	if v > 0 {
		w.ue(uint32(2*v - 1))
		return
	}
	w.ue(uint32(-2 * v))
}

// stop ends an RBSP: a one, then zeros to the end of the byte.
func (w *bitWriter) stop() {
	w.u(1, 1)
	w.align()
}

func (w *bitWriter) align() { w.free = 0 }

// nalUnit puts a header before an RBSP and emulation prevention bytes into it (ITU-T
// H.264 §7.3.1).
func nalUnit(header byte, rbsp []byte) []byte {
	out := make([]byte, 1, len(rbsp)+8)
	out[0] = header
	zeros := 0
	for _, b := range rbsp {
		if zeros == 2 && b <= 3 {
			out, zeros = append(out, 3), 0
		}
		out = append(out, b)
		if b == 0 {
			zeros++
		} else {
			zeros = 0
		}
	}
	return out
}
