package controlplane

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"mime/multipart"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"klive/infra/kaltura"
)

// folder is a Files in a map.
type folder struct {
	// mu guards the fields below.
	mu    sync.Mutex
	files map[string][]byte
	// fail, when set, is what writing ends with.
	fail error
}

func newFolder() *folder { return &folder{files: map[string][]byte{}} }

func (f *folder) Create(_ context.Context, key string) (FileWriter, error) {
	return &folderWriter{folder: f, key: key}, nil
}

func (f *folder) Delete(_ context.Context, key string) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	delete(f.files, key)
	return nil
}

func (f *folder) put(key string, b []byte) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.files[key] = b
}

func (f *folder) has(key string) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.files[key] != nil
}

func (f *folder) count() int {
	f.mu.Lock()
	defer f.mu.Unlock()
	return len(f.files)
}

type folderWriter struct {
	bytes.Buffer
	folder *folder
	key    string
}

func (w *folderWriter) Write(p []byte) (int, error) {
	if w.folder.fail != nil {
		return 0, w.folder.fail
	}
	return w.Buffer.Write(p)
}

func (w *folderWriter) Commit(context.Context) error {
	w.folder.mu.Lock()
	defer w.folder.mu.Unlock()
	w.folder.files[w.key] = bytes.Clone(w.Bytes())
	return nil
}

func (w *folderWriter) Abort() {}

// content puts a token's pieces together.
func (f *fixture) content(files *folder, token string) string {
	f.t.Helper()
	doc, err := load[uploadDoc](f.t.Context(), f.state, uploadKey(token))
	if err != nil {
		f.t.Fatal(err)
	}
	var out strings.Builder
	for _, c := range doc.Chunks {
		out.Write(files.files[fileKey(c.File)][:c.Size])
	}
	return out.String()
}

// partText is one part of a multipart body; with file it is a file of that name.
type partText struct{ name, file, value string }

