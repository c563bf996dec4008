package playlist

import (
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"
	"time"

	"klive/infra/media"
	"klive/storage/timeline"
)

// dashTimescale is the unit of time in manifests, µs: media are called by it.
const dashTimescale = 1_000_000

// dashDelay is how far behind the live edge players stay, in target durations. A live window is
// five segments, which may be shorter than the target: with more, players would be at its start.
const dashDelay = 2

// maxDrift is how far a segment's length may lie from the distance to the next one that
// follows it at once: roundings of sample grids and names.
const maxDrift = 2 * time.Millisecond

// Manifest returns the DASH manifest (ISO/IEC 23009-1) of the selected renditions' live window,
// or of their DVR window: then past are the chapters that [DVRChapters] names. It names the
// media that the HLS playlists name, with a period from each discontinuity on. Times are
// those of the media, so a period's start and the segments in it stay what they are while the
// window moves. It is empty while nothing of the selection can be played.
func Manifest(b *timeline.Broadcast, sel Selection, dvr bool, window int, past []Past) string {
	m := manifest{b: b, dvr: dvr && b.DVRWindow > 0, window: window, ended: b.Ended}
	if m.window <= 0 {
		m.window = DefaultWindow
	}
	for _, d := range dashRenditions(b, sel) {
		m.add(d, past)
	}
	if len(m.periods) == 0 {
		return ""
	}
	slices.SortFunc(m.periods, func(a, b *period) int { return int(int64(a.seq) - int64(b.seq)) })
	return m.text()
}

// dashRenditions are those that the multivariant playlist of the selection leads to.
func dashRenditions(b *timeline.Broadcast, sel Selection) []*timeline.Rendition {
	list := selected(b, sel, media.Video)
	if len(list) == 0 {
		if g, ok := soundOnly(b, sel); ok && (sel.isAudio() || !hasVideo(b)) {
			return g.members
		}
		return nil
	}
	for _, g := range audioGroups(b, list) {
		for _, d := range g.members {
			if !slices.Contains(list, d) {
				list = append(list, d)
			}
		}
	}
	return list
}

// manifest is one on its way to text.
type manifest struct {
	b       *timeline.Broadcast
	dvr     bool
	window  int
	ended   bool // the broadcast has, and all of it is listed
	periods []*period
	end     media.Time // of the newest segment
}

// period is a run of items with what each rendition has in it.
type period struct {
	id     string
	seq    uint64 // of an item in it, to sort by
	start  media.Time
	tracks []*dashTrack
}

// dashTrack is a rendition's share of a period.
type dashTrack struct {
	id        string
	d         *timeline.Rendition
	broadcast string
	init      int
	epoch     string // the feed's, the second half of the media's names
	times     []dashTime
}

// dashTime is one segment, in µs.
type dashTime struct{ at, length int64 }

// add takes a rendition in.
func (m *manifest) add(d *timeline.Rendition, past []Past) {
	var kept []Past
	var items []timeline.Item
	var complete bool
	if m.dvr {
		kept, items, complete = dvrItems(m.b, d, m.window, past)
	} else {
		items, complete = listed(m.b, d, m.b.Items)
		items = items[liveStart(m.b, d, items, m.window):]
	}
	m.ended = m.ended && complete
	for _, p := range kept {
		m.addItems(d, p.Items)
	}
	m.addItems(d, items)
}

func (m *manifest) addItems(d *timeline.Rendition, items []timeline.Item) {
	for i := range items {
		it := &items[i]
		media := it.Of(d.Name)
		if media == nil || media.Gap || media.Init == 0 {
			continue
		}
		start, epoch, ok := strings.Cut(media.Name, "-")
		at, err := strconv.ParseInt(start, 10, 64)
		if !ok || err != nil {
			continue
		}
		m.end = max(m.end, it.End())
		t := m.period(it).track(m.b.ID, d, epoch)
		t.init = media.Init
		t.times = append(t.times, dashTime{at, media.Duration.Microseconds()})
	}
}

