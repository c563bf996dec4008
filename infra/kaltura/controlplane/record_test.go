package controlplane

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"klive/infra/kaltura"
)

// Open implements RecordedFiles.
func (f *folder) Open(_ context.Context, key string, offset int64) (io.ReadCloser, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	b, ok := f.files[key]
	if !ok {
		return nil, fs.ErrNotExist
	}
	return io.NopCloser(bytes.NewReader(b[offset:])), nil
}

// Local implements RecordedFiles: paths below /shared/ are keys.
func (f *folder) Local(ctx context.Context, path string) (io.ReadCloser, error) {
	return f.Open(ctx, strings.TrimPrefix(path, "/shared/"), 0)
}

// recordings is a control plane with an entry that is recorded, over a real socket.
type recordings struct {
	*fixture
	client *kaltura.Client
	files  *folder
	entry  kaltura.LiveStreamEntry
	assets []string // the anchor first
}

func startRecordings(t *testing.T, tune ...func(*Config)) *recordings {
	t.Helper()
	r := &recordings{files: newFolder()}
	r.fixture = start(t, append([]func(*Config){func(c *Config) {
		c.Files, c.Recorded, c.Work, c.Sweep = r.files, r.files, t.TempDir(), time.Second
		c.FFmpeg, _ = exec.LookPath("ffmpeg")
	}}, tune...)...)
	server := httptest.NewServer(r.Server)
	t.Cleanup(server.Close)
	client, err := kaltura.NewClient(kaltura.ClientConfig{URL: server.URL, PartnerID: -5, AdminSecret: serverSecret, Hostname: "ms1"})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(client.Close)
	r.client = client
	doc, err := load[entryDoc](t.Context(), r.state, entryKey("0_demolive"))
	if err != nil {
		t.Fatal(err)
	}
	r.entry = doc.Entry
	for _, a := range doc.Assets {
		if strings.Contains(a.Tags, anchorTag) {
			r.assets = append([]string{a.ID}, r.assets...)
		} else {
			r.assets = append(r.assets, a.ID)
		}
	}
	return r
}

