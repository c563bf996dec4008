package whip

import (
	"crypto/rand"
	"fmt"
	"net/http"
	"strings"

	"klive/gateway"
	"klive/infra/live"
)

// Endpoint is the address that encoders publish to, Prefix the path below which streams and
// sessions lie.
const (
	Endpoint = "/whip"
	Prefix   = Endpoint + "/"
)

const (
	example = Prefix + "<entry>_1?p=<partner>&i=0 with the token as bearer"
	// maxPath bounds a request's path in bytes.
	maxPath = 512
)

// target is where a request says that it belongs.
type target struct {
	gateway.HTTPAddress
	// session is the id of a session; empty for the endpoint.
	session string
}

// readTarget reads where a request belongs: the stream name is in the path, or in the query as
// e, with the suffix 1 when that is a bare entry. The error is a *gateway.Refusal.
func readTarget(r *http.Request) (target, error) {
	if len(r.URL.Path) > maxPath {
		return target{}, refuse("the address is too long")
	}
	name, session, _ := strings.Cut(strings.TrimPrefix(strings.TrimPrefix(r.URL.Path, Endpoint), "/"), "/")
	if name == "" {
		name = r.URL.Query().Get("e")
	}
	a, err := gateway.ReadHTTPAddress(r, name, example)
	if err != nil {
		return target{}, err
	}
	t := target{HTTPAddress: a, session: strings.TrimSuffix(session, "/")}
	if strings.HasPrefix(t.session, "1-") {
		t.ID.Index, t.Params.Index = live.Backup, live.Backup
	}
	return t, nil
}

// newID makes the id of a session: its feed's index, so that the address alone leads to the
// feed, and a secret.
func newID(index live.Index) string { return fmt.Sprintf("%d-%s", index, rand.Text()) }

// location is the path of a session's address.
func (s *session) location() string { return Prefix + s.to.ID.StreamName() + "/" + s.id }

func refuse(format string, args ...any) *gateway.Refusal {
	return &gateway.Refusal{Reason: gateway.ReasonParams, Text: fmt.Sprintf(format, args...)}
}
