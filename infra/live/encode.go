package live

import (
	"cmp"
	"fmt"
	"slices"
	"time"

	"klive/infra/media"
)

// RungOf is what is encoded for a rung of a source: its size in square pixels, its frame rate
// in 1/s (0 when it is not known) and how long its segments are. ok is false when the source's
// size is not known, and when the rung says that its video is not encoded. Nothing is scaled
// up when upscale is false (contract §3.7 drops such rungs; klive gives them the source's size).
func RungOf(r *Rung, rendition string, width, height int, rate float64, segment time.Duration, upscale bool) (j VideoJob, ok bool) {
	v := r.Video
	if v.Mode != ModeEncode || v.Codec != "" && v.Codec != CodecH264 {
		return j, false
	}
	w, h := v.Size(width, height)
	if !upscale && width > 0 && height > 0 && (w > even(width) || h > even(height)) {
		v.Fit = FitMatchSource
		w, h = v.Size(width, height)
	}
	if w < 2 || h < 2 {
		return j, false
	}
	if v.Bitrate <= 0 {
		v.Bitrate = defaultVideoBitrate
	}
	j = VideoJob{
		Rendition: rendition, Profile: profileOf(v.Profile), Width: w, Height: h, Fit: v.Fit, Bitrate: v.Bitrate,
		Constant: v.Constant, KeyInterval: v.KeyInterval, Skip: v.Skip(rate), Deinterlace: v.Deinterlace,
	}
	j.Most, j.Buffer = v.Rate()
	// The buffer is full when a segment begins. What it adds must not lift the segment more
	// than a tenth above the rate.
	j.Buffer = min(j.Buffer, max(int(float64(j.Most)*segment.Seconds()/10), j.Most*2/5))
	j.Level = level(w, h, max(rate, minLevelRate)/float64(j.Skip+1), j.Most, j.Profile)
	return j, true
}

const (
	// defaultVideoBitrate is the template's (contract §3.7), in bit/s.
	defaultVideoBitrate = 240_000
	// minLevelRate is the frame rate that a level allows at least: rates are measured, and a
	// level must not wander with them.
	minLevelRate = 30
)

func profileOf(s string) string {
	if s == "baseline" || s == "high" {
		return s
	}
	return "main"
}

// levels are those of ITU-T H.264 table A-1: macroblocks per second and per frame, and kbit/s
// in the baseline and main profiles.
var levels = [...]struct{ level, rate, frame, kbit int }{
	{10, 1485, 99, 64}, {11, 3000, 396, 192}, {12, 6000, 396, 384}, {13, 11880, 396, 768}, {20, 11880, 396, 2000},
	{21, 19800, 792, 4000}, {22, 20250, 1620, 4000}, {30, 40500, 1620, 10000}, {31, 108000, 3600, 14000},
	{32, 216000, 5120, 20000}, {40, 245760, 8192, 20000}, {41, 245760, 8192, 50000}, {42, 522240, 8704, 50000},
	{50, 589824, 22080, 135000}, {51, 983040, 36864, 240000}, {52, 2073600, 36864, 240000}, {60, 4177920, 139264, 240000},
	{61, 8355840, 139264, 480000}, {62, 16711680, 139264, 800000},
}

// level is the lowest that holds such pictures.
func level(width, height int, rate float64, most int, profile string) int {
	frame := (width + 15) / 16 * ((height + 15) / 16)
	scale := 1000.0
	if profile == "high" {
		scale = 1250
	}
	i := slices.IndexFunc(levels[:], func(l struct{ level, rate, frame, kbit int }) bool {
		return frame <= l.frame && float64(frame)*rate <= float64(l.rate)*1.01 && float64(most) <= float64(l.kbit)*scale
	})
	if i < 0 {
		return levels[len(levels)-1].level
	}
	return levels[i].level
}

// CodecString is the value for the CODECS attribute (RFC 6381) that the encoded track will
// have, with the constraint flags that x264 sets.
func (v *VideoJob) CodecString() string {
	profile := map[string]string{"baseline": "42c0", "main": "4d40", "high": "6400"}[v.Profile]
	return fmt.Sprintf("avc1.%s%02x", profile, v.Level)
}

// AudioOf is what is encoded for a rung's sound; ok is false when nothing needs to be: the
// rung has none or takes the source's, or that is AAC already.
func AudioOf(r *Rung, rendition string, p media.AudioParams) (j AudioJob, ok bool) {
	if r.Audio.Mode != ModeEncode || p.Codec() == "AAC" {
		return j, false
	}
	j = AudioJob{
		Rendition: rendition, Bitrate: cmp.Or(r.Audio.Bitrate, defaultAudioBitrate),
		SampleRate: uint32(cmp.Or(r.Audio.SampleRate, int(p.SampleRate()))), Channels: cmp.Or(r.Audio.Channels, p.Channels()),
	}
	j.Bitrate = min(max(j.Bitrate, 16_000), 512_000)
	return j, true
}

// defaultAudioBitrate is the template's (contract §3.7), in bit/s.
const defaultAudioBitrate = 96_000

// AACFrame is the length of an AAC frame in samples.
const AACFrame = 1024

// Grid returns the numbers of the first and of the last AAC frame, counted from the Unix
// epoch, whose first samples lie in [start, end), and when they begin and end. Frames are
// those of [AudioJob].
func (a *AudioJob) Grid(start, end media.Time) (first, last int64, from, to media.Time) {
	index := func(t media.Time) int64 { // the first frame at or after t
		n := t.Ticks(a.SampleRate)
		return (n + AACFrame - 1) / AACFrame
	}
	first, last = index(start), index(end)-1
	return first, last, a.At(first), a.At(last + 1)
}

// At is when the AAC frame with the given number begins.
func (a *AudioJob) At(frame int64) media.Time {
	return media.TimeFromTicks(frame*AACFrame, a.SampleRate)
}
