package check

import (
	"path"
	"regexp"
	"strconv"
	"strings"
	"time"
)

var (
	codecForm   = regexp.MustCompile(`^(avc1\.[0-9a-fA-F]{6}|(hvc1|hev1)\.[ABC]?[0-9]+\.[0-9A-F]+\.[LH][0-9]+(\.[0-9A-F]+)*|mp4a\.40\.[0-9]+|opus|ac-3|av01\.[0-9A-Z.]+|vp09\.[0-9.]+)$`)
	captionForm = regexp.MustCompile(`^(CC[1-4]|SERVICE([1-9]|[1-5][0-9]|6[0-3]))$`)
	tagForm     = regexp.MustCompile(`^[A-Za-z]{2,3}(-[A-Za-z0-9]{2,8})*$`)
	frameRate   = regexp.MustCompile(`^[0-9]+\.[0-9]{3}$`)
	sizeForm    = regexp.MustCompile(`^[1-9][0-9]*x[1-9][0-9]*$`)
)

func (p *Playlist) checkMultivariant(s *scannedPlaylist, r reporter) {
	if s.version < 1 {
		r.report(RuleVersion, "no EXT-X-VERSION")
	}
	if len(s.variants) == 0 {
		r.report(RuleMultivariant, "no variant")
	}
	if s.target != 0 || len(s.segments) > 0 {
		r.report(RuleSyntax, "a multivariant playlist with tags of media playlists")
	}
	groups := checkGroups(s, r)
	seen := map[string]bool{}
	for _, v := range s.variants {
		key := v["URI"] + " " + v["AUDIO"]
		if seen[key] {
			r.report(RuleMultivariant, "variant %s twice", v["URI"])
		}
		seen[key] = true
		p.checkVariant(v, groups, r)
	}
}

// checkGroups holds the renditions of sound and captions and returns what each group leads to:
// addresses, or an empty one for what lies in the variants themselves.
func checkGroups(s *scannedPlaylist, r reporter) renditionGroups {
	groups := renditionGroups{audio: map[string][]string{}, captions: map[string]bool{}}
	defaults, names := map[string]int{}, map[string]bool{}
	for _, m := range s.renditions {
		id, typ := m["GROUP-ID"], m["TYPE"]
		wanted := []string{"TYPE", "GROUP-ID", "NAME", "CHANNELS"}
		switch {
		case typ == "CLOSED-CAPTIONS":
			wanted = []string{"GROUP-ID", "NAME", "INSTREAM-ID"}
			if !captionForm.MatchString(m["INSTREAM-ID"]) || m["URI"] != "" {
				r.report(RuleCaptions, "captions %q have INSTREAM-ID %q and URI %q", m["NAME"], m["INSTREAM-ID"], m["URI"])
			}
		case m["DEFAULT"] != "YES": // only the default may lie in the variants
			wanted = append(wanted, "URI")
		}
		for _, a := range wanted {
			if m[a] == "" {
				r.report(RuleMultivariant, "rendition %q has no %s", m["NAME"], a)
			}
		}
		if l, ok := m["LANGUAGE"]; ok && !tagForm.MatchString(l) {
			r.report(RuleMultivariant, "rendition %q has LANGUAGE %q", m["NAME"], l)
		}
		if names[typ+id+"\x00"+m["NAME"]] {
			r.report(RuleAudioGroup, "two renditions of group %q are called %q", id, m["NAME"])
		}
		names[typ+id+"\x00"+m["NAME"]] = true
		if typ == "CLOSED-CAPTIONS" {
			if groups.captions[id+m["INSTREAM-ID"]] {
				r.report(RuleCaptions, "group %q has %s twice", id, m["INSTREAM-ID"])
			}
			groups.captions[id], groups.captions[id+m["INSTREAM-ID"]] = true, true
			continue
		}
		groups.audio[id] = append(groups.audio[id], m["URI"])
		if m["DEFAULT"] == "YES" {
			defaults[id]++
			if m["AUTOSELECT"] != "YES" {
				r.report(RuleAudioGroup, "the default of group %q is not AUTOSELECT", id)
			}
		}
	}
	for id := range groups.audio {
		if defaults[id] != 1 {
			r.report(RuleAudioGroup, "group %q has %d defaults", id, defaults[id])
		}
	}
	return groups
}

