package push

import (
	"errors"
	"fmt"
	"net/http"
	"path"
	"strings"

	"klive/gateway"
)

// Prefix is the path under which encoders publish.
const Prefix = "/ingest/"

// maxPath bounds a request's path in bytes, maxShown what the log repeats of it.
const (
	maxPath  = 1024
	maxShown = 80
)

// target is where a request says that it belongs.
type target struct {
	gateway.HTTPAddress
	// path is what follows the stream's name, without slashes around it; may be empty.
	path string
}

const example = "/ingest/<entry>_1?p=<partner>&i=0 with the token as bearer"

// readTarget reads where a request belongs and what it shows for it: broadcast parameters in
// the query, and the token there, in the path behind /t/, as bearer, or as the password of
// basic authentication whose user is the partner. The error is a *gateway.Refusal.
func readTarget(r *http.Request) (target, error) {
	if len(r.URL.Path) > maxPath {
		return target{}, refuse("the address is too long")
	}
	rest, ok := strings.CutPrefix(r.URL.Path, Prefix)
	if !ok {
		return target{}, refuse("publish to %s", example)
	}
	name, rest, _ := strings.Cut(rest, "/")
	a, err := gateway.ReadHTTPAddress(r, name, example)
	if err != nil {
		return target{}, err
	}
	if after, ok := strings.CutPrefix(rest, "t/"); ok {
		var token string
		token, rest, _ = strings.Cut(after, "/")
		if a.Params.Token == nil {
			a.Params.Token = &token
		}
	}
	return target{HTTPAddress: a, path: strings.Trim(path.Clean("/"+rest), "/")}, nil
}

func refuse(format string, args ...any) *gateway.Refusal {
	return &gateway.Refusal{Reason: gateway.ReasonParams, Text: fmt.Sprintf(format, args...)}
}

// status is the HTTP status of a refusal.
func status(r *gateway.Refusal) int {
	switch {
	case errors.Is(r, errSilent):
		return http.StatusRequestTimeout
	case errors.Is(r.Err, errOther):
		return http.StatusUnauthorized
	}
	return gateway.HTTPStatus(r)
}
