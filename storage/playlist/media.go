package playlist

import (
	"slices"
	"strconv"
	"strings"
	"time"

	"klive/storage/timeline"
)

// protocolVersion is the lowest that allows EXT-X-MAP in a media playlist (RFC 8216bis §8).
const protocolVersion = 6

// gapVersion is what a media playlist with EXT-X-GAP says: the tag is newer than version 7
// (RFC 8216), and readers who don't know it would ask for the media.
const gapVersion = 8

// DefaultWindow is how many segments a live playlist holds.
const DefaultWindow = 5

// minWindow is what a playlist must hold before a segment may leave it, in target durations
// (RFC 8216bis §6.2.2).
const minWindow = 3

// OnAir returns the broadcast that playlists show: the latest of which something is stored.
// A broadcast that has just begun leaves the one before it in place; nil when there is none.
func OnAir(s *timeline.State) *timeline.Broadcast {
	for i := len(s.Broadcasts) - 1; i >= 0; i-- {
		b := s.Broadcasts[i]
		if slices.ContainsFunc(b.Renditions, func(d timeline.Rendition) bool { return playable(b, &d) }) {
			return b
		}
	}
	return nil
}

// begun reports whether the rendition's playlist names anything, be it gaps.
func begun(b *timeline.Broadcast, d *timeline.Rendition) bool {
	items, _ := listed(b, d, b.Items)
	return d.First != 0 && len(items) > 0
}

// playable reports whether the rendition's playlist names anything and something was stored.
func playable(b *timeline.Broadcast, d *timeline.Rendition) bool { return d.Bytes > 0 && begun(b, d) }

// shown reports whether the rendition has a media playlist. That of an encoded one may have
// nothing but gaps, while no worker makes it.
func shown(b *timeline.Broadcast, d *timeline.Rendition) bool {
	return playable(b, d) || d.Encoded && begun(b, d)
}

// Announced reports whether multivariant playlists name the rendition and nothing of it is there
// yet: transcode workers are about to make it.
func Announced(b *timeline.Broadcast, rendition string) bool {
	d := b.Rendition(rendition)
	return d != nil && d.Encoded && !b.Ended && !begun(b, d)
}

// encodes returns the first item of which something comes from transcode workers, and so later
// than the rest; 0 when nothing does.
func encodes(b *timeline.Broadcast) (first uint64) {
	for i := range b.Renditions {
		if d := &b.Renditions[i]; d.Encoded && d.First != 0 && (first == 0 || d.First < first) {
			first = d.First
		}
	}
	return first
}

// How many target durations players stay behind the end of a playlist (RFC 8216bis §4.4.3.8),
// when renditions may be the two late that an encoded segment may take, and how much more than
// usual a live playlist then holds.
const (
	holdBack   = 3 + 2
	moreWindow = holdBack - minWindow + 1
)

// Live returns the media playlist of a rendition's live window: the newest window segments,
// and at least three target durations. It names what is stored, held or a gap. It is empty
// when there is nothing of the rendition.
func Live(b *timeline.Broadcast, rendition string, window int) string {
	d := b.Rendition(rendition)
	if d == nil || !shown(b, d) {
		return ""
	}
	items, complete := listed(b, d, b.Items)
	return render(b, d, nil, items[liveStart(b, d, items, window):], complete)
}

// Past is one closed chapter, as a DVR playlist needs it.
type Past struct {
	Items []timeline.Item
	// Text is [ChapterText] of the items, or empty: then it is made anew.
	Text string
}

// DVR returns the media playlist of a rendition's DVR window. past are the chapters that
// [DVRChapters] names. Without a DVR window it is the live playlist.
func DVR(b *timeline.Broadcast, rendition string, window int, past []Past) string {
	d := b.Rendition(rendition)
	if d == nil || !shown(b, d) {
		return ""
	}
	kept, items, complete := dvrItems(b, d, window, past)
	return render(b, d, kept, items, complete)
}

