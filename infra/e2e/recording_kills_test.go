package e2e

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"klive/infra/admin"
	"klive/infra/check"
	"klive/infra/check/fault"
)

// forgetful stands before the API. It lets each call through, and of the appends that the API
// has carried out it drops the answer to the first and to every second behind it. It knows what was appended.
type forgetful struct {
	mu       sync.Mutex // guards the fields below
	appended []string   // "<asset> <what is appended>", in the order of their answers
	dropped  int
	calm     bool // nothing more is dropped, once anything was
}

func (f *forgetful) start(t testing.TB, api string) (address string) {
	t.Helper()
	target, err := url.Parse("http://" + api)
	if err != nil {
		t.Fatal(err)
	}
	proxy := &httputil.ReverseProxy{
		Rewrite:   func(r *httputil.ProxyRequest) { r.SetURL(target) },
		Transport: &http.Transport{DisableKeepAlives: true},
		ErrorHandler: func(http.ResponseWriter, *http.Request, error) {
			panic(http.ErrAbortHandler) // as the dead API does
		},
		ModifyResponse: func(r *http.Response) error {
			form, ok := r.Request.Context().Value(f).(url.Values)
			if !ok {
				return nil
			}
			body, err := io.ReadAll(r.Body)
			if err != nil {
				return err
			}
			r.Body = io.NopCloser(bytes.NewReader(body))
			if f.drops(form, body) {
				return io.ErrUnexpectedEOF
			}
			return nil
		},
	}
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if strings.Contains(r.URL.RequestURI(), "appendRecording") {
			body, _ := io.ReadAll(r.Body)
			form, _ := url.ParseQuery(string(body))
			r.Body = io.NopCloser(bytes.NewReader(body))
			r = r.WithContext(context.WithValue(r.Context(), f, form))
		}
		proxy.ServeHTTP(w, r)
	}))
	t.Cleanup(s.Close)
	return strings.TrimPrefix(s.URL, "http://")
}

// drops notes what an append was answered and says whether the answer gets lost.
func (f *forgetful) drops(form url.Values, answer []byte) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	var no struct{ Code string }
	if json.Unmarshal(answer, &no) == nil && no.Code != "" {
		return false
	}
	f.appended = append(f.appended, form.Get("assetId")+" "+form.Get("resource:localFilePath")+form.Get("resource:token"))
	if f.calm && f.dropped > 0 || len(f.appended)%2 == 0 {
		return false
	}
	f.dropped++
	return true
}

// of are the files that the API has appended to an asset.
func (f *forgetful) of(asset string) (out []string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, a := range f.appended {
		if name, ok := strings.CutPrefix(a, asset+" "); ok {
			out = append(out, name)
		}
	}
	return out
}

func (f *forgetful) rest() {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.calm = true
}

func (f *forgetful) lost() int {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.dropped
}

// TestRecordingSurvivesKills kills the owner and the API in turn while a broadcast is recorded,
// and drops every second answer to an append that the API has carried out. With upload tokens each file is appended once, in
// order, none missing, and every frame that was kept is in one. With files that Kaltura reads from
// the bucket the same holds for the anchor; of other assets what nobody can know waits for an
// operator, and nothing is doubled.
func TestRecordingSurvivesKills(t *testing.T) {
	beside(t)
	ffmpeg(t)
	for _, strategy := range []string{"uploadToken", "serverFile"} {
		t.Run(strategy, func(t *testing.T) {
			if strategy != "uploadToken" && !proving() {
				t.Skip("SKIP: only at its stated length; workers/recorder has it in virtual time")
			}
			beside(t)
			surviveKills(t, strategy)
		})
	}
}

