package e2e

import (
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"klive/infra/check"
	"klive/infra/media"
)

// root is a Debian of its own with encoders that this machine's lacks.
type root struct {
	dir   string
	share string // a folder of the test's, which programs in the root find at /mnt
}

// debian finds a root that "make encoders" has made, or skips the test by its name.
func debian(t *testing.T, suite string) *root {
	t.Helper()
	proveOnly(t)
	dir, err := filepath.Abs(filepath.Join("../../.tools/encoders", suite))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(dir); err != nil {
		t.Skipf("SKIP: no %s chroot; make encoders", suite)
	}
	if os.Geteuid() != 0 {
		t.Skipf("SKIP: the %s chroot needs root", suite)
	}
	return &root{dir: dir, share: t.TempDir()}
}

// enter gives a program in a root devices, /proc and folders of its own. What it mounts is in a mount namespace that
// ends with the program.
const enter = `set -e
for d in dev proc sys; do mount --rbind "/$d" "$0/$d"; done
mount -t tmpfs none "$0/tmp"
mount --bind "$1" "$0/mnt"
shift
exec chroot "$0" env HOME=/tmp XDG_RUNTIME_DIR=/tmp LC_ALL=C.UTF-8 "$@"`

// run starts a program of the root; it ends with the test.
func (r *root) run(t *testing.T, name string, args ...string) *tooling {
	t.Helper()
	line := append([]string{"--mount", "--propagation", "private", "sh", "-c", enter, r.dir, r.share, name}, args...)
	return run(t, "unshare", line...)
}

// version logs what a program of the root says of itself.
func (r *root) version(t *testing.T, name, flag string) {
	t.Helper()
	p := r.run(t, name, flag)
	if err := p.finished(t, time.Minute); err != nil {
		t.Fatalf("%s: %v\n%s", name, err, p.says.Bytes())
	}
	first, _, _ := strings.Cut(p.says.String(), "\n")
	t.Log(first)
}

// ffmpeg publishes what the words say, none of which has a space in it.
func (r *root) ffmpeg(t *testing.T, words ...string) *tooling {
	t.Helper()
	return r.run(t, "ffmpeg", append([]string{"-loglevel", "error", "-nostdin"}, strings.Fields(strings.Join(words, " "))...)...)
}

// audited follows an entry until its encoder has ended, which has to be well, and then until the broadcast is over. What is
// stored is whole.
func audited(t *testing.T, p *process, entry string, encoder *tooling) *check.Follower {
	t.Helper()
	f := follow(t, p, entry, encoder.done)
	if encoder.err != nil {
		t.Errorf("the encoder: %v\n%s\n%s", encoder.err, encoder.says.Bytes(), p.log)
	}
	holdWhole(t, p, entry, f)
	return f
}

// holdWhole holds that nothing is missing between the first frame of a broadcast and the last, and that all that is stored
// decodes.
func holdWhole(t *testing.T, p *process, entry string, f *check.Follower) {
	t.Helper()
	a := f.Audit(nil)
	t.Logf("%d pictures in %s and %d frames of sound in %s are stored", a.Video.Stored, codecOf(f, media.Video), a.Audio.Stored, codecOf(f, media.Audio))
	if a.Video.JoinGap != 0 || a.Audio.JoinGap != 0 {
		t.Errorf("pictures have a gap or overlap of %d ticks, sound one of %d", a.Video.JoinGap, a.Audio.JoinGap)
	}
	for path, r := range f.Renditions {
		if slices.ContainsFunc(r.Items[1:], func(i check.Item) bool { return i.Gap || i.Discontinuity }) {
			t.Errorf("%s has a gap or a discontinuity", path)
		}
	}
	decodeStored(t, p, entry)
}

// holdNamed holds that an entry's playlist names the codecs and the pictures' size.
func holdNamed(t *testing.T, p *process, entry, codecs, size string) {
	t.Helper()
	text := p.get(t.Context(), p.playlist(entry))
	if !regexp.MustCompile(`CODECS="`+codecs+`"`).MatchString(text) || !strings.Contains(text, "RESOLUTION="+size) {
		t.Errorf("the playlist lacks %s or %s:\n%s", codecs, size, text)
	}
}

// startOpus is start with a control plane that passes Opus through.
func startOpus(t *testing.T, env ...string) *process {
	t.Helper()
	api := start(t, "KLIVE_RTMP_LISTEN=", "KLIVE_SRT_LISTEN=")
	return start(t, append(env, "KLIVE_RECORDING_ENABLED=false",
		"KLIVE_KALTURA_URL="+opusThrough(t, api.admin), "KLIVE_KALTURA_PARTNER_ID=102", "KLIVE_KALTURA_SECRET="+controlSecret)...)
}

// waitListed waits until the demo entry's playlist lists what players buffer at the start.
func waitListed(t *testing.T, p *process) {
	t.Helper()
	p.wait(t, time.Minute, "three segments", func() bool {
		return strings.Count(p.get(t.Context(), "http://"+p.http+"/kLive/0_demolive_32/v.m3u8"), "#EXTINF") >= 3
	})
}

// holdPlayed plays the demo entry in Chromium for a while.
func holdPlayed(t *testing.T, p *process) {
	t.Helper()
	w := watch(t, p, false, 20*time.Second)
	if len(w.Stats.Errors)+len(w.Stats.Fatal) > 0 || w.Stats.Decoded < 10*fps || w.Stats.Width != 640 {
		t.Errorf("Chromium: %+v", w.Stats)
	}
}
