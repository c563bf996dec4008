package transcode

import (
	"errors"
	"fmt"
	"slices"
	"time"

	"klive/infra/live"
	"klive/infra/media"
	"klive/infra/media/mp4"
	"klive/infra/media/nal"
)

const videoRate = mp4.VideoTimescale

// ErrOutput says that what ffmpeg made does not fit the source.
var ErrOutput = errors.New("transcode: the encoded segment does not fit its source")

// made is one output that fits.
type made struct {
	rendition string
	track     media.Track
	frames    []media.Frame
}

// verify holds a file that ffmpeg wrote against the source, output by output. What fits is
// returned, with why the rest does not, by rendition.
func verify(j *live.Job, s *source, file []byte) (good []made, bad map[string]error) {
	bad = map[string]error{}
	tracks, err := mp4.ParseFile(file)
	if err == nil && len(tracks) != len(j.Outputs()) {
		err = fmt.Errorf("%w: it has %d tracks, want %d", ErrOutput, len(tracks), len(j.Outputs()))
	}
	if err != nil {
		for _, name := range j.Outputs() {
			bad[name] = err
		}
		return nil, bad
	}
	for i := range j.Video {
		m, err := verifyVideo(j, &j.Video[i], s, &tracks[i])
		if err != nil {
			bad[j.Video[i].Rendition] = err
			continue
		}
		good = append(good, m)
	}
	for i, a := range j.Heard() {
		m, err := verifyAudio(j, &a, &tracks[len(j.Video)+i])
		if err != nil {
			bad[a.Rendition] = err
		} else {
			good = append(good, m)
		}
	}
	return good, bad
}

// verifyVideo holds that exactly the source's pictures came out, or each of those that are
// kept, and begin with a keyframe. They get the source's own times back. A picture is decoded
// when the one before it is shown, so segments join in decode order as they do in display
// order.
func verifyVideo(j *live.Job, v *live.VideoJob, s *source, t *mp4.ParsedTrack) (made, error) {
	p, ok := t.Params.(media.VideoParams)
	if !ok {
		return made{}, fmt.Errorf("%w: %s is no video", ErrOutput, v.Rendition)
	}
	if w, h := p.Size(); w != v.Width || h != v.Height {
		return made{}, fmt.Errorf("%w: %s is %dx%d, want %dx%d", ErrOutput, v.Rendition, w, h, v.Width, v.Height)
	}
	var kept []media.Time
	var captions [][]byte // of what is kept and of what is left out behind it
	for i := range s.shown {
		if i%(v.Skip+1) == 0 {
			kept, captions = append(kept, s.shown[i]), append(captions, nil)
		}
		last := len(captions) - 1
		captions[last] = append(captions[last], s.captions[s.shown[i]]...)
	}
	if len(t.Samples) != len(kept) {
		return made{}, fmt.Errorf("%w: %s has %d pictures, want %d", ErrOutput, v.Rendition, len(t.Samples), len(kept))
	}
	if t.Timescale != videoRate {
		return made{}, fmt.Errorf("%w: %s counts in 1/%d s", ErrOutput, v.Rendition, t.Timescale)
	}
	decode := decodeTimes(kept, s)
	from := base(j).Ticks(videoRate)
	out := made{rendition: v.Rendition, track: media.Track{ID: media.VideoTrack, Params: t.Params}, frames: make([]media.Frame, len(kept))}
	seen := make([]bool, len(kept))
	for i := range t.Samples {
		x := &t.Samples[i]
		at, ok := slices.BinarySearchFunc(kept, x.PTS+from, func(k media.Time, ticks int64) int { return int(k.Ticks(videoRate) - ticks) })
		if !ok || seen[at] {
			return made{}, fmt.Errorf("%w: picture %d of %s is shown at %v, where the source has none", ErrOutput, i, v.Rendition, media.TimeFromTicks(x.PTS+from, videoRate).Std())
		}
		seen[at] = true
		f := &out.frames[i]
		*f = media.Frame{Track: media.VideoTrack, DTS: decode[i], PTS: kept[at], Duration: decode[i+1].Sub(decode[i]), Key: x.Key, Payload: x.Data}
		if cc := captions[at]; len(cc) > 0 {
			f.Payload = nal.WithCaptions(f.Payload, cc)
		}
		if f.PTS < f.DTS || len(x.Data) == 0 {
			return made{}, fmt.Errorf("%w: picture %d of %s is shown before it is decoded", ErrOutput, i, v.Rendition)
		}
	}
	if f := &out.frames[0]; !f.Key || f.PTS != kept[0] {
		return made{}, fmt.Errorf("%w: %s does not begin with a keyframe", ErrOutput, v.Rendition)
	}
	return out, nil
}

