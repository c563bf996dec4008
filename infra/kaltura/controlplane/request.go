package controlplane

import (
	"errors"
	"io"
	"mime"
	"net/http"
	"net/url"
	"strings"

	"klive/infra/kaltura"
)

// Limits bound what one request may ask for. Zero fields take the defaults.
type Limits struct {
	// Body is the largest request body in bytes, files of uploads aside; default 1 MiB.
	Body int64
	// File is how many bytes of files one request may bring; default 16 GiB.
	File int64
	// Parameters is how many values a request may carry; default 2000.
	Parameters int
	// Depth is how deep parameters may nest; default 16.
	Depth int
	// Calls is how many calls one multirequest may hold; default 50.
	Calls int
	// Answer is how many bytes the answers of a multirequest may take; default 64 MiB.
	Answer int
	// Uploads is how many files may come in at once; others wait. Default 8.
	Uploads int
}

func (l Limits) withDefaults() Limits {
	if l.Body == 0 {
		l.Body = 1 << 20
	}
	if l.File == 0 {
		l.File = 16 << 30
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
	if l.Answer == 0 {
		l.Answer = 64 << 20
	}
	if l.Uploads == 0 {
		l.Uploads = 8
	}
	return l
}

// errBody says that a body cannot be read as what its content type names.
var errBody = errors.New("the request body does not match its content type")

// request is what one HTTP request carries.
type request struct {
	from   origin
	params kaltura.Node
	// files are by the parameter they are the value of: "fileData", "2:fileData".
	files map[string]*incoming
}

// readRequest gathers the parameters of a request: body, then its files, then query, then
// path pairs, the later winning (contract §1.2). Files go to take as they come. What was
// read is returned also with an error, so that its files can be dropped.
func readRequest(r *http.Request, limits Limits, take takeFile) (request, error) {
	t := newTree(limits)
	var files map[string]*incoming
	if r.Body != nil {
		var err error
		files, err = t.readBody(r, func(soFar kaltura.Node, f *part) (*incoming, error) {
			// The session may stand in the address, which is read last.
			address := newTree(limits)
			if err := address.readAddress(r.URL); err != nil {
				return nil, err
			}
			return take(append(sessionsIn(address.node()), sessionsIn(soFar)...), f)
		})
		if err != nil {
			return request{files: files}, err
		}
	}
	if err := t.readAddress(r.URL); err != nil {
		return request{files: files}, err
	}
	return request{from: originOf(r), params: t.node(), files: files}, nil
}

func (t *tree) readAddress(u *url.URL) error {
	if err := t.readForm(u.RawQuery); err != nil {
		return err
	}
	return t.readPath(u.Path)
}

func (t *tree) readBody(r *http.Request, take takePart) (map[string]*incoming, error) {
	kind, options, err := mime.ParseMediaType(r.Header.Get("Content-Type"))
	if err != nil {
		kind = ""
	}
	if kind == "multipart/form-data" {
		return t.readMultipart(r.Body, options["boundary"], take)
	}
	data, err := io.ReadAll(http.MaxBytesReader(nil, r.Body, t.limits.Body))
	if err != nil {
		return nil, err
	}
	switch {
	case len(data) == 0:
		return nil, nil
	case kind == "application/json":
		return nil, t.readJSON(data)
	default:
		return nil, t.readForm(string(data))
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
