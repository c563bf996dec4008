package playlist

import (
	"fmt"
	"slices"
	"strings"

	"klive/storage/timeline"
)

// TS turns a media playlist into that of the same segments in MPEG-TS: they need no
// initialization sections.
func TS(text string) string {
	var w strings.Builder
	w.Grow(len(text))
	for line := range strings.Lines(text) {
		if strings.HasPrefix(line, "#EXT-X-MAP:") {
			continue
		}
		if name, ok := strings.CutSuffix(line, ".m4s\n"); ok {
			w.WriteString(name)
			w.WriteString(".ts\n")
			continue
		}
		w.WriteString(line)
	}
	return w.String()
}

// MultivariantTS is [Multivariant] for MPEG-TS: a variant's segments hold its picture and its
// own sound; other tracks of sound have playlists of their own.
func MultivariantTS(b *timeline.Broadcast, sel Selection, dvr bool) string {
	var w strings.Builder
	list := variants(b, sel)
	groups := audioGroups(b, list)
	if g, ok := soundOnly(b, sel); ok && len(list) == 0 && (sel.isAudio() || !hasVideo(b)) {
		list, groups = g.members[:1], []audioGroup{g}
	}
	for i := range groups {
		groups[i].trim()
	}
	groups = slices.DeleteFunc(groups, func(g audioGroup) bool { return len(g.members) < 2 }) // nothing to choose
	name := TSName
	if dvr {
		name = TSDVRName
	}
	for i := range groups {
		groups[i].write(&w, func(d *timeline.Rendition) string {
			if d == groups[i].members[0] {
				return "" // within the variants
			}
			return "../" + d.Name + "/" + name
		})
	}
	writeCaptions(&w, captionsOf(list))
	n := 0
	for _, d := range list {
		codecs := []string{d.Codecs}
		peak, average := rates(d)
		g := slices.IndexFunc(groups, func(g audioGroup) bool { return g.members[0].Name == d.Audio || g.members[0] == d })
		if a := b.Rendition(d.Audio); a != nil && playable(b, a) {
			p, m := rates(a)
			codecs = append(codecs, a.Codecs)
			peak, average = peak+p, average+m
		} else if a != nil && !begun(b, a) && a.First == d.First {
			continue // its sound is on its way
		}
		// Headers of packets and frames come on top.
		peak, average = peak+peak*tsOverhead/100, average+average*tsOverhead/100
		v := variant{d: d, codecs: slices.Compact(codecs), peak: peak, average: average, uri: "../" + d.Name + "/" + name}
		if g >= 0 {
			v.group = groups[g].id
		}
		v.write(&w)
		n++
	}
	if n == 0 {
		return ""
	}
	head := fmt.Sprintf("#EXTM3U\n#EXT-X-VERSION:%d\n", protocolVersion)
	if !b.Dependent {
		head += "#EXT-X-INDEPENDENT-SEGMENTS\n"
	}
	return head + w.String()
}

// tsOverhead is what MPEG-TS adds to the media, in percent: 4 of 188 bytes, a third of that
// again to fill up packets, and more for little frames of sound.
const tsOverhead = 12
