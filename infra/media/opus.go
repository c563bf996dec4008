package media

import "time"

// Opus are the parameters of an Opus track (RFC 7845).
type Opus struct {
	// ChannelCount is 1 or 2.
	ChannelCount int
}

// Kind is Audio.
func (*Opus) Kind() Kind { return Audio }

// Codec is "Opus".
func (*Opus) Codec() string { return "Opus" }

// CodecString is "opus".
func (*Opus) CodecString() string { return "opus" }

// Equal compares the channel counts.
func (p *Opus) Equal(o Params) bool {
	q, ok := o.(*Opus)
	return ok && *p == *q
}

// SampleRate is 48000: Opus always counts in 48 kHz samples (RFC 7845 §4).
func (*Opus) SampleRate() uint32 { return 48000 }

// Channels is the number of channels.
func (p *Opus) Channels() int { return p.ChannelCount }

// FrameSamples is 0: an Opus packet states its own length, see [OpusPacketDuration].
func (*Opus) FrameSamples() int { return 0 }

func (*Opus) sealed() {}

// OpusPacketDuration reads the length of a packet from its first bytes (RFC 6716 §3.1);
// 0 when the packet is malformed.
func OpusPacketDuration(packet []byte) time.Duration {
	if len(packet) == 0 {
		return 0
	}
	config, code := packet[0]>>3, packet[0]&3
	var frame time.Duration
	switch {
	case config < 12:
		frame = []time.Duration{10, 20, 40, 60}[config&3] * time.Millisecond
	case config < 16:
		frame = []time.Duration{10, 20}[config&1] * time.Millisecond
	default:
		frame = []time.Duration{2500, 5000, 10000, 20000}[config&3] * time.Microsecond
	}
	count := 1
	switch code {
	case 1, 2:
		count = 2
	case 3:
		if len(packet) < 2 {
			return 0
		}
		count = int(packet[1] & 0x3f)
	}
	if d := time.Duration(count) * frame; d <= 120*time.Millisecond {
		return d
	}
	return 0
}
