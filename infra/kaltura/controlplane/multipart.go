package controlplane

import (
	"errors"
	"io"
	"mime/multipart"
	"net/http"
	"strconv"

	"klive/infra/kaltura"
)

// takeFile takes a file of a request that has these sessions in it.
type takeFile func(sessions []string, f *part) (*incoming, error)

// takePart takes a file after these parameters.
type takePart func(soFar kaltura.Node, f *part) (*incoming, error)

// part is a file of a multipart body, while it is read.
type part struct {
	*multipart.Part
	meter *meter
}

// large says that the file is read with the allowance for files. Before that it shares
// the one of the parameters.
func (p *part) large() { p.meter.file = true }

// readMultipart reads a form of parts: each parameter a part of its own, or one part
// named json with the whole document, and files beside them (contract §1.2). A client of
// Java announces each file by a text part of the same name; the file wins.
func (t *tree) readMultipart(body io.Reader, boundary string, take takePart) (map[string]*incoming, error) {
	m := &meter{from: body, rest: t.limits.Body, files: t.limits.File, limits: t.limits}
	parts := multipart.NewReader(m, boundary)
	files := map[string]*incoming{}
	for {
		m.file = false
		p, err := parts.NextPart()
		if err == io.EOF {
			return files, nil
		}
		if err != nil {
			return files, bodyError(err)
		}
		name := p.FormName()
		switch {
		case p.FileName() != "":
			err = t.readFile(files, name, &part{Part: p, meter: m}, take)
		default:
			err = t.readField(name, p)
		}
		if err != nil {
			return files, err
		}
	}
}

func (t *tree) readField(name string, p io.Reader) error {
	data, err := io.ReadAll(p)
	switch {
	case err != nil:
		return bodyError(err)
	case name == "json":
		return t.readJSON(data)
	case name == "":
		return nil
	}
	return t.setText(name, string(data))
}

func (t *tree) readFile(files map[string]*incoming, name string, p *part, take takePart) error {
	if t.used++; t.used > t.limits.Parameters || len(files) >= t.limits.Calls {
		return errTooMany
	}
	if _, twice := files[name]; twice {
		return errBody
	}
	f, err := take(t.node(), p)
	// A file that broke off is dropped with the others.
	files[name] = f
	if err != nil {
		return bodyError(err)
	}
	return nil
}

// meter bounds what is read of a multipart body: files have an allowance of their own, the
// headers of parts and all parameters share the other.
type meter struct {
	from        io.Reader
	rest, files int64
	// file says which allowance is used.
	file   bool
	limits Limits
}

// Read implements io.Reader. Errors: *http.MaxBytesError.
func (m *meter) Read(b []byte) (int, error) {
	left, limit := &m.rest, m.limits.Body
	if m.file {
		left, limit = &m.files, m.limits.File
	}
	if *left <= 0 {
		// What ends just here is not too large.
		var one [1]byte
		if n, err := m.from.Read(one[:]); n == 0 {
			return 0, err
		}
		return 0, &http.MaxBytesError{Limit: limit}
	}
	n, err := m.from.Read(b[:min(int64(len(b)), *left)])
	*left -= int64(n)
	return n, err
}

// bodyError keeps the errors that say more than a body that is broken.
func bodyError(err error) error {
	var tooLarge *http.MaxBytesError
	var storing *storeError
	if errors.As(err, &tooLarge) || errors.As(err, &storing) || errors.Is(err, errTooMany) {
		return err
	}
	return errBody
}

// sessionsIn lists the session strings in a request's parameters, those of the calls of a
// multirequest among them.
func sessionsIn(params kaltura.Node) []string {
	var out []string
	if ks := text(params, "ks"); ks != "" {
		out = append(out, ks)
	}
	for _, m := range params.Members {
		if _, err := strconv.Atoi(m.Name); err != nil || len(out) > 8 {
			continue
		}
		if ks := text(m.Value, "ks"); ks != "" {
			out = append(out, ks)
		}
	}
	return out
}
