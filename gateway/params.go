package gateway

import (
	"fmt"
	"strconv"
	"strings"

	"klive/infra/live"
)

// Params are the broadcast parameters of an encoder's address (contract §6.2).
type Params struct {
	Partner int
	Entry   string
	Index   live.Index
	// Token is nil when the address has no t: the API then decides (row 15).
	Token *string
}

// String shows the parameters without the token.
func (p Params) String() string {
	s := fmt.Sprintf("p=%d&e=%s&i=%d", p.Partner, p.Entry, p.Index)
	if p.Token != nil {
		s += "&t=***"
	}
	return s
}

// maxQuery bounds the text of the broadcast parameters in bytes.
const maxQuery = 2048

// ParseQuery reads broadcast parameters from the text after the '?' of an address. The
// query ends at its first '/', and rest is what follows: some encoders append the stream
// name there (row 11). Values are not URL-decoded, later duplicates win, parts without
// '=' are ignored (row 12). The error is a *Refusal that names what is missing or wrong;
// shown is the part of the address that may be repeated in it.
func ParseQuery(query string) (p Params, rest string, err error) {
	if len(query) > maxQuery {
		return p, "", paramsRefusal("the address is longer than %d characters", maxQuery)
	}
	if i := strings.IndexByte(query, '/'); i > 0 {
		query, rest = query[:i], query[i+1:]
	}
	values := map[string]string{}
	for part := range strings.SplitSeq(query, "&") {
		if k, v, ok := strings.Cut(part, "="); ok {
			values[k] = v
		}
	}
	if live.ValidEntryID(values["e"]) {
		p.Entry = values["e"] // for the log, whatever else is wrong
	}
	for _, key := range []string{"p", "e", "i"} {
		if values[key] == "" {
			return p, rest, paramsRefusal("unable to authenticate [%s]: the address lacks %s=; it must end like kLive/?p=<partner>&e=<entry>&i=0&t=<token>", redact(query), key)
		}
	}
	if p.Partner, err = strconv.Atoi(values["p"]); err != nil {
		return p, rest, paramsRefusal("unable to authenticate [%s]: p= must be the partner's number", redact(query))
	}
	switch values["i"] {
	case "0":
		p.Index = live.Primary
	case "1":
		p.Index = live.Backup
	default:
		return p, rest, paramsRefusal("unable to authenticate [%s]: i= must be 0 (primary) or 1 (backup)", redact(query))
	}
	if p.Entry == "" {
		return p, rest, paramsRefusal("unable to authenticate [%s]: e= is no entry id: %v", redact(query), live.ErrEntryID)
	}
	if t, ok := values["t"]; ok {
		p.Token = &t
	}
	return p, rest, nil
}

func paramsRefusal(format string, args ...any) *Refusal {
	return &Refusal{Reason: ReasonParams, Text: fmt.Sprintf(format, args...)}
}

// redact hides the values of t= and of nameless parts, which could be a mistyped token,
// and keeps the text printable and short.
func redact(query string) string {
	var b strings.Builder
	for i, part := range strings.SplitN(query, "&", 16) {
		if i > 0 {
			b.WriteByte('&')
		}
		k, v, ok := strings.Cut(part, "=")
		switch k {
		case "p", "e", "i":
		default:
			v = "***"
		}
		if !ok {
			b.WriteString("***")
			continue
		}
		b.WriteString(Printable(k, 32) + "=" + Printable(v, 32))
	}
	return b.String()
}

// shownName is a stream name fit for logs and errors. Broadcast parameters that were put
// behind it with the wrong character stay out: the token is among them.
func shownName(name string) string {
	if i := strings.IndexAny(name, "?&="); i >= 0 {
		name = name[:i] + "***"
	}
	return Printable(name, 80)
}

// Printable makes a peer's text fit for a log line and an answer: most bytes of it, with dots for all but printable
// ASCII.
func Printable(s string, most int) string {
	return strings.Map(func(r rune) rune {
		if r < 0x20 || r > 0x7e {
			return '.'
		}
		return r
	}, s[:min(len(s), most)])
}
