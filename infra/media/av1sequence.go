package media

import "fmt"

// av1Sequence is what the sequence header of an AV1 stream says that anybody here asks for (AV1 specification §5.5).
type av1Sequence struct {
	profile, level        byte // of the first operating point
	highTier              bool
	highDepth, twelveBit  bool
	mono                  bool
	subsampleX            bool
	subsampleY            bool
	chromaPosition        byte
	width, height         int // the largest of a picture
	frameRate             float64
	reduced               bool // the header of a still picture
	decoderModel, delayed bool // what operating points have besides
	delayBits             int
}

// readAV1Sequence reads the payload of a sequence header OBU.
func readAV1Sequence(payload []byte) (*av1Sequence, error) {
	r := &bitReader{b: payload}
	s := &av1Sequence{profile: byte(r.bits(3))}
	r.skip(1) // still_picture
	if s.reduced = r.flag(); s.reduced {
		s.level = byte(r.bits(5))
	} else {
		s.readTiming(r)
		s.readPoints(r)
	}
	s.readSize(r)
	s.skipTools(r)
	s.readColor(r)
	if r.short || s.profile > 2 {
		return nil, fmt.Errorf("%w: its sequence header can't be read", errAV1)
	}
	return s, nil
}

func (s *av1Sequence) readTiming(r *bitReader) {
	if !r.flag() {
		return
	}
	picture, second := float64(r.bits(32)), float64(r.bits(32)) // in ticks
	if r.flag() {                                               // equal_picture_interval
		picture *= float64(r.golomb() + 1)
	}
	if picture > 0 {
		s.frameRate = saneRate(second / picture)
	}
	if s.decoderModel = r.flag(); s.decoderModel {
		s.delayBits = int(r.bits(5)) + 1
		r.skip(32 + 5 + 5)
	}
}

func (s *av1Sequence) readPoints(r *bitReader) {
	s.delayed = r.flag()
	points := int(r.bits(5)) + 1
	for i := range points {
		r.skip(12) // operating_point_idc
		level, tier := byte(r.bits(5)), false
		if level > 7 {
			tier = r.flag()
		}
		if s.decoderModel && r.flag() {
			r.skip(2*s.delayBits + 1)
		}
		if s.delayed && r.flag() {
			r.skip(4)
		}
		if i == 0 {
			s.level, s.highTier = level, tier
		}
	}
}

func (s *av1Sequence) readSize(r *bitReader) {
	w, h := int(r.bits(4))+1, int(r.bits(4))+1
	s.width, s.height = int(r.bits(w))+1, int(r.bits(h))+1
	if !s.reduced && r.flag() { // frame_id_numbers_present_flag
		r.skip(4 + 3)
	}
}

// skipTools passes over what the encoder may use.
func (s *av1Sequence) skipTools(r *bitReader) {
	r.skip(3) // use_128x128_superblock to enable_intra_edge_filter
	if !s.reduced {
		r.skip(4) // enable_interintra_compound to enable_dual_filter
		order := r.flag()
		if order {
			r.skip(2)
		}
		screen := r.flag() // chosen by picture
		if !screen {
			screen = r.flag() // or always
		}
		if screen && !r.flag() { // seq_choose_integer_mv
			r.skip(1)
		}
		if order {
			r.skip(3)
		}
	}
	r.skip(3) // enable_superres to enable_restoration
}

func (s *av1Sequence) readColor(r *bitReader) {
	s.highDepth = r.flag()
	s.twelveBit = s.profile == 2 && s.highDepth && r.flag()
	s.mono = s.profile != 1 && r.flag()
	const srgb = 1<<16 | 13<<8 // of BT.709, without a matrix: RGB itself
	described := r.flag()
	switch {
	case described && r.bits(24) == srgb && !s.mono:
		return
	case s.mono:
		r.skip(1) // color_range
		s.subsampleX, s.subsampleY = true, true
		return
	}
	r.skip(1)
	switch {
	case s.profile == 0:
		s.subsampleX, s.subsampleY = true, true
	case s.twelveBit:
		s.subsampleX = r.flag()
		s.subsampleY = s.subsampleX && r.flag()
	case s.profile == 2:
		s.subsampleX = true
	}
	if s.subsampleX && s.subsampleY {
		s.chromaPosition = byte(r.bits(2))
	}
}

// bitReader reads numbers of so many bits, the highest first. Beyond the end it reads zeros and sets short.
type bitReader struct {
	b     []byte
	at    int // in bits
	short bool
}

func (r *bitReader) bits(n int) (v uint64) {
	for range n {
		v <<= 1
		if r.at>>3 < len(r.b) {
			v |= uint64(r.b[r.at>>3] >> (7 - r.at&7) & 1)
		} else {
			r.short = true
		}
		r.at++
	}
	return v
}

func (r *bitReader) flag() bool { return r.bits(1) == 1 }

func (r *bitReader) skip(n int) { r.bits(n) }

// golomb reads a number that tells its own length: uvlc, of 32 bits at most.
func (r *bitReader) golomb() uint64 {
	zeros := 0
	for zeros < 32 && !r.short && !r.flag() {
		zeros++
	}
	return 1<<zeros - 1 + r.bits(zeros)
}
