package controlplane

import (
	"bufio"
	"context"
	"io"
	"net/http"
	"net/url"
	"strings"
	"time"
)

// Bounds of a look at a playlist (contract §3.16).
const (
	probeTimeout  = 5 * time.Second // of one request
	probePatience = 10 * time.Second
	maxPlaylist   = 1 << 20
	maxRenditions = 16
	lastSegments  = 3
)

// NewProbe makes a function that says whether the HLS playlist at an address is live, as
// servers of 2015 ask: the multivariant playlist leads to a media playlist without end, of
// whose last three segments one is there.
func NewProbe(client *http.Client) func(ctx context.Context, address string) bool {
	p := probe{client}
	return func(ctx context.Context, address string) bool {
		ctx, cancel := context.WithTimeout(ctx, probePatience)
		defer cancel()
		lines, ok := p.playlist(ctx, address)
		if !ok {
			return false
		}
		if !hasTag(lines, "#EXT-X-STREAM-INF") {
			return p.media(ctx, address, lines)
		}
		for _, rendition := range uris(lines, maxRenditions) {
			at := resolveURL(address, rendition)
			if media, ok := p.playlist(ctx, at); ok && p.media(ctx, at, media) {
				return true
			}
		}
		return false
	}
}

type probe struct{ client *http.Client }

// media judges a media playlist.
func (p probe) media(ctx context.Context, address string, lines []string) bool {
	if hasTag(lines, "#EXT-X-ENDLIST") || !hasTag(lines, "#EXTINF") {
		return false
	}
	segments := uris(lines, len(lines))
	for _, s := range segments[max(0, len(segments)-lastSegments):] {
		if p.there(ctx, resolveURL(address, s)) {
			return true
		}
	}
	return false
}

// there asks for the first bytes of a segment.
func (p probe) there(ctx context.Context, address string) bool {
	res, cancel, err := p.get(ctx, address, "bytes=0-1")
	if err != nil {
		return false
	}
	defer cancel()
	defer res.Body.Close()
	return res.StatusCode == http.StatusOK || res.StatusCode == http.StatusPartialContent
}

// playlist reads a playlist's lines.
func (p probe) playlist(ctx context.Context, address string) (lines []string, ok bool) {
	res, cancel, err := p.get(ctx, address, "")
	if err != nil {
		return nil, false
	}
	defer cancel()
	defer res.Body.Close()
	scan := bufio.NewScanner(io.LimitReader(res.Body, maxPlaylist))
	for scan.Scan() {
		lines = append(lines, strings.TrimSpace(scan.Text()))
	}
	return lines, res.StatusCode == http.StatusOK && scan.Err() == nil && len(lines) > 0 && lines[0] == "#EXTM3U"
}

// get begins a request that ends in time. The caller calls cancel when it is done.
func (p probe) get(ctx context.Context, address, span string) (*http.Response, context.CancelFunc, error) {
	ctx, cancel := context.WithTimeout(ctx, probeTimeout)
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, address, nil)
	if err == nil {
		if span != "" {
			r.Header.Set("Range", span)
		}
		var res *http.Response
		if res, err = p.client.Do(r); err == nil {
			return res, cancel, nil
		}
	}
	cancel()
	return nil, nil, err
}

// hasTag says whether a line has the tag.
func hasTag(lines []string, tag string) bool {
	for _, l := range lines {
		if l == tag || strings.HasPrefix(l, tag+":") {
			return true
		}
	}
	return false
}

// uris are the lines that are no tags, at most so many.
func uris(lines []string, most int) (out []string) {
	for _, l := range lines {
		if l != "" && !strings.HasPrefix(l, "#") && len(out) < most {
			out = append(out, l)
		}
	}
	return out
}

// resolveURL reads a reference in the document at base; one that cannot be read stays.
func resolveURL(base, reference string) string {
	b, err := url.Parse(base)
	if err != nil {
		return reference
	}
	u, err := b.Parse(reference)
	if err != nil {
		return reference
	}
	return u.String()
}
