package origin

import (
	"context"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"klive/storage/playlist"
)

// The kinds of text.
const (
	typeHLS  = "application/vnd.apple.mpegurl"
	typeDASH = "application/dash+xml"
	typeSMIL = "application/smil+xml; charset=utf-8"
)

// unsupported are addresses that older media servers answered (contract row 111).
var unsupported = map[string]string{
	"manifest.f4m": "HDS is not offered any more; use playlist.m3u8 (HLS) or manifest.mpd (DASH) at the same place",
	"Manifest":     "Smooth Streaming is not offered any more; use playlist.m3u8 (HLS) or manifest.mpd (DASH) at the same place",
}

// leaves are the texts of a folder.
var leaves = map[string]struct {
	form form
	dvr  bool
}{
	playlist.MultivariantName:    {formMultivariant, false},
	playlist.MultivariantDVRName: {formMultivariant, true},
	playlist.LiveName:            {formMedia, false},
	playlist.DVRName:             {formMedia, true},
	playlist.TSName:              {formTS, false},
	playlist.TSDVRName:           {formTS, true},
	playlist.ManifestName:        {formDASH, false},
}

// servePlaylist answers for /kLive/<folder>/<leaf>.
func (o *Origin) servePlaylist(w http.ResponseWriter, r *http.Request, folder, leaf string) (kind string) {
	sel, ok := playlist.ParseFolder(folder)
	if !ok {
		fail(w, http.StatusNotFound, "the address names no stream; it is smil:<entry>_all.smil, smil:<entry>_<tag>.smil, "+
			"smil:<entry>_<id>_<id>.smil or <entry>_<id>")
		return kindOther
	}
	if reason, ok := unsupported[leaf]; ok {
		fail(w, http.StatusNotFound, reason)
		return kindOther
	}
	if (leaf == thumbnailName || leaf == posterName) && o.pictures != nil {
		return o.servePicture(w, r, sel, leaf == posterName)
	}
	l, ok := leaves[leaf]
	if !ok || l.form == formTS && o.ts == nil || (l.form == formMedia || l.form == formTS) && sel.Rendition == "" {
		fail(w, http.StatusNotFound, "there is no such playlist; the stream is at playlist.m3u8 (HLS) and manifest.mpd (DASH)")
		return kindOther
	}
	req := request{sel: sel, form: l.form, dvr: l.dvr}
	o.writeText(w, r, req)
	return kindPlaylist
}

// writeText answers with a text, as the query wants it: "DVR" for the DVR window, and
// "flavorIds=33,34" for those of a group's renditions (contract §6.11).
func (o *Origin) writeText(w http.ResponseWriter, r *http.Request, req request) {
	if o.intoPath(w, r) {
		return
	}
	if wantsDVR(r.URL.RawQuery) {
		req.dvr = true
	}
	if ids, _ := queried(r.URL, "flavorIds"); ids != "" && req.sel.Rendition == "" && len(req.sel.Params) == 0 {
		params, ok := playlist.ParseParams(ids, ",")
		if !ok {
			fail(w, http.StatusNotFound, "flavorIds takes at most 32 flavor params ids, joined by commas")
			return
		}
		req.sel.Group, req.sel.Params = "", params
	}
	t, err := o.await(r.Context(), req)
	if err != nil {
		o.failErr(w, r, err)
		return
	}
	if t.body == "" {
		reason := "there is no such stream, or nothing of it has been stored yet"
		if len(req.sel.Params) > 0 {
			reason = "the stream has none of these flavors, or nothing of them has been stored yet"
		}
		fail(w, http.StatusNotFound, reason)
		return
	}
	h := w.Header()
	h.Set("Content-Type", req.form.contentType())
	h.Set("Cache-Control", "public, max-age="+strconv.Itoa(max(1, t.target/2)))
	h.Set("ETag", t.etag)
	if notModified(r, t.etag, "") {
		w.WriteHeader(http.StatusNotModified)
		return
	}
	h.Set("Content-Length", strconv.Itoa(len(t.body)))
	if r.Method != http.MethodHead {
		io.WriteString(w, t.body)
	}
}

