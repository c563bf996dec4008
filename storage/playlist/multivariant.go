package playlist

import (
	"fmt"
	"slices"
	"strconv"
	"strings"

	"klive/infra/media"
	"klive/storage/timeline"
)

// headroom is how much a peak may lie above the little that has been measured so far.
const headroom = 1.2

// Multivariant returns the multivariant playlist of the selected renditions, or of their DVR
// windows. Each variant is a video rendition with its audio; without video, audio is the variant. It is empty while nothing of the selection can be played.
func Multivariant(b *timeline.Broadcast, sel Selection, dvr bool) string {
	var w strings.Builder
	videos := variants(b, sel)
	groups := audioGroups(b, videos)
	for i := range groups {
		groups[i].trim()
		groups[i].write(&w, func(d *timeline.Rendition) string { return uri(d.Name, dvr) })
	}
	n := 0
	writeCaptions(&w, captionsOf(videos))
	for _, d := range videos {
		if writeVideo(&w, b, d, groups, dvr) {
			n++
		}
	}
	if n == 0 && (sel.isAudio() || !hasVideo(b)) {
		n += writeSound(&w, b, sel, dvr)
	}
	for _, d := range selected(b, sel, media.Audio) {
		if soundRung(d) && (n > 0 || len(videos) == 0) {
			writeVariant(&w, d, nil, dvr)
			n++
		}
	}
	if n == 0 {
		return ""
	}
	head := "#EXTM3U\n#EXT-X-VERSION:" + strconv.Itoa(protocolVersion) + "\n"
	if !b.Dependent {
		head += "#EXT-X-INDEPENDENT-SEGMENTS\n"
	}
	return head + w.String()
}

// isAudio reports whether the selection names an audio rendition.
func (s *Selection) isAudio() bool {
	return s.Rendition != "" && strings.HasPrefix(s.Rendition, s.Entry+"_a")
}

func hasVideo(b *timeline.Broadcast) bool {
	return slices.ContainsFunc(b.Renditions, func(d timeline.Rendition) bool { return d.Kind == media.Video })
}

// selected returns the renditions of one kind that the selection names and that have
// something to play. Pictures that are encoded count before: players read the playlist once.
func selected(b *timeline.Broadcast, sel Selection, kind media.Kind) []*timeline.Rendition {
	var out []*timeline.Rendition
	for i := range b.Renditions {
		d := &b.Renditions[i]
		if d.Kind == kind && (playable(b, d) || d.Encoded && kind == media.Video) && sel.has(d) {
			out = append(out, d)
		}
	}
	return out
}

// variants are the pictures of a selection, none while nothing of them can be played: players
// read the playlist once, and would wait for a playlist that may never come.
func variants(b *timeline.Broadcast, sel Selection) []*timeline.Rendition {
	list := selected(b, sel, media.Video)
	if !slices.ContainsFunc(list, func(d *timeline.Rendition) bool { return shown(b, d) }) {
		return nil
	}
	return list
}

// Known leaves out the params ids that no rendition has: who makes them up gets the same texts as
// everybody. A selection of such ids alone keeps the first.
func Known(s *timeline.State, sel Selection) Selection {
	b := OnAir(s)
	if b == nil || len(sel.Params) < 2 {
		return sel
	}
	known := slices.DeleteFunc(slices.Clone(sel.Params), func(id int) bool {
		return !slices.ContainsFunc(b.Renditions, func(d timeline.Rendition) bool {
			return (d.Kind == media.Video || d.Rung.Name != "") && d.Rung.ParamsID == id
		})
	})
	if len(known) == 0 {
		known = sel.Params[:1]
	}
	sel.Params = known
	return sel
}

// Smallest returns the playable video rendition of the selection with the fewest pixels, nil
// without one.
func Smallest(b *timeline.Broadcast, sel Selection) *timeline.Rendition {
	var out *timeline.Rendition
	for _, d := range selected(b, sel, media.Video) {
		if out == nil || d.Width*d.Height < out.Width*out.Height {
			out = d
		}
	}
	return out
}

func (s *Selection) has(d *timeline.Rendition) bool {
	switch {
	case s.Rendition == d.Name:
		return true
	case s.Rendition != "":
		// The audio of a broadcast without video answers for its rung.
		return d.Kind == media.Audio && d.Rung.Name != "" && s.Rendition == d.Rung.Rendition(s.Entry)
	case len(s.Params) > 0:
		return (d.Kind == media.Video || d.Rung.Name != "") && slices.Contains(s.Params, d.Rung.ParamsID)
	}
	return s.Group == "all" || slices.Contains(d.Groups, s.Group)
}

