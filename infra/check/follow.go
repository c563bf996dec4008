package check

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"path"
	"slices"
	"time"

	"klive/infra/media"
	"klive/infra/media/mp4"
)

// maxFetch bounds one answer of the service under test, in bytes.
const maxFetch = 64 << 20

// ErrNoPlaylist is returned while the service has no playlist at the followed address.
var ErrNoPlaylist = errors.New("check: no playlist yet")

// Version is a playlist's text from the moment it was first seen.
type Version struct {
	At   time.Time
	Path string
	Text string
}

// Follower reads a live stream as a player does, but all of it: every version of every
// playlist, and each segment once. It is not safe for concurrent use.
type Follower struct {
	client *http.Client
	master *url.URL
	last   map[string]string // newest text by path
	sizes  map[string]int64  // of the segments that were read, by path
	unread map[string]bool   // playlists with an item whose segment could not be read, by path

	// Versions are all playlists seen so far in order of time.
	Versions []Version
	// Renditions are by path of their media playlist.
	Renditions map[string]*Rendition
	// Rules holds each version of each playlist against the rules.
	Rules *Playlist
	// Manifests holds the DASH manifest beside the multivariant playlist against the rules and
	// against the HLS playlists.
	Manifests DASH
	// ListOnly, when set before the first Poll, leaves segments unread: renditions then have no
	// kind and items no units.
	ListOnly bool
	// SlowestFetch is the longest time that a segment took to come.
	SlowestFetch time.Duration
}

// Rendition is what a follower has read of one media playlist.
type Rendition struct {
	Kind media.Kind
	// Target is the newest TARGETDURATION in seconds; Ended says that ENDLIST was seen last.
	Target int
	Ended  bool
	Items  []Item // in order of media sequence

	inits map[string]*mp4.Header
	// waiting is the first item whose segment could not be read yet, with the moment when it was
	// first listed.
	waiting  uint64
	listedAt time.Time
}

// Item is one segment of a rendition.
type Item struct {
	Seq           uint64
	URI           string
	Broadcast     string // the folder of its segment
	Duration      time.Duration
	Time          time.Time // PROGRAM-DATE-TIME, zero when the playlist has none
	Discontinuity bool
	Gap           bool
	// FirstListed is when the item was first seen.
	FirstListed time.Time
	Params      media.Params
	Units       []Stored
}

// Follow returns a follower of the multivariant playlist at address.
func Follow(client *http.Client, address string) (*Follower, error) {
	u, err := url.Parse(address)
	if err != nil {
		return nil, err
	}
	f := &Follower{
		client: client, master: u, last: map[string]string{}, sizes: map[string]int64{}, unread: map[string]bool{},
		Renditions: map[string]*Rendition{},
	}
	f.Rules = NewPlaylist(PlaylistConfig{Size: func(path string) (int64, bool) {
		n, ok := f.sizes[path]
		return n, ok
	}})
	return f, nil
}

// Poll reads the playlists once and the segments that are new. ErrNoPlaylist is returned
// when there is no multivariant playlist.
func (f *Follower) Poll(ctx context.Context) error {
	text, err := f.playlist(ctx, f.master)
	if err != nil {
		return err
	}
	m, err := parseM3U8(text)
	if err != nil {
		return fmt.Errorf("%s: %w", f.master.Path, err)
	}
	for _, ref := range m.playlists {
		u, err := f.master.Parse(ref)
		if err != nil {
			return err
		}
		if err := f.pollMedia(ctx, u); err != nil && !errors.Is(err, ErrNoPlaylist) {
			return err
		}
	}
	return f.pollManifest(ctx)
}

// pollManifest reads the DASH manifest beside the multivariant playlist. Playlists that were
// given for a follower's own address have none.
func (f *Follower) pollManifest(ctx context.Context) error {
	if path.Base(f.master.Path) != "playlist.m3u8" {
		return nil
	}
	u := *f.master
	u.Path = path.Join(path.Dir(u.Path), "manifest.mpd")
	b, err := f.get(ctx, &u)
	if errors.Is(err, ErrNoPlaylist) {
		return nil
	}
	if err != nil {
		return err
	}
	if text := string(b); f.last[u.Path] != text {
		f.last[u.Path] = text
		f.Manifests.Add(u.Path, text)
		for _, p := range f.Manifests.Missing() {
			f.Manifests.report(RuleEqual, "it does not name %s", p)
		}
	}
	return nil
}

// Err is what breaks the rules of HLS and DASH in all versions so far; nil when all is well.
func (f *Follower) Err() error { return errors.Join(f.Rules.Err(), f.Manifests.Err()) }

// playlist fetches a playlist and keeps it when it is a new version.
func (f *Follower) playlist(ctx context.Context, u *url.URL) (string, error) {
	b, err := f.get(ctx, u)
	if err != nil {
		return "", err
	}
	text := string(b)
	if f.last[u.Path] != text {
		f.last[u.Path] = text
		v := Version{At: time.Now(), Path: u.Path, Text: text}
		f.Versions = append(f.Versions, v)
		f.Rules.Add(u.Path, text)
	}
	return text, nil
}

func (f *Follower) get(ctx context.Context, u *url.URL) ([]byte, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, u.String(), nil)
	if err != nil {
		return nil, err
	}
	resp, err := f.client.Do(req)
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(io.LimitReader(resp.Body, maxFetch))
	if err != nil {
		return nil, err
	}
	switch resp.StatusCode {
	case http.StatusOK:
		if u == f.master { // what it names is relative to where it was found (RFC 3986 §5.1.3)
			f.master = resp.Request.URL
		}
		return b, nil
	case http.StatusNotFound:
		return nil, fmt.Errorf("%s: %w", u.Path, ErrNoPlaylist)
	}
	return nil, fmt.Errorf("%s: %s: %.200s", u.Path, resp.Status, b)
}

