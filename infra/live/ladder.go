package live

import (
	"slices"
	"strconv"
)

// Ladder is what Kaltura asks to be made of one published stream: the outputs and the
// groups that players are offered. It comes from the transcoding template (contract §3.7).
type Ladder struct {
	Rungs  []Rung  `json:"rungs"`
	Groups []Group `json:"groups,omitempty"`
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

// Fit says how an encoded picture's size follows from the source's (contract §3.7).
type Fit string

// The fit modes.
const (
	FitMatchSource Fit = "match-source"
	FitHeight      Fit = "fit-height"
	FitWidth       Fit = "fit-width"
)

// VideoRung is a rung's picture. The fields below Mode count for ModeEncode only.
type VideoRung struct {
	Mode    Mode   `json:"mode"`
	Codec   string `json:"codec,omitempty"`   // "H.264"
	Profile string `json:"profile,omitempty"` // "baseline", "main", "high"
	Fit     Fit    `json:"fit,omitempty"`
	Width   int    `json:"width,omitempty"`   // pixels, 0 keeps the aspect ratio
	Height  int    `json:"height,omitempty"`  // pixels, 0 keeps the aspect ratio
	Bitrate int    `json:"bitrate,omitempty"` // bit/s
	// SkipFrames is how many frames are left out after each one that is kept.
	SkipFrames int `json:"skipFrames,omitempty"`
}

// AudioRung is a rung's sound.
type AudioRung struct {
	Mode    Mode `json:"mode"`
	Bitrate int  `json:"bitrate,omitempty"` // bit/s, for ModeEncode
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
