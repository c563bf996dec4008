package media

// Kind says what a track carries.
type Kind uint8

// The kinds of track.
const (
	Video Kind = iota + 1
	Audio
)

func (k Kind) String() string {
	switch k {
	case Video:
		return "video"
	case Audio:
		return "audio"
	}
	return "unknown"
}

// Params are the codec parameters of a track. The set of implementations is closed:
// *H264, *HEVC, *AV1, *VP8, *VP9, *AAC, *MP3, *AC3 and *Opus.
type Params interface {
	// Kind is Video or Audio.
	Kind() Kind
	// Codec is the codec's usual short name: "H264", "HEVC", "AV1", "VP8", "VP9", "AAC",
	// "MP3", "AC-3", "Opus".
	Codec() string
	// CodecString is the value for the CODECS attribute (RFC 6381).
	CodecString() string
	// Equal reports whether a decoder set up for one can go on with the other.
	Equal(Params) bool

	sealed()
}

// VideoParams are implemented by the parameters of video tracks.
type VideoParams interface {
	Params
	// Size is the coded picture size after cropping, in pixels.
	Size() (width, height int)
	// DisplaySize is the picture's size as it is shown: in square pixels, and turned.
	DisplaySize() (width, height int)
	// Posed is what the container says of how pictures are shown.
	Posed() Pose
	// FrameRate is what the parameter sets state, in frames per second; 0 when they don't.
	FrameRate() float64
}

// AudioParams are implemented by the parameters of audio tracks.
type AudioParams interface {
	Params
	// SampleRate is the rate of the sample grid in Hz: what frames are counted in. For
	// HE-AAC it is the core rate.
	SampleRate() uint32
	// Channels is the number of output channels.
	Channels() int
	// FrameSamples is the length of an access unit in samples; 0 when packets vary (Opus),
	// and then [OpusPacketDuration] tells.
	FrameSamples() int
}
