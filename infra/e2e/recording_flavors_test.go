package e2e

import (
	"encoding/json"
	"fmt"
	"math"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"klive/infra/admin"
	"klive/infra/check"
)

// addRecorded adds an entry of "Cloud transcode" that is recorded.
func (p controlPlane) addRecorded(t testing.TB) (e entry) {
	t.Helper()
	var ks string
	p.api(t, "session", "start", url.Values{"secret": {controlSecret}, "type": {"2"}, "partnerId": {"102"}}, &ks)
	p.api(t, "liveStream", "add", url.Values{
		"ks": {ks}, "liveStreamEntry:objectType": {"KalturaLiveStreamEntry"}, "liveStreamEntry:name": {"ladder"}, "sourceType": {"32"},
		"liveStreamEntry:conversionProfileId": {cloudTranscode}, "liveStreamEntry:recordStatus": {"1"},
		"liveStreamEntry:dvrStatus": {"1"}, "liveStreamEntry:dvrWindow": {"60"},
	}, &e)
	return e
}

// recordedFlavors is how many live assets "Cloud transcode" has.
const recordedFlavors = 4

// byAsset are the recordings of each live asset, in order, the source's apart.
func (r *recorded) byAsset(entry string) (source []admin.Recording, rungs map[string][]admin.Recording) {
	rungs = map[string][]admin.Recording{}
	for _, f := range r.Recordings {
		if f.Rendition == entry+"_32" {
			source = append(source, f)
		} else {
			rungs[f.Asset] = append(rungs[f.Asset], f)
		}
	}
	return source, rungs
}

// auditFlavors holds the appended files of an entry with a ladder: those of the source hold each
// frame that was sent once and in order, and those of each rung a picture for each of the
// source's, at the same time, and the same sound. Of encoders that count anew on the way, sent is nil.
func auditFlavors(t testing.TB, r *recorded, entry string, path func(key string) string, sent []check.Sent) (pictures int) {
	t.Helper()
	source, rungs := r.byAsset(entry)
	if len(rungs) != recordedFlavors-1 {
		t.Fatalf("%d flavors are recorded, want %d", len(rungs)+1, recordedFlavors)
	}
	var paths []string
	var shown [][]float64
	var heard [][]uint64
	for n, f := range source {
		if f.Last != (n == len(source)-1) || f.Lost > 0 {
			t.Errorf("%+v", f)
		}
		paths = append(paths, path(f.Key))
		shown, heard = append(shown, shownIn(t, paths[n])), append(heard, soundIn(t, paths[n]))
		pictures += len(shown[n])
	}
	if sent != nil {
		auditFiles(t, paths, sent, nil)
	}
	for asset, files := range rungs {
		if len(files) != len(source) {
			t.Errorf("%s has %d files, the source %d", asset, len(files), len(source))
			continue
		}
		for n, f := range files {
			file := path(f.Key)
			got := shownIn(t, file)
			same := slices.EqualFunc(got, shown[n], func(a, b float64) bool { return math.Abs(a-b) < 0.0015 })
			if !same || !slices.Equal(soundIn(t, file), heard[n]) || f.Lost > 0 || f.Last != source[n].Last || f.Duration != source[n].Duration || !moovFirst(t, file) {
				t.Errorf("file %s shows %d pictures in %v s, the source's %d in %v s (%d segments lost, last %v)", f.File, len(got), f.Duration, len(shown[n]), source[n].Duration, f.Lost, f.Last)
			}
		}
		t.Logf("%s: %d files with the source's pictures and sound", asset, len(files))
	}
	return pictures
}

// shownIn is when a file's pictures are shown, in seconds from its beginning, in order.
func shownIn(t testing.TB, path string) (out []float64) {
	t.Helper()
	b, err := exec.Command(ffprobe(t), "-v", "error", "-select_streams", "v", "-of", "csv=p=0", "-show_entries", "packet=pts_time", path).Output()
	if err != nil {
		t.Fatalf("ffprobe %s: %v", path, err)
	}
	for _, line := range strings.Fields(string(b)) {
		at, err := strconv.ParseFloat(strings.Trim(line, ","), 64)
		if err != nil {
			t.Fatal(err)
		}
		out = append(out, at)
	}
	slices.Sort(out)
	return out
}

