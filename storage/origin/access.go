package origin

import (
	"crypto/hmac"
	"errors"
	"net/http"
	"net/url"
	"strings"
	"time"

	"klive/storage/playlist"
)

// authName is where a CDN asks whether it may answer from its cache: nginx's auth_request does
// so, with the address in X-Original-URI.
const authName = "auth"

// Access says who may watch. The zero value lets everybody.
type Access struct {
	// Keys verify tokens, each of them, so that one can be taken out of use while tokens by the
	// next one are about already. None: no token is asked for.
	Keys []Key
	// ShieldHeader names a header that must hold one of ShieldSecrets: the CDN sends it, and who
	// comes past the CDN does not know it (contract row 122). Empty: none is asked for.
	ShieldHeader  string
	ShieldSecrets []string
}

// SetAccess changes who may watch, from the next request on.
func (o *Origin) SetAccess(a Access) { o.access.Store(&a) }

// admit decides on a request, and takes the token out of its path. It has answered when ok is
// false. Refusals are not for caches: the token is no part of their keys.
func (o *Origin) admit(w http.ResponseWriter, r *http.Request) (path string, ok bool) {
	token, path := cutToken(r.URL.Path)
	if token == "" {
		token = queryToken(r.URL)
	}
	a := o.access.Load()
	if !a.shielded(r) {
		refuse(w, errors.New("this origin answers its CDN alone; use the address of the CDN"))
		return "", false
	}
	root := "/" + playlist.Root + "/"
	if len(a.Keys) == 0 || path == root+authName || path == root+playlist.TimeName {
		return path, true
	}
	if err := check(token, a.Keys, entryOf(path), time.Now()); err != nil {
		refuse(w, err)
		return "", false
	}
	return path, true
}

func queryToken(u *url.URL) string {
	token, _ := queried(u, "token")
	return token
}

// queried returns the first value of a name in the query. A name counts as it is written: one
// with escaped letters would go by a CDN, which puts names into its cache's key as they stand.
func queried(u *url.URL, name string) (value string, ok bool) {
	for pair := range strings.SplitSeq(u.RawQuery, "&") {
		if n, v, _ := strings.Cut(pair, "="); n == name {
			if plain, err := url.QueryUnescape(v); err == nil {
				v = plain
			}
			return v, true
		}
	}
	return "", false
}

func (a *Access) shielded(r *http.Request) bool {
	if a.ShieldHeader == "" {
		return true
	}
	got, ok := []byte(r.Header.Get(a.ShieldHeader)), false
	for _, s := range a.ShieldSecrets {
		if hmac.Equal(got, []byte(s)) {
			ok = true
		}
	}
	return ok
}

func refuse(w http.ResponseWriter, err error) {
	fail(w, http.StatusForbidden, err.Error())
}

// auth answers a CDN's question about the address in X-Original-URI: 204 or 403. What route has
// no answer for is refused too: a CDN might take it for another address, which is in its cache.
func (o *Origin) auth(w http.ResponseWriter, r *http.Request) (kind string) {
	w.Header().Set("Cache-Control", "no-store")
	u, err := url.ParseRequestURI(r.Header.Get("X-Original-URI"))
	if err != nil || !strings.HasPrefix(u.Path, "/") {
		refuse(w, errors.New("X-Original-URI holds no path"))
		return kindOther
	}
	token, path := cutToken(u.Path)
	if !plain(strings.TrimPrefix(path, "/"), u) {
		refuse(w, errors.New("there is nothing at this address"))
		return kindOther
	}
	if token == "" {
		token = queryToken(u)
	}
	if keys := o.access.Load().Keys; len(keys) > 0 {
		if err := check(token, keys, entryOf(path), time.Now()); err != nil {
			refuse(w, err)
			return kindOther
		}
	}
	w.WriteHeader(http.StatusNoContent)
	return kindOther
}
