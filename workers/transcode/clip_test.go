package transcode

import (
	"bytes"
	"cmp"
	"encoding/binary"
	"os/exec"
	"slices"
	"testing"
	"time"

	"klive/infra/live"
	"klive/infra/media"
	"klive/infra/media/mp4"
)

const entry = "0_demolive"

// clip is a recording of a source, as a gateway would cut it.
type clip struct {
	feed  live.Feed
	parts []*live.Part
	segs  []span // of the parts
}

type span struct{ first, last int }

// part is the target duration of parts.
const part = 333 * time.Millisecond

func needFFmpeg(t testing.TB) string {
	t.Helper()
	path, err := exec.LookPath("ffmpeg")
	if err != nil {
		t.Skip("SKIP: no ffmpeg")
	}
	return path
}

// record lets ffmpeg make a clip and cuts it: segments begin at the first keyframe after each
// multiple of segment, or, with forced, at any picture that refers to earlier ones. A start at
// an odd instant keeps grids from meeting by chance.
func record(t testing.TB, segment time.Duration, forced bool, args ...string) *clip {
	t.Helper()
	path := needFFmpeg(t)
	args = append(append([]string{"-nostdin", "-hide_banner", "-loglevel", "error", "-filter_threads", "1"}, args...), "-threads", "1")
	if slices.Contains(args, "libvpx") { // VP8, which ffmpeg puts into no MP4
		args = append(args, "-f", "ivf", "pipe:1")
	} else {
		moov := "empty_moov"
		if slices.Contains(args, "ac3") { // whose header says what only its frames know
			moov = "delay_moov"
		}
		args = append(args, "-f", "mp4", "-movflags", moov+"+default_base_moof", "-frag_duration", "500000", "-use_editlist", "0",
			"-video_track_timescale", "90000", "-avoid_negative_ts", "disabled", "pipe:1")
	}
	var errs bytes.Buffer
	cmd := exec.CommandContext(t.Context(), path, args...)
	cmd.Stderr = &errs
	out, err := cmd.Output()
	if err != nil {
		t.Skipf("SKIP: this ffmpeg does not make the clip: %v: %s", err, errs.Bytes())
	}
	parse := mp4.ParseFile
	if slices.Contains(args, "ivf") {
		parse = parseIVF
	}
	tracks, err := parse(out)
	if err != nil {
		t.Fatal(err)
	}
	c := &clip{feed: live.Feed{FeedID: live.FeedID{Entry: entry, Suffix: 1}, Epoch: 3}}
	start := media.At(time.Now().Add(-time.Minute)) / 1e9 * 1e9
	start += 123_456_789
	var list []media.Track
	var frames []media.Frame
	for _, tr := range tracks {
		id := media.VideoTrack
		if tr.Params.Kind() == media.Audio {
			id = media.FirstAudioTrack
		}
		list = append(list, media.Track{ID: id, Params: tr.Params})
		for i, s := range tr.Samples {
			at := func(ticks int64) media.Time { return start.Add(media.FromTicks(ticks, tr.Timescale)) }
			f := media.Frame{Track: id, DTS: at(s.DTS), PTS: at(s.PTS), Key: s.Key, Duration: media.FromTicks(int64(s.Duration), tr.Timescale), Payload: s.Data}
			switch tr.Params.(type) {
			case *media.H264, *media.HEVC:
				f.Key = idr(tr.Params, s.Data)
			}
			if id != media.VideoTrack && f.PTS < start {
				continue // the encoder's priming
			}
			if i+1 < len(tr.Samples) {
				f.Duration = at(tr.Samples[i+1].DTS).Sub(f.DTS)
			}
			frames = append(frames, f)
		}
	}
	slices.SortStableFunc(frames, func(a, b media.Frame) int { return cmp.Compare(a.DTS, b.DTS) })
	c.cut(list, frames, segment, forced)
	return c
}

// parseIVF reads a file with VP8.
func parseIVF(b []byte) ([]mp4.ParsedTrack, error) {
	const head, frame, rate = 32, 12, 90000
	unit := int64(rate) * int64(binary.LittleEndian.Uint32(b[20:])) / int64(binary.LittleEndian.Uint32(b[16:]))
	tr := mp4.ParsedTrack{Timescale: rate}
	for b = b[head:]; len(b) > frame; {
		n, at := binary.LittleEndian.Uint32(b), int64(binary.LittleEndian.Uint64(b[4:]))*unit
		data := b[frame : frame+n]
		if p, err := media.NewVP8(data); err == nil && tr.Params == nil {
			tr.Params = p
		}
		tr.Samples = append(tr.Samples, mp4.Sample{DTS: at, PTS: at, Duration: uint32(unit), Key: data[0]&1 == 0, Data: data})
		b = b[frame+n:]
	}
	return []mp4.ParsedTrack{tr}, nil
}

// pose has the clip's pictures shown in a pose.
func (c *clip) pose(p media.Pose) {
	for _, part := range c.parts {
		part.Segment.Tracks = slices.Clone(part.Segment.Tracks)
		for i, t := range part.Segment.Tracks {
			part.Segment.Tracks[i].Params = media.WithPose(t.Params, p)
		}
	}
}