// dvrItems returns what a rendition's DVR window holds: of the closed chapters, and of the open
// items.
func dvrItems(b *timeline.Broadcast, d *timeline.Rendition, window int, past []Past) (kept []Past, items []timeline.Item, complete bool) {
	items, complete = listed(b, d, b.Items)
	live := liveStart(b, d, items, window)
	if b.DVRWindow <= 0 || len(items) == 0 {
		return nil, items[live:], complete
	}
	from := items[len(items)-1].End().Add(-b.DVRWindow)
	for _, p := range past {
		in, _ := listed(b, d, p.Items)
		for len(in) > 0 && in[0].End() <= from {
			in = in[1:]
		}
		if len(in) < len(p.Items) {
			p.Text = ""
		}
		if p.Items = in; len(in) > 0 {
			kept = append(kept, p)
		}
	}
	if len(kept) == 0 {
		first := 0
		for first < live && items[first].End() <= from {
			first++
		}
		items = items[first:]
	}
	return kept, items, complete
}

// DVRChapters returns the closed chapters that hold items of the DVR window, oldest first.
func DVRChapters(b *timeline.Broadcast) []timeline.Chapter {
	if b.DVRWindow <= 0 || len(b.Items) == 0 {
		return nil
	}
	// The renditions end at different items; none has more to show than the first open one.
	from := b.Items[0].Start.Add(-b.DVRWindow)
	for i, c := range b.Chapters {
		if c.Start.Add(c.Duration) > from && c.LastSeq >= b.FirstSeq {
			return b.Chapters[i:]
		}
	}
	return nil
}

// ChapterText returns the lines of a closed chapter's items in a rendition's playlist. They
// don't depend on what stands before them.
func ChapterText(b *timeline.Broadcast, rendition string, items []timeline.Item) string {
	d := b.Rendition(rendition)
	if d == nil {
		return ""
	}
	var w strings.Builder
	writeItems(&w, b, d, items)
	return w.String()
}

// listed returns those of items that the rendition's playlist names: from the rendition's
// first item up to the first whose media are still on their way. complete says that it was
// all of them.
func listed(b *timeline.Broadcast, d *timeline.Rendition, items []timeline.Item) (list []timeline.Item, complete bool) {
	first := 0
	for first < len(items) && items[first].Seq < max(d.First, b.FirstSeq) {
		first++
	}
	for i := first; i < len(items); i++ {
		if m := items[i].Of(d.Name); m != nil && !m.Settled() && !m.Held {
			return items[first:i], false
		}
	}
	return items[first:], true
}

// liveStart returns where the live window begins in a list. It never goes back while items
// are added, nor when something begins to be encoded.
func liveStart(b *timeline.Broadcast, d *timeline.Rendition, items []timeline.Item, window int) int {
	if window <= 0 {
		window = DefaultWindow
	}
	first := encodes(b)
	if first == 0 {
		return windowStart(b, d, items, window, minWindow)
	}
	before := 0
	for before < len(items) && items[before].Seq < first {
		before++
	}
	return max(windowStart(b, d, items, window+moreWindow, minWindow+moreWindow), windowStart(b, d, items[:before], window, minWindow))
}

// windowStart returns where a window begins that holds at least so many items, and so many
// target durations as the rendition's playlist adds them up: its sound may be a little shorter than
// the pictures at each discontinuity (RFC 8216 §6.2.2).
func windowStart(b *timeline.Broadcast, d *timeline.Rendition, items []timeline.Item, window, targets int) int {
	i := len(items)
	var length time.Duration
	for i > 0 && (len(items)-i < window || length < time.Duration(targets*b.Target)*time.Second) {
		i--
		m := mediaOf(&items[i], d.Name)
		length += time.Duration(micros(m.Duration)) * time.Microsecond
	}
	return i
}

// render writes a media playlist. It is empty when there is no item.
func render(b *timeline.Broadcast, d *timeline.Rendition, past []Past, items []timeline.Item, complete bool) string {
	var first *timeline.Item
	size := 256 + 160*len(items)
	switch {
	case len(past) > 0:
		first = &past[0].Items[0]
	case len(items) > 0:
		first = &items[0]
	default:
		return ""
	}
	for _, p := range past {
		size += max(len(p.Text), 160*len(p.Items))
	}
	var w strings.Builder
	w.Grow(size)
	version := uint64(protocolVersion)
	if gaps(d.Name, past, items) {
		version = gapVersion
	}
	writeHeader(&w, b, first, version)
	for _, p := range past {
		if p.Text != "" {
			w.WriteString(p.Text)
		} else {
			writeItems(&w, b, d, p.Items)
		}
	}
	writeItems(&w, b, d, items)
	if b.Ended && complete {
		w.WriteString("#EXT-X-ENDLIST\n")
	}
	return w.String()
}

