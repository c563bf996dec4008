package check

import (
	"math"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/bluenviron/gohlslib/v2/pkg/playlist"
)

// scannedPlaylist is a playlist as its tags say, nothing added.
type scannedPlaylist struct {
	version, target int
	sequence        uint64
	discontinuity   uint64
	independent     bool
	ended           bool
	segments        []scannedSegment
	variants        []attributes
	renditions      []attributes
	tags            map[string]int
}

// scannedSegment is a segment with the tags that apply to it.
type scannedSegment struct {
	uri      string
	duration time.Duration
	// disc says that the segment has its own EXT-X-DISCONTINUITY.
	disc bool
	gap  bool
	pdt  time.Time // zero when there is no tag
	init string    // the URI of the EXT-X-MAP in force
}

// attributes is an attribute list; the quotes of quoted strings are gone. URI holds a
// variant's address.
type attributes map[string]string

func (s *scannedPlaylist) multivariant() bool { return len(s.variants)+len(s.renditions) > 0 }

// singleTags may stand once in a playlist.
var singleTags = []string{
	"#EXT-X-VERSION", "#EXT-X-TARGETDURATION", "#EXT-X-MEDIA-SEQUENCE", "#EXT-X-DISCONTINUITY-SEQUENCE",
	"#EXT-X-INDEPENDENT-SEGMENTS", "#EXT-X-ENDLIST",
}

// scanPlaylist reads the tags. What can't be read is reported and left out.
func scanPlaylist(text string, r reporter) *scannedPlaylist {
	s := &scannedPlaylist{tags: map[string]int{}}
	if !utf8.ValidString(text) || strings.ContainsFunc(text, func(c rune) bool { return c < ' ' && c != '\n' && c != '\r' || c == '\ufeff' }) {
		r.report(RuleSyntax, "not UTF-8 without control characters and byte order mark")
	}
	lines := strings.Split(strings.ReplaceAll(text, "\r\n", "\n"), "\n")
	if lines[0] != "#EXTM3U" {
		r.report(RuleSyntax, "the first line is %.40q, not #EXTM3U", lines[0])
	}
	var next scannedSegment
	var variant attributes
	for n, line := range lines[1:] {
		switch {
		case line == "" || (line[0] == '#' && !strings.HasPrefix(line, "#EXT")):
		case line[0] == '#':
			tag, value, _ := strings.Cut(line, ":")
			s.tags[tag]++
			if tag == "#EXT-X-STREAM-INF" {
				variant = s.attributes(value, r)
			} else if !s.tag(tag, value, &next, r) {
				r.report(RuleSyntax, "line %d: %.80q", n+2, line)
			}
		case variant != nil:
			variant["URI"] = line
			s.variants = append(s.variants, variant)
			variant = nil
		default:
			if next.duration == 0 {
				r.report(RuleSyntax, "line %d: segment %.80q without EXTINF", n+2, line)
			}
			next.uri = line
			s.segments = append(s.segments, next)
			next = scannedSegment{init: next.init}
		}
	}
	for _, tag := range singleTags {
		if s.tags[tag] > 1 {
			r.report(RuleSyntax, "%s stands %d times", tag, s.tags[tag])
		}
	}
	return s
}