// rung is what a ladder's rung makes of the clip, as a packager would order it.
func (c *clip) rung(t testing.TB, id int, r live.VideoRung) live.VideoJob {
	t.Helper()
	r.Mode = live.ModeEncode
	w, h := c.parts[0].Segment.Tracks[0].Params.(media.VideoParams).DisplaySize()
	rung := live.Rung{ParamsID: id, Video: r}
	v, ok := live.RungOf(&rung, rung.Rendition(entry), w, h, 30, 4*time.Second, false)
	if !ok {
		t.Fatalf("no rung can be made of %dx%d", w, h)
	}
	return v
}

// idr reports whether an access unit is one that a gateway takes for a random access point.
func idr(p media.Params, au []byte) bool {
	for len(au) > 4 {
		n := int(au[0])<<24 | int(au[1])<<16 | int(au[2])<<8 | int(au[3])
		switch p.(type) {
		case *media.H264:
			if au[4]&0x1f == 5 {
				return true
			}
		case *media.HEVC:
			if t := au[4] >> 1 & 0x3f; t >= 16 && t <= 21 {
				return true
			}
		}
		au = au[4+n:]
	}
	return false
}

// cut makes the parts.
func (c *clip) cut(tracks []media.Track, frames []media.Frame, segment time.Duration, forced bool) {
	var starts []media.Time // when each segment begins, and which picture does
	var high media.Time
	first := map[media.Time]bool{}
	video := slices.ContainsFunc(tracks, func(t media.Track) bool { return t.Params.Kind() == media.Video })
	for _, f := range frames {
		if video && f.Track != media.VideoTrack {
			continue
		}
		if len(starts) == 0 || f.PTS >= starts[0].Add(segment*time.Duration(len(starts))) && (f.Key || forced && f.PTS > high) {
			starts = append(starts, f.PTS)
			first[f.DTS] = true
		}
		high = max(high, f.PTS)
	}
	var end media.Time
	for _, f := range frames {
		if !video || f.Track == media.VideoTrack {
			end = max(end, f.End())
		}
	}
	at, n := map[[2]int]*live.Part{}, -1
	for i := range frames {
		f := frames[i]
		k := 0
		if video && f.Track == media.VideoTrack {
			if first[f.DTS] {
				n++
			}
			k = n
		} else {
			for k+1 < len(starts) && f.PTS >= starts[k+1] {
				k++
			}
		}
		number := max(0, int(f.DTS.Sub(starts[k])/part))
		p := at[[2]int{k, number}]
		if p == nil {
			p = &live.Part{Feed: c.feed, Number: number, Segment: live.Segment{Start: starts[k], Number: uint64(k + 1), Tracks: tracks, Discontinuity: k == 0, Independent: true, Target: 4 * time.Second}}
			at[[2]int{k, number}] = p
			c.parts = append(c.parts, p)
		}
		p.Frames = append(p.Frames, f)
	}
	slices.SortFunc(c.parts, func(a, b *live.Part) int {
		return cmp.Or(cmp.Compare(a.Segment.Number, b.Segment.Number), cmp.Compare(a.Number, b.Number))
	})
	for i, p := range c.parts {
		p.Seq = uint64(i + 1)
		if p.Number == 0 || i == 0 || c.parts[i-1].Segment.Number != p.Segment.Number {
			c.segs = append(c.segs, span{i, i})
		}
		c.segs[len(c.segs)-1].last = i
		p.Final = i == len(c.parts)-1
		if p.Last = p.Final || c.parts[i+1].Segment.Number != p.Segment.Number; p.Last {
			p.End = end
			if !p.Final {
				p.End = c.parts[i+1].Segment.Start
			}
		}
	}
}

// job asks for a segment, counted from 0.
func (c *clip) job(n int, video []live.VideoJob, audio *live.AudioJob) live.Job {
	s := c.segs[n]
	lead := max(0, s.first-2)
	if n == 0 {
		lead = s.first
	}
	if !c.parts[s.first].Frames[0].Key {
		lead = 0
	}
	p := c.parts[s.first]
	now := time.Now()
	return live.Job{Feed: c.feed, Number: p.Segment.Number, LeadIn: uint64(lead + 1), First: uint64(s.first + 1), Last: uint64(s.last + 1),
		Start: p.Segment.Start, End: c.parts[s.last].End, Follows: n > 0, Continues: n+1 < len(c.segs), Target: 4 * time.Second,
		Put: now, Deadline: now.Add(patience()), Video: slices.Clone(video), Audio: audio}
}

// shown are the pictures of a segment, in order of display.
func (c *clip) shown(n int) (out []media.Time) {
	for _, p := range c.parts[c.segs[n].first : c.segs[n].last+1] {
		for _, f := range p.Frames {
			if f.Track == media.VideoTrack {
				out = append(out, f.PTS)
			}
		}
	}
	slices.Sort(out)
	return out
}
