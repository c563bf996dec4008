package kaltura

import (
	"bytes"
	"encoding/xml"
	"errors"
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"

	"klive/infra/live"
)

// Bounds of a template.
const (
	maxTemplate       = 1 << 20
	maxTemplateDepth  = 16
	maxTemplateTokens = 50_000
	maxRungs          = 64
	maxGroups         = 64
)

// ErrTemplate says that a document is no transcoding template, or one that asks for
// what cannot be.
var ErrTemplate = errors.New("kaltura: bad transcoding template")

// ErrNoOutputs says that a template asks for nothing: the stream would play nowhere.
var ErrNoOutputs = errors.New("kaltura: the transcoding template has no outputs: check the entry's conversion profile")

type templateDoc struct {
	XMLName xml.Name         `xml:"Root"`
	Encodes []templateEncode `xml:"Transcode>Encodes>Encode"`
	Groups  []templateGroup  `xml:"Transcode>StreamNameGroups>StreamNameGroup"`
}

type templateEncode struct {
	Enable     string
	Name       string
	StreamName string
	Video      *templateVideo
	Audio      *templateAudio
}

type templateVideo struct {
	Codec     string
	Profile   string
	Bitrate   string
	FrameSize struct {
		FitMode string
		Width   string
		Height  string
	}
	SkipFrameCount struct {
		Value string
	}
}

type templateAudio struct {
	Codec   string
	Bitrate string
}

type templateGroup struct {
	Name    string
	Members []string `xml:"Members>Member>EncodeName"`
}

// ParseTemplate reads the document of wowza_liveConversionProfile.serve for an entry,
// of 2015's servers and of today's (contract §3.7). What it does not know it skips.
// Rungs come without AssetID and Tags, see [Assets.Complete]. Errors: ErrTemplate,
// ErrNoOutputs.
func ParseTemplate(document []byte, entryID string) (live.Ladder, error) {
	if err := checkTemplate(document); err != nil {
		return live.Ladder{}, err
	}
	var doc templateDoc
	if err := xml.Unmarshal(document, &doc); err != nil {
		return live.Ladder{}, fmt.Errorf("%w: %w", ErrTemplate, err)
	}
	if len(doc.Encodes) > maxRungs || len(doc.Groups) > maxGroups {
		return live.Ladder{}, fmt.Errorf("%w: more than %d outputs or groups", ErrTemplate, maxRungs)
	}
	var l live.Ladder
	for _, e := range doc.Encodes {
		if strings.EqualFold(strings.TrimSpace(e.Enable), "false") {
			continue
		}
		r, err := e.rung(entryID)
		if err != nil {
			return live.Ladder{}, err
		}
		if slices.ContainsFunc(l.Rungs, func(o live.Rung) bool { return o.ParamsID == r.ParamsID || o.Name == r.Name }) {
			return live.Ladder{}, fmt.Errorf("%w: output %s stands in it twice", ErrTemplate, r.Name)
		}
		l.Rungs = append(l.Rungs, r)
	}
	if len(l.Rungs) == 0 {
		return live.Ladder{}, ErrNoOutputs
	}
	for _, g := range doc.Groups {
		l.Groups = append(l.Groups, g.group(l.Rungs))
	}
	return l, nil
}

// checkTemplate walks the document once to hold it to its bounds before any of it is
// kept: size, depth, number of tokens. Document type declarations, and with them
// entities, are refused.
func checkTemplate(document []byte) error {
	if len(document) > maxTemplate {
		return fmt.Errorf("%w: larger than %d bytes", ErrTemplate, maxTemplate)
	}
	d := xml.NewDecoder(bytes.NewReader(document))
	depth := 0
	for n := 0; ; n++ {
		token, err := d.RawToken()
		if err == io.EOF {
			return nil
		}
		if err != nil {
			return fmt.Errorf("%w: %w", ErrTemplate, err)
		}
		switch token.(type) {
		case xml.StartElement:
			depth++
		case xml.EndElement:
			depth--
		case xml.Directive:
			return fmt.Errorf("%w: it has a document type declaration", ErrTemplate)
		}
		if depth > maxTemplateDepth || n > maxTemplateTokens {
			return fmt.Errorf("%w: too deep or too long", ErrTemplate)
		}
	}
}

func (e templateEncode) rung(entryID string) (live.Rung, error) {
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
		if r.Video, err = e.Video.rung(); err != nil {
			return bad(err.Error())
		}
	}
	if e.Audio != nil {
		if r.Audio, err = e.Audio.rung(); err != nil {
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

func (v *templateVideo) rung() (live.VideoRung, error) {
	m, codec := mode(v.Codec)
	r := live.VideoRung{Mode: m}
	if m != live.ModeEncode {
		return r, nil
	}
	r.Codec, r.Profile = codec, strings.ToLower(strings.TrimSpace(v.Profile))
	if len(r.Codec) > 20 || len(r.Profile) > 20 {
		return r, errors.New("its codec or profile is too long")
	}
	switch strings.ToLower(strings.TrimSpace(v.FrameSize.FitMode)) {
	case "fit-height":
		r.Fit = live.FitHeight
	case "fit-width":
		r.Fit = live.FitWidth
	case "", "match-source":
		r.Fit = live.FitMatchSource
	default:
		return r, errors.New("its fit mode is none of match-source, fit-height, fit-width")
	}
	var err error
	read := func(text string, most int, into *int, what string) {
		n, e := number(text, most)
		if e != nil && err == nil {
			err = fmt.Errorf("its %s is no number from 0 to %d", what, most)
		}
		*into = n
	}
	read(v.FrameSize.Width, 16384, &r.Width, "width")
	read(v.FrameSize.Height, 16384, &r.Height, "height")
	read(v.Bitrate, 1_000_000_000, &r.Bitrate, "video bitrate")
	read(v.SkipFrameCount.Value, 240, &r.SkipFrames, "skip frame count")
	if err == nil && (r.Fit == live.FitHeight && r.Height == 0 || r.Fit == live.FitWidth && r.Width == 0) {
		err = errors.New("it lacks the size that its fit mode goes by")
	}
	return r, err
}

func (a *templateAudio) rung() (live.AudioRung, error) {
	m, _ := mode(a.Codec)
	r := live.AudioRung{Mode: m}
	if m != live.ModeEncode {
		return r, nil
	}
	n, err := number(a.Bitrate, 10_000_000)
	if err != nil {
		return r, errors.New("its audio bitrate is no number from 0 to 10000000")
	}
	r.Bitrate = n
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

// group keeps the members that are outputs of this template.
func (g templateGroup) group(rungs []live.Rung) live.Group {
	out := live.Group{Name: bounded(strings.TrimSpace(g.Name), 100)}
	for _, m := range g.Members {
		m = strings.TrimSpace(m)
		if slices.ContainsFunc(rungs, func(r live.Rung) bool { return r.Name == m }) && !slices.Contains(out.Members, m) {
			out.Members = append(out.Members, m)
		}
	}
	return out
}
