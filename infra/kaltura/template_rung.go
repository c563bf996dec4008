package kaltura

import (
	"errors"
	"fmt"
	"strconv"
	"strings"

	"klive/infra/live"
)

// notes gathers what an output asks for and does not get.
type notes struct {
	output  string
	list    []string
	dropped bool // the output can't be made
}

func (n *notes) add(format string, args ...any) {
	n.list = append(n.list, "output "+n.output+": "+fmt.Sprintf(format, args...))
}

func (n *notes) drop(format string, args ...any) {
	n.add(format+"; the output is left out", args...)
	n.dropped = true
}

type templateVideo struct {
	Transcoder     string
	Implementation string
	GPUID          string
	Codec          string
	Profile        string
	Bitrate        string
	FrameSize      struct {
		FitMode string
		Width   string
		Height  string
	}
	KeyFrameInterval struct {
		FollowSource string
		Interval     string
	}
	SkipFrameCount struct {
		Value string
	}
	Parameters []templateProperty `xml:"Parameters>Parameter"`
}

type templateAudio struct {
	Codec   string
	Bitrate string
}

func (e templateEncode) rung(entryID string, n *notes) (live.Rung, error) {
	name := strings.TrimSpace(e.Name)
	bad := func(what string) (live.Rung, error) {
		return live.Rung{}, fmt.Errorf("%w: output %.40q: %s", ErrTemplate, name, what)
	}
	if name == "" || len(name) > 200 {
		return bad("its name is empty or too long")
	}
	stream := strings.TrimSpace(e.StreamName)
	if kind, rest, ok := strings.Cut(stream, ":"); ok && len(kind) <= 4 {
		stream = rest // "mp4:" and the like
	}
	params, ok := strings.CutPrefix(stream, entryID+"_")
	id, err := strconv.Atoi(params)
	if !ok || err != nil || id <= 0 || id > 1<<31-1 {
		return bad("its stream name is not <entry id>_<flavor params id>")
	}
	r := live.Rung{ParamsID: id, Name: name, Video: live.VideoRung{Mode: live.ModeDisable}, Audio: live.AudioRung{Mode: live.ModeDisable}}
	if e.Video != nil {
		if r.Video, err = e.Video.rung(n); err != nil {
			return bad(err.Error())
		}
	}
	if e.Audio != nil {
		if r.Audio, err = e.Audio.rung(n); err != nil {
			return bad(err.Error())
		}
	}
	if r.Video.Mode == live.ModeDisable && r.Audio.Mode == live.ModeDisable {
		return bad("neither video nor audio is left")
	}
	return r, nil
}

// mode reads a codec element: PassThru, Disable, or the codec to encode to.
func mode(codec string) (live.Mode, string) {
	codec = strings.TrimSpace(codec)
	switch strings.ToLower(codec) {
	case "passthru", "passthrough":
		return live.ModePassThrough, ""
	case "disable", "":
		return live.ModeDisable, ""
	}
	return live.ModeEncode, codec
}

// defaultBitrate is what the API asks for where params state none, in bit/s (contract §3.7).
const (
	defaultVideoBitrate = 240_000
	defaultAudioBitrate = 96_000
)

func (v *templateVideo) rung(n *notes) (live.VideoRung, error) {
	m, codec := mode(v.Codec)
	r := live.VideoRung{Mode: m}
	if m != live.ModeEncode {
		return r, nil
	}
	if r.Codec = live.CodecH264; !isH264(codec) {
		n.drop("video codec %s can't be encoded", bounded(codec, 20))
	}
	r.Profile = profile(v.Profile, n)
	v.hardware(n)
	var err error
	read := func(text string, most int, into *int, what string) {
		value, e := number(text, most)
		if e != nil && err == nil {
			err = fmt.Errorf("its %s is no number from 0 to %d", what, most)
		}
		*into = value
	}
	read(v.FrameSize.Width, 16384, &r.Width, "width")
	read(v.FrameSize.Height, 16384, &r.Height, "height")
	read(v.Bitrate, 1_000_000_000, &r.Bitrate, "video bitrate")
	read(v.SkipFrameCount.Value, 240, &r.SkipFrames, "skip frame count")
	if follow := strings.TrimSpace(v.KeyFrameInterval.FollowSource); follow != "" && !isTrue(follow) {
		read(v.KeyFrameInterval.Interval, 100_000, &r.KeyInterval, "keyframe interval")
	}
	if err == nil {
		err = v.fit(&r, n)
	}
	if r.Bitrate == 0 {
		r.Bitrate = defaultVideoBitrate
	}
	for _, p := range v.Parameters {
		// 0 is a constant bitrate to the engine that the template was made for.
		if strings.TrimSpace(p.Name) == "mainconcept.bit_rate_mode" {
			r.Constant = strings.TrimSpace(p.Value) == "0"
		}
	}
	return r, err
}

