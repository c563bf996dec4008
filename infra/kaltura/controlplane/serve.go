package controlplane

import (
	"context"
	"errors"
	"math"
	"regexp"
	"slices"

	"klive/infra/bus"
	"klive/infra/kaltura"
)

// streamNameForm is <entry id>_<ingest suffix>.
var streamNameForm = regexp.MustCompile(`^([0-9]_[0-9A-Za-z_]{8})_([0-9]{1,9})$`)

type serveParams struct {
	StreamName string `api:"streamName"`
	Hostname   string `api:"hostname,optional"`
	// ExtraParams is a JSON object of what the encoder says about itself.
	ExtraParams string `api:"extraParams,optional"`
}

// encoder is what extraParams may hold; rates are in kbit/s.
type encoder struct {
	VideoRate  float64 `json:"videodatarate"`
	Width      int     `json:"width"`
	Height     int     `json:"height"`
	FrameRate  float64 `json:"framerate"`
	GPU        string  `json:"gpu"`
	AudioCodec string  `json:"audiocodecidstring"`
}

// serveTemplate is wowza_liveConversionProfile.serve: what is to be made of a published
// stream (contract §3.7).
func (s *Server) serveTemplate(ctx context.Context, c *call, p serveParams) (any, error) {
	m := streamNameForm.FindStringSubmatch(p.StreamName)
	if m == nil {
		return nil, fail(kaltura.CodeInvalidStreamName, "a stream name is an entry id, an underscore and a number", "STREAM_NAME", short(p.StreamName))
	}
	if c.ks == nil || c.ks.PartnerID == kaltura.MediaServerPartner {
		c.allPartners = true
	}
	doc, err := s.liveEntry(ctx, c, m[1])
	if err != nil {
		return nil, err
	}
	if e := doc.Entry; e.SourceType != kaltura.SourceLiveStream && e.SourceType != kaltura.SourceLiveOnText {
		return nil, noEntry(e.ID)
	}
	prof, _, err := s.profileFor(ctx, doc.Entry.ConversionProfileID, func(int) bool { return true })
	if err != nil {
		return nil, err
	}
	outputs, found := outputSet(prof, m[2])
	if !found && s.config.Generation != Generation2015 {
		return nil, fail(kaltura.CodeIngestNotInProfile, "the entry's conversion profile has no ingest "+m[2], "STREAM_NAME", p.StreamName)
	}
	var enc encoder
	if s.config.Generation != Generation2015 && p.ExtraParams != "" {
		n, err := kaltura.ParseJSON([]byte(p.ExtraParams), kaltura.Bounds{Depth: 2, Nodes: 64})
		if err == nil && n.Kind == kaltura.KindObject {
			// Values that do not fit say nothing about the encoder.
			_ = n.Decode(&enc)
		}
	}
	partner, err := load[Partner](ctx, s.state, partnerKey(doc.Entry.PartnerID))
	if err != nil && !errors.Is(err, bus.ErrNotFound) {
		return nil, err
	}
	if !partner.EveryOutput {
		outputs = slices.DeleteFunc(outputs, func(lp kaltura.LiveParams) bool { return enc.tooSmallFor(lp) })
	}
	host, _, err := s.server(ctx, p.Hostname)
	if err != nil {
		return nil, err
	}
	t := template{s: s, entry: doc.Entry.ID, enc: enc, host: host.Node, sourceRate: sourceRate(prof)}
	return &file{
		contentType:  "text/xml",
		cacheControl: "public, max-age=8640000, max-stale=0",
		data:         t.write(outputs),
	}, nil
}

// minSourceRate is the frame rate from which the source's params say something of it.
const minSourceRate = 12.5

// sourceRate is the frame rate that the profile's source has, where its params name one.
func sourceRate(p profile) float64 {
	for _, lp := range p.params() {
		if lp.HasTag("source") && lp.FrameRate >= minSourceRate {
			return lp.FrameRate
		}
	}
	return 0
}

// outputSet chooses the params that a stream with this suffix is made into. found is
// false when the profile does not know the suffix.
func outputSet(p profile, suffix string) (out []kaltura.LiveParams, found bool) {
	all := p.params()
	at := slices.IndexFunc(all, func(lp kaltura.LiveParams) bool { return lp.StreamSuffix == suffix })
	if at >= 0 && !all[at].HasTag("source") {
		return all[at : at+1], true
	}
	for _, lp := range all {
		if p.origin(lp.ID) != kaltura.OriginIngest || lp.HasTag("source") {
			out = append(out, lp)
		}
	}
	return out, at >= 0
}

// tooSmallFor says whether an optional output is not worth making of the encoder's
// picture: lower, or of too little bitrate.
func (enc encoder) tooSmallFor(lp kaltura.LiveParams) bool {
	if !lp.HasTag("optional_flavor") || lp.HasTag("ingest") {
		return false
	}
	height := lp.Height
	if height == 0 && enc.Width > 0 {
		height = lp.Width * enc.Height / enc.Width
	}
	if enc.Height > 0 && enc.Height < height {
		return true
	}
	return enc.VideoRate > 0 && enc.VideoRate*1000 < float64(lp.VideoBitrate*1000)*1.4
}

// skipCount is how many frames to leave out after each; 0 is none.
func (enc encoder) skipCount(lp kaltura.LiveParams, extra kaltura.ExtraParams) int {
	if enc.FrameRate > 0 && lp.MaxFrameRate > 0 {
		return max(0, int(math.Ceil(enc.FrameRate/float64(lp.MaxFrameRate)-1.05)))
	}
	return extra.SkipFrameCount
}

// scale is how many bit/s this generation counts to a kbit/s.
func (s *Server) scale() int {
	if s.config.Generation == Generation2015 {
		return 1024
	}
	return 1000
}
