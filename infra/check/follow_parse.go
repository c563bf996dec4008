package check

import (
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"klive/infra/media"
	"klive/infra/publisher"
)

// listing is what a follower needs of a playlist of either kind. It is no judge: the rules
// are the playlist checker's business.
type listing struct {
	playlists []string // a multivariant's references, each once
	target    int
	ended     bool
	items     []listedItem
}

type listedItem struct {
	Item
	mapURI string
}

var errM3U8 = errors.New("not a playlist")

func parseM3U8(text string) (listing, error) {
	var l listing
	if !strings.HasPrefix(text, "#EXTM3U") {
		return l, fmt.Errorf("%w: %.80q", errM3U8, text)
	}
	var next listedItem
	var seq uint64
	variant := false
	for line := range strings.Lines(text) {
		line = strings.TrimSpace(line)
		tag, value, _ := strings.Cut(line, ":")
		switch {
		case line == "":
		case tag == "#EXT-X-STREAM-INF":
			variant = true
		case tag == "#EXT-X-MEDIA":
			l.refer(attribute(value, "URI"))
		case tag == "#EXT-X-MEDIA-SEQUENCE":
			n, err := strconv.ParseUint(value, 10, 64)
			if err != nil {
				return l, fmt.Errorf("%w: media sequence %q", errM3U8, value)
			}
			seq = n
		case strings.HasPrefix(line, "#"):
			if err := l.tag(tag, value, &next); err != nil {
				return l, err
			}
		case variant:
			l.refer(line)
			variant = false
		default:
			next.Seq, next.URI = seq, line
			l.items = append(l.items, next)
			next = listedItem{mapURI: next.mapURI}
			seq++
		}
	}
	return l, nil
}

func (l *listing) refer(uri string) {
	if uri == "" {
		return
	}
	for _, p := range l.playlists {
		if p == uri {
			return
		}
	}
	l.playlists = append(l.playlists, uri)
}

// tag reads a tag that belongs to the playlist or to the next item.
func (l *listing) tag(tag, value string, next *listedItem) error {
	var err error
	switch tag {
	case "#EXT-X-TARGETDURATION":
		l.target, err = strconv.Atoi(value)
	case "#EXT-X-ENDLIST":
		l.ended = true
	case "#EXT-X-DISCONTINUITY":
		next.Discontinuity = true
	case "#EXT-X-GAP":
		next.Gap = true
	case "#EXT-X-MAP":
		next.mapURI = attribute(value, "URI")
	case "#EXT-X-PROGRAM-DATE-TIME":
		next.Time, err = time.Parse(time.RFC3339Nano, value)
	case "#EXTINF":
		seconds, _, _ := strings.Cut(value, ",")
		var d float64
		d, err = strconv.ParseFloat(seconds, 64)
		next.Duration = time.Duration(d*1e9 + 0.5)
	}
	if err != nil {
		return fmt.Errorf("%w: %s:%s", errM3U8, tag, value)
	}
	return nil
}

// attribute returns a quoted attribute's value.
func attribute(list, name string) string {
	_, rest, ok := strings.Cut(list, name+`="`)
	if !ok {
		return ""
	}
	value, _, _ := strings.Cut(rest, `"`)
	return value
}

func readMark(k media.Kind, data []byte) (uint64, bool) {
	if k == media.Video {
		return publisher.ReadMarkH264(data)
	}
	return publisher.ReadMarkAAC(data)
}