// gaps reports whether a rendition lacks media of one of the items.
func gaps(rendition string, past []Past, items []timeline.Item) bool {
	missing := func(it timeline.Item) bool { return mediaOf(&it, rendition).Gap }
	for _, p := range past {
		if strings.Contains(p.Text, gapTag) || p.Text == "" && slices.ContainsFunc(p.Items, missing) {
			return true
		}
	}
	return slices.ContainsFunc(items, missing)
}

const gapTag = "\n#EXT-X-GAP"

func writeHeader(w *strings.Builder, b *timeline.Broadcast, first *timeline.Item, version uint64) {
	// The first item's own tag, when it has one, counts after the header's number.
	disc := first.DiscontinuitySeq
	if first.Discontinuity {
		disc--
	}
	writeTag(w, "#EXTM3U\n#EXT-X-VERSION:", version)
	writeTag(w, "#EXT-X-TARGETDURATION:", uint64(b.Target))
	writeTag(w, "#EXT-X-MEDIA-SEQUENCE:", first.Seq)
	writeTag(w, "#EXT-X-DISCONTINUITY-SEQUENCE:", disc)
	if encodes(b) != 0 {
		w.WriteString("#EXT-X-SERVER-CONTROL:HOLD-BACK=" + strconv.Itoa(holdBack*b.Target) + "\n")
	}
	if !b.Dependent {
		w.WriteString("#EXT-X-INDEPENDENT-SEGMENTS\n")
	}
}

func writeTag(w *strings.Builder, tag string, n uint64) {
	w.WriteString(tag)
	w.WriteString(strconv.FormatUint(n, 10))
	w.WriteByte('\n')
}

func writeItems(w *strings.Builder, b *timeline.Broadcast, d *timeline.Rendition, items []timeline.Item) {
	var buf [40]byte
	init := 0
	for i := range items {
		it := &items[i]
		m := mediaOf(it, d.Name)
		if it.Discontinuity {
			w.WriteString("#EXT-X-DISCONTINUITY\n")
		}
		if m.Init != 0 && m.Init != init {
			init = m.Init
			w.WriteString(`#EXT-X-MAP:URI="`)
			w.WriteString(b.ID)
			w.WriteByte('/')
			w.WriteString(initName(init))
			w.WriteString("\"\n")
		}
		w.WriteString("#EXT-X-PROGRAM-DATE-TIME:")
		w.Write(m.Start.Std().AppendFormat(buf[:0], "2006-01-02T15:04:05.000Z"))
		if m.Gap {
			w.WriteString(gapTag)
		}
		w.WriteString("\n#EXTINF:")
		w.Write(appendSeconds(buf[:0], m.Duration))
		w.WriteString(",\n")
		w.WriteString(b.ID)
		w.WriteByte('/')
		w.WriteString(m.Name)
		w.WriteString(".m4s\n")
	}
}

// mediaOf returns what stands for the item in a rendition's playlist. An item that has no
// media of the rendition is a gap there; it borrows a name, because a gap has an address too.
func mediaOf(it *timeline.Item, rendition string) timeline.Media {
	if m := it.Of(rendition); m != nil {
		out := *m
		if out.Start == 0 {
			out.Start = it.Start
		}
		if out.Gap {
			out.Init = 0
		}
		return out
	}
	return timeline.Media{Rendition: rendition, Name: it.Media[0].Name, Start: it.Start, Duration: it.Duration, Gap: true}
}

// micros is a duration in microseconds as playlists have it, rounded up: a player that reckons a
// segment's time back from a later one's must not find the first one to begin before the playlist,
// because it drops pictures that do, up to the next keyframe.
func micros(d time.Duration) int64 { return int64((d + time.Microsecond - 1) / time.Microsecond) }

// appendSeconds writes a duration in seconds with six decimals.
func appendSeconds(b []byte, d time.Duration) []byte {
	us := micros(d)
	b = strconv.AppendInt(b, us/1e6, 10)
	b = append(b, '.')
	for unit := int64(1e5); unit > 0; unit /= 10 {
		b = append(b, byte('0'+us/unit%10))
	}
	return b
}