func surviveKills(t *testing.T, strategy string) {
	f := &forgetful{}
	api := fault.Ports(t, 1)[0]
	front := "kaltura.url=http://" + f.start(t, api)
	c := startCluster(t, shape{
		buses: 1, gateways: 1, workers: 2, origins: 1,
		settings: append(slices.Clone(clusterSegments), "broadcast.resume=4s", "recording.segment="+length(time.Minute, 5*time.Second).String(),
			"recording.scan=1s", "recording.retry=1s", "recording.unknown=3s", "recording.strategy="+strategy, "control.sweep=1s", "transcode.preset="+lightPreset()),
		of: map[string][]string{"worker-1": {front}, "worker-2": {front}},
		admin: func(name string) string {
			if name == "control" {
				return api
			}
			return ""
		},
	})
	// At its stated length the entry has a ladder, for which pictures must be true.
	e, encoder := demo, (*check.Light)(nil)
	if proving() {
		c.launch("transcoder", "worker", "--roles", "transcode").WaitReady()
		e = controlPlane{c.client, api}.addRecorded(t)
		var err error
		if encoder, err = check.StartLight(check.LightConfig{Clip: x264Clip(t), URLs: []string{c.gateways[0].ingest(e, 0)}}); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(encoder.Stop)
	} else {
		encoder = lightEncoder(t, c.gateways[0].ingest(e, 0))
	}
	eventually(t, time.Minute, "the entry's owner", func() error {
		if c.owner(e.ID) == nil {
			return errSilent
		}
		return nil
	})
	for i := range length(36, 4) {
		time.Sleep(length(10*time.Second, 3*time.Second))
		victim := c.control
		if i%2 == 0 {
			victim = c.owner(e.ID)
		}
		victim.Kill()
		victim.Relaunch()
		victim.WaitReady()
	}
	time.Sleep(3 * time.Second)
	encoder.Stop()
	f.rest()
	parked := 0
	var r *recorded
	eventually(t, length(15*time.Minute, 3*time.Minute), "the recording to be over", func() error {
		if r = recordings(c.client, c.control.admin, adminToken); !r.over() {
			parked += decideParked(t, c, f, e, r)
			return fmt.Errorf("%+v", r)
		}
		return nil
	})
	if strategy == "uploadToken" && parked > 0 {
		t.Errorf("%d files waited for an operator", parked)
	}
	c.holdOnce(t, f, e, r, encoder.Sent())
	t.Logf("%s: %d files, %d answers dropped, %d files decided by an operator", strategy, len(r.Recordings), f.lost(), parked)
	if f.lost() == 0 {
		t.Error("no answer was dropped")
	}
}

// decideParked does with files that wait for an operator what one does who looks whether the VOD
// has them, and returns how many there were.
func decideParked(t *testing.T, c *cluster, f *forgetful, e entry, r *recorded) (n int) {
	t.Helper()
	if r == nil {
		return 0
	}
	for i := range r.Recordings {
		x := &r.Recordings[i]
		if x.State != "parked" {
			continue
		}
		if x.Rendition == e.ID+"_32" || !strings.Contains(x.Reason, "not known") {
			t.Fatalf("%s waits for an operator: %s", x.File, x.Reason)
		}
		kind := "retry"
		if slices.ContainsFunc(f.of(x.Asset), func(name string) bool { return strings.HasSuffix(name, x.Key) }) {
			kind = "skip"
		}
		req, err := http.NewRequest(http.MethodPost, "http://"+c.control.admin+"/v1/recordings/"+e.ID+"/"+kind, strings.NewReader(`{"file":"`+x.File+`"}`))
		if err != nil {
			t.Fatal(err)
		}
		req.Header.Set("Authorization", "Bearer "+adminToken)
		req.Header.Set("Content-Type", "application/json")
		if res, err := c.client.Do(req); err == nil {
			res.Body.Close()
		}
		n++
	}
	if n > 0 {
		time.Sleep(2 * time.Second) // until the recorder has obeyed
	}
	return n
}

// holdOnce holds that each file was appended once and in order, and each frame is in one.
func (c *cluster) holdOnce(t *testing.T, f *forgetful, e entry, r *recorded, sent []check.Sent) {
	t.Helper()
	byAsset := map[string][]admin.Recording{}
	for _, x := range r.Recordings {
		byAsset[x.Asset] = append(byAsset[x.Asset], x)
	}
	for asset, list := range byAsset {
		done := f.of(asset)
		for n, x := range list {
			if want := fmt.Sprintf("%s.0_%d", asset, n); x.File != want || x.Last != (n == len(list)-1) || x.Lost > 0 {
				t.Errorf("file %d is %+v", n, x)
			}
			if n < len(done) && strings.Contains(done[n], "/") && !strings.HasSuffix(done[n], x.Key) {
				t.Errorf("append %d of %s is of %s", n, asset, done[n])
			}
		}
		if len(done) != len(list) || len(slices.Compact(slices.Sorted(slices.Values(done)))) != len(done) {
			t.Errorf("%s has %d files; the API appended %d: %q", asset, len(list), len(done), done)
		}
	}
	if len(byAsset) > 1 {
		auditFlavors(t, r, e.ID, c.recordedFile, sent)
		return
	}
	var paths []string
	for _, x := range r.Recordings {
		paths = append(paths, c.recordedFile(x.Key))
	}
	auditFiles(t, paths, sent, nil)
}