func yesNo(b bool) string {
	if b {
		return "YES"
	}
	return "NO"
}

// quote makes a quoted string, which can hold neither quotes nor line breaks.
func quote(s string) string {
	return `"` + strings.Map(func(r rune) rune {
		if r == '"' || r < ' ' {
			return -1
		}
		return r
	}, s) + `"`
}

// uri leads from a multivariant playlist's folder to a media playlist.
func uri(rendition string, dvr bool) string {
	if dvr {
		return "../" + rendition + "/" + DVRName
	}
	return "../" + rendition + "/" + LiveName
}

// writeVideo writes a video variant, unless its audio began with it and is still on its way:
// whoever read the playlist now would stay without sound.
func writeVideo(w *strings.Builder, b *timeline.Broadcast, d *timeline.Rendition, groups []audioGroup, dvr bool) bool {
	if a := b.Rendition(d.Audio); a != nil && !begun(b, a) && a.First == d.First {
		return false
	}
	for i := range groups {
		if groups[i].members[0].Name == d.Audio {
			writeVariant(w, d, &groups[i], dvr)
			return true
		}
	}
	writeVariant(w, d, nil, dvr)
	return true
}

func writeVariant(w *strings.Builder, d *timeline.Rendition, g *audioGroup, dvr bool) {
	codecs := []string{d.Codecs}
	peak, average := rates(d)
	if g != nil {
		var most, mean int64
		for _, a := range g.members {
			p, m := rates(a)
			most, mean = max(most, p), max(mean, m)
			if !slices.Contains(codecs, a.Codecs) {
				codecs = append(codecs, a.Codecs)
			}
		}
		peak, average = peak+most, average+mean
	}
	v := variant{d: d, codecs: codecs, peak: peak, average: average, uri: uri(d.Name, dvr)}
	if g != nil {
		v.group = g.id
	}
	v.write(w)
}

// variant is what EXT-X-STREAM-INF (RFC 8216bis §4.4.6.2) says.
type variant struct {
	d             *timeline.Rendition
	codecs        []string
	peak, average int64  // bit/s, the sound's included
	group         string // of its sound, empty for none
	uri           string
}

func (v *variant) write(w *strings.Builder) {
	fmt.Fprintf(w, "#EXT-X-STREAM-INF:BANDWIDTH=%d,AVERAGE-BANDWIDTH=%d,CODECS=%s", steady(v.peak), steady(v.average), quote(strings.Join(v.codecs, ",")))
	if v.d.Width > 0 && v.d.Height > 0 {
		fmt.Fprintf(w, ",RESOLUTION=%dx%d", v.d.Width, v.d.Height)
	}
	if v.d.FrameRate > 0 {
		fmt.Fprintf(w, ",FRAME-RATE=%.3f", v.d.FrameRate)
	}
	if v.group != "" {
		fmt.Fprintf(w, ",AUDIO=%s", quote(v.group))
	}
	if len(v.d.Captions) > 0 {
		fmt.Fprintf(w, ",CLOSED-CAPTIONS=%s", quote(captionGroup))
	}
	fmt.Fprintf(w, "\n%s\n", v.uri)
}

// steady rounds a rate up by at most 1/32 (3 %): a playlist that changed with every segment's
// few bytes would be stored and fetched anew for nothing. RFC 8216bis §4.4.6.2 allows 10 %.
func steady(rate int64) int64 {
	step := int64(1)
	for rate>>5 >= 2*step {
		step *= 2
	}
	return (rate + step - 1) / step * step
}

// rates returns BANDWIDTH and AVERAGE-BANDWIDTH of a rendition in bit/s: as measured, or,
// before there was enough to measure, what its rung states or a little more than what came.
func rates(d *timeline.Rendition) (peak, average int64) {
	average = timeline.BitRate(d.Bytes, d.Duration)
	if d.Encoded && d.Kind == media.Video {
		// It may use what its rung says, whatever it has used so far; measured rates would change
		// the playlist again and again.
		most, _ := d.Rung.Video.Rate()
		average = max(average, int64(d.Rung.Video.Bitrate))
		return max(int64(most)*11/10, d.Peak, average), average
	}
	if d.Peak > 0 {
		return max(d.Peak, average), average
	}
	stated := d.Rung.Video.Bitrate
	if d.Kind == media.Audio {
		stated = d.Rung.Audio.Bitrate
	}
	return max(int64(stated), int64(float64(average)*headroom)), average
}