// clip makes an MP4 of so many pictures, 25 a second, the first of which has a number.
func clip(t *testing.T, pictures int) []byte {
	t.Helper()
	ffmpeg, err := exec.LookPath("ffmpeg")
	if err != nil {
		t.Skip("SKIP: no ffmpeg")
	}
	path := filepath.Join(t.TempDir(), "clip.mp4")
	length := fmt.Sprintf("%.3f", float64(pictures)/25)
	out, err := exec.Command(ffmpeg, "-v", "error", "-f", "lavfi", "-i", "testsrc2=size=160x90:rate=25:duration="+length,
		"-f", "lavfi", "-i", "sine=duration="+length, "-c:v", "libx264", "-threads", "1", "-bf", "2", "-g", "25", "-c:a", "aac", "-movflags", "+faststart", path).CombinedOutput()
	if err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func (r *recordings) append(a kaltura.AppendRequest) (*kaltura.LiveStreamEntry, error) {
	a.EntryID = r.entry.ID
	if a.AssetID == "" {
		a.AssetID = r.assets[0]
	}
	return r.client.AppendRecording(r.t.Context(), 102, a)
}

func (r *recordings) upload(b []byte) kaltura.Resource {
	r.t.Helper()
	t, err := r.client.Upload(r.t.Context(), 102, kaltura.UploadRequest{Name: "a.mp4", Size: int64(len(b)), File: bytes.NewReader(b)})
	if err != nil {
		r.t.Fatal(err)
	}
	return kaltura.Resource{Token: t.ID}
}

// vod waits until the recorded entry's only flavor holds so many files, and returns it.
func (r *recordings) vod(files int) []byte {
	r.t.Helper()
	for end := time.Now().Add(3 * time.Minute); time.Now().Before(end); time.Sleep(20 * time.Millisecond) {
		list, err := r.VODs(r.t.Context())
		if err != nil {
			r.t.Fatal(err)
		}
		if len(list) != 1 || len(list[0].Flavors) != 1 || list[0].Flavors[0].Files != files {
			continue
		}
		w := httptest.NewRecorder()
		r.ServeVOD(w, httptest.NewRequest(http.MethodGet, list[0].Flavors[0].Path, nil))
		if w.Code != http.StatusOK {
			r.t.Fatalf("the VOD: status %d", w.Code)
		}
		return w.Body.Bytes()
	}
	r.t.Fatalf("no VOD of %d files", files)
	return nil
}

// TestAppendedFilesBecomeOne appends files in each way that a media server may and watches them
// joined: every picture once, 40 ms apart (rows 100–105).
func TestAppendedFilesBecomeOne(t *testing.T) {
	files := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write(clip(t, 50)) }))
	defer files.Close()
	r := startRecordings(t, func(c *Config) { c.AcceptURLResource = true })
	first := clip(t, 50)
	e, err := r.append(kaltura.AppendRequest{Resource: r.upload(first), Duration: 2})
	if err != nil {
		t.Fatal(err)
	}
	if e.RecordedEntryID == "" || e.MsDuration != 2000 {
		t.Errorf("after the first file: vod %q, %d ms", e.RecordedEntryID, e.MsDuration)
	}
	if got := r.vod(1); !bytes.Equal(got, first) {
		t.Errorf("the VOD's first content has %d bytes, want the %d of the first file", len(got), len(first))
	}
	r.files.put("one.mp4", clip(t, 50))
	if _, err := r.append(kaltura.AppendRequest{Resource: kaltura.Resource{LocalFilePath: "/shared/one.mp4"}, Duration: 2}); err != nil {
		t.Fatal(err)
	}
	if e, err := r.append(kaltura.AppendRequest{Resource: kaltura.Resource{LocalFilePath: "/shared/one.mp4"}, Duration: 2}); err != nil || e.MsDuration != 4000 {
		t.Errorf("the same file once more: %v, %v", e, err)
	}
	if err := r.client.CancelReplace(t.Context(), 102, e.RecordedEntryID); err != nil {
		t.Fatal(err)
	}
	e, err = r.append(kaltura.AppendRequest{Resource: kaltura.Resource{URL: files.URL + "/a.mp4?signature=x"}, Duration: 2, Last: true})
	if err != nil || e.MsDuration != 6000 || e.LastElapsedRecordingTime != 6000 {
		t.Fatalf("after the last file: %+v, %v", e, err)
	}
	if !r.files.has("one.mp4") {
		t.Error("the file on shared storage is gone")
	}
	path := filepath.Join(t.TempDir(), "vod.mp4")
	if err := os.WriteFile(path, r.vod(3), 0o600); err != nil {
		t.Fatal(err)
	}
	out, err := exec.Command("ffprobe", "-v", "error", "-select_streams", "v", "-show_entries", "packet=dts_time", "-of", "csv=p=0", path).Output()
	if err != nil {
		t.Fatal(err)
	}
	var at []float64
	for line := range strings.Lines(string(out)) {
		var x float64
		if _, err := fmt.Sscanf(line, "%f", &x); err == nil {
			at = append(at, x)
		}
	}
	if len(at) != 150 {
		t.Fatalf("the VOD has %d pictures, want 150", len(at))
	}
	for i := 1; i < len(at); i++ {
		if d := at[i] - at[i-1]; d < 0.0395 || d > 0.0405 {
			t.Errorf("picture %d comes %v s after the one before", i, d)
		}
	}
	var vod kaltura.MediaEntry
	doc, err := load[entryDoc](t.Context(), r.state, entryKey(e.RecordedEntryID))
	if vod = doc.Entry.MediaEntry; err != nil || vod.Status != kaltura.EntryStatusReady || vod.MsDuration != 6000 || len(doc.Assets) != 1 || !doc.Recorded {
		t.Errorf("the recorded entry: %+v, %v", vod, err)
	}
}

