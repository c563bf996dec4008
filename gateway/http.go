package gateway

import (
	"crypto/subtle"
	"encoding/json"
	"errors"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"klive/infra/live"
)

// HTTPAddress is where a request of a protocol over HTTP says that it belongs, and what it
// shows for it.
type HTTPAddress struct {
	ID     live.FeedID
	Params Params
	// AnyPartner says that the address names no partner: the entry tells.
	AnyPartner bool
}

// ReadHTTPAddress reads the broadcast parameters of a request for the stream of that name:
// partner p, index i and token t from the query; the token as bearer, or as the password of
// basic authentication whose user is the partner, or anything beside a p. example is shown to who gets it wrong. The
// error is a *Refusal.
func ReadHTTPAddress(r *http.Request, name, example string) (HTTPAddress, error) {
	if len(r.URL.RawQuery) > maxQuery {
		return HTTPAddress{}, paramsRefusal("the address is too long")
	}
	entry, suffix, err := live.ParseStreamName(name)
	if err != nil {
		return HTTPAddress{}, paramsRefusal("the address names no stream: %v; publish to %s", live.ErrStreamName, example)
	}
	a := HTTPAddress{ID: live.FeedID{Entry: entry, Suffix: suffix}, Params: Params{Entry: entry}}
	query, err := url.ParseQuery(r.URL.RawQuery)
	if err != nil {
		return HTTPAddress{}, paramsRefusal("the address's query can't be read")
	}
	if e := query.Get("e"); e != "" && e != entry && e != name {
		return HTTPAddress{}, paramsRefusal("the address's e= is another entry than its stream's")
	}
	a.Params.Token = queryToken(r.URL.RawQuery)
	partner := query.Get("p")
	readAuthorization(r, &a.Params, &partner)
	switch query.Get("i") {
	case "", "0":
	case "1":
		a.Params.Index = live.Backup
	default:
		return HTTPAddress{}, paramsRefusal("i= must be 0 (primary) or 1 (backup)")
	}
	a.ID.Index = a.Params.Index
	if a.AnyPartner = partner == ""; !a.AnyPartner {
		if a.Params.Partner, err = strconv.Atoi(partner); err != nil {
			if query.Get("p") == "" {
				return HTTPAddress{}, paramsRefusal("the user of basic authentication, whose password is the token, must be the partner's number; any other goes with p= in the address")
			}
			return HTTPAddress{}, paramsRefusal("p= must be the partner's number")
		}
	}
	return a, nil
}

// queryToken is the last t= of a query; nil when there is none. A '+' is one, as in addresses of
// the other protocols, which are not decoded at all (contract row 12); what is percent-encoded is
// decoded, since HTTP clients may do so by themselves.
func queryToken(query string) (token *string) {
	for part := range strings.SplitSeq(query, "&") {
		if v, ok := strings.CutPrefix(part, "t="); ok {
			if plain, err := url.PathUnescape(v); err == nil {
				v = plain
			}
			token = &v
		}
	}
	return token
}

// readAuthorization reads the Authorization header.
func readAuthorization(r *http.Request, p *Params, partner *string) {
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

// Shows reports whether a later request of a feed shows what its first one did.
func (a *HTTPAddress) Shows(first *HTTPAddress) bool {
	if !a.AnyPartner && !first.AnyPartner && a.Params.Partner != first.Params.Partner {
		return false
	}
	x, y := a.Params.Token, first.Params.Token
	if x == nil || y == nil {
		return x == nil && y == nil
	}
	return subtle.ConstantTimeCompare([]byte(*x), []byte(*y)) == 1
}

// HTTPStatus is the status with which a refusal is answered over HTTP.
func HTTPStatus(r *Refusal) int {
	var api *APIError
	switch errors.As(r.Err, &api); {
	case api != nil && (api.Code == "LIVE_STREAM_INVALID_TOKEN" || api.Code == "MISSING_MANDATORY_PARAMETER"):
		return http.StatusUnauthorized
	case api != nil && api.Code == "ENTRY_ID_NOT_FOUND":
		return http.StatusNotFound
	}
	switch r.Reason {
	case ReasonParams:
		return http.StatusBadRequest
	case ReasonAuth:
		return http.StatusForbidden
	case ReasonLimit:
		return http.StatusTooManyRequests
	case ReasonBusy, ReasonTakenOver:
		return http.StatusConflict
	case ReasonMedia:
		return http.StatusUnsupportedMediaType
	case ReasonKicked:
		return http.StatusGone
	}
	return http.StatusServiceUnavailable
}

// AnswerRefusal answers a request with a refusal, under a status that is [HTTPStatus] or a
// closer one.
func AnswerRefusal(w http.ResponseWriter, status int, r *Refusal) {
	switch status {
	case http.StatusUnauthorized:
		w.Header().Set("WWW-Authenticate", `Bearer realm="klive"`)
	case http.StatusServiceUnavailable, http.StatusTooManyRequests:
		w.Header().Set("Retry-After", "2")
	}
	Problem(w, status, r.Text)
}

// restOfBody is how long an answer waits for the rest of what it refuses, so that a whole request leaves
// its connection as it is.
const restOfBody = 500 * time.Millisecond

// Problem answers with an error as RFC 9457 has it, and ends the connection of a request that goes on. The server
// reads up to 256 KiB more before it answers: an encoder of few bits sends them for a minute, and would hear as
// late why it is refused, or that another gateway is to be tried.
func Problem(w http.ResponseWriter, status int, detail string) {
	_ = http.NewResponseController(w).SetReadDeadline(time.Now().Add(restOfBody)) // where it can't be set there is none
	w.Header().Set("Content-Type", "application/problem+json")
	w.Header().Set("Cache-Control", "no-store")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(map[string]any{
		"type": "about:blank", "title": http.StatusText(status), "status": status, "detail": detail,
	})
}
