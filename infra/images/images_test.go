package images

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"klive/infra/check/fault"
)

// image is a built image, unpacked.
type image struct {
	t    *testing.T
	root string
}

// open unpacks an image that "make images" has built; the test is skipped by name without one.
func open(t *testing.T, name string) *image {
	t.Helper()
	if os.Getuid() != 0 {
		t.Skip("SKIP: images are run in their own roots as root alone")
	}
	if _, err := exec.LookPath("buildah"); err != nil {
		t.Skip("SKIP: there is no buildah in the PATH")
	}
	if err := exec.CommandContext(t.Context(), "buildah", "inspect", "--type", "image", name).Run(); err != nil {
		t.Skipf("SKIP: there is no image %s; make images", name)
	}
	c := buildah(t, "from", "--pull-never", name)
	t.Cleanup(func() { _ = exec.Command("buildah", "rm", c).Run() })
	i := &image{t: t, root: buildah(t, "mount", c)}
	for _, dir := range []string{"dev", "proc"} { // what a container engine adds
		if err := os.MkdirAll(filepath.Join(i.root, dir), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	return i
}

func buildah(t *testing.T, args ...string) string {
	t.Helper()
	out, err := exec.CommandContext(t.Context(), "buildah", args...).Output()
	if err != nil {
		t.Fatalf("buildah %v: %v", args, err)
	}
	return strings.TrimSpace(string(out))
}

// command is one in the image, as a task runs it: no root user, a read-only root, a data folder.
func (i *image) command(args ...string) []string {
	const enter = `
		mount --bind "$0" "$0" && mount --bind /dev "$0/dev" && mount -t proc proc "$0/proc" &&
		mount --bind "$DATA" "$0/data" && mount -o remount,ro,bind "$0" &&
		exec chroot --userspec=65532:65532 "$0" "$@"`
	return append([]string{"-m", "sh", "-c", enter, i.root}, args...)
}

// Each image runs klive with its own files, and takes a stream to a player's segment. In the
// worker's the ladder's rungs and a picture are made by the ffmpeg that is in it.
func TestImagesTakeAStream(t *testing.T) {
	for _, tool := range []string{"ffmpeg", "unshare"} {
		if _, err := exec.LookPath(tool); err != nil {
			t.Skipf("SKIP: there is no %s in the PATH", tool)
		}
	}
	for name, profile := range map[string]string{"klive-gateway": "501", "klive-worker": "502"} {
		t.Run(name, func(t *testing.T) {
			i := open(t, name)
			s := &stack{t: t, dir: t.TempDir(), at: map[string]string{}}
			ports := fault.Ports(t, 4)
			s.at["gateway:1935"], s.at["cdn:8000"] = ports[0], ports[1]
			data := filepath.Join(s.dir, "data")
			if err := os.Mkdir(data, 0o755); err != nil {
				t.Fatal(err)
			}
			if err := os.Chown(data, 65532, 65532); err != nil {
				t.Fatal(err)
			}
			env := []string{
				"DATA=" + data, "PATH=/usr/sbin:/usr/bin:/sbin:/bin", "KLIVE_DATA=/data", "KLIVE_LOG_FORMAT=json", "KLIVE_RTMP_LISTEN=" + ports[0], "KLIVE_HTTP_LISTEN=" + ports[1],
				"KLIVE_ADMIN_LISTEN=" + ports[2], "KLIVE_INTERNAL_LISTEN=" + ports[3], "KLIVE_SRT_LISTEN=", "KLIVE_WEBRTC_LISTEN=",
			}
			klive := func(ctx context.Context, args ...string) ([]byte, error) {
				cmd := exec.CommandContext(ctx, "unshare", i.command(append([]string{"/klive"}, args...)...)...)
				cmd.Env = env
				return cmd.CombinedOutput()
			}
			fault.Start(t, fault.Spec{
				Name: name, Path: "unshare", Args: i.command("/klive", "serve"), Env: env, Log: filepath.Join(s.dir, "klive.log"), Patience: time.Minute,
				Ready: func(ctx context.Context) error {
					if out, err := klive(ctx, "health"); err != nil {
						return fmt.Errorf("klive health: %w: %s", err, out)
					}
					return nil
				},
			})
			out, err := klive(t.Context(), "entry", "add", "image", "--token", "demo1234", "--profile", profile, "--json")
			if err != nil {
				t.Fatalf("klive entry add: %v\n%s", err, out)
			}
			var entry struct{ ID string }
			if at := bytes.IndexByte(out, '{'); at < 0 || json.Unmarshal(out[at:], &entry) != nil || entry.ID == "" {
				t.Fatalf("klive entry add answers %s", out)
			}
			s.publish(entry.ID)
			s.play(entry.ID)
			if profile == "502" {
				s.playRungs(entry.ID)
				picture := s.await("http://"+s.at["cdn:8000"]+"/kLive/smil:"+entry.ID+"_all.smil/poster.jpg", "\xff\xd8\xff")
				t.Logf("a picture of %d bytes", len(picture))
			}
		})
	}
}

// playRungs follows each rung of the ladder to a segment of it.
func (s *stack) playRungs(entry string) {
	s.t.Helper()
	base := "http://" + s.at["cdn:8000"] + "/kLive/smil:" + entry + "_all.smil/playlist.m3u8"
	rungs := 0
	for line := range strings.Lines(s.await(base, "#EXT-X-STREAM-INF")) {
		if line = strings.TrimSpace(line); line == "" || strings.HasPrefix(line, "#") {
			continue
		}
		rungs++
		s.segment(s.resolve(base, line))
	}
	if rungs < 2 {
		s.t.Errorf("%d rungs only", rungs)
	}
	s.t.Logf("%d rungs play", rungs)
}