// period returns the one that an item belongs to.
func (m *manifest) period(it *timeline.Item) *period {
	run := timeline.Run{Seq: it.Seq, Start: it.Start}
	id := "d" + strconv.FormatUint(it.DiscontinuitySeq, 10) // a timeline of the release before this one
	if i := runOf(m.b.Runs, it.Seq); i >= 0 {
		run = m.b.Runs[i]
		id = "p" + strconv.FormatUint(run.Seq, 10)
	}
	for _, p := range m.periods {
		if p.id == id {
			return p
		}
	}
	p := &period{id: id, seq: run.Seq, start: run.Start}
	m.periods = append(m.periods, p)
	return p
}

// runOf returns the index of the run that holds an item, -1 when none does.
func runOf(runs []timeline.Run, seq uint64) int {
	i, found := slices.BinarySearchFunc(runs, seq, func(r timeline.Run, seq uint64) int { return int(int64(r.Seq) - int64(seq)) })
	if found {
		return i
	}
	return i - 1
}

// track returns a rendition's share of the period. Media of one run come from one publish;
// should that ever not be so, what comes from another one is a representation of its own.
func (p *period) track(broadcast string, d *timeline.Rendition, epoch string) *dashTrack {
	for _, t := range p.tracks {
		if t.d == d && t.epoch == epoch {
			return t
		}
	}
	t := &dashTrack{id: d.Name, d: d, broadcast: broadcast, epoch: epoch}
	if slices.ContainsFunc(p.tracks, func(o *dashTrack) bool { return o.d == d }) {
		t.id += "-" + epoch
	}
	p.tracks = append(p.tracks, t)
	return t
}

func (m *manifest) text() string {
	var w strings.Builder
	target := time.Duration(m.b.Target) * time.Second
	// Sound may begin a little before the broadcast.
	origin := m.b.Start.Std().Truncate(time.Second).Add(-time.Second)
	w.WriteString(`<?xml version="1.0" encoding="UTF-8"?>` + "\n" +
		`<MPD xmlns="urn:mpeg:dash:schema:mpd:2011" profiles="urn:mpeg:dash:profile:isoff-live:2011"`)
	fmt.Fprintf(&w, ` id="%s" availabilityStartTime="%s" publishTime="%s"`, m.b.ID, origin.Format(time.RFC3339), m.end.Std().Format("2006-01-02T15:04:05.000Z"))
	if m.ended {
		fmt.Fprintf(&w, ` type="static" mediaPresentationDuration="%s"`, seconds(m.end.Sub(media.At(origin))))
	} else {
		depth := time.Duration(m.window) * target
		if m.dvr {
			depth = m.b.DVRWindow
		}
		fmt.Fprintf(&w, ` type="dynamic" minimumUpdatePeriod="%s" timeShiftBufferDepth="%s" suggestedPresentationDelay="%s"`,
			seconds(target/2), seconds(depth), seconds(dashDelay*target))
	}
	fmt.Fprintf(&w, " minBufferTime=\"%s\" maxSegmentDuration=\"%s\">\n", seconds(target), seconds(target+time.Second/2))
	for _, p := range m.periods {
		p.write(&w, media.At(origin))
	}
	if !m.ended {
		w.WriteString(`  <UTCTiming schemeIdUri="urn:mpeg:dash:utc:http-iso:2014" value="../` + TimeName + `"/>` + "\n")
	}
	w.WriteString("</MPD>\n")
	return w.String()
}

// write writes a period: one adaptation set for the pictures, one for each track of sound.
func (p *period) write(w *strings.Builder, origin media.Time) {
	fmt.Fprintf(w, "  <Period id=\"%s\" start=\"%s\">\n", p.id, seconds(p.start.Sub(origin)))
	var sets [][]*dashTrack
	for _, t := range p.tracks {
		i := slices.IndexFunc(sets, func(s []*dashTrack) bool {
			return s[0].epoch == t.epoch && (s[0].d == t.d || s[0].d.Kind == media.Video && t.d.Kind == media.Video)
		})
		if i < 0 {
			sets = append(sets, nil)
			i = len(sets) - 1
		}
		sets[i] = append(sets[i], t)
	}
	sound := 0
	for i, set := range sets {
		d := set[0].d
		fmt.Fprintf(w, "    <AdaptationSet id=\"%d\" contentType=\"%s\" mimeType=\"%s/mp4\" segmentAlignment=\"true\" startWithSAP=\"1\"", i+1, d.Kind, d.Kind)
		if d.Language != "" {
			fmt.Fprintf(w, " lang=\"%s\"", xmlText(d.Language))
		}
		w.WriteString(">\n")
		writeAccessibility(w, d.Captions)
		if d.Kind == media.Audio {
			role := "main"
			if sound++; sound > 1 {
				role = "alternate"
			}
			fmt.Fprintf(w, "      <Role schemeIdUri=\"urn:mpeg:dash:role:2011\" value=\"%s\"/>\n", role)
		}
		for _, t := range set {
			t.write(w, p.start)
		}
		w.WriteString("    </AdaptationSet>\n")
	}
	w.WriteString("  </Period>\n")
}

