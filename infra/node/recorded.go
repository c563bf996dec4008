package node

import (
	"context"
	"fmt"
	"io"
	"io/fs"
	"os/exec"
	"strings"

	"klive/storage"
)

// recordedFiles is where the embedded control plane gets recorded files: those that it stored
// itself, and those that a recorder on the same storage names by their paths.
type recordedFiles struct{ n *Node }

// Open implements [controlplane.RecordedFiles].
func (f recordedFiles) Open(ctx context.Context, key string, offset int64) (io.ReadCloser, error) {
	body, _, err := f.n.store.Get(ctx, key, &storage.Range{Offset: offset, Length: -1})
	return body, err
}

// Local implements [controlplane.RecordedFiles]. Paths lead to recorded files alone, never to
// others of this host.
func (f recordedFiles) Local(ctx context.Context, path string) (io.ReadCloser, error) {
	r := f.n.recordings
	key, ok := strings.CutPrefix(path, strings.TrimSuffix(r.path, "{key}"))
	if r.store == nil || !ok || !strings.HasPrefix(key, "recordings/") || storage.CheckKey(key) != nil {
		return nil, fmt.Errorf("%w: want a path below %s", fs.ErrNotExist, strings.TrimSuffix(r.path, "{key}")+"recordings/")
	}
	body, _, err := r.store.Get(ctx, key, nil)
	return body, err
}

// ffmpegPath is the program that joins recordings; empty when there is none.
func ffmpegPath() string {
	path, err := exec.LookPath("ffmpeg")
	if err != nil {
		return ""
	}
	return path
}
