package controlplane

import (
	"errors"
	"io"
	"mime"
	"mime/multipart"
	"net/http"
	"net/url"
	"strings"

	"klive/infra/kaltura"
)

// Limits bound what one request may ask for. Zero fields take the defaults.
type Limits struct {
	// Body is the largest request body in bytes; default 1 MiB.
	Body int64
	// Parameters is how many values a request may carry; default 2000.
	Parameters int
	// Depth is how deep parameters may nest; default 16.
	Depth int
	// Calls is how many calls one multirequest may hold; default 50.
	Calls int
}

func (l Limits) withDefaults() Limits {
	if l.Body == 0 {
		l.Body = 1 << 20
	}
	if l.Parameters == 0 {
		l.Parameters = 2000
	}
	if l.Depth == 0 {
		l.Depth = 16
	}
	if l.Calls == 0 {
		l.Calls = 50
	}
	return l
}

// errBody says that a body cannot be read as what its content type names.
var errBody = errors.New("the request body does not match its content type")

// readRequest gathers the parameters of a request: body, then query, then path pairs,
// the later winning (contract §1.2).
func readRequest(r *http.Request, limits Limits) (kaltura.Node, error) {
	t := newTree(limits)
	if r.Body != nil {
		if err := t.readBody(r, http.MaxBytesReader(nil, r.Body, limits.Body)); err != nil {
			return kaltura.Node{}, err
		}
	}
	if err := t.readForm(r.URL.RawQuery); err != nil {
		return kaltura.Node{}, err
	}
	if err := t.readPath(r.URL.Path); err != nil {
		return kaltura.Node{}, err
	}
	return t.node(), nil
}

func (t *tree) readBody(r *http.Request, body io.Reader) error {
	kind, options, err := mime.ParseMediaType(r.Header.Get("Content-Type"))
	if err != nil {
		kind = ""
	}
	if kind == "multipart/form-data" {
		return t.readMultipart(multipart.NewReader(body, options["boundary"]))
	}
	data, err := io.ReadAll(body)
	if err != nil {
		return err
	}
	switch {
	case len(data) == 0:
		return nil
	case kind == "application/json":
		return t.readJSON(data)
	default:
		return t.readForm(string(data))
	}
}

func (t *tree) readJSON(data []byte) error {
	n, err := kaltura.ParseJSON(data, kaltura.Bounds{Depth: t.limits.Depth, Nodes: t.limits.Parameters})
	if errors.Is(err, kaltura.ErrTooComplex) {
		return errTooMany
	}
	if err != nil || n.Kind != kaltura.KindObject {
		return errBody
	}
	for _, m := range n.Members {
		if err := t.set(splitKey(m.Name), m.Value); err != nil {
			return err
		}
	}
	return nil
}

// readForm reads the urlencoded form of bodies and queries. Pairs that are not encoded
// properly are taken as they are, as PHP does.
func (t *tree) readForm(text string) error {
	for item := range strings.SplitSeq(text, "&") {
		name, value, _ := strings.Cut(item, "=")
		if name == "" {
			continue
		}
		if err := t.setText(unescape(name), unescape(value)); err != nil {
			return err
		}
	}
	return nil
}

func unescape(text string) string {
	if plain, err := url.QueryUnescape(text); err == nil {
		return plain
	}
	return text
}

// readMultipart reads a form of parts: each parameter a part of its own, or one part
// named json with the whole document (contract §1.2). File contents are skipped: no
// action of the table takes a file.
func (t *tree) readMultipart(parts *multipart.Reader) error {
	for {
		part, err := parts.NextPart()
		if err == io.EOF {
			return nil
		}
		if err != nil {
			return bodyError(err)
		}
		if part.FileName() != "" {
			if t.used++; t.used > t.limits.Parameters {
				return errTooMany
			}
			continue
		}
		data, err := io.ReadAll(part)
		if err != nil {
			return bodyError(err)
		}
		if part.FormName() == "json" {
			err = t.readJSON(data)
		} else if part.FormName() != "" {
			err = t.setText(part.FormName(), string(data))
		}
		if err != nil {
			return err
		}
	}
}

// bodyError keeps the error that names a body over its limit.
func bodyError(err error) error {
	var tooLarge *http.MaxBytesError
	if errors.As(err, &tooLarge) {
		return err
	}
	return errBody
}

// readPath reads the name/value pairs after /api_v3/ or /api_v3/index.php/. Of
// duplicates the first wins; a name without value at the end is empty (contract §1.1).
func (t *tree) readPath(path string) error {
	_, rest, _ := strings.Cut(path, "/api_v3")
	rest = strings.Trim(rest, "/")
	if head, tail, _ := strings.Cut(rest, "/"); strings.HasSuffix(head, ".php") {
		rest = tail
	}
	if rest == "" {
		return nil
	}
	segments := strings.Split(rest, "/")
	seen := map[string]bool{}
	for i := 0; i < len(segments); i += 2 {
		name, value := segments[i], ""
		if i+1 < len(segments) {
			value = segments[i+1]
		}
		if name == "" || seen[name] {
			continue
		}
		seen[name] = true
		if err := t.setText(name, value); err != nil {
			return err
		}
	}
	return nil
}
