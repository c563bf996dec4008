package check

import (
	"fmt"
	"net/url"
	"path"
	"strings"
	"time"
)

// PlaylistConfig says how strict a playlist checker is. The zero value will do.
type PlaylistConfig struct {
	// Frame is how far apart the same item may begin in two renditions, but for the first one
	// of a broadcast, whose sound may begin 250 ms before its pictures. Default 50 ms.
	Frame time.Duration
	// Size returns a segment's size in bytes by its path, if known; with it, BANDWIDTH is held
	// against the segments. May be nil.
	Size func(path string) (int64, bool)
}

// Playlist checks the playlists of one entry, over time, against RFC 8216bis and klive's
// own rules. Feed it every version of each playlist in the order of time. It is not safe
// for concurrent use.
type Playlist struct {
	cfg      PlaylistConfig
	media    map[string]*mediaHistory
	items    map[uint64]itemFact // what any rendition has said of an item
	findings []Finding
}

// Finding is one broken rule.
type Finding struct {
	// Path is the playlist's address, Version counts its versions from 1.
	Path    string
	Version int
	// Rule is the short name of the rule, one of the Rule constants.
	Rule   string
	Detail string
}

func (f Finding) String() string {
	return fmt.Sprintf("%s, version %d: %s: %s", f.Path, f.Version, f.Rule, f.Detail)
}

// The rules.
const (
	RuleSyntax        = "syntax"        // it parses, here and with an independent parser, alike
	RuleVersion       = "version"       // EXT-X-VERSION covers the tags in use
	RuleTarget        = "target"        // TARGETDURATION is there, constant, and no EXTINF rounds to more
	RuleSequence      = "sequence"      // media sequence numbers never go back, no segment leaves the end
	RuleImmutable     = "immutable"     // a number names the same segment for ever
	RuleDiscontinuity = "discontinuity" // discontinuity sequence numbers stay with their segments
	RulePDT           = "pdt"           // PROGRAM-DATE-TIME is there and agrees with the durations
	RuleWindow        = "window"        // three target durations remain when a segment leaves
	RuleEndlist       = "endlist"       // nothing changes after EXT-X-ENDLIST
	RuleAligned       = "aligned"       // renditions agree on time and discontinuity of an item
	RuleMap           = "map"           // every segment has an EXT-X-MAP, but for MPEG-TS
	RuleName          = "name"          // <start>-<epoch> in one folder, unique and increasing
	RuleIndependent   = "independent"   // EXT-X-INDEPENDENT-SEGMENTS does not come back once it is gone
	RuleMultivariant  = "multivariant"  // variants and renditions have their attributes
	RuleCaptions      = "captions"      // captions are declared once, with a service, and variants name those
	RuleCodecs        = "codecs"        // CODECS is well-formed (RFC 6381)
	RuleBandwidth     = "bandwidth"     // BANDWIDTH covers every segment, and the average
	RuleAudioGroup    = "audio-group"   // AUDIO names a group with one default
)

// NewPlaylist returns a checker that has seen nothing.
func NewPlaylist(cfg PlaylistConfig) *Playlist {
	if cfg.Frame <= 0 {
		cfg.Frame = 50 * time.Millisecond
	}
	return &Playlist{cfg: cfg, media: map[string]*mediaHistory{}, items: map[uint64]itemFact{}}
}

// Add takes the text that stands at an address (a path or URL) now and returns what is wrong with it,
// alone and against all before it.
func (p *Playlist) Add(address, text string) []Finding {
	before := len(p.findings)
	h := p.media[address]
	if h == nil {
		h = &mediaHistory{path: address, names: map[string]uint64{}}
		p.media[address] = h
	}
	h.versions++
	r := reporter{playlist: p, path: address, version: h.versions}
	s := scanPlaylist(text, r)
	compareWithOracle(text, s, r)
	if s.multivariant() {
		p.checkMultivariant(s, r)
	} else {
		p.checkMedia(h, s, r)
	}
	return p.findings[before:len(p.findings):len(p.findings)]
}

// Findings returns everything that was found.
func (p *Playlist) Findings() []Finding { return p.findings }

// Err returns the findings as one error, nil when there are none.
func (p *Playlist) Err() error {
	if len(p.findings) == 0 {
		return nil
	}
	var b strings.Builder
	fmt.Fprintf(&b, "playlists break %d rules:", len(p.findings))
	for i, f := range p.findings {
		if i == 20 {
			b.WriteString("\n…")
			break
		}
		b.WriteString("\n" + f.String())
	}
	return fmt.Errorf("%s", b.String())
}

// reporter adds findings for one version of a playlist.
type reporter struct {
	playlist *Playlist
	path     string
	version  int
}

func (r reporter) report(rule, format string, args ...any) {
	f := Finding{Path: r.path, Version: r.version, Rule: rule, Detail: fmt.Sprintf(format, args...)}
	r.playlist.findings = append(r.playlist.findings, f)
}

// resolve gives the path that a reference in the playlist leads to.
func resolve(base, ref string) string {
	if !strings.ContainsAny(base+ref, ":?#%") && !strings.HasPrefix(ref, "/") {
		return path.Join(path.Dir(base), ref)
	}
	b, err := url.Parse(base)
	if err != nil {
		return ref
	}
	u, err := b.Parse(ref)
	if err != nil {
		return ref
	}
	return u.String()
}