// recordedFile is where a recorded file lies in the bucket's folder.
func (c *cluster) recordedFile(key string) string {
	c.t.Helper()
	path := filepath.Join(c.bucketDir, "klive", key)
	if _, err := os.Stat(path); err != nil {
		c.t.Fatal(err)
	}
	return path
}

// TestRecordingOfChanges records a broadcast that changes on the way: the encoder comes back,
// changes to SRT, the backup takes over, and no transcode worker is there, so that all rungs are
// gaps. It is one VOD with the items of the timeline, and the rungs are made from the source
// once a worker is there.
func TestRecordingOfChanges(t *testing.T) {
	ffmpeg(t)
	beside(t)
	c := startCluster(t, shape{
		buses: 1, gateways: 1, workers: 1, origins: 1,
		settings: append(slices.Clone(clusterSegments), "broadcast.resume=6s", "recording.segment="+length(time.Minute, 30*time.Second).String(),
			"recording.scan=1s", "recording.retry=1s", "control.sweep=1s", "transcode.preset="+lightPreset()),
		of: map[string][]string{"worker-1": {"transcode.encoder=none"}},
	})
	e := controlPlane{c.client, c.control.admin}.addRecorded(t)
	clip := x264Clip(t)
	each := length(40*time.Second, 3*time.Second)
	for range 2 { // the second time it comes back
		f := publish(t, c.gateways[0].ingest(e, 0), clip, each)
		if err := f.wait(); err != nil {
			t.Fatal(err)
		}
	}
	file, _ := transportFile(t, clip, each)
	call := callSRT(t, &process{srt: c.gateways[0].srt}, file, "#:::e="+e.ID+",st=0,p="+e.Token, "")
	backup := publish(t, c.gateways[0].ingest(e, 1), clip, 2*each)
	<-call.done
	if err := backup.wait(); err != nil {
		t.Fatal(err)
	}
	var told *check.Follower
	eventually(t, time.Minute, "the end of the broadcast", func() (err error) {
		if told, err = checkArchive(c.client, c.origins[0].playlist(e.ID, true)); err == nil && !told.Main().Ended {
			err = errSilent
		}
		return err
	})
	c.launch("transcoder", "worker", "--roles", "transcode").WaitReady()
	var r *recorded
	eventually(t, length(20*time.Minute, 6*time.Minute), "the recording to be over", func() error {
		if r = recordings(c.client, c.control.admin, adminToken); !r.over() {
			return fmt.Errorf("%+v", r)
		}
		return nil
	})
	pictures := auditFlavors(t, r, e.ID, c.recordedFile, nil)
	source := told.Renditions["/kLive/"+e.ID+"_32/dvr.m3u8"]
	if source == nil {
		t.Fatal("the source is not in the DVR window")
	}
	want, joins := 0, 0
	var length float64
	for i := range source.Items {
		want += len(source.Items[i].Units)
		length += source.Items[i].Duration.Seconds()
		if source.Items[i].Discontinuity {
			joins++
		}
	}
	files, _ := r.byAsset(e.ID)
	for _, f := range files {
		length -= f.Duration
	}
	remade := len(c.workers[0].Said("segments that were gaps are made again"))
	t.Logf("%d items with %d pictures and %d joins in the timeline; %d pictures in %d files of each flavor; gaps were made again in %d files", len(source.Items), want, joins, pictures, len(files), remade)
	if pictures != want || joins < 2 || length > 0.01*float64(len(files)) || length < -0.01*float64(len(files)) || remade == 0 {
		t.Errorf("the files hold %d pictures and lack %v s", pictures, length)
	}
}