func (f *fixture) multipart(path string, parts ...partText) *http.Response {
	f.t.Helper()
	var b bytes.Buffer
	w := multipart.NewWriter(&b)
	for _, p := range parts {
		var to io.Writer
		var err error
		if p.file != "" {
			to, err = w.CreateFormFile(p.name, p.file)
		} else {
			to, err = w.CreateFormField(p.name)
		}
		if err == nil {
			_, err = io.WriteString(to, p.value)
		}
		if err != nil {
			f.t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		f.t.Fatal(err)
	}
	r := httptest.NewRequest(http.MethodPost, path, &b)
	r.Header.Set("Content-Type", w.FormDataContentType())
	return f.do(r)
}

func (f *fixture) newToken(session string, fields ...string) string {
	f.t.Helper()
	body := f.formAs(session, "", "uploadToken.add", append([]string{"format", "1"}, fields...)...)
	_, rest, _ := strings.Cut(body, `"id":"`)
	id, _, _ := strings.Cut(rest, `"`)
	if !uploadTokenForm.MatchString(id) {
		f.t.Fatalf("new token: %s", body)
	}
	return id
}

// TestUploadAsJava is contract §9.8: a multirequest of parts, each file announced by a text
// part of its name.
func TestUploadAsJava(t *testing.T) {
	files := newFolder()
	f := start(t, func(c *Config) { c.Files = files })
	session, data := ks(-5, 2), strings.Repeat("segment ", 1<<15)
	res := f.multipart("/api_v3/index.php?service=multirequest",
		partText{name: "1:service", value: "uploadtoken"}, partText{name: "1:action", value: "add"},
		partText{name: "1:uploadToken:objectType", value: "KalturaUploadToken"},
		partText{name: "1:ks", value: session}, partText{name: "1:partnerId", value: "102"},
		partText{name: "2:service", value: "uploadtoken"}, partText{name: "2:action", value: "upload"},
		partText{name: "2:ks", value: session}, partText{name: "2:partnerId", value: "102"},
		partText{name: "2:uploadTokenId", value: "{1:result:id}"},
		partText{name: "2:fileData", value: "filename=seg.mp4"},
		partText{name: "2:fileData", file: "seg.mp4", value: data},
		partText{name: "format", value: "2"}, partText{name: "ignoreNull", value: "1"})
	body := steady(f.body(res))
	_, rest, _ := strings.Cut(body, "<id>")
	id, _, _ := strings.Cut(rest, "<")
	want := `<?xml version="1.0" encoding="utf-8"?><xml><result><item><objectType>KalturaUploadToken</objectType><id>` + id + `</id><partnerId>102</partnerId><userId>tester</userId><status>0</status>##</item>` +
		`<item><objectType>KalturaUploadToken</objectType><id>` + id + `</id><partnerId>102</partnerId><userId>tester</userId><status>2</status><fileName>seg.mp4</fileName><fileSize>262144</fileSize><uploadedFileSize>262144</uploadedFileSize>##</item></result>#</xml>`
	if got := strings.NewReplacer("#createdAt>", "#", "#updatedAt>", "#").Replace(body); got != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
	if f.content(files, id) != data {
		t.Error("the stored file is another one")
	}
	if notes, _ := f.state.List(t.Context(), everyUnclaimed); len(notes) != 0 {
		t.Errorf("notes left: %v", notes)
	}
	// The token is of the partner in whose name it was made.
	res = f.multipart("/api_v3/?service=uploadToken&action=upload&format=1&ks="+session, partText{name: "uploadTokenId", value: id}, partText{name: "fileData", file: "x", value: "y"})
	has(t, f.body(res), `"code":"UPLOAD_TOKEN_NOT_FOUND"`)
}

func TestUploadRules(t *testing.T) {
	files := newFolder()
	f := start(t, func(c *Config) { c.Files = files })
	session := ks(102, 2)
	upload := func(token, data string, parts ...partText) string {
		parts = append([]partText{{name: "ks", value: session}, {name: "format", value: "1"}, {name: "uploadTokenId", value: token}}, parts...)
		return f.body(f.multipart("/api_v3/service/uploadToken/action/upload", append(parts, partText{name: "fileData", file: "a.mp4", value: data})...))
	}
	no, yes, part := "0", "1", partText{name: "finalChunk", value: "0"}
	resume := func(at string) []partText {
		return []partText{{name: "resume", value: yes}, {name: "resumeAt", value: at}}
	}
	token := f.newToken(session, "uploadToken:fileName", "clip.mp4")
	has(t, upload(token, "x", resume("0")...), `"code":"UPLOAD_TOKEN_CANNOT_RESUME"`, `"args":[]`)
	has(t, upload(token, "hello ", part), `"status":1`, `"uploadedFileSize":6`, `"fileName":"clip.mp4"`)
	has(t, upload(token, "x", resume("7")...), `"code":"UPLOAD_TOKEN_CANNOT_RESUME"`)
	has(t, upload(token, "x", resume("1e300")...), `"code":"UPLOAD_TOKEN_CANNOT_RESUME"`)
	has(t, upload(token, "wonderful ", append(resume("-1"), part)...), `"status":1`, `"uploadedFileSize":16`)
	// What came before is sent again, from the middle of the first piece.
	has(t, upload(token, "p world", append(resume("3"), partText{name: "finalChunk", value: yes})...), `"status":2`, `"uploadedFileSize":10`, `"fileSize":10`)
	if got := f.content(files, token); got != "help world" {
		t.Errorf("the file is %q", got)
	}
	has(t, upload(token, "more"), `"code":"UPLOAD_TOKEN_INVALID_STATUS_FOR_UPLOAD"`)
	if files.count() != 2 {
		t.Errorf("%d files, want the two pieces", files.count())
	}
	has(t, upload("0_"+strings.Repeat("0", 32), "x"), `"code":"UPLOAD_TOKEN_NOT_FOUND"`)
	has(t, upload("../x", "x"), `"code":"UPLOAD_TOKEN_NOT_FOUND"`)
	has(t, upload(f.newToken(session), ""), `"code":"UPLOAD_ERROR"`)
	has(t, f.formAs(session, "", "uploadToken.upload", "format", "1", "uploadTokenId", token, "fileData", "text"), `"args":{"PARAM_NAME":"fileData"}`)

	sized := f.newToken(session, "uploadToken:fileSize", "4", "uploadToken:autoFinalize", "1")
	has(t, upload(sized, "ab"), `"status":1`)
	has(t, upload(sized, "cde", resume("-1")...), `"code":"UPLOAD_TOKEN_CANNOT_MATCH_EXPECTED_SIZE"`)
	has(t, upload(sized, "cd", append(resume("-1"), partText{name: "finalChunk", value: no})...), `"status":2`)
	has(t, f.formAs(session, "", "uploadToken.add", "format", "1", "uploadToken:autoFinalize", "1"), `"code":"UPLOAD_TOKEN_MISSING_FILE_SIZE"`)
	has(t, f.formAs(session, "", "uploadToken.add", "format", "1", "uploadToken:fileName", strings.Repeat("x", 300)), `"code":"PROPERTY_VALIDATION_MAX_LENGTH"`)

	// Tokens of others are none: of another partner, and of another user for users.
	has(t, f.formAs(ks(103, 2), "", "uploadToken.get", "format", "1", "uploadTokenId", token), `"code":"UPLOAD_TOKEN_NOT_FOUND"`)
	user, _ := kaltura.SignV2(testSecret, kaltura.KS{PartnerID: 102, Expiry: time.Now().Unix() + 60, UserID: "guest"})
	has(t, f.formAs(user, "", "uploadToken.get", "format", "1", "uploadTokenId", token), `"code":"UPLOAD_TOKEN_NOT_FOUND"`)
	has(t, f.formAs(session, "", "uploadToken.get", "format", "1", "uploadTokenId", token), `"status":2`)
	has(t, f.formAs(session, "", "uploadToken.delete", "format", "1", "uploadTokenId", token), "null")
	has(t, f.formAs(session, "", "uploadToken.delete", "format", "1", "uploadTokenId", sized), "null")
	if files.count() != 0 {
		t.Errorf("%d files left", files.count())
	}
}

// TestUploadWithoutSession keeps strangers out of the store: what comes before a session
// shares the bound of the parameters.
func TestUploadWithoutSession(t *testing.T) {
	files := newFolder()
	f := start(t, func(c *Config) { c.Files = files })
	token := f.newToken(ks(102, 2))
	path := "/api_v3/service/uploadToken/action/upload/format/1/uploadTokenId/" + token
	big := strings.Repeat("x", 2<<20)
	if res := f.multipart(path, partText{name: "fileData", file: "a", value: big}, partText{name: "ks", value: ks(102, 2)}); res.StatusCode != http.StatusRequestEntityTooLarge {
		t.Errorf("a large file before the session: status %d", res.StatusCode)
	}
	forged, _ := kaltura.SignV2("guess", kaltura.KS{PartnerID: 102, Expiry: 1 << 40, Type: 2})
	if res := f.multipart(path, partText{name: "ks", value: forged}, partText{name: "fileData", file: "a", value: big}); res.StatusCode != http.StatusRequestEntityTooLarge {
		t.Errorf("a large file with a forged session: status %d", res.StatusCode)
	}
	has(t, f.body(f.multipart(path, partText{name: "fileData", file: "a", value: "x"})), `"code":"MISSING_KS"`)
	if files.count() != 0 {
		t.Errorf("%d files stored", files.count())
	}
	// A small one may come first, and a session in the address counts for any.
	has(t, f.body(f.multipart(path, partText{name: "fileData", file: "a", value: "x"}, partText{name: "ks", value: ks(102, 2)}, partText{name: "finalChunk", value: "0"})), `"status":1`)
	has(t, f.body(f.multipart(path+"/ks/"+ks(102, 2), partText{name: "fileData", file: "a", value: big})), `"status":2`, `"uploadedFileSize":2097152`)
}

func TestUploadFaults(t *testing.T) {
	files := newFolder()
	f := start(t, func(c *Config) { c.Files, c.Limits = files, Limits{File: 1 << 20} })
	session := ks(102, 2)
	token := f.newToken(session)
	path := "/api_v3/service/uploadToken/action/upload/format/1/uploadTokenId/" + token + "/ks/" + session
	if res := f.multipart(path, partText{name: "fileData", file: "a", value: strings.Repeat("x", 2<<20)}); res.StatusCode != http.StatusRequestEntityTooLarge {
		t.Errorf("over the limit: status %d", res.StatusCode)
	}
	half := strings.Repeat("x", 600<<10)
	has(t, f.body(f.multipart(path+"/finalChunk/0", partText{name: "fileData", file: "a", value: half})), `"status":1`)
	has(t, f.body(f.multipart(path+"/resume/1", partText{name: "fileData", file: "a", value: half})), `"code":"UPLOAD_ERROR"`)
	has(t, f.formAs(session, "", "uploadToken.delete", "format", "1", "uploadTokenId", token), "null")
	token = f.newToken(session)
	path = "/api_v3/service/uploadToken/action/upload/format/1/uploadTokenId/" + token + "/ks/" + session
	// A file that no call takes does not stay.
	has(t, f.body(f.multipart("/api_v3/service/liveStream/action/list/format/1/ks/"+session, partText{name: "fileData", file: "a", value: "x"})), `"totalCount"`)
	broken := "--B\r\nContent-Disposition: form-data; name=\"fileData\"; filename=\"a\"\r\n\r\nhalf a fi"
	r := httptest.NewRequest(http.MethodPost, path, strings.NewReader(broken))
	r.Header.Set("Content-Type", "multipart/form-data; boundary=B")
	if res := f.do(r); res.StatusCode != http.StatusBadRequest {
		t.Errorf("half a file: status %d", res.StatusCode)
	}
	files.fail = errors.New("disk full at /secret/place")
	res := f.multipart(path, partText{name: "fileData", file: "a", value: "x"})
	if body := f.body(res); res.StatusCode != http.StatusServiceUnavailable || strings.Contains(body, "secret") {
		t.Errorf("full disk: status %d, %s", res.StatusCode, body)
	}
	if notes, _ := f.state.List(t.Context(), everyUnclaimed); files.count() != 0 || len(notes) != 0 {
		t.Errorf("left behind: %d files, %v", files.count(), notes)
	}
	none := start(t)
	has(t, none.body(none.multipart("/api_v3/service/uploadToken/action/upload/format/1/uploadTokenId/"+none.newToken(session)+"/ks/"+session,
		partText{name: "fileData", file: "a", value: "x"})), `"code":"UPLOAD_ERROR"`)
}

// TestUploadsAreSweptAfterADay removes what nobody finished, and what a killed server left.
func TestUploadsAreSweptAfterADay(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		files := newFolder()
		f := start(t, func(c *Config) { c.Files, c.Sweep = files, 10*time.Minute }) // a day of the usual ones is 3000
		session, err := kaltura.SignV1(testSecret, kaltura.KS{PartnerID: 102, Expiry: time.Now().Unix() + 5*day, Type: 2})
		if err != nil {
			t.Fatal(err)
		}
		token := f.newToken(session)
		f.multipart("/api_v3/service/uploadToken/action/upload/uploadTokenId/"+token+"/ks/"+session, partText{name: "fileData", file: "a", value: "x"})
		if err := create(t.Context(), f.state, unclaimedKey("lost"), unclaimed{Since: time.Now().Unix()}); err != nil {
			t.Fatal(err)
		}
		files.put(fileKey("lost"), []byte("y"))
		time.Sleep(23 * time.Hour)
		if files.count() != 2 {
			t.Errorf("%d files after 23 hours, want 2", files.count())
		}
		time.Sleep(2 * time.Hour)
		if files.count() != 0 {
			t.Errorf("%d files after 25 hours: %v", files.count(), fmt.Sprint(files.files))
		}
		has(t, f.formAs(session, "", "uploadToken.get", "format", "1", "uploadTokenId", token), `"code":"UPLOAD_TOKEN_NOT_FOUND"`)
		f.Close()
	})
}

