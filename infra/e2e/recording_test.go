package e2e

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"sort"
	"strconv"
	"strings"
	"testing"
	"time"

	"klive/infra/admin"
	"klive/infra/check"
	"klive/infra/check/fault"
	"klive/infra/media"
	"klive/infra/publisher"
)

// recorded is what the admin listener says of recordings.
type recorded struct {
	Recordings []admin.Recording `json:"recordings"`
	VODs       []admin.VOD       `json:"vods"`
}

// recordings asks an admin listener; it is nil while that does not answer.
func recordings(client *http.Client, address, token string) *recorded {
	req, err := http.NewRequest(http.MethodGet, "http://"+address+"/v1/recordings", nil)
	if err != nil {
		return nil
	}
	req.Header.Set("Authorization", "Bearer "+token)
	res, err := client.Do(req)
	if err != nil {
		return nil
	}
	defer res.Body.Close()
	var r recorded
	if res.StatusCode != http.StatusOK || json.NewDecoder(res.Body).Decode(&r) != nil {
		return nil
	}
	// In the order of their numbers, asset by asset.
	number := func(f string) int { n, _ := strconv.Atoi(f[strings.LastIndexByte(f, '_')+1:]); return n }
	sort.Slice(r.Recordings, func(i, j int) bool {
		a, b := &r.Recordings[i], &r.Recordings[j]
		if a.Asset != b.Asset {
			return a.Asset < b.Asset
		}
		return number(a.File) < number(b.File)
	})
	return &r
}

// of leaves what is one entry's.
func (r *recorded) of(entry string) *recorded {
	if r == nil {
		return nil
	}
	r.Recordings = slices.DeleteFunc(r.Recordings, func(f admin.Recording) bool { return f.Entry != entry })
	r.VODs = slices.DeleteFunc(r.VODs, func(v admin.VOD) bool { return v.Entry != entry })
	return r
}

// over says whether the broadcast is recorded to its end and the VOD holds all of it. A file that an
// operator skips is one that the VOD has.
func (r *recorded) over() bool {
	if r == nil || len(r.Recordings) == 0 || len(r.VODs) != 1 || len(r.VODs[0].Flavors) == 0 {
		return false
	}
	ended := map[string]bool{}
	for i := range r.Recordings {
		f := &r.Recordings[i]
		if byHand := f.State == "skipped" && f.Reason == "an operator skipped it"; f.State != "confirmed" && !byHand {
			return false
		}
		ended[f.Asset] = f.Last // in the order of their numbers
	}
	for _, last := range ended {
		if !last {
			return false
		}
	}
	joined := 0
	for _, f := range r.VODs[0].Flavors {
		joined += f.Files
	}
	return joined == len(r.Recordings)
}

// packetsOf reads the frames of an MP4 by ffprobe's word on where they lie.
func packetsOf(t testing.TB, path string) (video, audio []uint64, moovFirst bool) {
	t.Helper()
	return packetsIn(t, path, "")
}

// packetsIn reads those of one kind of stream, "v" or "a"; of both when it is empty.
func packetsIn(t testing.TB, path, streams string) (video, audio []uint64, moovFirst bool) {
	t.Helper()
	file, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	moovFirst = strings.Index(string(file), "moov") < strings.Index(string(file), "mdat")
	args := []string{"-v", "error", "-of", "json", "-show_entries", "packet=codec_type,pos,size"}
	if streams != "" {
		args = append(args, "-select_streams", streams)
	}
	out, err := exec.Command(ffprobe(t), append(args, path)...).Output()
	if err != nil {
		t.Fatalf("ffprobe %s: %v", path, err)
	}
	var p struct {
		Packets []struct {
			Kind string `json:"codec_type"`
			Pos  int64  `json:"pos,string"`
			Size int64  `json:"size,string"`
		}
	}
	if err := json.Unmarshal(out, &p); err != nil {
		t.Fatal(err)
	}
	for _, k := range p.Packets {
		unit := file[k.Pos : k.Pos+k.Size]
		if k.Kind == "video" {
			n, ok := publisher.ReadMarkH264(unit)
			if !ok {
				t.Fatalf("%s holds a picture without a number", path)
			}
			video = append(video, n)
		} else {
			n, ok := publisher.ReadMarkAAC(unit)
			if !ok {
				t.Fatalf("%s holds a sound without a number", path)
			}
			audio = append(audio, n)
		}
	}
	return video, audio, moovFirst
}

