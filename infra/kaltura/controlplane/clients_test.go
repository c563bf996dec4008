package controlplane

import (
	"encoding/json"
	"errors"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"
)

// answers are what a client library made of each call, as JSON.
type answers map[string]any

// at follows a colon-separated path of names and indexes.
func (a answers) at(path string) string {
	var v any = map[string]any(a)
	for name := range strings.SplitSeq(path, ":") {
		switch c := v.(type) {
		case map[string]any:
			v = c[name]
		case []any:
			i, err := strconv.Atoi(name)
			if err != nil || i >= len(c) {
				return "<none>"
			}
			v = c[i]
		default:
			return "<none>"
		}
	}
	switch c := v.(type) {
	case nil:
		return "<null>"
	case string:
		return c
	}
	b, err := json.Marshal(v)
	if err != nil {
		return err.Error()
	}
	return string(b)
}

func (a answers) want(t *testing.T, pairs ...string) {
	t.Helper()
	for i := 0; i+1 < len(pairs); i += 2 {
		if got := a.at(pairs[i]); got != pairs[i+1] {
			t.Errorf("%s is %s, want %s", pairs[i], got, pairs[i+1])
		}
	}
}

const clientsFolder = "testdata/clients"

// runClient runs a client library of Kaltura's as a process of Node.js against the server. It
// skips the test by the name of what is missing.
func runClient(t *testing.T, f *fixture, script, library string, last string) answers {
	t.Helper()
	node, err := exec.LookPath("node")
	if err != nil {
		t.Skip("SKIP: no node; make setup-test installs it")
	}
	if _, err := os.Stat(filepath.Join(clientsFolder, "node_modules", library)); err != nil {
		t.Skip("SKIP: no " + library + "; make setup-test fetches it")
	}
	web := httptest.NewServer(f)
	defer web.Close()
	c := exec.CommandContext(t.Context(), node, script, web.URL, testSecret, last)
	c.Dir, c.WaitDelay = clientsFolder, 10*time.Second
	out, err := c.Output()
	if err != nil {
		var failed *exec.ExitError
		if errors.As(err, &failed) {
			t.Fatalf("%v: %s", err, failed.Stderr)
		}
		t.Fatal(err)
	}
	var a answers
	if err := json.Unmarshal(out, &a); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	return a
}

// TestNodeClient has Kaltura's own client for Node.js, as it is published, make calls.
func TestNodeClient(t *testing.T) {
	files := newFolder()
	f := start(t, func(c *Config) { c.Files = files })
	data := strings.Repeat("moving picture ", 1<<14)
	path := filepath.Join(t.TempDir(), "clip.mp4")
	if err := os.WriteFile(path, []byte(data), 0o600); err != nil {
		t.Fatal(err)
	}
	a := runClient(t, f, "node.mjs", "kaltura-client", path)
	id, size := a.at("add:id"), strconv.Itoa(len(data))
	a.want(t, "add:objectType", "KalturaLiveStreamAdminEntry", "add:name", `Board "meeting" & more`, "add:partnerId", "102", "add:dvrStatus", "1", "add:dvrWindow", "30",
		"add:status", "2", "add:sourceType", "32", "get:id", id, "update:description", "näxt", "list:totalCount", "1", "list:objects:0:id", id,
		"authenticate:id", id, "authenticate:liveStatus", "3", "wrongToken:failed", "LIVE_STREAM_INVALID_TOKEN",
		"broadcasting:liveStatus", "2", "playable:liveStatus", "1", "isLive", "true", "details:primaryStreamStatus", "1", "details:broadcastStatus", "3",
		"nodes:totalCount", "1", "nodes:objects:0:entryId", id, "nodes:objects:0:status", "1", "unregister:liveStatus", "0")
	a.want(t, "multi:0:id", id, "multi:1:totalCount", "3", "multi:1:objects:0:assetParamsId", "32", "multi:2:objects:0:entryId", id,
		"multi:3:systemName", "Source", "multi:4:code", "ENTRY_ID_NOT_FOUND", "multi:4:args:ENTRY_ID", "0_zzzzzzzz")
	a.want(t, "upload:0:status", "0", "upload:1:status", "2", "upload:1:id", a.at("upload:0:id"), "upload:1:fileName", "clip.mp4", "upload:1:uploadedFileSize", size,
		"tokenUpload:status", "2", "tokenUpload:id", a.at("tokenAdd:id"), "tokenUpload:uploadedFileSize", size)
	a.want(t, "profile:0:systemName", "Source", "profile:0:objectType", "KalturaLiveParams", "regenerate:id", id, "delete", "<null>",
		"gone:failed", "ENTRY_ID_NOT_FOUND", "end", "<null>", "ended:failed", "INVALID_KS")
	if a.at("regenerate:streamPassword") == a.at("add:streamPassword") {
		t.Error("the regenerated token is the old one")
	}
	for _, token := range []string{a.at("upload:0:id"), a.at("tokenAdd:id")} {
		if f.content(files, token) != data {
			t.Errorf("the file of token %s is another one", token)
		}
	}
}

// TestTypeScriptClient does so with the client for browsers, which uploads in pieces.
func TestTypeScriptClient(t *testing.T) {
	files := newFolder()
	f := start(t, func(c *Config) { c.Files = files })
	const size = 2_500_000
	a := runClient(t, f, "typescript.cjs", "kaltura-typescript-client", strconv.Itoa(size))
	id := a.at("add:id")
	a.want(t, "add:name", "From a browser", "get:id", id, "list:totalCount", "1", "list:objects:0:id", id, "wrongToken:failed", "LIVE_STREAM_INVALID_TOKEN",
		"register:liveStatus", "1", "isLive", "true", "unregister:liveStatus", "0", "multi:0:totalCount", "1", "multi:1:id", id, "multi:2:failed", "ENTRY_ID_NOT_FOUND",
		"tokenUpload:uploadedFileSize", strconv.Itoa(size), "tokenUpload:status", "2", "gone:failed", "ENTRY_ID_NOT_FOUND")
	token := a.at("tokenAdd:id")
	if got := f.content(files, token); len(got) != size || strings.Trim(got, "k") != "" {
		t.Errorf("the stored file has %d bytes, or others than were sent", len(got))
	}
	if files.count() != 3 {
		t.Errorf("%d pieces, want 3", files.count())
	}
}
