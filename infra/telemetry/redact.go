package telemetry

import (
	"fmt"
	"log/slog"
	"regexp"
	"strings"
)

// hidden stands in place of a secret.
const hidden = "[hidden]"

// secretNames are the attribute, query and field names whose values are never shown.
// "t" is the broadcast token of an ingest address and only counts in a query.
const secretNames = `adminSecret|authorization|ks|passphrase|password|secret|sharedSecret|streamPassword|srtPass|token`

var (
	// secretName holds an attribute's name against the list, as a whole or as its last word:
	// "token", "admin.token", "stream_token".
	secretName = regexp.MustCompile(`(?i)(^|[._-])(` + secretNames + `)$`)
	// secretInQuery finds "t=…", "ks=…" and so on, plain or percent-encoded, up to the next
	// parameter. A token may hold a slash, so what follows it in the address is hidden with it.
	secretInQuery = regexp.MustCompile(`(?i)(^|[^0-9A-Za-z]|%3F|%26)((?:t|` + secretNames + `)(?:=|%3D))[^&\s"']+`)
	// secretInPath finds the token in "/ingest/…/t/<token>/…" and "/t/<token>/kLive/…".
	secretInPath = regexp.MustCompile(`(/t/)[^/<\s"']+`)
	// placeholder is what texts for people have in place of a value.
	placeholder = regexp.MustCompile(`^<[a-z ]+>(/|$)`)
	// secretInJSON finds "ks": "…".
	secretInJSON = regexp.MustCompile(`(?i)("(?:` + secretNames + `)"\s*:\s*)"(?:[^"\\]|\\.)*"`)
	// secretInStruct finds "Token:…", as %+v writes a struct's field.
	secretInStruct = regexp.MustCompile(`(?i)(^|[^0-9A-Za-z"])((?:` + secretNames + `):)[^\s}&"']+`)
	// secretInHeader finds "Bearer …" and "Basic …".
	secretInHeader = regexp.MustCompile(`(?i)\b(Bearer|Basic)\s+[0-9A-Za-z._~+/=-]{4,}`)
	// userInURL finds "//user:password@".
	userInURL = regexp.MustCompile(`//[^/\s@"']*@`)
)

// Redact hides the secrets in a text: tokens and KS in addresses, in JSON, in headers.
func Redact(s string) string {
	if !suspicious(s) {
		return s
	}
	s = secretInQuery.ReplaceAllStringFunc(s, hideInQuery)
	s = secretInPath.ReplaceAllString(s, "${1}"+hidden)
	s = secretInJSON.ReplaceAllString(s, `${1}"`+hidden+`"`)
	s = secretInStruct.ReplaceAllString(s, "${1}${2}"+hidden)
	s = secretInHeader.ReplaceAllString(s, "${1} "+hidden)
	return userInURL.ReplaceAllString(s, "//"+hidden+"@")
}

// hideInQuery hides the value of one match of secretInQuery. One that is no value stays: what
// stands for one ("<token>"), and the stars of one that was hidden before; and so does the
// punctuation of the sentence that the parameter stands in.
func hideInQuery(match string) string {
	m := secretInQuery.FindStringSubmatchIndex(match)
	value := strings.TrimRight(match[m[5]:], ",;:.)")
	if value == "" || strings.HasPrefix(value, "***") || placeholder.MatchString(value) {
		return match
	}
	return match[:m[5]] + hidden + match[m[5]+len(value):]
}

// suspicious is the cheap test that most texts end at: without one of these there is
// nothing to hide.
func suspicious(s string) bool {
	return strings.ContainsAny(s, "=:%@") || strings.Contains(s, "/t/") || strings.Contains(s, "earer") || strings.Contains(s, "asic ") ||
		strings.Contains(s, "BEARER") || strings.Contains(s, "BASIC ")
}

// redactAttr is the ReplaceAttr of every handler: it sees each attribute, in groups too,
// after its value was resolved.
func redactAttr(groups []string, a slog.Attr) slog.Attr {
	if secretName.MatchString(a.Key) || (len(groups) > 0 && secretName.MatchString(groups[len(groups)-1])) {
		if a.Value.Kind() == slog.KindString && a.Value.String() == "" {
			return a // to see that there is none helps, and tells nothing
		}
		return slog.String(a.Key, hidden)
	}
	switch a.Value.Kind() {
	case slog.KindString:
		return slog.String(a.Key, Redact(a.Value.String()))
	case slog.KindAny:
		return redactAny(a)
	default:
		return a
	}
}

func redactAny(a slog.Attr) slog.Attr {
	switch v := a.Value.Any().(type) {
	case nil:
		return a
	case *slog.Source:
		return a
	case error:
		return slog.String(a.Key, Redact(v.Error()))
	case fmt.Stringer:
		return slog.String(a.Key, Redact(v.String()))
	case []byte:
		return slog.String(a.Key, fmt.Sprintf("%d bytes", len(v)))
	default:
		return slog.String(a.Key, Redact(fmt.Sprintf("%+v", v)))
	}
}
