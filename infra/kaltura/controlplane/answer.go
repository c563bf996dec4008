package controlplane

import (
	"compress/gzip"
	"net/http"
	"regexp"
	"strconv"
	"strings"
	"time"

	"klive/infra/kaltura"
)

// Response formats (contract §1.4).
const (
	formatJSON  = "1"
	formatXML   = "2"
	formatJSONP = "9"
)

// callbackName is what may stand before the parenthesis of a JSONP answer.
var callbackName = regexp.MustCompile(`^[A-Za-z_$][A-Za-z0-9_.$]{0,127}$`)

// shape says how an answer is to be written.
type shape struct {
	format     string
	callback   string
	ignoreNull bool
	multi      bool
	started    time.Time
}

// shapeOf reads format, callback and ignoreNull. An unknown format is an error in XML.
func shapeOf(params kaltura.Node, started time.Time) (shape, error) {
	sh := shape{format: text(params, "format"), callback: text(params, "callback"), started: started}
	ignore := text(params, "ignoreNull")
	sh.ignoreNull = ignore == "1" || strings.EqualFold(ignore, "true")
	switch sh.format {
	case "", formatXML:
		sh.format = formatXML
	case formatJSON:
	case formatJSONP:
		if !callbackName.MatchString(sh.callback) {
			sh.format = formatXML
			return sh, fail(kaltura.CodeMissingParameter, "format 9 needs the name of a function in callback", "PARAM_NAME", "callback")
		}
	default:
		unknown := sh.format
		sh.format = formatXML
		return sh, fail("UNKNOWN_RESPONSE_FORMAT", "formats are 1 (JSON), 2 (XML) and 9 (JSONP)", "FORMAT", unknown)
	}
	return sh, nil
}

// contentType is the answer's media type.
func (sh shape) contentType() string {
	switch sh.format {
	case formatJSON:
		return "application/json"
	case formatJSONP:
		return "application/javascript"
	}
	return "text/xml"
}

// render writes the results as one document.
func (sh shape) render(results []result, argClass string) []byte {
	if sh.format == formatXML {
		return sh.renderXML(results, argClass)
	}
	var b []byte
	if sh.format == formatJSONP {
		b = append(b, sh.callback+"("...)
	}
	if sh.multi {
		b = append(b, '[')
	}
	for i, r := range results {
		if i > 0 {
			b = append(b, ',')
		}
		if r.err != nil {
			b = r.err.Node().AppendJSON(b)
		} else {
			b = r.value.AppendJSON(b)
		}
	}
	if sh.multi {
		b = append(b, ']')
	}
	if sh.format == formatJSONP {
		b = append(b, ");"...)
	}
	return b
}

func (sh shape) renderXML(results []result, argClass string) []byte {
	b := []byte(`<?xml version="1.0" encoding="utf-8"?><xml><result>`)
	for _, r := range results {
		if sh.multi {
			b = append(b, "<item>"...)
		}
		if r.err != nil {
			b = r.err.AppendXML(b, argClass)
		} else {
			b = r.value.AppendXML(b, sh.ignoreNull)
		}
		if sh.multi {
			b = append(b, "</item>"...)
		}
	}
	b = append(b, "</result><executionTime>"...)
	b = strconv.AppendFloat(b, time.Since(sh.started).Seconds(), 'f', 4, 64)
	return append(b, "</executionTime></xml>"...)
}

// gzipFrom is the smallest body worth compressing, in bytes.
const gzipFrom = 512

// write sends a body, compressed when the client takes that.
func write(w http.ResponseWriter, r *http.Request, contentType string, body []byte) {
	h := w.Header()
	h.Set("Content-Type", contentType)
	h.Add("Vary", "Accept-Encoding")
	if len(body) < gzipFrom || !acceptsGzip(r.Header.Get("Accept-Encoding")) {
		h.Set("Content-Length", strconv.Itoa(len(body)))
		// A client that went away needs no answer.
		_, _ = w.Write(body)
		return
	}
	h.Set("Content-Encoding", "gzip")
	z := gzip.NewWriter(w)
	_, _ = z.Write(body)
	_ = z.Close()
}

// acceptsGzip reads an Accept-Encoding header (RFC 9110 §12.5.3).
func acceptsGzip(header string) bool {
	for item := range strings.SplitSeq(header, ",") {
		coding, q, _ := strings.Cut(strings.TrimSpace(item), ";")
		if coding = strings.TrimSpace(coding); coding != "gzip" && coding != "x-gzip" {
			continue
		}
		q = strings.ReplaceAll(q, " ", "")
		value, err := strconv.ParseFloat(strings.TrimPrefix(q, "q="), 64)
		return q == "" || err != nil || value > 0
	}
	return false
}

// writeFile sends the answer of a file action; its errors are headers with an empty
// body (contract §1.7).
func writeFile(w http.ResponseWriter, r *http.Request, res result) {
	h := w.Header()
	if res.err != nil {
		h.Set("X-Kaltura", "error- "+res.err.Code)
		h.Set("X-Kaltura-App", "exiting on error "+res.err.Code+" - "+headerText(res.err.Message))
		h.Set("Content-Length", "0")
		w.WriteHeader(http.StatusOK)
		return
	}
	h.Set("Cache-Control", res.file.cacheControl)
	h.Del("Pragma")
	h.Del("Expires")
	write(w, r, res.file.contentType, res.file.data)
}

// headerText keeps what may stand in a header.
func headerText(s string) string {
	return strings.Map(func(r rune) rune {
		if r < 0x20 || r > 0x7e {
			return '?'
		}
		return r
	}, s)
}
