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
	XMLName     xml.Name           `xml:"Root"`
	Encodes     []templateEncode   `xml:"Transcode>Encodes>Encode"`
	Deinterlace string             `xml:"Transcode>Decode>Video>Deinterlace"`
	Groups      []templateGroup    `xml:"Transcode>StreamNameGroups>StreamNameGroup"`
	Properties  []templateProperty `xml:"Transcode>Properties>Property"`
}

type templateEncode struct {
	Enable     string
	Name       string
	StreamName string
	Video      *templateVideo
	Audio      *templateAudio
}

// templateProperty is a Property, and a Parameter too.
type templateProperty struct {
	Name, Value string
}

type templateGroup struct {
	Name    string
	Members []string `xml:"Members>Member>EncodeName"`
}

// ParseTemplate reads the document of wowza_liveConversionProfile.serve for an entry,
// of 2015's servers and of today's (contract §3.7). What it does not know it skips; what it
// knows and can't honour stands in the ladder's notes, and an output that can't be made is
// left out. Rungs come without AssetID and Tags, see [Assets.Complete]. Errors: ErrTemplate,
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
	seen := map[string]bool{}
	for _, e := range doc.Encodes {
		if strings.EqualFold(strings.TrimSpace(e.Enable), "false") {
			continue
		}
		n := &notes{output: bounded(strings.TrimSpace(e.Name), 40)}
		r, err := e.rung(entryID, n)
		if err != nil {
			return live.Ladder{}, err
		}
		if seen[r.Name] || seen[r.Rendition("")] {
			return live.Ladder{}, fmt.Errorf("%w: output %s stands in it twice", ErrTemplate, r.Name)
		}
		seen[r.Name], seen[r.Rendition("")] = true, true
		r.Video.Deinterlace = r.Video.Mode == live.ModeEncode && isTrue(doc.Deinterlace)
		l.Notes = append(l.Notes, n.list...)
		if !n.dropped {
			l.Rungs = append(l.Rungs, r)
		}
	}
	if len(l.Rungs) == 0 {
		return live.Ladder{}, noOutputs(l.Notes)
	}
	for _, g := range doc.Groups {
		l.Groups = append(l.Groups, g.group(l.Rungs))
	}
	l.SourceFrameRate = sourceFrameRate(doc.Properties)
	return l, nil
}

// noOutputs is ErrNoOutputs with what was left out.
func noOutputs(notes []string) error {
	if len(notes) == 0 {
		return ErrNoOutputs
	}
	return fmt.Errorf("%w (%s)", ErrNoOutputs, strings.Join(notes, "; "))
}

func sourceFrameRate(properties []templateProperty) float64 {
	for _, p := range properties {
		rate, err := strconv.ParseFloat(strings.TrimSpace(p.Value), 64)
		if strings.TrimSpace(p.Name) == "sourceStreamFrameRate" && err == nil && rate > 0 && rate <= 1000 {
			return rate
		}
	}
	return 0
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
			return fmt.Errorf("%w: it has a document type declaration, and so may define entities", ErrTemplate)
		}
		if depth > maxTemplateDepth {
			return fmt.Errorf("%w: more than %d elements within each other", ErrTemplate, maxTemplateDepth)
		}
		if n > maxTemplateTokens {
			return fmt.Errorf("%w: more than %d elements and texts", ErrTemplate, maxTemplateTokens)
		}
	}
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