func (f *Follower) pollMedia(ctx context.Context, u *url.URL) error {
	before, known := f.last[u.Path]
	text, err := f.playlist(ctx, u)
	if err != nil || known && before == text && !f.unread[u.Path] {
		return err
	}
	p, err := parseM3U8(text)
	if err != nil {
		return fmt.Errorf("%s: %w", u.Path, err)
	}
	r := f.Renditions[u.Path]
	if r == nil {
		r = &Rendition{inits: map[string]*mp4.Header{}}
		f.Renditions[u.Path] = r
	}
	r.Target, r.Ended = p.target, p.ended
	f.unread[u.Path] = true
	for i := range p.items {
		item := &p.items[i]
		item.Broadcast = path.Base(path.Dir(item.URI))
		if n := len(r.Items); n > 0 && item.Seq <= r.Items[n-1].Seq {
			continue
		}
		if err := f.read(ctx, r, u, item); err != nil {
			return err
		}
		r.Items = append(r.Items, item.Item)
	}
	f.unread[u.Path] = false
	return f.Manifests.HLS(u.Path, text)
}

// read fetches an item's segment and takes it apart.
func (f *Follower) read(ctx context.Context, r *Rendition, base *url.URL, item *listedItem) error {
	item.FirstListed = time.Now()
	if r.waiting == item.Seq {
		item.FirstListed = r.listedAt
	}
	r.waiting, r.listedAt = item.Seq, item.FirstListed
	if item.Gap || f.ListOnly {
		return nil
	}
	mapURL, err := base.Parse(item.mapURI)
	if err != nil {
		return err
	}
	h := r.inits[mapURL.Path]
	if h == nil {
		b, err := f.get(ctx, mapURL)
		if err != nil {
			return fmt.Errorf("a listed initialization section: %w", notListed(err))
		}
		if h, err = mp4.ParseInit(b); err != nil {
			return fmt.Errorf("%s: %w", mapURL.Path, err)
		}
		r.inits[mapURL.Path] = h
	}
	u, err := base.Parse(item.URI)
	if err != nil {
		return err
	}
	begin := time.Now()
	b, err := f.get(ctx, u)
	f.SlowestFetch = max(f.SlowestFetch, time.Since(begin))
	if err != nil {
		return fmt.Errorf("a listed segment: %w", notListed(err))
	}
	f.sizes[u.Path] = int64(len(b))
	samples, err := h.Segment(b)
	if err != nil {
		return fmt.Errorf("%s: %w", u.Path, err)
	}
	r.Kind, item.Params = h.Params.Kind(), h.Params
	anew := item.Discontinuity || len(r.Items) > 0 && r.Items[len(r.Items)-1].Broadcast != item.Broadcast
	item.Units = units(h, samples, anew)
	// PROGRAM-DATE-TIME is in whole milliseconds.
	if at := h.Time(samples[0].PTS).Std(); !item.Time.IsZero() && at.Sub(item.Time).Abs() > time.Millisecond {
		reporter{playlist: f.Rules, path: base.Path, version: len(f.Versions)}.report(RulePDT, "segment %d is said to begin at %v and its media begin at %v", item.Seq, item.Time, at)
	}
	return nil
}

// notListed keeps a missing segment from passing for a missing playlist.
func notListed(err error) error {
	if errors.Is(err, ErrNoPlaylist) {
		return errors.New(err.Error())
	}
	return err
}

func units(h *mp4.Header, samples []mp4.Sample, discontinuity bool) []Stored {
	out := make([]Stored, len(samples))
	for i, s := range samples {
		u := Stored{Kind: h.Params.Kind(), DTS: s.DTS, PTS: s.PTS, Duration: s.Duration, Rate: h.Timescale, Key: s.Key}
		u.First = i == 0
		u.Discontinuity = i == 0 && discontinuity
		u.Number, u.Marked = readMark(u.Kind, s.Data)
		out[i] = u
	}
	return out
}

// Kind returns the rendition that carries a kind of track: the first by path. It is nil
// when there is none.
func (f *Follower) Kind(k media.Kind) *Rendition {
	_, r := f.kind(k)
	return r
}

func (f *Follower) kind(k media.Kind) (string, *Rendition) {
	var paths []string
	for path, r := range f.Renditions {
		if r.Kind == k {
			paths = append(paths, path)
		}
	}
	if len(paths) == 0 {
		return "", nil
	}
	first := slices.Min(paths)
	return first, f.Renditions[first]
}

// Main is the video rendition, or the audio one when there is no video; nil without any.
func (f *Follower) Main() *Rendition {
	_, r := f.main()
	return r
}

func (f *Follower) main() (string, *Rendition) {
	if path, r := f.kind(media.Video); r != nil {
		return path, r
	}
	return f.kind(media.Audio)
}

// Units are all access units of the rendition in stored order; r may be nil.
func (r *Rendition) Units() []Stored {
	if r == nil {
		return nil
	}
	var out []Stored
	for i := range r.Items {
		out = append(out, r.Items[i].Units...)
	}
	return out
}

// Audit holds what was read so far against what was sent.
func (f *Follower) Audit(sent []Sent) Audit {
	return Compare(sent, f.Kind(media.Video).Units(), f.Kind(media.Audio).Units())
}
