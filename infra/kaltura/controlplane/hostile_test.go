package controlplane

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"runtime"
	"strings"
	"testing"
)

// hostile are requests that are as bad as they get. Each is refused in words.
func hostile() map[string]struct {
	kind string
	body func() io.Reader
} {
	const form, js, parts = "application/x-www-form-urlencoded", "application/json", "multipart/form-data; boundary=B"
	field := func(name string) string {
		return "--B\r\nContent-Disposition: form-data; name=\"" + name + "\"\r\n\r\n"
	}
	text := func(pieces ...string) func() io.Reader {
		return func() io.Reader { return strings.NewReader(strings.Join(pieces, "")) }
	}
	noise := make([]byte, 512<<10)
	for i := range noise {
		noise[i] = byte(rand.Uint32())
	}
	const large = 10 << 20
	return map[string]struct {
		kind string
		body func() io.Reader
	}{
		"10 MB form":                {form, text("a=", strings.Repeat("x", large))},
		"10 MB JSON":                {js, text(`{"a":"`, strings.Repeat("x", large), `"}`)},
		"10 MB field":               {parts, text(field("a"), strings.Repeat("x", large), "\r\n--B--\r\n")},
		"10 MB json part":           {parts, text(field("json"), `{"a":"`, strings.Repeat("x", large), "\"}\r\n--B--\r\n")},
		"10 MB header of a part":    {parts, text("--B\r\nX-A: ", strings.Repeat("x", large), "\r\n\r\n--B--\r\n")},
		"10 MB file, no session":    {parts, text(`--B`+"\r\n"+`Content-Disposition: form-data; name="f"; filename="f"`+"\r\n\r\n", strings.Repeat("x", large), "\r\n--B--\r\n")},
		"10 MB preamble":            {parts, text(strings.Repeat("x", large))},
		"10,000 deep JSON objects":  {js, text(strings.Repeat(`{"a":`, 10000), "1", strings.Repeat("}", 10000))},
		"10,000 deep JSON arrays":   {js, text(`{"a":`, strings.Repeat(`[`, 10000), strings.Repeat("]", 10000), "}")},
		"10,000 deep form":          {form, text(strings.Repeat("a:", 10000), "=1")},
		"10,000 deep brackets":      {form, text("a", strings.Repeat("[a]", 10000), "=1")},
		"a million form parameters": {form, text(strings.Repeat("&", 10), strings.Repeat("a=&", 1000000))},
		"340,000 form parameters":   {form, text(strings.Repeat("a=&", 340000))},
		"distinct form parameters":  {form, func() io.Reader { return numbered("%x=&", 120000) }},
		"a million JSON values":     {js, text(`{"a":[`, strings.Repeat("1,", 1000000), "1]}")},
		"500,000 JSON values":       {js, text(`{"a":[`, strings.Repeat("1,", 500000), "1]}")},
		"distinct JSON members":     {js, func() io.Reader { return io.MultiReader(strings.NewReader("{"), numbered(`"%x":1,`, 90000)) }},
		"many parts":                {parts, text(strings.Repeat(field("a")+"1\r\n", 10000), "--B--\r\n")},
		"many calls": {form, func() io.Reader {
			return io.MultiReader(strings.NewReader("service=multirequest&"), numbered("%d:service=a&", 1000))
		}},
		"half a part":            {parts, text(field("a"), "half")},
		"no boundary":            {"multipart/form-data", text(field("a"), "1\r\n--B--\r\n")},
		"noise as JSON":          {js, func() io.Reader { return bytes.NewReader(noise) }},
		"noise as parts":         {parts, func() io.Reader { return bytes.NewReader(noise) }},
		"JSON that is no object": {js, text(`[1,2]`)},
		"two JSON documents":     {js, text(`{} {}`)},
		"a file twice":           {parts, text(strings.Repeat(`--B`+"\r\n"+`Content-Disposition: form-data; name="f"; filename="f"`+"\r\n\r\nx\r\n", 2), "--B--\r\n")},
	}
}

