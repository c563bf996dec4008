package push

import (
	"crypto/subtle"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"path"
	"strconv"
	"strings"

	"klive/gateway"
	"klive/infra/live"
)

// Prefix is the path under which encoders publish.
const Prefix = "/ingest/"

// maxPath bounds a request's path in bytes.
const maxPath = 1024

// target is where a request says that it belongs.
type target struct {
	id     live.FeedID
	params gateway.Params
	// anyPartner says that the address names no partner: the entry tells.
	anyPartner bool
	// path is what follows the stream's name, without slashes around it; may be empty.
	path string
}

const example = "/ingest/<entry>_1?p=<partner>&i=0 with the token as bearer"

// readTarget reads where a request belongs and what it shows for it: broadcast parameters in
// the query, and the token there, in the path behind /t/, as bearer, or as the password of
// basic authentication whose user is the partner. The error is a *gateway.Refusal.
func readTarget(r *http.Request) (target, error) {
	if len(r.URL.Path) > maxPath || len(r.URL.RawQuery) > 2048 {
		return target{}, refuse("the address is too long")
	}
	rest, ok := strings.CutPrefix(r.URL.Path, Prefix)
	if !ok {
		return target{}, refuse("publish to %s", example)
	}
	name, rest, _ := strings.Cut(rest, "/")
	entry, suffix, err := live.ParseStreamName(name)
	if err != nil {
		return target{}, refuse("the address names no stream: %v; publish to %s", live.ErrStreamName, example)
	}
	t := target{id: live.FeedID{Entry: entry, Suffix: suffix}}
	t.params.Entry = entry
	if after, ok := strings.CutPrefix(rest, "t/"); ok {
		var token string
		token, rest, _ = strings.Cut(after, "/")
		t.params.Token = &token
	}
	t.path = strings.Trim(path.Clean("/"+rest), "/")
	query, err := url.ParseQuery(r.URL.RawQuery)
	if err != nil {
		return target{}, refuse("the address's query can't be read")
	}
	if e := query.Get("e"); e != "" && e != entry {
		return target{}, refuse("the address's e= is another entry than its stream's")
	}
	if v, ok := query["t"]; ok {
		t.params.Token = &v[len(v)-1]
	}
	partner := query.Get("p")
	readHeader(r, &t.params, &partner)
	switch query.Get("i") {
	case "", "0":
	case "1":
		t.params.Index = live.Backup
	default:
		return target{}, refuse("i= must be 0 (primary) or 1 (backup)")
	}
	t.id.Index = t.params.Index
	if t.anyPartner = partner == ""; !t.anyPartner {
		if t.params.Partner, err = strconv.Atoi(partner); err != nil {
			return target{}, refuse("p= must be the partner's number")
		}
	}
	return t, nil
}

// readHeader reads the Authorization header.
func readHeader(r *http.Request, p *gateway.Params, partner *string) {
	if user, password, ok := r.BasicAuth(); ok {
		p.Token = &password
		if user != "" && *partner == "" {
			*partner = user
		}
		return
	}
	scheme, token, ok := strings.Cut(r.Header.Get("Authorization"), " ")
	if ok && strings.EqualFold(scheme, "Bearer") {
		token = strings.TrimSpace(token)
		p.Token = &token
	}
}

// shows reports whether a later request of a feed shows what its first one did.
func (t *target) shows(first *target) bool {
	if !t.anyPartner && !first.anyPartner && t.params.Partner != first.params.Partner {
		return false
	}
	a, b := t.params.Token, first.params.Token
	if a == nil || b == nil {
		return a == nil && b == nil
	}
	return subtle.ConstantTimeCompare([]byte(*a), []byte(*b)) == 1
}

func refuse(format string, args ...any) *gateway.Refusal {
	return &gateway.Refusal{Reason: gateway.ReasonParams, Text: fmt.Sprintf(format, args...)}
}

// status is the HTTP status of a refusal.
func status(r *gateway.Refusal) int {
	var api *gateway.APIError
	switch errors.As(r.Err, &api); {
	case errors.Is(r, errSilent):
		return http.StatusRequestTimeout
	case errors.Is(r.Err, errOther), api != nil && (api.Code == "LIVE_STREAM_INVALID_TOKEN" || api.Code == "MISSING_MANDATORY_PARAMETER"):
		return http.StatusUnauthorized
	case api != nil && api.Code == "ENTRY_ID_NOT_FOUND":
		return http.StatusNotFound
	}
	switch r.Reason {
	case gateway.ReasonParams:
		return http.StatusBadRequest
	case gateway.ReasonAuth:
		return http.StatusForbidden
	case gateway.ReasonLimit:
		return http.StatusTooManyRequests
	case gateway.ReasonBusy, gateway.ReasonTakenOver:
		return http.StatusConflict
	case gateway.ReasonMedia:
		return http.StatusUnsupportedMediaType
	case gateway.ReasonKicked:
		return http.StatusGone
	}
	return http.StatusServiceUnavailable
}