// tag takes one tag; it reports false for tags and values that it does not know.
func (s *scannedPlaylist) tag(tag, value string, next *scannedSegment, r reporter) (ok bool) {
	var err error
	switch tag {
	case "#EXT-X-VERSION":
		s.version, err = strconv.Atoi(value)
	case "#EXT-X-TARGETDURATION":
		s.target, err = strconv.Atoi(value)
	case "#EXT-X-MEDIA-SEQUENCE":
		s.sequence, err = strconv.ParseUint(value, 10, 64)
	case "#EXT-X-DISCONTINUITY-SEQUENCE":
		s.discontinuity, err = strconv.ParseUint(value, 10, 64)
		if len(s.segments) > 0 {
			return false
		}
	case "#EXT-X-INDEPENDENT-SEGMENTS":
		s.independent = true
	case "#EXT-X-ENDLIST":
		s.ended = true
	case "#EXT-X-DISCONTINUITY":
		next.disc = true
	case "#EXT-X-GAP":
		next.gap = true
	case "#EXT-X-PROGRAM-DATE-TIME":
		next.pdt, err = time.Parse(time.RFC3339Nano, value)
	case "#EXT-X-MAP":
		next.init = s.attributes(value, r)["URI"]
		return next.init != ""
	case "#EXTINF":
		text, _, comma := strings.Cut(value, ",")
		var seconds float64
		seconds, err = strconv.ParseFloat(text, 64)
		next.duration = time.Duration(math.Round(seconds * 1e9))
		return err == nil && comma && seconds > 0 && seconds < 1e6
	case "#EXT-X-MEDIA":
		s.renditions = append(s.renditions, s.attributes(value, r))
	case "#EXT-X-SERVER-CONTROL", "#EXT-X-START":
	default:
		return false
	}
	return err == nil
}

// attributes reads an attribute list (RFC 8216bis §4.2).
func (s *scannedPlaylist) attributes(text string, r reporter) attributes {
	out := attributes{}
	for rest := text; rest != ""; {
		name, value, ok := strings.Cut(rest, "=")
		if !ok || name == "" || strings.Trim(name, "ABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-") != "" {
			r.report(RuleSyntax, "attribute list %.120q", text)
			return out
		}
		if _, twice := out[name]; twice {
			r.report(RuleSyntax, "attribute %s twice in %.120q", name, text)
		}
		if strings.HasPrefix(value, `"`) {
			end := strings.IndexByte(value[1:], '"')
			if end < 0 {
				r.report(RuleSyntax, "attribute list %.120q", text)
				return out
			}
			out[name], rest = value[1:1+end], value[2+end:]
		} else {
			end := strings.IndexByte(value+",", ',')
			out[name], rest = value[:end], value[end:]
		}
		if rest != "" && rest[0] != ',' {
			r.report(RuleSyntax, "attribute list %.120q", text)
			return out
		}
		rest = strings.TrimPrefix(rest, ",")
	}
	return out
}

// compareWithOracle reads the text with another parser: what both read must agree.
func compareWithOracle(text string, s *scannedPlaylist, r reporter) {
	list, err := playlist.Unmarshal([]byte(text))
	if err != nil {
		r.report(RuleSyntax, "another parser says: %v", err)
		return
	}
	switch l := list.(type) {
	case *playlist.Multivariant:
		if len(l.Variants) != len(s.variants) || len(l.Renditions) != len(s.renditions) {
			r.report(RuleSyntax, "another parser finds %d variants and %d renditions, this one %d and %d",
				len(l.Variants), len(l.Renditions), len(s.variants), len(s.renditions))
		}
	case *playlist.Media:
		if uint64(l.MediaSequence) != s.sequence || l.TargetDuration != s.target || l.Endlist != s.ended || len(l.Segments) != len(s.segments) {
			r.report(RuleSyntax, "another parser reads sequence %d, target %d, %d segments; this one %d, %d, %d",
				l.MediaSequence, l.TargetDuration, len(l.Segments), s.sequence, s.target, len(s.segments))
			return
		}
		for i, o := range l.Segments {
			m := s.segments[i]
			pdtDiffers := (o.DateTime == nil) != m.pdt.IsZero() || (o.DateTime != nil && !o.DateTime.Equal(m.pdt))
			if o.URI != m.uri || o.Discontinuity != m.disc || o.Gap != m.gap || pdtDiffers || (o.Duration-m.duration).Abs() > time.Microsecond {
				r.report(RuleSyntax, "another parser reads segment %d as %+v, this one as %+v", i, *o, m)
			}
		}
	}
}