func (f form) contentType() string {
	switch f {
	case formDASH:
		return typeDASH
	case formSMIL:
		return typeSMIL
	}
	return typeHLS
}

// wantsDVR reads "DVR" in a query. It has no value (contract §3.16), so that its name alone
// counts; the values "0" and "false" say no all the same. Nothing is decoded: a CDN has the name and
// these values in its cache's key as they are written.
func wantsDVR(query string) bool {
	for pair := range strings.SplitSeq(query, "&") {
		if name, value, _ := strings.Cut(pair, "="); name == "DVR" {
			return value != "0" && value != "false"
		}
	}
	return false
}

// intoPath answers a request whose token is in the query with a redirect to the address that has
// it in the path: what a playlist names inherits the one and not the other. It reports whether it
// has.
func (o *Origin) intoPath(w http.ResponseWriter, r *http.Request) bool {
	token := queryToken(r.URL)
	if inPath, _ := cutToken(r.URL.Path); inPath != "" || token == "" || len(o.access.Load().Keys) == 0 {
		return false
	}
	var kept []string
	for pair := range strings.SplitSeq(r.URL.RawQuery, "&") {
		if name, _, _ := strings.Cut(pair, "="); name != "token" {
			kept = append(kept, pair)
		}
	}
	up := strings.Repeat("../", strings.Count(r.URL.Path, "/")-1)
	to := url.URL{Path: up + strings.TrimPrefix(SignedPath(token, r.URL.Path), "/"), RawQuery: strings.Join(kept, "&")}
	h := w.Header()
	h.Set("Location", to.String())
	h.Set("Cache-Control", "private, no-store")
	w.WriteHeader(http.StatusFound)
	return true
}

// redirect sends people who open /live/<entry> to the entry's HLS. What they asked for besides
// goes with them: no CDN may keep the answer for others.
func (o *Origin) redirect(w http.ResponseWriter, r *http.Request, entry string) (kind string) {
	sel, ok := playlist.ParseFolder("smil:" + entry + "_all.smil")
	if !ok || sel.Entry != entry {
		fail(w, http.StatusNotFound, "there is no such entry; the address is /live/<entry>")
		return kindOther
	}
	if o.intoPath(w, r) {
		return kindOther
	}
	to := url.URL{Path: "../" + playlist.GroupKey(entry, "all", false), RawQuery: r.URL.RawQuery}
	h := w.Header()
	h.Set("Location", to.String())
	h.Set("Cache-Control", "private, max-age=60")
	w.WriteHeader(http.StatusFound)
	return kindOther
}

// notModified reports whether the client has this version already: by its ETag, else by the
// time of the last change, which may be empty (RFC 9110 §13.1.2, §13.1.3).
func notModified(r *http.Request, etag, modified string) bool {
	if header := r.Header.Get("If-None-Match"); header != "" {
		return matches(header, etag)
	}
	since, err := http.ParseTime(r.Header.Get("If-Modified-Since"))
	if err != nil || modified == "" {
		return false
	}
	at, err := http.ParseTime(modified)
	return err == nil && !at.After(since)
}

// How long a player waits for the first segment of a rendition that is announced, and how often
// it is looked for. Without that, players take the rendition for broken.
const (
	announcedWait  = 3 * time.Second
	announcedCheck = 100 * time.Millisecond
)

// await returns a playlist as the timeline stands, or stands in a moment.
func (o *Origin) await(ctx context.Context, req request) (text, error) {
	for end := time.Now().Add(announcedWait); ; {
		t, err := o.texts.get(ctx, req)
		if err != nil || t.body != "" || !t.announced || !time.Now().Before(end) {
			return t, err
		}
		select {
		case <-time.After(announcedCheck):
		case <-ctx.Done():
			return text{}, ctx.Err()
		}
	}
}

// matches reports whether a list of ETags names this one (weak comparison).
func matches(header, etag string) bool {
	for part := range strings.SplitSeq(header, ",") {
		part = strings.TrimSpace(part)
		if part == "*" || strings.TrimPrefix(part, "W/") == etag {
			return true
		}
	}
	return false
}