// renditionGroups are the groups of a multivariant playlist: of sound the addresses, of captions
// the ids of groups, and of groups with a service behind them.
type renditionGroups struct {
	audio    map[string][]string
	captions map[string]bool
}

func (p *Playlist) checkVariant(v attributes, all renditionGroups, r reporter) {
	uri := v["URI"]
	peak, err := strconv.ParseInt(v["BANDWIDTH"], 10, 64)
	if err != nil || peak <= 0 {
		r.report(RuleBandwidth, "variant %s has BANDWIDTH %q", uri, v["BANDWIDTH"])
	}
	if mean, err := strconv.ParseInt(v["AVERAGE-BANDWIDTH"], 10, 64); err != nil || mean <= 0 || mean > peak {
		r.report(RuleBandwidth, "variant %s has AVERAGE-BANDWIDTH %q with BANDWIDTH %d", uri, v["AVERAGE-BANDWIDTH"], peak)
	}
	video, audio := checkCodecs(v, r)
	if video {
		if !sizeForm.MatchString(v["RESOLUTION"]) {
			r.report(RuleMultivariant, "variant %s has RESOLUTION %q", uri, v["RESOLUTION"])
		}
		// A source may state no frame rate; what is stated has three decimals.
		if f, ok := v["FRAME-RATE"]; ok && !frameRate.MatchString(f) {
			r.report(RuleMultivariant, "variant %s has FRAME-RATE %q", uri, f)
		}
	}
	if cc, ok := v["CLOSED-CAPTIONS"]; ok && cc != "NONE" && !all.captions[cc] {
		r.report(RuleCaptions, "variant %s names the captions %q, which are not there", uri, cc)
	}
	group, groups := v["AUDIO"], all.audio
	if group != "" && (len(groups[group]) == 0 || !audio) {
		r.report(RuleAudioGroup, "variant %s names group %q: no such group, or no audio in CODECS", uri, group)
	}
	together := strings.HasPrefix(path.Base(uri), "ts") // MPEG-TS holds both
	if video && audio && group == "" && !together {
		r.report(RuleAudioGroup, "variant %s has audio in CODECS but no group", uri)
	}
	p.checkPeak(v, groups[group], peak, r)
}

// checkCodecs reports which kinds CODECS names.
func checkCodecs(v attributes, r reporter) (video, audio bool) {
	seen := map[string]bool{}
	for c := range strings.SplitSeq(v["CODECS"], ",") {
		if !codecForm.MatchString(c) || seen[c] {
			r.report(RuleCodecs, "variant %s has CODECS %q", v["URI"], v["CODECS"])
		}
		seen[c] = true
		if strings.HasPrefix(c, "mp4a.") || c == "opus" || c == "ac-3" {
			audio = true
		} else {
			video = true
		}
	}
	return video, audio
}

// checkPeak holds BANDWIDTH against the segments listed now: no run of segments between half
// and one and a half targets may be faster (RFC 8216bis, peak segment bit rate).
func (p *Playlist) checkPeak(v attributes, audio []string, peak int64, r reporter) {
	if p.cfg.Size == nil {
		return
	}
	most := p.fastest(resolve(r.path, v["URI"]))
	var sound int64
	for _, uri := range audio {
		if uri != "" {
			sound = max(sound, p.fastest(resolve(r.path, uri)))
		}
	}
	// The durations in a playlist are rounded to microseconds.
	if most+sound > peak+peak/100_000+2 {
		r.report(RuleBandwidth, "variant %s: segments need %d bit/s, BANDWIDTH is %d", v["URI"], most+sound, peak)
	}
}

// fastest returns the highest bit rate of the runs in a media playlist's last version.
func (p *Playlist) fastest(path string) int64 {
	h := p.media[path]
	if h == nil || h.last == nil {
		return 0
	}
	var most int64
	target := time.Duration(h.last.target) * time.Second
	for i := range h.last.segments {
		var bytes int64
		var length time.Duration
		for _, seg := range h.last.segments[i:] {
			size, ok := p.cfg.Size(resolve(path, seg.uri))
			if !ok || seg.gap {
				break
			}
			bytes += size
			length += seg.duration
			if length > target*3/2 {
				break
			}
			if length >= target/2 {
				most = max(most, int64(float64(bytes)*8/length.Seconds()))
			}
		}
	}
	return most
}
