package live

import (
	"encoding/json"
	"fmt"
	"slices"
	"strconv"
)

// Ladder is what Kaltura asks to be made of one published stream: the outputs and the
// groups that players are offered. It comes from the transcoding template (contract §3.7)
// or from the profile's flavor params.
//
// Its wire form is JSON with a version. A field that is absent has the meaning that its zero
// value is documented with, so releases that lack or do not write it read the same ladder;
// only a change that the release before could misread raises the version.
type Ladder struct {
	Rungs  []Rung  `json:"rungs"`
	Groups []Group `json:"groups,omitempty"`
	// SourceFrameRate is the frame rate in 1/s that the profile expects of the encoder; 0 when
	// it states none.
	SourceFrameRate float64 `json:"sourceFrameRate,omitempty"`
	// Notes say for people, by output, what Kaltura asks and klive does otherwise or not at all.
	Notes []string `json:"notes,omitempty"`
}

// ladderVersion is the version of a ladder's wire form; releases before it had a number
// wrote none.
const ladderVersion = 1

type plainLadder Ladder

// MarshalJSON writes the ladder with its version.
func (l Ladder) MarshalJSON() ([]byte, error) {
	return json.Marshal(struct {
		Version int `json:"v"`
		plainLadder
	}{ladderVersion, plainLadder(l)})
}

// UnmarshalJSON reads what [Ladder.MarshalJSON] wrote, and what older releases did. Errors:
// ErrVersion.
func (l *Ladder) UnmarshalJSON(b []byte) error {
	var w struct {
		Version int `json:"v"`
		plainLadder
	}
	if err := json.Unmarshal(b, &w); err != nil {
		return err
	}
	if w.Version < 0 || w.Version > ladderVersion {
		return fmt.Errorf("ladder version %d: %w", w.Version, ErrVersion)
	}
	*l = Ladder(w.plainLadder)
	return nil
}

// Rung is one output.
type Rung struct {
	// ParamsID is the flavorParamsId: the rendition's name is <entry>_<ParamsID>.
	ParamsID int `json:"paramsId"`
	// Name is the template's encode name: what groups refer to.
	Name string `json:"name"`
	// AssetID is the live asset for appendRecording; empty when it is not known.
	AssetID string    `json:"assetId,omitempty"`
	Tags    []string  `json:"tags,omitempty"`
	Video   VideoRung `json:"video"`
	Audio   AudioRung `json:"audio"`
}

// PassThrough reports whether the rung's video is the encoder's own, untouched.
func (r *Rung) PassThrough() bool { return r.Video.Mode == ModePassThrough }

// Rendition is the rung's name in addresses and in the API (contract row 73).
func (r *Rung) Rendition(entry string) string { return entry + "_" + strconv.Itoa(r.ParamsID) }

// Mode says how an output's track comes to be.
type Mode string

// The modes of a track.
const (
	ModePassThrough Mode = "pass"
	ModeEncode      Mode = "encode"
	ModeDisable     Mode = "off"
)

// The codecs that a rung can be encoded to, as the template names them.
const (
	CodecH264 = "H.264"
	CodecAAC  = "AAC"
)

// VideoRung is a rung's picture. The fields below Mode count for ModeEncode only.
type VideoRung struct {
	Mode    Mode   `json:"mode"`
	Codec   string `json:"codec,omitempty"`   // "" is CodecH264
	Profile string `json:"profile,omitempty"` // "baseline", "main", "high"; "" is "main"
	Fit     Fit    `json:"fit,omitempty"`     // "" is FitMatchSource
	Width   int    `json:"width,omitempty"`   // pixels, 0 keeps the aspect ratio
	Height  int    `json:"height,omitempty"`  // pixels, 0 keeps the aspect ratio
	Bitrate int    `json:"bitrate,omitempty"` // bit/s
	// MaxBitrate in bit/s and BufferSize in bits bound the rate; 0 lets [VideoRung.Rate] choose.
	MaxBitrate int `json:"maxBitrate,omitempty"`
	BufferSize int `json:"bufferSize,omitempty"`
	// Constant asks for a constant bitrate.
	Constant bool `json:"constant,omitempty"`
	// KeyInterval is the distance of keyframes in frames; 0 is a keyframe wherever the source
	// has one, and nowhere else (FollowSource, contract row 70).
	KeyInterval int `json:"keyInterval,omitempty"`
	// SkipFrames is how many frames are left out after each one that is kept. MaxFrameRate, in
	// 1/s, does the same by the source's rate when SkipFrames is 0; see [VideoRung.Skip].
	SkipFrames   int     `json:"skipFrames,omitempty"`
	MaxFrameRate float64 `json:"maxFrameRate,omitempty"`
	Deinterlace  bool    `json:"deinterlace,omitempty"`
}

// AudioRung is a rung's sound. The fields below Mode count for ModeEncode only.
type AudioRung struct {
	Mode    Mode   `json:"mode"`
	Codec   string `json:"codec,omitempty"`   // "" is CodecAAC
	Bitrate int    `json:"bitrate,omitempty"` // bit/s
	// Channels and SampleRate, in Hz, are the source's when 0.
	Channels   int `json:"channels,omitempty"`
	SampleRate int `json:"sampleRate,omitempty"`
}

// Group is a named set of rungs that players choose from: one multivariant playlist.
type Group struct {
	Name    string   `json:"name"` // "all", or a tag
	Members []string `json:"members"`
}

// InGroup reports whether the rung belongs to the named group. Every rung is in "all".
func (l *Ladder) InGroup(r *Rung, group string) bool {
	if group == "all" {
		return true
	}
	for _, g := range l.Groups {
		if g.Name == group {
			return slices.Contains(g.Members, r.Name)
		}
	}
	return slices.Contains(r.Tags, group)
}