// TestAppendIsRefused holds the errors of contract §3.6.
func TestAppendIsRefused(t *testing.T) {
	r := startRecordings(t)
	r.files.put("one.mp4", []byte("bytes"))
	good := kaltura.Resource{LocalFilePath: "/shared/one.mp4"}
	for _, c := range []struct {
		what string
		r    kaltura.AppendRequest
		code string
	}{
		{"another asset", kaltura.AppendRequest{AssetID: "0_nosuchas", Resource: good, Duration: 1}, "ASSET_ID_NOT_FOUND"},
		{"no file", kaltura.AppendRequest{Resource: kaltura.Resource{LocalFilePath: "/shared/none"}, Duration: 1}, "LOCAL_FILE_NOT_FOUND"},
		{"no token", kaltura.AppendRequest{Resource: kaltura.Resource{Token: "0_" + strings.Repeat("a", 32)}, Duration: 1}, "UPLOAD_TOKEN_NOT_FOUND"},
		{"an address", kaltura.AppendRequest{Resource: kaltura.Resource{URL: "http://127.0.0.1:1/x"}, Duration: 1}, "OBJECT_TYPE_ABSTRACT"},
		{"too long", kaltura.AppendRequest{Resource: good, Duration: 25*3600 + 1}, kaltura.CodeRecordingFull},
		{"longer than can be counted", kaltura.AppendRequest{Resource: good, Duration: 1e18}, kaltura.CodeRecordingFull},
	} {
		if _, err := r.append(c.r); !kaltura.IsCode(err, c.code) {
			t.Errorf("%s: %v, want %s", c.what, err, c.code)
		}
	}
	// 25 h are allowed, one second more is not; other assets and the backup don't count.
	for _, c := range []struct {
		index int
		d     float64
		ms    int64
		code  string
	}{{1, 3600, 0, ""}, {0, 25 * 3600, 25 * 3600 * 1000, ""}, {0, 1, 0, kaltura.CodeRecordingFull}} {
		good.LocalFilePath += "x"
		r.files.put(strings.TrimPrefix(good.LocalFilePath, "/shared/"), []byte("bytes"))
		e, err := r.append(kaltura.AppendRequest{Resource: good, Index: c.index, Duration: c.d})
		if c.code != "" {
			if !kaltura.IsCode(err, c.code) {
				t.Errorf("%v s: %v", c.d, err)
			}
			continue
		}
		if err != nil || e.MsDuration != c.ms {
			t.Errorf("%v s under index %d: %v, %v", c.d, c.index, e, err)
		}
	}
}

// TestTokenIsUsedOnce lets calls die at each step of the use of a token.
func TestTokenIsUsedOnce(t *testing.T) {
	r := startRecordings(t)
	token := r.upload([]byte("a file"))
	if _, err := r.append(kaltura.AppendRequest{Resource: token, Duration: 1}); err != nil {
		t.Fatal(err)
	}
	if _, err := r.append(kaltura.AppendRequest{Resource: token, Duration: 1}); !kaltura.IsCode(err, kaltura.CodeUploadTokenNotFound) {
		t.Errorf("a second time: %v", err)
	}
	// A process that died after the segment was written left the closed token behind.
	token = r.upload([]byte("another"))
	doc, err := load[uploadDoc](t.Context(), r.state, uploadKey(token.Token))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := r.append(kaltura.AppendRequest{Resource: token, Duration: 1}); err != nil {
		t.Fatal(err)
	}
	doc.Token.Status = uploadClosed
	if err := create(t.Context(), r.state, uploadKey(token.Token), doc); err != nil {
		t.Fatal(err)
	}
	if _, err := r.append(kaltura.AppendRequest{Resource: token, Duration: 1}); !kaltura.IsCode(err, kaltura.CodeUploadTokenNotFound) {
		t.Errorf("a token that was used before its server died: %v", err)
	}
	// One that died before it leaves a closed token that no file belongs to.
	token = r.upload([]byte("a third"))
	if _, err := change(t.Context(), r.state, uploadKey(token.Token), func(d *uploadDoc) error { d.Token.Status = uploadClosed; return nil }); err != nil {
		t.Fatal(err)
	}
	if _, err := r.append(kaltura.AppendRequest{Resource: token, Duration: 1}); err != nil {
		t.Errorf("a token that was closed and not used: %v", err)
	}
	entry, err := load[entryDoc](t.Context(), r.state, entryKey(r.entry.ID))
	if err != nil || len(entry.Recording.Segments) != 3 || entry.Entry.MsDuration != 3000 {
		t.Errorf("%+v, %v", entry.Recording, err)
	}
	if err := r.sweepUploads(t.Context(), time.Now().Add(48*time.Hour).Unix()); err != nil || errors.Is(err, fs.ErrNotExist) {
		t.Error(err)
	}
	if n := r.files.count(); n != 3 {
		t.Errorf("%d files are left, want the three that were appended", n)
	}
}

