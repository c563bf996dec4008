package check

import (
	"encoding/xml"
	"fmt"
	"path"
	"slices"
	"strconv"
	"strings"
	"time"
)

// Rules of DASH manifests.
const (
	RuleManifest = "manifest" // it parses and has what ISO/IEC 23009-1 asks for
	RulePeriod   = "period"   // a period keeps its start, and its offset is that of the media
	RuleTimes    = "times"    // segments of a representation follow each other without overlap
	RuleEqual    = "equal"    // HLS and DASH name the same media at the same times
)

// DASHSegment is one segment that a manifest names.
type DASHSegment struct {
	Path     string // as the manifest's own
	Init     string
	Start    time.Time // in the media's own time
	Duration time.Duration
}

// DASH checks the manifests of one entry, over time, and against the HLS playlists of the same
// entry. The zero value has seen nothing. It is not safe for concurrent use.
type DASH struct {
	// Manifests counts the versions seen, Compared the segments that were held against HLS.
	Manifests, Compared int
	// Static says that the newest manifest does not change any more; Periods counts its periods.
	Static  bool
	Periods int
	// Segments are those of the newest manifest, by representation.
	Segments map[string][]DASHSegment

	id, available string
	starts        map[string]string        // by period id
	segments      map[string]DASHSegment   // by path
	hls           map[string]hlsSegment    // by path
	known         map[string]*[2]time.Time // by folder: from when to when HLS playlists name media
	findings      []string
}

type hlsSegment struct {
	at       time.Time
	duration time.Duration
	gap      bool
}

// mpd is what is read of a manifest.
type mpd struct {
	XMLName   xml.Name `xml:"urn:mpeg:dash:schema:mpd:2011 MPD"`
	ID        string   `xml:"id,attr"`
	Type      string   `xml:"type,attr"`
	Available string   `xml:"availabilityStartTime,attr"`
	Published string   `xml:"publishTime,attr"`
	MinBuffer string   `xml:"minBufferTime,attr"`
	Update    string   `xml:"minimumUpdatePeriod,attr"`
	Duration  string   `xml:"mediaPresentationDuration,attr"`
	Periods   []struct {
		ID    string `xml:"id,attr"`
		Start string `xml:"start,attr"`
		Sets  []struct {
			Kind            string `xml:"contentType,attr"`
			Representations []struct {
				ID        string      `xml:"id,attr"`
				Bandwidth int64       `xml:"bandwidth,attr"`
				Codecs    string      `xml:"codecs,attr"`
				Template  mpdTemplate `xml:"SegmentTemplate"`
			} `xml:"Representation"`
		} `xml:"AdaptationSet"`
	} `xml:"Period"`
	Timing *struct {
		Value string `xml:"value,attr"`
	} `xml:"UTCTiming"`
}

type mpdTemplate struct {
	Timescale int64  `xml:"timescale,attr"`
	Offset    int64  `xml:"presentationTimeOffset,attr"`
	Init      string `xml:"initialization,attr"`
	Media     string `xml:"media,attr"`
	Times     []struct {
		T *int64 `xml:"t,attr"`
		D int64  `xml:"d,attr"`
		R int    `xml:"r,attr"`
	} `xml:"SegmentTimeline>S"`
}

func (d *DASH) report(rule, format string, args ...any) {
	d.findings = append(d.findings, fmt.Sprintf("manifest %d: %s: %s", d.Manifests, rule, fmt.Sprintf(format, args...)))
}

// Err returns what was found as one error, nil when all is well.
func (d *DASH) Err() error {
	if len(d.findings) == 0 {
		return nil
	}
	return fmt.Errorf("manifests break %d rules:\n%s", len(d.findings), strings.Join(d.findings[:min(20, len(d.findings))], "\n"))
}

// Add takes the manifest that stands at an address (a path or URL) now.
func (d *DASH) Add(address, text string) {
	d.Manifests++
	var m mpd
	if err := xml.Unmarshal([]byte(text), &m); err != nil {
		d.report(RuleManifest, "%v", err)
		return
	}
	if m.ID != d.id { // another broadcast
		d.id, d.available, d.starts, d.segments = m.ID, m.Available, map[string]string{}, map[string]DASHSegment{}
	} else if d.Static && m.Type != "static" {
		d.report(RuleManifest, "it is dynamic again")
	}
	d.Static, d.Periods, d.Segments = m.Type == "static", len(m.Periods), map[string][]DASHSegment{}
	d.checkHead(&m)
	origin, err := time.Parse(time.RFC3339, m.Available)
	if err != nil {
		d.report(RuleManifest, "availabilityStartTime: %v", err)
		return
	}
	before := time.Duration(-1)
	for _, p := range m.Periods {
		start, err := time.ParseDuration(strings.ToLower(strings.TrimPrefix(p.Start, "PT")))
		if was, ok := d.starts[p.ID]; err != nil || p.ID == "" || ok && was != p.Start || start <= before {
			d.report(RulePeriod, "period %q starts at %q; it was %q, the one before it %v", p.ID, p.Start, was, before)
			continue
		}
		d.starts[p.ID], before = p.Start, start
		ids := map[string]bool{}
		for _, set := range p.Sets {
			for _, r := range set.Representations {
				if ids[r.ID] || r.ID == "" || r.Bandwidth <= 0 || r.Codecs == "" || set.Kind == "" {
					d.report(RuleManifest, "representation %q of %s: bandwidth %d, codecs %q", r.ID, set.Kind, r.Bandwidth, r.Codecs)
				}
				ids[r.ID] = true
				d.checkTimes(address, r.ID, origin.Add(start), &r.Template)
			}
		}
	}
}

