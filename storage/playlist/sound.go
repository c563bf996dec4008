package playlist

import (
	"cmp"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"golang.org/x/text/language"
	"golang.org/x/text/language/display"

	"klive/infra/media"
	"klive/storage/timeline"
)

// audioGroup is the audio that goes with some video renditions: its default, and audio that
// no video has as its own, which are other languages.
type audioGroup struct {
	id      string
	members []*timeline.Rendition
}

func audioGroups(b *timeline.Broadcast, videos []*timeline.Rendition) []audioGroup {
	var groups []audioGroup
	for _, v := range videos {
		d := b.Rendition(v.Audio)
		if d == nil || !playable(b, d) || slices.ContainsFunc(groups, func(g audioGroup) bool { return g.members[0] == d }) {
			continue
		}
		groups = append(groups, groupOf(b, d))
	}
	return groups
}

// groupOf is the group whose default is an audio rendition.
func groupOf(b *timeline.Broadcast, d *timeline.Rendition) audioGroup {
	own := map[string]bool{d.Name: true}
	for i := range b.Renditions {
		own[b.Renditions[i].Audio] = true
	}
	g := audioGroup{id: groupID(d.Name), members: []*timeline.Rendition{d}}
	for i := range b.Renditions {
		if o := &b.Renditions[i]; o.Kind == media.Audio && playable(b, o) && !own[o.Name] && !soundRung(o) {
			g.members = append(g.members, o)
		}
	}
	return g
}

// soundRung reports whether a rendition is a rung that is sound alone: a variant of its own beside
// those with pictures, and no language of theirs.
func soundRung(d *timeline.Rendition) bool {
	return d.Kind == media.Audio && groupID(d.Name) == strconv.Itoa(d.Rung.ParamsID)
}

// trim leaves those in the group that are coded as its default is: the groups of a playlist would
// have to have the same members (RFC 8216bis §4.4.6.1.1), and a player that lacks one codec of a
// variant plays none of it.
func (g *audioGroup) trim() {
	g.members = slices.DeleteFunc(g.members, func(d *timeline.Rendition) bool { return codec(d.Codecs) != codec(g.members[0].Codecs) })
}

// codec is the family of a CODECS entry: players that have one of it have all.
func codec(entry string) string {
	if strings.HasPrefix(entry, "mp4a.40.") && entry != (&media.MP3{}).CodecString() {
		return "mp4a"
	}
	return entry
}

// groupID is the rendition's name without the entry: "a1".
func groupID(name string) string {
	if _, rest, ok := splitEntry(name); ok {
		return rest
	}
	return name
}

// write writes the group; where returns the address of a member, empty when its sound lies in the
// variants themselves.
func (g *audioGroup) write(w *strings.Builder, where func(*timeline.Rendition) string) {
	for i, d := range g.members {
		name := languageName(d.Language)
		if i > 0 && (d.Language == "" || slices.ContainsFunc(g.members[:i], func(o *timeline.Rendition) bool { return languageName(o.Language) == name })) {
			name += " " + strings.TrimPrefix(groupID(d.Name), "a") // names differ within a group
		}
		fmt.Fprintf(w, "#EXT-X-MEDIA:TYPE=AUDIO,GROUP-ID=%s,NAME=%s", quote(g.id), quote(name))
		if d.Language != "" {
			fmt.Fprintf(w, ",LANGUAGE=%s", quote(d.Language))
		}
		w.WriteString(",DEFAULT=" + yesNo(i == 0) + ",AUTOSELECT=YES")
		if d.Channels > 0 {
			fmt.Fprintf(w, ",CHANNELS=\"%d\"", d.Channels)
		}
		if at := where(d); at != "" {
			fmt.Fprintf(w, ",URI=%s", quote(at))
		}
		w.WriteByte('\n')
	}
}

// languageName is what a menu of languages shows.
func languageName(tag string) string {
	if t, err := language.Parse(tag); err == nil {
		if name := display.English.Tags().Name(t); name != "" {
			return name
		}
	}
	return cmp.Or(tag, "Audio")
}

// soundOnly are the audio renditions of a selection that has no pictures: the one that is its
// variant, and the others that can be chosen instead.
func soundOnly(b *timeline.Broadcast, sel Selection) (g audioGroup, ok bool) {
	list := selected(b, sel, media.Audio)
	if len(list) == 0 {
		return g, false
	}
	if sel.isAudio() {
		return audioGroup{id: groupID(list[0].Name), members: list[:1]}, true
	}
	return groupOf(b, list[0]), true
}

// writeSound writes the variant of a selection without pictures, and returns how many that are.
func writeSound(w *strings.Builder, b *timeline.Broadcast, sel Selection, dvr bool) int {
	g, ok := soundOnly(b, sel)
	if !ok {
		return 0
	}
	d := g.members[0]
	if g.trim(); len(g.members) == 1 {
		writeVariant(w, d, nil, dvr)
		return 1
	}
	g.write(w, func(o *timeline.Rendition) string {
		if o == d {
			return "" // the variant itself
		}
		return uri(o.Name, dvr)
	})
	writeVariant(w, d, &g, dvr)
	return 1
}