// TestEachSessionHasItsVOD records two broadcasts of an entry whose recordings are kept apart,
// with more than 180 s between them, and one that goes on sooner (row 104).
func TestEachSessionHasItsVOD(t *testing.T) {
	r := startRecordings(t)
	n := 0
	set := func(f func(e *kaltura.LiveStreamEntry)) {
		t.Helper()
		if _, err := change(t.Context(), r.state, entryKey(r.entry.ID), func(d *entryDoc) error { f(&d.Entry); return nil }); err != nil {
			t.Fatal(err)
		}
	}
	set(func(e *kaltura.LiveStreamEntry) { e.RecordStatus = kaltura.RecordPerSession })
	broadcast := func() *kaltura.LiveStreamEntry {
		t.Helper()
		on := kaltura.RegisterRequest{EntryID: r.entry.ID, Hostname: "ms1", LiveEntryStatus: kaltura.StatusPlayable}
		if _, err := r.client.RegisterMediaServer(t.Context(), 102, on); err != nil {
			t.Fatal(err)
		}
		n++
		name := fmt.Sprintf("%d.mp4", n)
		r.files.put(name, []byte("bytes"))
		e, err := r.append(kaltura.AppendRequest{Resource: kaltura.Resource{LocalFilePath: "/shared/" + name}, Duration: 5, Last: true})
		if err != nil {
			t.Fatal(err)
		}
		r.vodReady(e.RecordedEntryID)
		if _, err := r.client.UnregisterMediaServer(t.Context(), 102, kaltura.UnregisterRequest{EntryID: r.entry.ID, Hostname: "ms1"}); err != nil {
			t.Fatal(err)
		}
		return e
	}
	first := broadcast()
	soon := broadcast()
	if soon.RecordedEntryID != first.RecordedEntryID || soon.MsDuration != 10_000 {
		t.Errorf("a broadcast that goes on: %s with %d ms, want %s with 10000", soon.RecordedEntryID, soon.MsDuration, first.RecordedEntryID)
	}
	set(func(e *kaltura.LiveStreamEntry) { e.LastBroadcastEndTime = time.Now().Unix() - 200 })
	second := broadcast()
	if second.RecordedEntryID == first.RecordedEntryID || second.MsDuration != 5000 {
		t.Errorf("the next broadcast: %s with %d ms", second.RecordedEntryID, second.MsDuration)
	}
	list, err := r.VODs(t.Context())
	if err != nil || len(list) != 2 || !strings.HasSuffix(list[0].Name+list[1].Name, "1") && !strings.HasSuffix(list[0].Name+list[1].Name, "2") {
		t.Errorf("the recorded entries: %+v, %v", list, err)
	}
}

// vodReady waits until a recorded entry can be watched.
func (r *recordings) vodReady(id string) {
	r.t.Helper()
	for end := time.Now().Add(20 * time.Second); time.Now().Before(end); time.Sleep(10 * time.Millisecond) {
		if doc, err := load[entryDoc](r.t.Context(), r.state, entryKey(id)); err == nil && doc.Entry.Status == kaltura.EntryStatusReady {
			return
		}
	}
	r.t.Fatalf("recorded entry %s is not ready", id)
}

// TestJoinsLeaveTheDiskAlone: files are not joined where the disk has no room for it, and are once it has; the first
// can be watched meanwhile.
func TestJoinsLeaveTheDiskAlone(t *testing.T) {
	first, second := clip(t, 25), clip(t, 25)
	least := 2 * int64(len(first)+len(second))
	var room atomic.Bool
	asked := make(chan int64, 1000)
	r := startRecordings(t, func(c *Config) {
		c.WorkRoom = func(bytes int64) error {
			asked <- bytes
			if room.Load() {
				return nil
			}
			return errors.New("no room")
		}
	})
	for _, b := range [][]byte{first, second} {
		if _, err := r.append(kaltura.AppendRequest{Resource: r.upload(b), Duration: 1}); err != nil {
			t.Fatal(err)
		}
	}
	for range 2 { // it is tried again
		select {
		case n := <-asked:
			if n < least {
				t.Errorf("room for %d bytes was asked for, what comes of the files takes %d", n, least)
			}
		case <-time.After(time.Minute):
			t.Fatal("nobody asks for room")
		}
	}
	if got := r.vod(1); !bytes.Equal(got, first) {
		t.Errorf("the VOD has %d bytes, want the %d of the first file", len(got), len(first))
	}
	if left, err := os.ReadDir(r.config.Work); len(left) > 0 {
		t.Errorf("%v in the work folder, %v", left, err)
	}
	room.Store(true)
	if got := r.vod(2); len(got) <= len(first) {
		t.Errorf("the VOD of both files has %d bytes", len(got))
	}
}
