package media

// MP3 are the parameters of an MPEG audio layer III track (ISO/IEC 11172-3, 13818-3).
type MP3 struct {
	// Rate is in Hz; rates below 32000 are those of MPEG-2, whose frames are half as long.
	Rate uint32
	// ChannelCount is 1 or 2.
	ChannelCount int
}

// Kind is Audio.
func (*MP3) Kind() Kind { return Audio }

// Codec is "MP3".
func (*MP3) Codec() string { return "MP3" }

// CodecString is mp4a.40.34: layer III as an audio object type (ISO/IEC 14496-3 table 1.17).
func (*MP3) CodecString() string { return "mp4a.40.34" }

// Equal compares rate and channels.
func (p *MP3) Equal(o Params) bool {
	q, ok := o.(*MP3)
	return ok && *p == *q
}

// SampleRate is the rate in Hz.
func (p *MP3) SampleRate() uint32 { return p.Rate }

// Channels is the number of channels.
func (p *MP3) Channels() int { return p.ChannelCount }

// FrameSamples is 1152, or 576 at the rates of MPEG-2.
func (p *MP3) FrameSamples() int {
	if p.Rate < 32000 {
		return 576
	}
	return 1152
}

func (*MP3) sealed() {}
