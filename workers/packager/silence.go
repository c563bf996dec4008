package packager

import (
	"klive/infra/live"
	"klive/infra/media"
)

// silentBitrate is what silence is encoded with, in bit/s; it takes less.
const silentBitrate = 64_000

// silence is the sound of a slot that has none, in a broadcast that has had some: of another feed,
// or of this one before. Players that play the sound would else stop at a gap in it. Transcode
// workers make it; nil where there are none, or where nobody has heard anything so far.
func (p *Packager) silence(slot []*segment, pictures []output) *output {
	b := p.Timeline.State().Current()
	if p.Jobs == nil || p.Ends == nil || b == nil || b.Ended || len(pictures) == 0 {
		return nil
	}
	name := live.SoundRendition(p.Entry, 1)
	d := b.Rendition(name)
	if d == nil || d.Inits == 0 || d.SampleRate == 0 || d.Channels == 0 {
		return nil
	}
	o := &output{rendition: name, audio: true, seg: baseOf(slot), track: media.Track{ID: media.FirstAudioTrack, Params: &media.AAC{}},
		sound: &live.AudioJob{Rendition: name, Bitrate: silentBitrate, SampleRate: d.SampleRate, Channels: d.Channels, Silent: true}}
	for i := range pictures {
		o.groups = union(o.groups, pictures[i].groups)
	}
	p.once("silence", "a feed without sound goes on where others had some; its sound is silence", "rendition", name, "feed", o.seg.Feed)
	return o
}
