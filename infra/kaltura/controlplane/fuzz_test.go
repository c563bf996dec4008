package controlplane

import (
	"encoding/json"
	"encoding/xml"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
	"time"
)

// FuzzRequest sends requests of any shape. Whatever comes, the server answers with a
// whole document, or refuses the request in words.
func FuzzRequest(f *testing.F) {
	session := ks(102, 2)
	f.Add("service=livestream&action=authenticate", "application/x-www-form-urlencoded", "entryId=0_demolive&token=demo1234&format=1&ks="+url.QueryEscape(session))
	f.Add("", "application/json", `{"service":"multirequest","format":1,"0":{"service":"liveStream","action":"get","entryId":"{1:result:id}"},"ks":"`+session+`"}`)
	f.Add("service=liveStream&action=add&ks="+url.QueryEscape(session), "", "liveStreamEntry[name]=x&liveStreamEntry:bitrates:-=&liveStreamEntry:description__null=&a:b:c:d=1")
	f.Add("service=wowza_liveConversionProfile&action=serve", "", `streamName=0_demolive_1&extraParams={"height":1e999}`)
	f.Add("", "multipart/form-data; boundary=B", "--B\r\nContent-Disposition: form-data; name=\"json\"\r\n\r\n{\"service\":\"session\"}\r\n--B--\r\n")
	f.Add("format=9&callback=cb&service=liveStream&action=isLive&id=0_demolive", "", "")
	m := newMemory()
	s, err := New(f.Context(), Config{State: m, Secret: testSecret, MediaServerSecret: serverSecret, Sweep: time.Hour})
	if err != nil {
		f.Fatal(err)
	}
	f.Cleanup(s.Close)
	f.Fuzz(func(t *testing.T, query, kind, body string) {
		r := httptest.NewRequest(http.MethodPost, "/api_v3/index.php", strings.NewReader(body))
		r.URL.RawQuery = query
		r.Header.Set("Content-Type", kind)
		w := httptest.NewRecorder()
		s.ServeHTTP(w, r)
		answer := w.Body.String()
		switch {
		case w.Code == http.StatusBadRequest || w.Code == http.StatusRequestEntityTooLarge:
			if answer == "" {
				t.Fatal("refused without a word")
			}
		case w.Code != http.StatusOK:
			t.Fatalf("status %d", w.Code)
		case w.Header().Get("Content-Type") == "application/json":
			if !json.Valid([]byte(answer)) {
				t.Fatalf("broken JSON: %s", answer)
			}
		case w.Header().Get("Content-Type") == "text/xml":
			d := xml.NewDecoder(strings.NewReader(answer))
			for {
				if _, err := d.Token(); err == io.EOF {
					break
				} else if err != nil {
					t.Fatalf("broken XML: %v in %s", err, answer)
				}
			}
		}
		if strings.Contains(answer, "INTERNAL_") {
			t.Fatalf("internal error: %s", answer)
		}
	})
}

// FuzzPath sends any path.
func FuzzPath(f *testing.F) {
	f.Add("/api_v3/index.php/service/wowza_liveConversionProfile/action/serve/streamName/0_demolive_1/f/transcode.xml")
	f.Add("/api_v3/service/liveStream/action/isLive/id/0_demolive/format/1/")
	f.Add("/api_v3//a:b/c/d[e]/f")
	f.Fuzz(func(t *testing.T, path string) {
		tr := newTree(Limits{}.withDefaults())
		if err := tr.readPath(path); err != nil && err != errTooMany {
			t.Fatal(err)
		}
		if n := tr.node(); len(n.Members) > 2000 {
			t.Fatalf("%d parameters", len(n.Members))
		}
	})
}