// decodeTimes returns when each picture is decoded, and when the next segment's first is.
func decodeTimes(kept []media.Time, s *source) []media.Time {
	first := s.before
	if first == 0 {
		first = kept[0].Add(-40 * time.Millisecond)
		if len(kept) > 1 {
			first = kept[0].Add(-min(kept[1].Sub(kept[0]), time.Second))
		}
	}
	out := append([]media.Time{first}, kept...)
	// Behind the last one is decoded what is shown behind the source's last picture.
	out[len(kept)] = s.shown[len(s.shown)-1]
	if out[len(kept)] <= out[len(kept)-1] {
		out[len(kept)] = out[len(kept)-1] + 1
	}
	return out
}

// verifyAudio takes the frames of the grid that belong to the segment.
func verifyAudio(j *live.Job, a *live.AudioJob, t *mp4.ParsedTrack) (made, error) {
	p, ok := t.Params.(media.AudioParams)
	if !ok || p.SampleRate() != a.SampleRate || p.Channels() != a.Channels || t.Timescale != a.SampleRate || p.FrameSamples() != live.AACFrame {
		return made{}, fmt.Errorf("%w: %s is not AAC of %d Hz with %d channels", ErrOutput, a.Rendition, a.SampleRate, a.Channels)
	}
	first, last, _, _ := a.Grid(j.Start, j.End)
	from := base(j).Ticks(a.SampleRate)
	out := made{rendition: a.Rendition, track: media.Track{ID: media.FirstAudioTrack, Params: t.Params}}
	for i := range t.Samples {
		x := &t.Samples[i]
		n := (x.PTS + from) / live.AACFrame
		if n < first || n > last {
			continue
		}
		if (x.PTS+from)%live.AACFrame != 0 || n != first+int64(len(out.frames)) {
			return made{}, fmt.Errorf("%w: a frame of %s begins at sample %d, want %d", ErrOutput, a.Rendition, x.PTS+from, (first+int64(len(out.frames)))*live.AACFrame)
		}
		at := a.At(n)
		out.frames = append(out.frames, media.Frame{Track: media.FirstAudioTrack, DTS: at, PTS: at, Duration: a.At(n + 1).Sub(at), Key: true, Payload: x.Data})
	}
	if len(out.frames) == 0 || int64(len(out.frames)) != last-first+1 {
		return made{}, fmt.Errorf("%w: %s has %d frames, want %d", ErrOutput, a.Rendition, len(out.frames), last-first+1)
	}
	return out, nil
}

// maxPart is how many bytes of frames go into one message, unless one frame has more.
const maxPart = 1 << 20

// parts cuts an output into messages.
func (m *made) parts(j *live.Job) []*live.Part {
	seg := live.Segment{Start: j.Start, Number: j.Number, Tracks: []media.Track{m.track}, Independent: true, Target: j.Target}
	var out []*live.Part
	size := 0
	for i := range m.frames {
		if n := len(m.frames[i].Payload); len(out) == 0 || size+n > maxPart {
			out = append(out, &live.Part{Feed: j.Feed, Seq: uint64(len(out) + 1), Segment: seg, Number: len(out)})
			size = 0
		}
		p := out[len(out)-1]
		p.Frames = append(p.Frames, m.frames[i])
		size += len(m.frames[i].Payload)
	}
	last := out[len(out)-1]
	last.Last, last.End = true, j.End
	return out
}
