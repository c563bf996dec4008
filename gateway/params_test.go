package gateway

import (
	"strings"
	"testing"

	"klive/infra/live"
)

// TestParseQuery holds rows 9 to 16 of the contract's table.
func TestParseQuery(t *testing.T) {
	for name, c := range map[string]struct {
		query string
		want  Params // Token as token says
		token string // "-" for none
		rest  string
		says  string // of the refusal
	}{
		"as Kaltura prints it":   {query: "p=102&e=0_rkij47dr&i=0&t=dj94kfit", want: Params{Partner: 102, Entry: "0_rkij47dr"}, token: "dj94kfit"},
		"any order":              {query: "t=x&i=1&e=1_rkij47dr&p=7", want: Params{Partner: 7, Entry: "1_rkij47dr", Index: live.Backup}, token: "x"},
		"name behind it":         {query: "p=102&e=0_rkij47dr&i=0&t=x/0_rkij47dr_1", want: Params{Partner: 102, Entry: "0_rkij47dr"}, token: "x", rest: "0_rkij47dr_1"},
		"not decoded":            {query: "p=102&e=0_rkij47dr&i=0&t=a%20b+c=d", want: Params{Partner: 102, Entry: "0_rkij47dr"}, token: "a%20b+c=d"},
		"later ones win":         {query: "p=1&p=102&e=0_aaaaaaaa&e=0_rkij47dr&i=1&i=0&t=x&t=y", want: Params{Partner: 102, Entry: "0_rkij47dr"}, token: "y"},
		"parts without a value":  {query: "&&live&p=102&e=0_rkij47dr&p&i=0&t", want: Params{Partner: 102, Entry: "0_rkij47dr"}, token: "-"},
		"an empty token":         {query: "p=102&e=0_rkij47dr&i=0&t=", want: Params{Partner: 102, Entry: "0_rkij47dr"}, token: ""},
		"others are passed over": {query: "p=102&e=0_rkij47dr&i=0&x=1", want: Params{Partner: 102, Entry: "0_rkij47dr"}, token: "-"},
		"no partner":             {query: "e=0_rkij47dr&i=0&t=secret", says: "lacks p="},
		"no entry":               {query: "p=102&i=0&t=secret", says: "lacks e="},
		"no index":               {query: "p=102&e=0_rkij47dr&t=secret", says: "lacks i="},
		"a partner in letters":   {query: "p=me&e=0_rkij47dr&i=0&t=secret", says: "p= must be the partner's number"},
		"index 2":                {query: "p=102&e=0_rkij47dr&i=2&t=secret", says: "i= must be 0 (primary) or 1 (backup)"},
		"index in letters":       {query: "p=102&e=0_rkij47dr&i=primary&t=secret", says: "i= must be 0 (primary) or 1 (backup)"},
		"no entry id":            {query: "p=102&e=camera&i=0&t=secret", says: "e= is no entry id"},
		"a token without t=":     {query: "p=102&e=0_rkij47dr&secret", says: "lacks i="},
		"too long":               {query: "p=102&e=0_rkij47dr&i=0&t=" + strings.Repeat("secret", 400), says: "longer than"},
	} {
		t.Run(name, func(t *testing.T) {
			got, rest, err := ParseQuery(c.query)
			if c.says != "" {
				if reason(err) != ReasonParams || !strings.Contains(err.Error(), c.says) || strings.Contains(err.Error(), "secret") {
					t.Errorf("%v", err)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			token := "-"
			if got.Token != nil {
				token = *got.Token
			}
			if got.Token = nil; got != c.want || token != c.token || rest != c.rest {
				t.Errorf("%+v, token %q, rest %q", got, token, rest)
			}
		})
	}
}