// slowUpload sends half a file over a socket, then waits, then sends the rest if there is one.
func (f *fixture) slowUpload(tune func(*http.Server), pause time.Duration, rest string) (status int) {
	f.t.Helper()
	web := httptest.NewUnstartedServer(f)
	tune(web.Config)
	web.Start()
	defer web.Close()
	session := ks(102, 2)
	body, feed := io.Pipe()
	go func() {
		_, _ = io.WriteString(feed, "--B\r\nContent-Disposition: form-data; name=\"fileData\"; filename=\"a\"\r\n\r\nhalf "+strings.Repeat("x", 64<<10))
		time.Sleep(pause)
		if rest == "" {
			return // the connection stays open and nothing comes
		}
		_, _ = io.WriteString(feed, rest+"\r\n--B--\r\n")
		feed.Close()
	}()
	defer body.Close()
	r, err := http.NewRequestWithContext(f.t.Context(), http.MethodPost, web.URL+"/api_v3/service/uploadToken/action/upload/format/1/uploadTokenId/"+f.newToken(session)+"/ks/"+session, body)
	if err != nil {
		f.t.Fatal(err)
	}
	r.Header.Set("Content-Type", "multipart/form-data; boundary=B")
	res, err := http.DefaultClient.Do(r)
	if err != nil {
		return 0 // cut off
	}
	defer res.Body.Close()
	return res.StatusCode
}

// TestUploadOutlastsOtherRequests: an upload may take longer than other requests, while it moves.
func TestUploadOutlastsOtherRequests(t *testing.T) {
	files := newFolder()
	f := start(t, func(c *Config) { c.Files, c.UploadIdle = files, 30*time.Second })
	if status := f.slowUpload(func(s *http.Server) { s.ReadTimeout = 200 * time.Millisecond }, time.Second, "done"); status != http.StatusOK || files.count() != 1 {
		t.Errorf("HTTP %d, %d files", status, files.count())
	}
}

// TestUploadThatStallsIsGivenUp, and leaves nothing.
func TestUploadThatStallsIsGivenUp(t *testing.T) {
	files := newFolder()
	f := start(t, func(c *Config) { c.Files, c.UploadIdle = files, 100*time.Millisecond })
	began := time.Now()
	if status := f.slowUpload(func(*http.Server) {}, 0, ""); status == http.StatusOK || time.Since(began) > 20*time.Second {
		t.Errorf("HTTP %d after %v", status, time.Since(began))
	}
	if notes, err := f.state.List(t.Context(), everyUnclaimed); err != nil || len(notes) != 0 || files.count() != 0 {
		t.Errorf("left: %v, %d files, %v", notes, files.count(), err)
	}
}