// auditFiles holds that files hold each frame that was sent once and in order. Of the lost ones
// unexcused returns those that should not be missing; when it is nil, none may be.
func auditFiles(t testing.TB, paths []string, sent []check.Sent, unexcused func(kind media.Kind, lost []uint64) []uint64) (pictures int) {
	t.Helper()
	got := map[media.Kind][]uint64{}
	for _, path := range paths {
		v, a, first := packetsOf(t, path)
		if !first {
			t.Errorf("%s: the moov is not in front", path)
		}
		got[media.Video], got[media.Audio] = append(got[media.Video], v...), append(got[media.Audio], a...)
	}
	for kind, list := range got {
		for i := 1; i < len(list); i++ {
			if list[i] <= list[i-1] {
				t.Errorf("%v %d stands behind %d", kind, list[i], list[i-1])
			}
		}
		have := map[uint64]bool{}
		for _, n := range list {
			have[n] = true
		}
		var lost []uint64
		for _, s := range sent {
			if s.Kind == kind && !have[s.Number] {
				lost = append(lost, s.Number)
			}
		}
		if unexcused != nil {
			lost = unexcused(kind, lost)
		}
		if len(lost) > 0 {
			t.Errorf("%d of %d %v frames are missing, the first is %d", len(lost), len(list), kind, lost[0])
		}
		t.Logf("%v: %d frames in %d files, each once", kind, len(list), len(paths))
	}
	return len(got[media.Video])
}

// TestRecordingBecomesVOD records a broadcast with the default strategy and asks for each of its
// frames in the appended files, and for its pictures in the control plane's VOD.
func TestRecordingBecomesVOD(t *testing.T) {
	ffmpeg(t)
	beside(t)
	segment := length(time.Minute, 5*time.Second)
	p := start(t, append([]string{"KLIVE_BROADCAST_RESUME=2s", "KLIVE_RECORDING_SEGMENT=" + segment.String(), "KLIVE_RECORDING_SCAN=1s", "KLIVE_CONTROL_SWEEP=1s"}, shortSegments...)...)
	run := length(6*time.Minute, 15*time.Second)
	f := publish(t, p.demo(), demoClip(t, publisher.Synthetic{GOP: 2 * time.Second, BFrames: 2}), run)
	if err := f.wait(); err != nil {
		t.Fatal(err)
	}
	var r *recorded
	p.wait(t, 60*time.Second, "the recording to be joined", func() bool { r = recordings(p.client, p.admin, ""); return r.over() })
	var paths []string
	var sum float64
	for n, file := range r.Recordings {
		if want := fmt.Sprintf("%s.0_%d", file.Asset, n); file.File != want || file.Last != (n == len(r.Recordings)-1) {
			t.Errorf("file %d is %+v", n, file)
		}
		sum += file.Duration
		paths = append(paths, filepath.Join(p.dir, "data", "store", "objects", file.Key))
	}
	if want := max(3, int(run/segment)); len(paths) < want-1 || len(paths) > want+1 {
		t.Errorf("%d files of %v in %v", len(paths), segment, run)
	}
	pictures := auditFiles(t, paths, f.sent, nil)
	if d := sum - run.Seconds(); d > 0.2 || d < -0.2 {
		t.Errorf("the files last %v s, want %v", sum, run)
	}
	vod := p.fetch(t, r.VODs[0].Flavors[0].Path)
	joined, _, first := packetsOf(t, vod)
	if !first || len(joined) != pictures || !slices.IsSorted(joined) {
		t.Errorf("the VOD has %d pictures, the files %d", len(joined), pictures)
	}
	if e := p.liveEntry(t); e.RecordedEntryID != r.VODs[0].ID || e.MsDuration < int64(sum*1000)-int64(len(paths)) || e.LastElapsed != e.MsDuration {
		t.Errorf("the live entry says %+v, the files last %v s", e, sum)
	}
	t.Logf("%v in %d files, VOD %s with %d pictures", run, len(paths), r.VODs[0].ID, len(joined))
}

