package origin

import (
	"errors"
	"fmt"
	"io"
	"math"
	"net/http"
	"strconv"
	"strings"
	"time"

	"klive/infra/media"
	"klive/storage"
	"klive/storage/timeline"
)

// immutable is the caching of media: a name never stands for other content.
const immutable = "public, max-age=31536000, immutable"

// serveMedia answers for /kLive/<rendition>/<broadcast>/<name>. Media are immutable and their
// names can't be guessed, so the timeline need not be asked.
func (o *Origin) serveMedia(w http.ResponseWriter, r *http.Request, key string, segments []string) (kind string) {
	if strings.HasSuffix(segments[3], ".ts") && o.ts != nil {
		return o.serveTS(w, r, key, segments)
	}
	a, ok := parseMedia(key, segments)
	if !ok {
		fail(w, http.StatusNotFound, "there is nothing at this address")
		return kindOther
	}
	found, err := o.media.get(r.Context(), a)
	if err == nil {
		err = o.sendMedia(w, r, key, a.contentType(), found)
	}
	if err != nil {
		o.failErr(w, r, err)
	}
	return kindMedia
}

// contentType tells pictures from sound by the rendition's name.
func (a *mediaAddress) contentType() string {
	if strings.HasPrefix(a.rendition, a.entry+"_a") {
		return "audio/mp4"
	}
	return "video/mp4"
}

// parseName accepts init-<n>.mp4 and <start>-<epoch>.m4s.
func (a *mediaAddress) parseName(name string) bool {
	if base, ok := strings.CutSuffix(name, ".m4s"); ok {
		start, _, _ := strings.Cut(base, "-")
		micros, _ := strconv.ParseInt(start, 10, 64) // beyond the range it is in no chapter
		a.name, a.start = base, media.Time(micros)*media.Time(time.Microsecond)
		return timeline.ValidName(base)
	}
	base, ok := strings.CutSuffix(name, ".mp4")
	n, ok2 := strings.CutPrefix(base, "init-")
	number, err := strconv.Atoi(n)
	a.init = number
	return ok && ok2 && err == nil && number > 0 && strconv.Itoa(number) == n
}

// sendMedia answers with the object or the range asked for. An error means that nothing
// has been sent.
func (o *Origin) sendMedia(w http.ResponseWriter, r *http.Request, key, contentType string, found *opened) error {
	body, info := found.body, found.info
	defer func() { body.Close() }()
	h := w.Header()
	h.Set("Cache-Control", immutable)
	h.Set("ETag", info.ETag)
	h.Set("Accept-Ranges", "bytes")
	h.Set("Last-Modified", info.Modified.UTC().Format(http.TimeFormat))
	if notModified(r, info.ETag, h.Get("Last-Modified")) {
		w.WriteHeader(http.StatusNotModified)
		return nil
	}
	h.Set("Content-Type", contentType)
	h.Set("X-Content-Type-Options", "nosniff")
	code, length := http.StatusOK, info.Size
	rng, err := parseRange(r, info)
	if err != nil {
		h.Del("Cache-Control")
		h.Set("Content-Range", "bytes */"+strconv.FormatInt(info.Size, 10))
		fail(w, http.StatusRequestedRangeNotSatisfiable, err.Error())
		return nil
	}
	if rng != nil {
		code, length = http.StatusPartialContent, rng.Length
		if r.Method != http.MethodHead {
			part, err := found.part(r.Context(), *rng)
			if err != nil {
				return err
			}
			body.Close()
			body = part
		}
		h.Set("Content-Range", fmt.Sprintf("bytes %d-%d/%d", rng.Offset, rng.Offset+rng.Length-1, info.Size))
	}
	h.Set("Content-Length", strconv.FormatInt(length, 10))
	w.WriteHeader(code)
	if r.Method == http.MethodHead {
		return nil
	}
	if _, err := io.Copy(w, body); err != nil && r.Context().Err() == nil {
		o.cfg.Logger.Debug("origin: sending stopped", "key", key, "err", err)
	}
	return nil
}

// errRange says that a range lies behind the object's end.
var errRange = errors.New("the range lies behind the end")

// parseRange reads a Range header with one range (RFC 9110 §14.2). Headers that it does not
// understand, and several ranges, count as none, as the RFC allows. The length that it
// returns is exact.
func parseRange(r *http.Request, info storage.Info) (*storage.Range, error) {
	spec, ok := strings.CutPrefix(r.Header.Get("Range"), "bytes=")
	if cond := r.Header.Get("If-Range"); !ok || strings.Contains(spec, ",") || (cond != "" && cond != info.ETag) {
		return nil, nil
	}
	from, to, ok := strings.Cut(strings.TrimSpace(spec), "-")
	if !ok {
		return nil, nil
	}
	if from == "" {
		n, ok := rangeNumber(to)
		if !ok {
			return nil, nil
		}
		if n == 0 || info.Size == 0 {
			return nil, errRange
		}
		n = min(n, info.Size)
		return &storage.Range{Offset: info.Size - n, Length: n}, nil
	}
	first, ok := rangeNumber(from)
	if !ok {
		return nil, nil
	}
	last := info.Size - 1
	if to != "" {
		n, ok := rangeNumber(to)
		if !ok || n < first {
			return nil, nil
		}
		last = min(last, n)
	}
	if first >= info.Size {
		return nil, errRange
	}
	return &storage.Range{Offset: first, Length: last - first + 1}, nil
}

// rangeNumber reads a position. What is too large for a number lies behind every end.
func rangeNumber(s string) (int64, bool) {
	if s == "" || strings.Trim(s, "0123456789") != "" {
		return 0, false
	}
	n, err := strconv.ParseInt(s, 10, 64)
	if err != nil {
		n = math.MaxInt64
	}
	return n, true
}
