package node

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"mime/multipart"
	"net/http"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"klive/infra/admin"
	"klive/infra/bus/bustest"
)

// refused is the status of a refusal; 0 is none.
func refused(t *testing.T, err error) int {
	t.Helper()
	var r *admin.Refusal
	if errors.As(err, &r) {
		return r.Status
	}
	if err != nil {
		t.Errorf("an error that is no refusal: %v", err)
	}
	return 0
}

// TestConsoleManagesEntries adds and removes entries as the console does.
func TestConsoleManagesEntries(t *testing.T) {
	bustest.Prepare(t)
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, nil)
		defer r.close()
		ctx, e := t.Context(), entries{r.node}
		made, err := e.Add(ctx, admin.NewEntry{Name: " Town hall ", Token: "vote4me", DVR: 30})
		if err != nil || made.Name != "Town hall" || made.Token != "vote4me" || made.Partner != DemoPartner {
			t.Fatalf("added %+v, %v", made, err)
		}
		stored, err := r.node.owner.LiveStreamGet(ctx, DemoPartner, made.ID)
		if err != nil || stored.DVRStatus != 1 || stored.DVRWindow != 30 {
			t.Errorf("stored %+v, %v", stored, err)
		}
		for _, bad := range []admin.NewEntry{{}, {Name: "x", Token: "a/b"}, {Name: "x", DVR: -1}, {Name: "x", Profile: 77}, {Name: strings.Repeat("x", 300)}} {
			if _, err := e.Add(ctx, bad); refused(t, err) != http.StatusBadRequest {
				t.Errorf("%+v: %v", bad, err)
			}
		}
		if err := e.Remove(ctx, made.ID, false); err != nil {
			t.Error(err)
		}
		if err := e.Remove(ctx, made.ID, false); refused(t, err) != http.StatusNotFound {
			t.Errorf("removed twice: %v", err)
		}
		encoder := r.publish()
		if err := encoder.play(20 * time.Second); err != nil {
			t.Fatal(err)
		}
		if err := e.Remove(ctx, "0_demolive", false); refused(t, err) != http.StatusConflict {
			t.Errorf("removed while on the air: %v", err)
		}
		if err := e.Remove(ctx, "0_demolive", true); err != nil {
			t.Error(err)
		}
		if list, err := e.Entries(ctx); err != nil || len(list) != 0 {
			t.Errorf("left: %+v, %v", list, err)
		}
	})
}

// TestUploadsGoIntoTheStore sends a file to the control plane of a node: it lies in the store,
// out of the reach of players, until the token is deleted.
func TestUploadsGoIntoTheStore(t *testing.T) {
	bustest.Prepare(t)
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, nil)
		defer r.close()
		ks, err := r.node.owner.SignKS(2, 2, "tester", "", time.Hour)
		if err != nil {
			t.Fatal(err)
		}
		client := &http.Client{Transport: r.cfg.Transport}
		post := func(action, kind string, body io.Reader) string {
			res, err := client.Post("http://127.0.0.1:8081/api_v3/service/uploadToken/action/"+action+"/format/1/ks/"+ks, kind, body)
			if err != nil {
				t.Fatal(err)
			}
			defer res.Body.Close()
			text, err := io.ReadAll(res.Body)
			if err != nil {
				t.Fatal(err)
			}
			return string(text)
		}
		_, rest, _ := strings.Cut(post("add", "", nil), `"id":"`)
		token, _, _ := strings.Cut(rest, `"`)
		data := strings.Repeat("moving picture ", 1<<17)
		var form bytes.Buffer
		w := multipart.NewWriter(&form)
		part, err := w.CreateFormFile("fileData", "clip.mp4")
		if err == nil {
			_, err = io.WriteString(part, data)
		}
		if err := errors.Join(err, w.Close()); err != nil {
			t.Fatal(err)
		}
		if body := post("upload/uploadTokenId/"+token, w.FormDataContentType(), &form); !strings.Contains(body, fmt.Sprintf(`"uploadedFileSize":%d`, len(data))) {
			t.Errorf("upload: %s", body)
		}
		if n := uploaded(t, r.cfg.Settings.Data); n != 1 {
			t.Errorf("%d uploaded files in the store, want 1", n)
		}
		if body := post("delete/uploadTokenId/"+token, "", nil); body != "null" {
			t.Errorf("delete: %s", body)
		}
		if n := uploaded(t, r.cfg.Settings.Data); n != 0 {
			t.Errorf("%d uploaded files left", n)
		}
	})
}

// uploaded counts the files of uploads under a data folder.
func uploaded(t *testing.T, data string) (n int) {
	t.Helper()
	err := filepath.WalkDir(data, func(path string, d fs.DirEntry, err error) error {
		if err == nil && !d.IsDir() && strings.Contains(filepath.ToSlash(path), "/state/upload/") {
			n++
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return n
}