// TestRecordingIsSplit asks for a split on the admin listener, lets the encoder come back once,
// and another take over: one VOD, and every frame in it.
func TestRecordingIsSplit(t *testing.T) {
	ffmpeg(t)
	beside(t)
	p := start(t, "KLIVE_BROADCAST_RESUME=4s", "KLIVE_SEGMENT_DURATION=1s", "KLIVE_HLS_WINDOW=20", "KLIVE_RECORDING_SCAN=1s", "KLIVE_CONTROL_SWEEP=1s")
	clip := demoClip(t, publisher.Synthetic{GOP: time.Second, BFrames: 2})
	var sent int
	play := func(url string, d time.Duration) {
		t.Helper()
		f := publish(t, url, clip, d)
		if err := f.wait(); err != nil {
			t.Fatal(err)
		}
		for _, s := range f.sent {
			if s.Kind == media.Video {
				sent++
			}
		}
	}
	f := publish(t, p.demo(), clip, 8*time.Second)
	p.wait(t, 30*time.Second, "the recording to begin", func() bool { return len(p.log.with("msg=recording")) > 0 })
	time.Sleep(2 * time.Second)
	res, err := p.client.Post("http://"+p.admin+"/v1/recordings/0_demolive/split", "application/json", nil)
	if err != nil {
		t.Fatal(err)
	}
	if res.Body.Close(); res.StatusCode != http.StatusOK {
		t.Fatal(res.Status)
	}
	if err := f.wait(); err != nil {
		t.Fatal(err)
	}
	for _, s := range f.sent {
		if s.Kind == media.Video {
			sent++
		}
	}
	play(p.demo(), 4*time.Second)                                   // it comes back
	play(strings.Replace(p.demo(), "i=0", "i=1", 1), 4*time.Second) // and the backup follows
	var r *recorded
	p.wait(t, 60*time.Second, "the recording to be joined", func() bool { r = recordings(p.client, p.admin, ""); return r.over() })
	var pictures int
	for _, file := range r.Recordings {
		v, _, _ := packetsOf(t, filepath.Join(p.dir, "data", "store", "objects", file.Key))
		pictures += len(v)
	}
	joined, _, _ := packetsOf(t, p.fetch(t, r.VODs[0].Flavors[0].Path))
	t.Logf("%d files, %d pictures were sent, %d are in the files, %d in the VOD", len(r.Recordings), sent, pictures, len(joined))
	if len(r.Recordings) != 2 || !slices.ContainsFunc(r.Recordings, func(f admin.Recording) bool { return f.Last }) {
		t.Errorf("%d files, want two: %+v", len(r.Recordings), r.Recordings)
	}
	// What the backup sends that lies before the end of what viewers have seen is left out by the
	// timeline, a keyframe interval at most.
	if pictures > sent || pictures < sent-30 || len(joined) != pictures {
		t.Errorf("%d pictures were sent, %d are in the files, %d in the VOD", sent, pictures, len(joined))
	}
}

// TestRecordingOfTheBackup records, beside what viewers see, what the backup encoder sends: every
// frame of it, under index 1.
func TestRecordingOfTheBackup(t *testing.T) {
	if !proving() {
		t.Skip("SKIP: only at its stated length; workers/recorder has it in virtual time")
	}
	ffmpeg(t)
	p := start(t, "KLIVE_BROADCAST_RESUME=2s", "KLIVE_SEGMENT_DURATION=1s", "KLIVE_HLS_WINDOW=20", "KLIVE_RECORDING_SEGMENT=5s", "KLIVE_RECORDING_SCAN=1s",
		"KLIVE_RECORDING_BACKUP=true", "KLIVE_CONTROL_SWEEP=1s")
	clip := demoClip(t, publisher.Synthetic{GOP: time.Second, BFrames: 2})
	primary := publish(t, p.demo(), clip, length(time.Minute, 7*time.Second))
	backup := publish(t, strings.Replace(p.demo(), "i=0", "i=1", 1), clip, length(time.Minute, 7*time.Second))
	if err := errors.Join(primary.wait(), backup.wait()); err != nil {
		t.Fatal(err)
	}
	var paths [2][]string
	p.wait(t, 60*time.Second, "both recordings to be appended", func() bool {
		r := recordings(p.client, p.admin, "")
		if r == nil {
			return false
		}
		var ended [2]bool
		paths = [2][]string{}
		for _, f := range r.Recordings {
			if f.State != "confirmed" {
				return false
			}
			ended[f.Index] = ended[f.Index] || f.Last
			paths[f.Index] = append(paths[f.Index], filepath.Join(p.dir, "data", "store", "objects", f.Key))
		}
		return ended[0] && ended[1]
	})
	for i, f := range []*feed{primary, backup} {
		auditFiles(t, paths[i], f.sent, nil)
	}
}

// fetch gets what the admin listener serves and returns the name of a file with it.
func (p *process) fetch(t testing.TB, path string) string {
	t.Helper()
	return fetchVOD(t, p.client, p.admin, "", path)
}

