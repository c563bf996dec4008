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

	"klive/infra/kaltura"
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
	f.Add("service=uploadToken&action=upload&ks="+url.QueryEscape(session), "multipart/form-data; boundary=B",
		"--B\r\nContent-Disposition: form-data; name=\"uploadTokenId\"\r\n\r\nx\r\n--B\r\nContent-Disposition: form-data; name=\"fileData\"\r\n\r\nfilename=a\r\n"+
			"--B\r\nContent-Disposition: form-data; name=\"fileData\"; filename=\"a\"\r\n\r\nbytes\r\n--B--\r\n")
	f.Add("service=entryServerNode&action=list&filter:serverTypeEqual=0&format=1&ks="+url.QueryEscape(session), "", "")
	f.Add("format=9&callback=cb&service=liveStream&action=isLive&id=0_demolive", "", "")
	m := newMemory()
	s, err := New(f.Context(), Config{State: m, Secret: testSecret, MediaServerSecret: serverSecret, Sweep: time.Hour, Files: discard{}})
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

// FuzzDecode reads bodies of any kind. Whatever comes, the tree keeps its bounds, and each file
// was taken once.
func FuzzDecode(f *testing.F) {
	f.Add("application/json", `{"a":{"b":[1,{"c":null}]},"0":{"service":"x"}}`)
	f.Add("application/x-www-form-urlencoded", "a:b:-=&a[c][d]=1&e__null=&%zz=1")
	f.Add("multipart/form-data; boundary=B", "--B\r\nContent-Disposition: form-data; name=\"f\"; filename=\"a\"\r\n\r\nbytes\r\n--B\r\nContent-Disposition: form-data; name=\"json\"\r\n\r\n{}\r\n--B--\r\n")
	limits := Limits{Body: 4096, File: 8192, Parameters: 40, Depth: 6, Calls: 4}.withDefaults()
	f.Fuzz(func(t *testing.T, kind, body string) {
		r := httptest.NewRequest(http.MethodPost, "/api_v3/", strings.NewReader(body))
		r.Header.Set("Content-Type", kind)
		var taken int64
		q, err := readRequest(r, limits, func(_ []string, p *part) (*incoming, error) {
			p.large()
			n, err := io.Copy(io.Discard, p)
			taken += n
			return &incoming{name: p.FileName(), size: n}, err
		})
		if err != nil {
			return
		}
		if count, depth := measure(q.params); count > limits.Parameters*(limits.Depth+1)+1 || depth > limits.Depth*2 {
			t.Fatalf("%d values, %d deep", count, depth)
		}
		if taken > limits.File || len(q.files) > limits.Calls {
			t.Fatalf("%d bytes in %d files", taken, len(q.files))
		}
	})
}

// measure counts the values in a tree and how deep they lie.
func measure(n kaltura.Node) (count, depth int) {
	count = 1
	for _, m := range n.Members {
		c, d := measure(m.Value)
		count, depth = count+c, max(depth, d+1)
	}
	for _, item := range n.Items {
		c, d := measure(item)
		count, depth = count+c, max(depth, d+1)
	}
	return count, depth
}
