package playlist

import (
	"slices"
	"strconv"
	"strings"

	"klive/infra/media"
	"klive/storage/timeline"
)

// File is a playlist as it is stored.
type File struct {
	Key, Text string
}

// maxCombined is up to how many video renditions every combination of them has a stored
// playlist of its own (contract §6.11); beyond that only an origin makes them.
const maxCombined = 4

// Stored returns the playlists that players find in the store when no origin runs: media
// playlists of the live window first, then the multivariant ones that name them. They end
// before the first media that are only held, because the store does not have them yet. Those
// of the DVR window are in [StoredDVR]. It is empty while nothing can be played.
func Stored(s *timeline.State, window int) []File {
	b := withoutHeld(OnAir(s))
	if b == nil {
		return nil
	}
	var files []File
	for _, d := range b.Renditions {
		if text := Live(b, d.Name, window); text != "" {
			files = append(files, File{LiveKey(d.Name), text})
		}
	}
	if len(files) == 0 {
		return nil
	}
	return append(files, multivariants(s.Entry, b, false)...)
}

// StoredDVR is the same for the DVR window, which costs as much as the window holds: write
// it when the media outweigh it, and at the end. past are the chapters that [DVRChapters]
// names for the broadcast on the air.
func StoredDVR(s *timeline.State, window int, past []Past) []File {
	b := withoutHeld(OnAir(s))
	if b == nil || b.DVRWindow <= 0 {
		return nil
	}
	var files []File
	for _, d := range b.Renditions {
		if text := DVR(b, d.Name, window, past); text != "" {
			files = append(files, File{DVRKey(d.Name), text})
		}
	}
	if len(files) == 0 {
		return nil
	}
	return append(files, multivariants(s.Entry, b, true)...)
}

// withoutHeld returns the broadcast as the store knows it: media that are held are still on
// their way.
func withoutHeld(b *timeline.Broadcast) *timeline.Broadcast {
	held := func(m timeline.Media) bool { return m.Held }
	if b == nil || !slices.ContainsFunc(b.Items, func(it timeline.Item) bool { return slices.ContainsFunc(it.Media, held) }) {
		return b
	}
	c := *b
	c.Items = slices.Clone(b.Items)
	for i := range c.Items {
		it := &c.Items[i]
		it.Media = slices.Clone(it.Media)
		for j := range it.Media {
			it.Media[j].Held = false
		}
	}
	return &c
}

func multivariants(entry string, b *timeline.Broadcast, dvr bool) []File {
	var files []File
	add := func(key string, sel Selection) {
		if text := Multivariant(b, sel, dvr); text != "" {
			files = append(files, File{key, text})
		}
	}
	for _, g := range groupNames(b) {
		add(GroupKey(entry, g, dvr), Selection{Entry: entry, Group: g})
	}
	for _, ids := range combinations(b) {
		add(GroupKey(entry, joinIDs(ids), dvr), Selection{Entry: entry, Params: ids})
	}
	for _, d := range b.Renditions {
		add(SingleKey(d.Name, dvr), Selection{Entry: entry, Rendition: d.Name})
		if name := d.Rung.Rendition(entry); d.Kind == media.Audio && d.Rung.Name != "" && name != d.Name {
			add(SingleKey(name, dvr), Selection{Entry: entry, Rendition: name})
		}
	}
	return files
}

// groupNames returns "all" and the tags of the renditions.
func groupNames(b *timeline.Broadcast) []string {
	names := []string{"all"}
	for _, d := range b.Renditions {
		for _, g := range d.Groups {
			if validTag(g) && !slices.Contains(names, g) {
				names = append(names, g)
			}
		}
	}
	return names
}

// combinations returns every set of at least two params ids, each in ascending order.
func combinations(b *timeline.Broadcast) [][]int {
	var ids []int
	for _, d := range b.Renditions {
		if d.Kind == media.Video || soundRung(&d) {
			ids = append(ids, d.Rung.ParamsID)
		}
	}
	slices.Sort(ids)
	ids = slices.Compact(ids)
	if len(ids) > maxCombined {
		return nil
	}
	var out [][]int
	for mask := range 1 << len(ids) {
		var set []int
		for i, id := range ids {
			if mask&(1<<i) != 0 {
				set = append(set, id)
			}
		}
		if len(set) > 1 {
			out = append(out, set)
		}
	}
	return out
}

func joinIDs(ids []int) string {
	parts := make([]string, len(ids))
	for i, id := range ids {
		parts[i] = strconv.Itoa(id)
	}
	return strings.Join(parts, "_")
}
