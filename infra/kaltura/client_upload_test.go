package kaltura_test

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"testing"
	"testing/iotest"

	"klive/infra/kaltura"
)

// uploads is an API that takes files: it keeps their hash, and what came with each call.
type uploads struct {
	mu     sync.Mutex // guards the fields below
	calls  []map[string]string
	sum    []byte // state of the hash over the bytes so far
	size   int64
	status int
	// break off the connection in the nth upload: before or after its bytes were taken
	breakBefore, breakAfter int
	uploaded                int
}

const tokenID = "0_9c1f0000000000000000000000000001"

func (u *uploads) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	u.mu.Lock()
	defer u.mu.Unlock()
	form := map[string]string{}
	if parts, err := r.MultipartReader(); err == nil {
		for {
			part, err := parts.NextPart()
			if err != nil {
				break
			}
			if part.FileName() == "" {
				value, _ := io.ReadAll(part)
				form[part.FormName()] = string(value)
				continue
			}
			form["file"], form["name"] = part.FormName(), part.FileName()
			if u.uploaded++; u.uploaded == u.breakBefore {
				panic(http.ErrAbortHandler)
			}
			u.take(part, form)
		}
	} else {
		r.ParseForm()
		for name := range r.PostForm {
			form[name] = r.PostForm.Get(name)
		}
	}
	form["call"] = r.URL.RawQuery
	delete(form, "ks")
	u.calls = append(u.calls, form)
	if u.breakAfter > 0 && u.uploaded == u.breakAfter {
		u.breakAfter = 0
		panic(http.ErrAbortHandler)
	}
	u.answer(w, r, form)
}

func (u *uploads) answer(w http.ResponseWriter, r *http.Request, form map[string]string) {
	w.Header().Set("Content-Type", "application/json")
	token := fmt.Sprintf(`{"id":"%s","partnerId":102,"status":%d,"uploadedFileSize":%d,"objectType":"KalturaUploadToken"}`, tokenID, u.status, u.size)
	switch {
	case form["refused"] != "":
		io.WriteString(w, `{"code":"UPLOAD_TOKEN_INVALID_STATUS_FOR_UPLOAD","message":"it is complete","objectType":"KalturaAPIException","args":[]}`)
	case r.URL.Query().Get("service") == "multirequest":
		io.WriteString(w, `[{"id":"`+tokenID+`","status":0,"objectType":"KalturaUploadToken"},`+token+`]`)
	default:
		io.WriteString(w, token)
	}
}

// take takes the bytes of a piece where the form says.
func (u *uploads) take(part io.Reader, form map[string]string) {
	if u.status == kaltura.UploadFull {
		form["refused"] = "yes"
		io.Copy(io.Discard, part)
		return
	}
	h := sha256.New()
	n, _ := io.Copy(h, part)
	at, _ := strconv.ParseInt(form["resumeAt"], 10, 64)
	u.sum = append(u.sum[:0:0], append(u.sum[:min(int64(len(u.sum)), at/pieceSize*sha256.Size)], h.Sum(nil)...)...)
	u.size = at + n
	u.status = kaltura.UploadPartial
	if form["finalChunk"] != "0" {
		u.status = kaltura.UploadFull
	}
	form["bytes"] = strconv.FormatInt(n, 10)
}

const pieceSize = 1 << 20

// contents makes a file, and what its pieces hash to.
func contents(size int) ([]byte, []byte) {
	b := make([]byte, size)
	for i := range b {
		b[i] = byte(i ^ i>>8 ^ i>>16)
	}
	var sums []byte
	for piece := b; ; piece = piece[pieceSize:] {
		sum := sha256.Sum256(piece[:min(len(piece), pieceSize)])
		sums = append(sums, sum[:]...)
		if len(piece) <= pieceSize {
			return b, sums
		}
	}
}

// upload sends a file to u and returns what the client says.
func upload(t *testing.T, u *uploads, file io.Reader, size int64) (*kaltura.UploadToken, error) {
	t.Helper()
	server := httptest.NewServer(u)
	defer server.Close()
	c := client(t, nil, func(c *kaltura.ClientConfig) { c.URL = server.URL })
	return c.Upload(t.Context(), 102, kaltura.UploadRequest{Name: `a "b".mp4`, Size: size, File: file, Piece: pieceSize})
}

func (u *uploads) holds(t *testing.T, sums []byte, size int) {
	t.Helper()
	if !bytes.Equal(u.sum, sums) || u.size != int64(size) || u.status != kaltura.UploadFull {
		t.Errorf("the API has %d bytes (%s) with status %d; want %d (%s)", u.size, hex.EncodeToString(u.sum), u.status, size, hex.EncodeToString(sums))
	}
}

