package whip

import (
	"crypto/rand"
	"fmt"
	"net/http"
	"strings"
)

// fragmentType is the type of what PATCH takes (RFC 8840 §9).
const fragmentType = "application/trickle-ice-sdpfrag"

// allowOrigin lets the pages of any site publish: what counts is the token.
func allowOrigin(w http.ResponseWriter) {
	h := w.Header()
	h.Set("Access-Control-Allow-Origin", "*")
	h.Set("Access-Control-Expose-Headers", "Location, ETag, Link, Accept-Post, Accept-Patch, Retry-After, WWW-Authenticate")
}

// options answers what a browser asks before it publishes, and what an encoder may ask
// (RFC 9725 §4.2).
func (s *Server) options(w http.ResponseWriter, r *http.Request) {
	h := w.Header()
	h.Set("Access-Control-Allow-Methods", "POST, PATCH, DELETE, OPTIONS")
	h.Set("Access-Control-Allow-Headers", "Authorization, Content-Type, If-Match")
	h.Set("Access-Control-Max-Age", "86400")
	h.Set("Accept-Post", "application/sdp")
	h.Set("Accept-Patch", fragmentType)
	s.linkServers(h, false)
	s.count(r, http.StatusNoContent)
	w.WriteHeader(http.StatusNoContent)
}

// linkServers names the STUN and TURN servers (RFC 9725 §4.6). Those that take a password are for
// publishers that were let in alone.
func (s *Server) linkServers(h http.Header, letIn bool) {
	for _, one := range s.cfg.ICEServers {
		if one.Username != "" && !letIn {
			continue
		}
		v := fmt.Sprintf(`<%s>; rel="ice-server"`, one.URL)
		if one.Username != "" {
			v += fmt.Sprintf(`; username="%s"; credential="%s"; credential-type="password"`, quoted(one.Username), quoted(one.Credential))
		}
		h.Add("Link", v)
	}
}

// quoted fits a text into a quoted string (RFC 9110 §5.6.4).
func quoted(s string) string { return strings.NewReplacer(`\`, `\\`, `"`, `\"`).Replace(s) }

// newTag makes an entity tag for an ICE session.
func newTag() string { return `"` + rand.Text() + `"` }
