package origin

import (
	"context"
	"io"
	"net/http"
	"strconv"
	"strings"
	"time"

	"klive/storage/playlist"
)

// unsupported are addresses that older media servers answered (contract row 111).
var unsupported = map[string]string{
	"manifest.f4m": "HDS is not offered any more; use playlist.m3u8 (HLS) at the same place",
	"Manifest":     "Smooth Streaming is not offered any more; use playlist.m3u8 (HLS) at the same place",
	"manifest.mpd": "DASH is not offered by this server; use playlist.m3u8 (HLS) at the same place",
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
	req := request{sel: sel, id: folder}
	// "?DVR" has no value (contract §3.16), so its name alone counts.
	_, req.dvr = r.URL.Query()["DVR"]
	switch leaf {
	case playlist.MultivariantName:
	case playlist.MultivariantDVRName:
		req.dvr = true
	case playlist.LiveName:
		req.media = sel.Rendition
	case playlist.DVRName:
		req.media, req.dvr = sel.Rendition, true
	}
	isMedia := leaf == playlist.LiveName || leaf == playlist.DVRName
	if (isMedia && req.media == "") || (!isMedia && leaf != playlist.MultivariantName && leaf != playlist.MultivariantDVRName) {
		fail(w, http.StatusNotFound, "there is no such playlist; the stream is at playlist.m3u8")
		return kindOther
	}
	req.id += "/" + strconv.FormatBool(isMedia) + strconv.FormatBool(req.dvr)
	o.writePlaylist(w, r, req)
	return kindPlaylist
}

func (o *Origin) writePlaylist(w http.ResponseWriter, r *http.Request, req request) {
	t, err := o.await(r.Context(), req)
	if err != nil {
		o.failErr(w, r, err)
		return
	}
	if t.body == "" {
		fail(w, http.StatusNotFound, "there is no such stream, or nothing of it has been stored yet")
		return
	}
	h := w.Header()
	h.Set("Content-Type", "application/vnd.apple.mpegurl")
	h.Set("Cache-Control", "public, max-age="+strconv.Itoa(max(1, t.target/2)))
	h.Set("ETag", t.etag)
	if matches(r.Header.Get("If-None-Match"), t.etag) {
		w.WriteHeader(http.StatusNotModified)
		return
	}
	h.Set("Content-Length", strconv.Itoa(len(t.body)))
	if r.Method != http.MethodHead {
		io.WriteString(w, t.body)
	}
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

// matches reports whether an If-None-Match header names the ETag (RFC 9110 §13.1.2, weak
// comparison).
func matches(header, etag string) bool {
	for part := range strings.SplitSeq(header, ",") {
		part = strings.TrimSpace(part)
		if part == "*" || strings.TrimPrefix(part, "W/") == etag {
			return true
		}
	}
	return false
}
