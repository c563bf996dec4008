package srt

import (
	"errors"
	"net/url"
	"strings"
	"testing"

	"klive/gateway"
	"klive/infra/live"
)

func TestStreamIDs(t *testing.T) {
	for id, want := range map[string]string{
		"#!::r=0_rkij47dr_1,m=publish,u=102,i=0,s=tok":                        "0_rkij47dr_1 p=102&e=0_rkij47dr&i=0 tok",
		"#!::s=tok,u=102,r=0_rkij47dr":                                        "0_rkij47dr_1 p=102&e=0_rkij47dr&i=0 tok",
		"#!::r=0_rkij47dr_3,i=1,u=102,t=stream,m=publish":                     "0_rkij47dr_3 p=102&e=0_rkij47dr&i=1 -",
		"#!::r=0_rkij47dr_1,u=102,s=a%2Cb%3Dc":                                "0_rkij47dr_1 p=102&e=0_rkij47dr&i=0 a,b=c",
		"#!::r=0_rkij47dr_1,m=publish,i=0,s=tok":                              "0_rkij47dr_1 any&e=0_rkij47dr&i=0 tok",
		url.QueryEscape("#!::r=0_rkij47dr_1,m=publish,u=102,i=0,s=tok"):       "0_rkij47dr_1 p=102&e=0_rkij47dr&i=0 tok",
		"#:::e=0_rkij47dr,st=0,p=tok":                                         "0_rkij47dr_1 any&e=0_rkij47dr&i=0 tok",
		"#:::e=0_rkij47dr,st=1,ep=QUJD%2Bw==":                                 "0_rkij47dr_1 any&e=0_rkij47dr&i=1 QUJD+w==",
		url.QueryEscape("#:::e=0_rkij47dr,st=0,p=tok"):                        "0_rkij47dr_1 any&e=0_rkij47dr&i=0 tok",
		"0_rkij47dr_1?p=102&e=0_rkij47dr&i=0&t=tok":                           "0_rkij47dr_1 p=102&e=0_rkij47dr&i=0 tok",
		"0_rkij47dr_2?p=102&i=1&t=tok":                                        "0_rkij47dr_2 p=102&e=0_rkij47dr&i=1 tok",
		"/0_rkij47dr_1?p=102&e=0_rkij47dr&i=0&t=tok":                          "0_rkij47dr_1 p=102&e=0_rkij47dr&i=0 tok",
		url.PathEscape("0_rkij47dr_1?p=102&e=0_rkij47dr&i=0&t=tok"):           "0_rkij47dr_1 p=102&e=0_rkij47dr&i=0 tok",
		strings.ReplaceAll("0_rkij47dr_1?p=102&e=0_rkij47dr&i=0", "&", "%26"): "!",
	} {
		got, err := parseStreamID(id)
		if want == "!" {
			if err == nil {
				t.Errorf("%s is taken for %+v", id, got)
			}
			continue
		}
		if err != nil {
			t.Errorf("%s: %v", id, err)
			continue
		}
		name, rest, _ := strings.Cut(want, " ")
		params, token, _ := strings.Cut(rest, " ")
		is := got.params
		is.Token = nil
		shown := is.String()
		if got.anyPartner {
			shown = strings.Replace(shown, "p=0", "any", 1)
		}
		shownToken := "-"
		if got.params.Token != nil {
			shownToken = *got.params.Token
		}
		if got.name != name || shown != params || shownToken != token {
			t.Errorf("%s is %s %s %s, want %s", id, got.name, shown, shownToken, want)
		}
	}
}

func TestStreamIDsRefused(t *testing.T) {
	const secret = "topsecret77"
	for id, says := range map[string]string{
		"":       "no stream id",
		"camera": "no stream",
		"#!::r=camera,m=publish,u=102,s=" + secret:                         "stream name",
		"#!::r=0_rkij47dr_1,m=request,u=102,s=" + secret:                   "mode",
		"#!::r=0_rkij47dr_1,t=file,m=publish,u=102,s=" + secret:            "type",
		"#!::r=0_rkij47dr_1,u=kaltura,s=" + secret:                         "u=",
		"#!::r=0_rkij47dr_1,u=102,i=2,s=" + secret:                         "i=",
		"#!::r=0_rkij47dr_1,e=0_otherone,u=102,s=" + secret:                "different",
		"#:::e=demo,st=0,p=" + secret:                                      "e=",
		"#:::e=0_rkij47dr,st=x,p=" + secret:                                "st=",
		"#!{r=0_rkij47dr_1}":                                               "unknown form",
		"0_rkij47dr_1":                                                     "no broadcast parameters",
		"0_rkij47dr_1?i=0&t=" + secret:                                     "p=",
		"0_rkij47dr_1?p=102":                                               "percent-encoded whole: streamid=0_rkij47dr_1%3Fp%3D",
		strings.Repeat("\xff\x00,", 700):                                   "longer",
		"#!::" + strings.Repeat("a=b,", 60) + "r=0_rkij47dr_1,s=" + secret: "keys",
	} {
		got, err := parseStreamID(id)
		if err == nil {
			t.Errorf("%.60q is taken for %+v", id, got)
			continue
		}
		if !strings.Contains(err.Error(), says) || strings.Contains(err.Error(), secret) {
			t.Errorf("%.60q: %q does not say %q, or holds the token", id, err, says)
		}
	}
}

func FuzzStreamID(f *testing.F) {
	for _, s := range []string{
		"#!::r=0_rkij47dr_1,m=publish,u=102,i=0,s=tok", "#:::e=0_rkij47dr,st=0,p=tok", "0_rkij47dr_1?p=102&e=0_rkij47dr&i=0&t=tok",
		"%23!::r%3D0_rkij47dr_1", "#!::", "?", "%", "#!::r=%zz",
	} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, id string) {
		got, err := parseStreamID(id)
		if err == nil {
			entry, _, perr := live.ParseStreamName(got.name)
			if perr != nil || entry != got.params.Entry || got.params.Index > live.Backup {
				t.Fatalf("%q is taken for %+v", id, got)
			}
			return
		}
		var r *gateway.Refusal
		var m *refusedMode
		if !errors.As(err, &r) && !errors.As(err, &m) || rejection(err) < 1000 || len(err.Error()) > 600 {
			t.Fatalf("%q: %v", id, err)
		}
	})
}
