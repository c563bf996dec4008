package origin

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"klive/infra/live"
	"klive/storage/playlist"
)

// Key signs viewers' tokens.
type Key struct{ ID, Secret string }

// ScopeAll is the scope of a token for every entry.
const ScopeAll = "all"

// tokenPrefix stands before a token in a path: a relative address in a playlist then carries
// the token on, which it would not do with a query.
const tokenPrefix = "/t/"

// maxToken bounds a token in bytes.
const maxToken = 256

// ErrToken is returned for tokens that open nothing. Its text is for the viewer.
var ErrToken = errors.New("no access")

// Sign makes a token, "<key id>.<expiry, Unix seconds>.<scope>.<HMAC-SHA256 in hex>", the last
// over the text before it. scope is an entry, whose playlists and media it opens in all their
// renditions, or [ScopeAll].
func Sign(k Key, scope string, expires time.Time) string {
	text := k.ID + "." + strconv.FormatInt(expires.Unix(), 10) + "." + scope
	return text + "." + k.mac(text)
}

// SignedPath is a path at the origin ("/kLive/…", "/live/…") with a token in it.
func SignedPath(token, path string) string { return tokenPrefix + token + path }

func (k Key) mac(text string) string {
	h := hmac.New(sha256.New, []byte(k.Secret))
	h.Write([]byte(text))
	return hex.EncodeToString(h.Sum(nil))
}

// check holds a token against the keys, the clock and the entry that is asked for. Errors wrap
// ErrToken.
func check(token string, keys []Key, entry string, now time.Time) error {
	if token == "" {
		return fmt.Errorf("%w: this address needs a token: /t/<token>/kLive/…, or ?token=<token>, which redirects there", ErrToken)
	}
	parts := strings.Split(token, ".")
	if len(token) > maxToken || len(parts) != 4 {
		return fmt.Errorf("%w: the token is damaged", ErrToken)
	}
	id, expiry, scope := parts[0], parts[1], parts[2]
	if !signed(keys, id, strings.Join(parts[:3], "."), parts[3]) {
		return fmt.Errorf("%w: the token is not signed by a key in use", ErrToken)
	}
	at, err := strconv.ParseInt(expiry, 10, 64)
	switch {
	case err != nil:
		return fmt.Errorf("%w: the token is damaged", ErrToken)
	case now.Unix() >= at:
		return fmt.Errorf("%w: the token has expired", ErrToken)
	case scope != ScopeAll && (scope != entry || !live.ValidEntryID(scope)):
		return fmt.Errorf("%w: the token is for another entry", ErrToken)
	}
	return nil
}

// signed compares with each key, in the same time whatever differs.
func signed(keys []Key, id, text, mac string) bool {
	ok := false
	for _, k := range keys {
		if k.ID == id && hmac.Equal([]byte(k.mac(text)), []byte(mac)) {
			ok = true
		}
	}
	return ok
}

// cutToken takes a token out of a path.
func cutToken(path string) (token, rest string) {
	after, ok := strings.CutPrefix(path, tokenPrefix)
	token, rest, ok2 := strings.Cut(after, "/")
	if !ok || !ok2 {
		return "", path
	}
	return token, "/" + rest
}

// entryOf is the entry that a path belongs to, empty for none.
func entryOf(path string) string {
	segments := strings.SplitN(strings.TrimPrefix(path, "/"), "/", 3)
	if len(segments) < 2 {
		return ""
	}
	if segments[0] == "live" {
		return segments[1]
	}
	sel, ok := playlist.ParseFolder(segments[1])
	if !ok {
		sel, _ = playlist.ParseSMIL(segments[1])
	}
	return sel.Entry
}