func (t *dashTrack) write(w *strings.Builder, start media.Time) {
	peak, _ := rates(t.d)
	fmt.Fprintf(w, "      <Representation id=\"%s\" bandwidth=\"%d\" codecs=\"%s\"", t.id, steady(peak), xmlText(t.d.Codecs))
	if t.d.Width > 0 && t.d.Height > 0 {
		fmt.Fprintf(w, " width=\"%d\" height=\"%d\"", t.d.Width, t.d.Height)
	}
	if t.d.FrameRate > 0 {
		fmt.Fprintf(w, " frameRate=\"%s\"", fraction(t.d.FrameRate))
	}
	if t.d.SampleRate > 0 {
		fmt.Fprintf(w, " audioSamplingRate=\"%d\"", t.d.SampleRate)
	}
	w.WriteString(">\n")
	if t.d.Channels > 0 {
		fmt.Fprintf(w, "        <AudioChannelConfiguration schemeIdUri=\"urn:mpeg:dash:23003:3:audio_channel_configuration:2011\" value=\"%d\"/>\n", t.d.Channels)
	}
	fmt.Fprintf(w, "        <SegmentTemplate timescale=\"%d\" presentationTimeOffset=\"%d\" initialization=\"../%s/%s/%s\" media=\"../%s/%s/$Time$-%s.m4s\">\n",
		dashTimescale, start.Micros(), t.d.Name, t.broadcast, initName(t.init), t.d.Name, t.broadcast, t.epoch)
	w.WriteString("          <SegmentTimeline>\n")
	writeTimes(w, t.times)
	w.WriteString("          </SegmentTimeline>\n        </SegmentTemplate>\n      </Representation>\n")
}

// writeTimes writes S elements: a time where something is missing before it, repeats where
// lengths are equal.
func writeTimes(w *strings.Builder, times []dashTime) {
	for i := range times {
		if i+1 < len(times) {
			// The next one's name counts, and not the length before it.
			if d := times[i+1].at - times[i].at; time.Duration(d-times[i].length).Abs()*time.Microsecond <= maxDrift {
				times[i].length = d
			}
		}
	}
	for i := 0; i < len(times); {
		n := i + 1
		for n < len(times) && times[n].length == times[i].length && times[n].at == times[n-1].at+times[n-1].length {
			n++
		}
		w.WriteString("            <S")
		if i == 0 || times[i].at != times[i-1].at+times[i-1].length {
			fmt.Fprintf(w, " t=\"%d\"", times[i].at)
		}
		fmt.Fprintf(w, " d=\"%d\"", times[i].length)
		if n > i+1 {
			fmt.Fprintf(w, " r=\"%d\"", n-i-1)
		}
		w.WriteString("/>\n")
		i = n
	}
}

// seconds writes a duration as xs:duration, in µs.
func seconds(d time.Duration) string {
	s := strconv.FormatFloat(float64(d.Microseconds())/1e6, 'f', 6, 64)
	return "PT" + strings.TrimSuffix(strings.TrimRight(s, "0"), ".") + "S"
}

// fraction writes a frame rate as DASH has it: "30" or "30000/1001".
func fraction(rate float64) string {
	whole := math.Round(rate)
	if math.Abs(rate-whole) < 0.0005 {
		return strconv.Itoa(int(whole))
	}
	if math.Abs(rate-whole*1000/1001) < 0.0015 {
		return strconv.Itoa(int(whole)*1000) + "/1001"
	}
	return strconv.Itoa(int(math.Round(rate*1000))) + "/1000"
}