func fetchVOD(t testing.TB, client *http.Client, address, token, path string) string {
	t.Helper()
	req, err := http.NewRequest(http.MethodGet, "http://"+address+path, nil)
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Authorization", "Bearer "+token)
	res, err := client.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	b, err := io.ReadAll(res.Body)
	if err != nil || res.StatusCode != http.StatusOK {
		t.Fatalf("%s: %s %v", path, res.Status, err)
	}
	name := filepath.Join(t.TempDir(), "vod.mp4")
	if err := os.WriteFile(name, b, 0o600); err != nil {
		t.Fatal(err)
	}
	return name
}

// liveFacts is what the API says of the demo entry's recording.
type liveFacts struct {
	RecordedEntryID string `json:"recordedEntryId"`
	MsDuration      int64  `json:"msDuration"`
	LastElapsed     int64  `json:"lastElapsedRecordingTime"`
}

func (p *process) liveEntry(t testing.TB) (e liveFacts) {
	t.Helper()
	plane := controlPlane{p.client, p.admin}
	var ks string
	plane.api(t, "session", "start", map[string][]string{"secret": {controlSecret}, "type": {"2"}, "partnerId": {"102"}}, &ks)
	plane.api(t, "liveStream", "get", map[string][]string{"ks": {ks}, "entryId": {"0_demolive"}}, &e)
	return e
}

// TestRecordingStrategies records once for each way in which Kaltura may get at the files: from a
// folder that its servers share, from addresses, from a bucket by its name and by signed addresses.
func TestRecordingStrategies(t *testing.T) {
	beside(t)
	ffmpeg(t)
	for _, c := range []struct {
		name, strategy string
		bucket         bool
	}{{"path", "serverFile", false}, {"address", "url", false}, {"s3 path", "serverFile", true}, {"signed address", "url", true}} {
		t.Run(c.name, func(t *testing.T) {
			beside(t)
			var p *process
			settings := []string{"KLIVE_BROADCAST_RESUME=1s", "KLIVE_SEGMENT_DURATION=1s", "KLIVE_HLS_WINDOW=20", "KLIVE_RECORDING_SEGMENT=5s", "KLIVE_RECORDING_SCAN=1s",
				"KLIVE_RECORDING_STRATEGY=" + c.strategy, "KLIVE_CONTROL_ACCEPT_URL_RESOURCE=true", "KLIVE_CONTROL_SWEEP=1s"}
			switch {
			case c.bucket:
				settings = append(settings, bucketSettings(t)...)
			case c.strategy == "url":
				files := &fileHost{dir: func() string { return filepath.Join(p.dir, "data", "store", "objects") }}
				settings = append(settings, "KLIVE_RECORDING_ADDRESS="+files.start(t)+"/{key}")
			}
			p = start(t, settings...)
			f := publish(t, p.demo(), demoClip(t, publisher.Synthetic{GOP: time.Second, BFrames: 2}), length(30*time.Second, 7*time.Second))
			if err := f.wait(); err != nil {
				t.Fatal(err)
			}
			var r *recorded
			p.wait(t, 60*time.Second, "the recording to be joined", func() bool { r = recordings(p.client, p.admin, ""); return r.over() })
			sent := 0
			for _, s := range f.sent {
				if s.Kind == media.Video {
					sent++
				}
			}
			if joined, _, _ := packetsOf(t, p.fetch(t, r.VODs[0].Flavors[0].Path)); len(joined) != sent || len(r.Recordings) < 2 {
				t.Errorf("the VOD has %d pictures of %d files, want %d", len(joined), len(r.Recordings), sent)
			}
			t.Logf("%s: %d files, %d pictures", c.name, len(r.Recordings), sent)
		})
	}
}

// bucketSettings start an S3 server and are the settings that have klive store there.
func bucketSettings(t *testing.T) []string {
	t.Helper()
	c := newCluster(t, shape{})
	c.startStore()
	return []string{"AWS_ACCESS_KEY_ID=" + s3Key, "AWS_SECRET_ACCESS_KEY=" + s3Secret, "AWS_EC2_METADATA_DISABLED=true",
		"KLIVE_STORAGE_URL=s3://" + bucket + "/klive?region=us-east-1&pathStyle=true&endpoint=http://" + c.storeAddr}
}

// fileHost serves a folder's files.
type fileHost struct{ dir func() string }

func (h *fileHost) start(t testing.TB) string {
	t.Helper()
	address := fault.Ports(t, 1)[0]
	s := &http.Server{Addr: address, Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		http.ServeFile(w, r, filepath.Join(h.dir(), filepath.Clean(r.URL.Path)))
	})}
	ended := make(chan struct{})
	go func() { defer close(ended); _ = s.ListenAndServe() }()
	t.Cleanup(func() { s.Close(); <-ended })
	return "http://" + address
}
