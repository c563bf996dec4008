package s3

import (
	"strings"
	"testing"
)

func TestParseURL(t *testing.T) {
	good := map[string]place{
		"s3://live":                          {bucket: "live"},
		"s3://live/":                         {bucket: "live"},
		"s3://my.live/a/b/?region=eu-west-1": {bucket: "my.live", prefix: "a/b/", region: "eu-west-1"},
		"s3://live/p?endpoint=http://h:9000/&region=r": {bucket: "live", prefix: "p/", region: "r",
			endpoint: "http://h:9000", pathStyle: true},
		"s3://live?endpoint=https://h&pathStyle=false": {bucket: "live", endpoint: "https://h"},
		"s3://live?pathStyle=true":                     {bucket: "live", pathStyle: true},
	}
	for text, want := range good {
		if got, err := parseURL(text); err != nil || got != want {
			t.Errorf("parseURL(%q) = %+v, %v, want %+v", text, got, err, want)
		}
	}
	bad := map[string]string{
		"":                                       "does not begin with s3://",
		"file:///x":                              "does not begin with s3://",
		"s3:live":                                "does not begin with s3://",
		"s3:///live":                             "no bucket's name",
		"s3://live:9000/":                        "no bucket's name",
		"s3://key:secret@live/":                  "holds credentials",
		"s3://live/a//b":                         "prefix",
		"s3://live/../b":                         "prefix",
		"s3://live/" + strings.Repeat("x/", 300): "prefix",
		"s3://live?zone=a":                       `"zone"`,
		"s3://live?endpoint=host:9000":           "endpoint",
		"s3://live?endpoint=http://u:secret@h":   "endpoint",
		"s3://live?pathStyle=maybe":              "neither true nor false",
		"s3://%zz:secret@":                       "can't be read",
	}
	for text, want := range bad {
		_, err := parseURL(text)
		if err == nil || !strings.Contains(err.Error(), want) || !strings.Contains(err.Error(), "storage.url") {
			t.Errorf("parseURL(%q) = %v, want one that says %s", text, err, want)
		} else if strings.Contains(err.Error(), "secret") {
			t.Errorf("parseURL(%q) tells the secret: %v", text, err)
		}
	}
}