func isH264(codec string) bool {
	switch strings.ToLower(codec) {
	case "h.264", "h264", "avc":
		return true
	}
	return false
}

// profile reads an H.264 profile.
func profile(text string, n *notes) string {
	switch p := strings.ToLower(strings.TrimSpace(text)); p {
	case "baseline", "main", "high":
		return p
	case "":
	default:
		n.add("H.264 profile %s is not known; it gets main", bounded(p, 20))
	}
	return "main"
}

// hardware notes what the template says of graphics cards: klive encodes in software.
func (v *templateVideo) hardware(n *notes) {
	if id := strings.TrimSpace(v.GPUID); id != "" && id != "-1" {
		n.add("GPUID %s is not used: klive encodes in software", bounded(id, 20))
	}
	for _, name := range []string{v.Implementation, v.Transcoder} {
		if name = strings.TrimSpace(name); name != "" && name != "default" {
			n.add("encoder %s is not used: klive encodes in software", bounded(name, 20))
		}
	}
}

// fit reads how the picture's size follows from the source's.
func (v *templateVideo) fit(r *live.VideoRung, n *notes) error {
	text := strings.ToLower(strings.TrimSpace(v.FrameSize.FitMode))
	switch r.Fit = live.Fit(text); r.Fit {
	case "":
		r.Fit = live.FitMatchSource
	case live.FitMatchSource, live.FitHeight, live.FitWidth, live.FitLetterbox, live.FitCrop, live.FitStretch:
	default:
		switch {
		case r.Height > 0:
			r.Fit = live.FitHeight
		case r.Width > 0:
			r.Fit = live.FitWidth
		default:
			r.Fit = live.FitMatchSource
		}
		n.add("fit mode %s is not known; it gets %s", bounded(text, 20), r.Fit)
	}
	both := r.Fit == live.FitLetterbox || r.Fit == live.FitCrop || r.Fit == live.FitStretch
	if (r.Fit == live.FitHeight || both) && r.Height == 0 || (r.Fit == live.FitWidth || both) && r.Width == 0 {
		return errors.New("it lacks the size that its fit mode goes by")
	}
	return nil
}

func (a *templateAudio) rung(n *notes) (live.AudioRung, error) {
	m, codec := mode(a.Codec)
	r := live.AudioRung{Mode: m}
	if m != live.ModeEncode {
		return r, nil
	}
	if r.Codec = live.CodecAAC; !strings.EqualFold(codec, live.CodecAAC) {
		n.add("audio codec %s can't be encoded; it gets AAC", bounded(codec, 20))
	}
	bitrate, err := number(a.Bitrate, 10_000_000)
	if err != nil {
		return r, errors.New("its audio bitrate is no number from 0 to 10000000")
	}
	if r.Bitrate = bitrate; bitrate == 0 {
		r.Bitrate = defaultAudioBitrate
	}
	return r, nil
}

// number reads a number from 0 to most; blank is 0.
func number(text string, most int) (int, error) {
	text = strings.TrimSpace(text)
	if text == "" {
		return 0, nil
	}
	n, err := strconv.Atoi(text)
	if err != nil || n < 0 || n > most {
		return 0, ErrTemplate
	}
	return n, nil
}

func isTrue(text string) bool { return strings.EqualFold(strings.TrimSpace(text), "true") }