// soundIn are the numbers of a file's frames of sound.
func soundIn(t testing.TB, path string) []uint64 {
	t.Helper()
	_, audio, _ := packetsIn(t, path, "a")
	return audio
}

func moovFirst(t testing.TB, path string) bool {
	t.Helper()
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return strings.Index(string(b), "moov") < strings.Index(string(b), "mdat")
}

// TestRecordingOfALadder records every flavor of an entry that is transcoded: each frame once in
// each flavor, and a VOD that plays in the console. What was transcoded too late is made again.
func TestRecordingOfALadder(t *testing.T) {
	ffmpeg(t)
	beside(t)
	segment := length(time.Minute, 6*time.Second)
	p := start(t, "KLIVE_BROADCAST_RESUME=2s", "KLIVE_RECORDING_SEGMENT="+segment.String(), "KLIVE_RECORDING_SCAN=1s", "KLIVE_CONTROL_SWEEP=1s", "KLIVE_TRANSCODE_PRESET="+lightPreset())
	e := controlPlane{p.client, p.admin}.addRecorded(t)
	f := publish(t, p.broadcast(e.ID, e.Token), x264Clip(t), length(6*time.Minute, 10*time.Second))
	if err := f.wait(); err != nil {
		t.Fatal(err)
	}
	var r *recorded
	p.wait(t, 5*time.Minute, "the recording to be joined", func() bool { r = recordings(p.client, p.admin, ""); return r.over() })
	objects := func(key string) string { return filepath.Join(p.dir, "data", "store", "objects", key) }
	pictures := auditFlavors(t, r, e.ID, objects, f.sent)
	for _, flavor := range r.VODs[0].Flavors {
		path := p.fetch(t, flavor.Path)
		if n := len(shownIn(t, path)); n != pictures || !moovFirst(t, path) || flavor.Files*recordedFlavors != len(r.Recordings) {
			t.Errorf("the VOD's flavor %d has %d pictures of %d files, want %d", flavor.Params, n, flavor.Files, pictures)
		}
	}
	remade := len(p.log.with("segments that were gaps are made again"))
	t.Logf("%d files, %d pictures in each of %d flavors; in %d files gaps were made again", len(r.Recordings), pictures, len(r.VODs[0].Flavors), remade)
	t.Run("console", func(t *testing.T) { watchVOD(t, p, len(r.VODs[0].Flavors)) })
}

// watchVOD plays each flavor of the recorded entry in the console.
func watchVOD(t *testing.T, p *process, flavors int) {
	t.Helper()
	tool(t, "chromium", "apt-get install chromium")
	node := tool(t, "node", "apt-get install nodejs")
	if _, err := os.Stat("browser/node_modules/playwright-core"); err != nil {
		t.Skip("SKIP: no playwright-core; make setup-test")
	}
	shot := filepath.Join(shots(t), "vod.png")
	cmd := exec.CommandContext(t.Context(), node, "vod.mjs", "http://"+p.admin+"/", fmt.Sprint(length(6*time.Second, 2*time.Second).Seconds()), shot)
	cmd.Dir = "browser"
	var complaints strings.Builder
	cmd.Stderr = &complaints
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("the browser: %v\n%s\n%s", err, out, complaints.String())
	}
	var w struct {
		Flavors []struct {
			Name          string
			Width, Height int
			Decoded       int
			Sound         int     // bytes
			Played        float64 // seconds
			Length        float64
		}
		Errors []string
	}
	if err := json.Unmarshal(out, &w); err != nil {
		t.Fatalf("the browser printed %q: %v", out, err)
	}
	for _, v := range w.Flavors {
		t.Logf("%s: %d×%d, %d pictures decoded in %.1f s of %.1f s, %d bytes of sound", v.Name, v.Width, v.Height, v.Decoded, v.Played, v.Length, v.Sound)
		if v.Width == 0 || v.Decoded < 20 || v.Played < 1 || v.Sound == 0 {
			t.Errorf("%s does not play", v.Name)
		}
	}
	if len(w.Flavors) != flavors || len(w.Errors) > 0 {
		t.Errorf("%d flavors were played, want %d; errors %q", len(w.Flavors), flavors, w.Errors)
	}
}