// numbered repeats a form with the numbers from 1 on.
func numbered(form string, count int) io.Reader {
	var b bytes.Buffer
	for i := range count {
		fmt.Fprintf(&b, form, i+1)
	}
	return &b
}

// mostPerRequest is what a refused request may allocate in all. It is a few times the largest
// body, because a body that is read whole grows in steps.
const mostPerRequest = 16 << 20

// TestHostileRequests sends what is bad: each is refused, with a reason, and costs memory that
// does not grow with what was sent.
func TestHostileRequests(t *testing.T) {
	f := start(t, func(c *Config) { c.Files = newFolder() })
	for name, c := range hostile() {
		body := c.body()
		r := httptest.NewRequest(http.MethodPost, "/api_v3/index.php", body)
		r.Header.Set("Content-Type", c.kind)
		w := httptest.NewRecorder()
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		f.ServeHTTP(w, r)
		runtime.ReadMemStats(&after)
		used := after.TotalAlloc - before.TotalAlloc
		t.Logf("%-26s %d in %7.2f MB: %s", name, w.Code, float64(used)/(1<<20), strings.TrimSpace(w.Body.String()))
		if w.Code != http.StatusBadRequest && w.Code != http.StatusRequestEntityTooLarge || w.Body.Len() == 0 || w.Body.Len() > 500 {
			t.Errorf("%s: HTTP %d with %d bytes", name, w.Code, w.Body.Len())
		}
		if used > mostPerRequest {
			t.Errorf("%s: %d bytes allocated, want at most %d", name, used, mostPerRequest)
		}
	}
	has(t, f.form("liveStream.get", "format", "1", "entryId", DemoEntry), `"id":"0_demolive"`)
}

// TestNoiseInAForm is a call all the same: PHP takes anything for a form. It gets the error of
// a call that names no service.
func TestNoiseInAForm(t *testing.T) {
	f := start(t)
	noise := make([]byte, 4096)
	for i := range noise {
		noise[i] = byte(rand.Uint32())
	}
	r := httptest.NewRequest(http.MethodPost, "/api_v3/index.php?format=1", bytes.NewReader(noise))
	res := f.do(r)
	if body := f.body(res); res.StatusCode == http.StatusOK {
		has(t, body, `"code":"SERVICE_NOT_SPECIFIED"`)
	} else if res.StatusCode != http.StatusBadRequest {
		t.Errorf("HTTP %d: %s", res.StatusCode, body)
	}
}

// TestUploadMemory streams a large file: what it costs does not grow with it.
func TestUploadMemory(t *testing.T) {
	f := start(t, func(c *Config) { c.Files = discard{} })
	session := ks(102, 2)
	token := f.newToken(session)
	const size = 64 << 20
	head := "--B\r\nContent-Disposition: form-data; name=\"fileData\"; filename=\"a\"\r\n\r\n"
	body := io.MultiReader(strings.NewReader(head), io.LimitReader(zeros{}, size), strings.NewReader("\r\n--B--\r\n"))
	r := httptest.NewRequest(http.MethodPost, "/api_v3/service/uploadToken/action/upload/format/1/uploadTokenId/"+token+"/ks/"+session, body)
	r.Header.Set("Content-Type", "multipart/form-data; boundary=B")
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	has(t, f.body(f.do(r)), fmt.Sprintf(`"uploadedFileSize":%d`, size), `"status":2`)
	runtime.ReadMemStats(&after)
	used := after.TotalAlloc - before.TotalAlloc
	t.Logf("%d MB uploaded with %.2f MB allocated", size>>20, float64(used)/(1<<20))
	if used > 4<<20 {
		t.Errorf("%d bytes allocated", used)
	}
}

// discard is a Files that keeps nothing, and zeros a file without end.
type discard struct{}

func (discard) Create(context.Context, string) (FileWriter, error) { return nothing{}, nil }
func (discard) Delete(context.Context, string) error               { return nil }

type nothing struct{}

func (nothing) Write(p []byte) (int, error)  { return len(p), nil }
func (nothing) Commit(context.Context) error { return nil }
func (nothing) Abort()                       {}

type zeros struct{}

func (zeros) Read(p []byte) (int, error) { clear(p); return len(p), nil }