// A short file goes with its token in one multirequest (contract §9.8).
func TestUploadInOneRequest(t *testing.T) {
	file, sums := contents(1000)
	u := &uploads{}
	got, err := upload(t, u, bytes.NewReader(file), 1000)
	if err != nil || got.ID != tokenID || got.Status != kaltura.UploadFull {
		t.Fatalf("%+v, %v", got, err)
	}
	u.holds(t, sums, 1000)
	want := map[string]string{
		"call": "service=multirequest", "1:service": "uploadToken", "1:action": "add", "1:uploadToken:objectType": "KalturaUploadToken",
		"1:uploadToken:fileName": `a "b".mp4`, "1:uploadToken:fileSize": "1000", "2:service": "uploadToken", "2:action": "upload",
		"2:uploadTokenId": "{1:result:id}", "file": "2:fileData", "name": `a "b".mp4`, "bytes": "1000",
		"clientTag": "MediaServer-ms1.example.com", "format": "1", "ignoreNull": "1", "partnerId": "102",
	}
	if len(u.calls) != 1 || fmt.Sprint(u.calls[0]) != fmt.Sprint(want) {
		t.Errorf("sent %v\nwant %v", u.calls, want)
	}
}

// A long file goes piece by piece, and the last one says so.
func TestUploadInPieces(t *testing.T) {
	const size = 3*pieceSize + 5
	file, sums := contents(size)
	u := &uploads{}
	if _, err := upload(t, u, iotest.HalfReader(bytes.NewBuffer(file)), size); err != nil {
		t.Fatal(err)
	}
	u.holds(t, sums, size)
	if len(u.calls) != 5 || !strings.Contains(u.calls[0]["call"], "uploadToken&action=add") {
		t.Fatalf("%d calls", len(u.calls))
	}
	for i, c := range u.calls[1:] {
		resume, final := "1", "0"
		if i == 0 {
			resume = "0"
		}
		if i == 3 {
			final = "1"
		}
		if c["uploadTokenId"] != tokenID || c["resume"] != resume || c["finalChunk"] != final || c["resumeAt"] != strconv.Itoa(i*pieceSize) {
			t.Errorf("piece %d: %v", i, c)
		}
	}
}

// A connection that breaks costs a piece, when the file can be read again, and the upload when
// it can't. A last piece whose answer was lost counts.
func TestUploadOverABrokenConnection(t *testing.T) {
	const size = 3 * pieceSize
	for _, c := range []struct {
		name          string
		before, after int
		seekable      bool
		size          int
		ok            bool
	}{
		{"before the second piece was taken", 2, 0, true, size, true},
		{"after the second piece was taken", 0, 2, true, size, true},
		{"after the last piece was taken", 0, 3, true, size, true},
		{"of a short file", 1, 0, true, 1000, true},
		{"of a stream", 2, 0, false, size, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			file, sums := contents(c.size)
			u := &uploads{breakBefore: c.before, breakAfter: c.after}
			var reader io.Reader = bytes.NewReader(file)
			if !c.seekable {
				reader = bytes.NewBuffer(file)
			}
			got, err := upload(t, u, reader, int64(c.size))
			if (err == nil) != c.ok {
				t.Fatalf("%+v, %v", got, err)
			}
			if !c.ok {
				if !kaltura.Unavailable(err) {
					t.Errorf("%v is not told from an answer", err)
				}
				return
			}
			u.holds(t, sums, c.size)
			if got.Status != kaltura.UploadFull {
				t.Errorf("token %+v", got)
			}
		})
	}
}

// A file that can't be read, or is not as long as was said, is no fault of the API.
func TestUploadOfABadFile(t *testing.T) {
	file, _ := contents(100)
	broken := errors.New("the store is away")
	for name, c := range map[string]struct {
		file io.Reader
		says string
	}{
		"too short": {bytes.NewReader(file), "ends 900 bytes early"},
		"broken":    {io.MultiReader(bytes.NewReader(file), iotest.ErrReader(broken)), "the store is away"},
	} {
		u := &uploads{}
		_, err := upload(t, u, c.file, 1000)
		if err == nil || kaltura.Unavailable(err) || kaltura.IsAPIError(err) || !strings.Contains(err.Error(), c.says) {
			t.Errorf("%s: %v", name, err)
		}
		if u.status == kaltura.UploadFull && u.size == 1000 {
			t.Errorf("%s: the API has a whole file", name)
		}
	}
	c := client(t, nil)
	if _, err := c.Upload(t.Context(), 102, kaltura.UploadRequest{Size: 1}); err == nil {
		t.Error("an upload of nothing")
	}
}

// zeros is an endless file.
type zeros struct{}

func (zeros) Read(p []byte) (int, error) { clear(p); return len(p), nil }

// A file of 64 MiB goes through in little memory.
func TestUploadIsStreamed(t *testing.T) {
	u := &uploads{}
	server := httptest.NewServer(u)
	defer server.Close()
	c := client(t, nil, func(c *kaltura.ClientConfig) { c.URL = server.URL })
	for _, piece := range []int64{16 << 20, 1 << 30} {
		u.status, u.size = 0, 0
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		if _, err := c.Upload(t.Context(), 102, kaltura.UploadRequest{Name: "x.mp4", Size: 64 << 20, File: zeros{}, Piece: piece}); err != nil {
			t.Fatal(err)
		}
		runtime.ReadMemStats(&after)
		if used := after.TotalAlloc - before.TotalAlloc; used > 16<<20 || u.size != 64<<20 {
			t.Errorf("%d bytes arrived, %d were allocated", u.size, used)
		}
	}
}