func (d *DASH) checkHead(m *mpd) {
	switch {
	case m.Available != d.available:
		d.report(RuleManifest, "availabilityStartTime was %s and is %s", d.available, m.Available)
	case m.Published == "" || m.MinBuffer == "" || len(m.Periods) == 0:
		d.report(RuleManifest, "publishTime %q, minBufferTime %q, %d periods", m.Published, m.MinBuffer, len(m.Periods))
	case m.Type == "dynamic" && (m.Update == "" || m.Timing == nil || m.Duration != ""):
		d.report(RuleManifest, "a dynamic one has minimumUpdatePeriod %q, mediaPresentationDuration %q, UTCTiming %v", m.Update, m.Duration, m.Timing)
	case m.Type == "static" && (m.Update != "" || m.Duration == ""):
		d.report(RuleManifest, "a static one has minimumUpdatePeriod %q, mediaPresentationDuration %q", m.Update, m.Duration)
	case m.Type != "static" && m.Type != "dynamic":
		d.report(RuleManifest, "type %q", m.Type)
	}
}

// checkTimes reads a SegmentTimeline. Roundings to µs may add up to one.
func (d *DASH) checkTimes(address, id string, start time.Time, t *mpdTemplate) {
	if t.Timescale != 1e6 || !strings.Contains(t.Media, "$Time$") || t.Init == "" || len(t.Times) == 0 {
		d.report(RuleManifest, "representation %s: timescale %d, media %q, initialization %q, %d times", id, t.Timescale, t.Media, t.Init, len(t.Times))
		return
	}
	if off := time.UnixMicro(t.Offset).Sub(start); off.Abs() > time.Microsecond {
		d.report(RulePeriod, "representation %s: its offset is %v from its period's start", id, off)
	}
	at, first := int64(0), true
	for _, s := range t.Times {
		if s.T != nil {
			if !first && *s.T < at-1 || !first && *s.T == at {
				d.report(RuleTimes, "representation %s: a segment at %d follows one that ends at %d", id, *s.T, at)
			}
			at = *s.T
		} else if first {
			d.report(RuleTimes, "representation %s: the first segment has no time", id)
		}
		first = false
		for range s.R + 1 {
			d.segment(id, DASHSegment{
				Path:  resolve(address, strings.Replace(t.Media, "$Time$", strconv.FormatInt(at, 10), 1)),
				Init:  resolve(address, t.Init),
				Start: time.UnixMicro(at).UTC(), Duration: time.Duration(s.D) * time.Microsecond,
			})
			at += s.D
		}
	}
}

// segment notes a segment, which must stay what it was; but the length of the newest one is
// counted anew when the next one is there.
func (d *DASH) segment(id string, s DASHSegment) {
	if was, ok := d.segments[s.Path]; ok && (was.Init != s.Init || (was.Duration-s.Duration).Abs() > 2*time.Millisecond) {
		d.report(RuleTimes, "%s was %+v and is %+v", s.Path, was, s)
	}
	d.segments[s.Path] = s
	d.Segments[id] = append(d.Segments[id], s)
	d.compare(s)
}

// HLS takes a media playlist of the same entry, which has been held against the rules of HLS.
func (d *DASH) HLS(address, text string) error {
	l, err := parseM3U8(text)
	if err != nil {
		return err
	}
	if d.hls == nil {
		d.hls, d.known = map[string]hlsSegment{}, map[string]*[2]time.Time{}
	}
	var at time.Time
	for _, it := range l.items {
		if !it.Time.IsZero() {
			at = it.Time
		}
		if it.URI == "" || at.IsZero() {
			continue
		}
		p := resolve(address, it.URI)
		d.hls[p] = hlsSegment{at, it.Duration, it.Gap}
		span := d.known[path.Dir(p)]
		if span == nil {
			span = &[2]time.Time{at, at}
			d.known[path.Dir(p)] = span
		}
		if at.Before(span[0]) {
			span[0] = at
		}
		if at.After(span[1]) {
			span[1] = at
		}
		at = at.Add(it.Duration)
	}
	return nil
}

// compare holds a segment against what HLS playlists before said of it: PDT is in milliseconds.
func (d *DASH) compare(s DASHSegment) {
	span := d.known[path.Dir(s.Path)]
	if span == nil || s.Start.Before(span[0]) || s.Start.After(span[1]) {
		return // no HLS playlist was read at that time
	}
	d.Compared++
	h, ok := d.hls[s.Path]
	if !ok || h.gap {
		d.report(RuleEqual, "HLS does not name %s", s.Path)
		return
	}
	if off := s.Start.Sub(h.at); off.Abs() > time.Millisecond {
		d.report(RuleEqual, "%s is at %v, in HLS at %v", s.Path, s.Start, h.at)
	}
	if off := s.Duration - h.duration; off.Abs() > 2*time.Millisecond {
		d.report(RuleEqual, "%s lasts %v, in HLS %v", s.Path, s.Duration, h.duration)
	}
}

// Missing returns the media that HLS playlists name between the first and the last segment of
// the newest manifest, and that no manifest has named.
func (d *DASH) Missing() []string {
	var out []string
	for _, list := range d.Segments {
		folder := path.Dir(list[0].Path)
		first, last := list[0].Start, list[len(list)-1].Start
		for p, h := range d.hls {
			if _, ok := d.segments[p]; !ok && !h.gap && path.Dir(p) == folder && !h.at.Before(first) && !h.at.After(last) {
				out = append(out, p)
			}
		}
	}
	slices.Sort(out)
	return out
}
