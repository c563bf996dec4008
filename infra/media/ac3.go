package media

import "fmt"

// AC3 are the parameters of an AC-3 track as its sample entry has them (ETSI TS 102 366
// annex F.4).
type AC3 struct {
	// RateCode is fscod: 0 for 48000 Hz, 1 for 44100, 2 for 32000.
	RateCode uint8
	// ID and Mode are bsid and bsmod: the syntax's version and the kind of service.
	ID, Mode uint8
	// Coding is acmod, the layout of the main channels; LFE says that there is a low frequency
	// one beside them.
	Coding uint8
	LFE    bool
	// BitrateCode is half of frmsizecod.
	BitrateCode uint8
}

// NewAC3 checks the fields.
func NewAC3(p AC3) (*AC3, error) {
	if p.RateCode > 2 || p.ID > 8 || p.Mode > 7 || p.Coding > 7 || p.BitrateCode > 18 {
		return nil, fmt.Errorf("AC-3: parameters %+v are out of range", p)
	}
	return &p, nil
}

// Kind is Audio.
func (*AC3) Kind() Kind { return Audio }

// Codec is "AC-3".
func (*AC3) Codec() string { return "AC-3" }

// CodecString is "ac-3".
func (*AC3) CodecString() string { return "ac-3" }

// Equal compares all fields but the bit rate: a decoder goes on with another one.
func (p *AC3) Equal(o Params) bool {
	q, ok := o.(*AC3)
	if !ok {
		return false
	}
	a, b := *p, *q
	a.BitrateCode, b.BitrateCode = 0, 0
	return a == b
}

// SampleRate is the rate in Hz.
func (p *AC3) SampleRate() uint32 { return [...]uint32{48000, 44100, 32000}[p.RateCode] }

// Channels counts the low frequency channel as well.
func (p *AC3) Channels() int {
	n := [...]int{2, 1, 2, 3, 3, 4, 4, 5}[p.Coding]
	if p.LFE {
		n++
	}
	return n
}

// FrameSamples is 1536.
func (*AC3) FrameSamples() int { return 1536 }

func (*AC3) sealed() {}
