package kaltura

import (
	"cmp"
	"slices"
	"strconv"
	"strings"

	"klive/infra/live"
)

// Ladder makes the ladder of a published stream from the entry's profile itself, for an API
// that has no template service. It takes the outputs that the template would have
// (contract §3.7) with today's scale of bitrates; suffix is the stream's number, "1" or the
// like. What can't be honoured stands in the ladder's notes. Errors: ErrNoOutputs.
func (a *Assets) Ladder(suffix string) (live.Ladder, error) {
	var l live.Ladder
	for _, p := range a.outputs(suffix) {
		n := &notes{output: bounded(p.OutputName(), 40)}
		r := p.rung(n)
		l.Notes = append(l.Notes, n.list...)
		if !n.dropped {
			l.Rungs = append(l.Rungs, r)
		}
	}
	if len(l.Rungs) == 0 {
		return live.Ladder{}, noOutputs(l.Notes)
	}
	l.Groups = groupsOf(l.Rungs)
	a.Complete(&l)
	return l, nil
}

// outputs picks the params that are made of the stream with the suffix: a pre-encoded rendition
// goes through alone, the source brings everything but the other streams that encoders send.
func (a *Assets) outputs(suffix string) []LiveParams {
	all := make([]LiveParams, 0, len(a.Profile))
	ingested := map[int]bool{}
	for _, p := range a.Profile {
		if params, ok := a.Params[p.AssetParamsID]; ok && len(all) < maxRungs {
			all = append(all, params)
			ingested[params.ID] = p.Origin == OriginIngest
		}
	}
	at := slices.IndexFunc(all, func(p LiveParams) bool { return p.StreamSuffix == suffix })
	if at < 0 {
		return nil
	}
	if !all[at].HasTag("source") {
		return all[at : at+1]
	}
	return slices.DeleteFunc(all, func(p LiveParams) bool { return ingested[p.ID] && !p.HasTag("source") })
}

// OutputName is what the template calls the output of the params, and groups refer to.
func (p LiveParams) OutputName() string { return cmp.Or(p.SystemName, strconv.Itoa(p.ID)) }

// ExtraParams is what the params keep in a text of their own (contract §3.7).
type ExtraParams struct {
	SkipFrameCount  int  `json:"skipFrameCount"`
	ConstantBitrate bool `json:"constantBitrate"`
}

// Extra reads the params' own text; what does not fit is no setting.
func (p LiveParams) Extra() (e ExtraParams) {
	n, err := ParseJSON([]byte(p.ConversionEnginesExtra), Bounds{Depth: 4, Nodes: 100})
	if err == nil && n.Decode(&e) != nil {
		return ExtraParams{}
	}
	return e
}

func (p LiveParams) rung(n *notes) live.Rung {
	r := live.Rung{
		ParamsID: p.ID, Name: p.OutputName(), Tags: p.TagList(), Video: live.VideoRung{Mode: live.ModePassThrough},
		Audio: live.AudioRung{Mode: live.ModeEncode, Codec: live.CodecAAC, Bitrate: defaultAudioBitrate},
	}
	if p.HasTag("audio_only") {
		r.Video.Mode = live.ModeDisable
	}
	if p.AudioBitrate > 0 {
		r.Audio.Bitrate = min(p.AudioBitrate, 10_000) * 1000
	}
	if p.HasTag("ingest") {
		return r
	}
	r.Audio.Channels, r.Audio.SampleRate = max(0, min(p.AudioChannels, 8)), max(0, min(p.AudioSampleRate, 192_000))
	if p.Width > 0 || p.Height > 0 || p.FrameRate > 0 {
		p.video(&r.Video, n)
	}
	return r
}

// video says how the picture is encoded, when it is (contract §3.7).
func (p LiveParams) video(v *live.VideoRung, n *notes) {
	switch p.VideoCodec {
	case "h264", "h264b":
		v.Profile = "baseline"
	case "h264m", "h264h":
		v.Profile = "main"
	case "flv", "vp6", "h263":
		n.drop("video codec %s can't be encoded", p.VideoCodec)
		return
	default:
		return
	}
	e := p.Extra()
	v.Mode, v.Codec = live.ModeEncode, live.CodecH264
	v.Fit, v.Width, v.Height = live.FitMatchSource, max(0, min(p.Width, 16384)), max(0, min(p.Height, 16384))
	switch {
	case v.Height > 0:
		v.Fit = live.FitHeight
	case v.Width > 0:
		v.Fit = live.FitWidth
	}
	if v.Bitrate = defaultVideoBitrate; p.VideoBitrate > 0 {
		v.Bitrate = min(p.VideoBitrate, 1_000_000) * 1000
	}
	v.Constant = e.ConstantBitrate
	v.SkipFrames = max(0, min(e.SkipFrameCount, 240))
	v.Deinterlace = p.Deinterlace > 0
	if p.MaxFrameRate > 0 {
		v.MaxFrameRate, v.SkipFrames = float64(p.MaxFrameRate), 0
	}
}

// groupsOf makes a group for each tag of the rungs, in the order in which they come, and "all".
func groupsOf(rungs []live.Rung) []live.Group {
	var groups []live.Group
	put := func(name, member string) {
		at := slices.IndexFunc(groups, func(g live.Group) bool { return g.Name == name })
		if at < 0 && len(groups) < maxGroups {
			at, groups = len(groups), append(groups, live.Group{Name: name})
		}
		if at >= 0 && !slices.Contains(groups[at].Members, member) {
			groups[at].Members = append(groups[at].Members, member)
		}
	}
	for _, r := range rungs {
		put("all", r.Name)
		for _, tag := range r.Tags {
			put(bounded(strings.TrimSpace(tag), 100), r.Name)
		}
	}
	return groups
}
