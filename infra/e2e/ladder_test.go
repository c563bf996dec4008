package e2e

import (
	"context"
	"fmt"
	"maps"
	"net/http"
	"path"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"klive/infra/bus"
	"klive/infra/bus/bustest"
	"klive/infra/check"
	"klive/infra/media"
	"klive/infra/publisher"
	"klive/workers/transcode/transcodetest"
)

// The renditions of "Cloud transcode", and how many of them are encoded.
const (
	ladderRenditions = 5 // with the sound
	ladderRungs      = 3
)

// TestLadderScenario plays a source with its ladder in virtual time. A dropped connection and
// another picture size are on the way.
func TestLadderScenario(t *testing.T) {
	bustest.Prepare(t)
	synctest.Test(t, func(t *testing.T) {
		s := startServiceWith(t, &check.Scenario{}, func(ctx context.Context, jobs *bus.Queue, ends *bus.Log, m bus.Media) error {
			return (&transcodetest.Worker{Jobs: jobs, Ends: ends, Media: m}).Run(ctx)
		})
		api := &http.Transport{DialContext: s.plane.Dialer("admin.listen"), DisableKeepAlives: true}
		e := controlPlane{&http.Client{Transport: api}, "klive.test"}.addEntriesOf(t, cloudTranscode, 1)[0]
		text := fmt.Sprintf("encoder A rtmp 640x360@30 gop=2s bframes=2 entry=%s token=%s\n", e.ID, e.Token) + `
at 20s drop A 3s
at 40s size A 1280x720
at 70s stop A
run 275s
expect playlist continuous
expect broadcasts 1
expect renditions 5
expect discontinuities 2
expect frames doubled 0
expect frames disordered 0
expect ended
`
		scenario, err := check.ParseScenario(text)
		if err != nil {
			t.Fatal(err)
		}
		out, err := check.RunScenario(t.Context(), scenario, s.system())
		if err != nil {
			t.Fatal(err)
		}
		for _, err := range out.Check(scenario.Expects, nil) {
			t.Error(err)
		}
		sameAsSource(t, out.Follower, e.ID, 0)
		for _, r := range out.Follower.Renditions {
			t.Logf("%d items, ended %v", len(r.Items), r.Ended)
		}
		if t.Failed() {
			showLast(t, out.Follower)
		}
	})
}

// sameAsSource holds each rung against the source, 32: the same items with the same numbers,
// times and discontinuities, the same pictures at the same times, a keyframe first in each
// segment, and segments that join in decode order. gaps is how many a rung may have.
func sameAsSource(t testing.TB, f *check.Follower, entry string, gaps int) {
	t.Helper()
	source := f.Renditions["/kLive/"+entry+"_32/v.m3u8"]
	if source == nil || len(source.Items) < 2 {
		t.Fatalf("the source was not seen; %v", slices.Collect(maps.Keys(f.Renditions)))
	}
	rungs := 0
	for name, r := range f.Renditions {
		id := strings.TrimPrefix(path.Base(path.Dir(name)), entry+"_")
		if id == "32" || strings.HasPrefix(id, "a") {
			continue
		}
		rungs++
		missing := 0
		for i := range source.Items {
			s := &source.Items[i]
			at := slices.IndexFunc(r.Items, func(o check.Item) bool { return o.Seq == s.Seq })
			if at < 0 {
				t.Errorf("rung %s lacks item %d", id, s.Seq)
				continue
			}
			o := &r.Items[at]
			if o.Gap {
				missing++
				continue
			}
			if !o.Time.Equal(s.Time) || o.Duration != s.Duration || o.Discontinuity != s.Discontinuity || o.Broadcast != s.Broadcast {
				t.Errorf("item %d of rung %s is %v at %v, discontinuity %v; the source's %v at %v, %v", s.Seq, id, o.Duration, o.Time, o.Discontinuity, s.Duration, s.Time, s.Discontinuity)
			}
			if !slices.Equal(shownTimes(s.Units), shownTimes(o.Units)) {
				t.Errorf("item %d of rung %s shows %d pictures at other times than the source's %d", s.Seq, id, len(o.Units), len(s.Units))
			}
			if len(o.Units) == 0 || !o.Units[0].Key {
				t.Errorf("item %d of rung %s does not begin with a keyframe", s.Seq, id)
			}
			if at > 0 && !r.Items[at-1].Gap && !o.Discontinuity && len(o.Units) > 0 && r.Items[at-1].Seq == s.Seq-1 {
				last := r.Items[at-1].Units[len(r.Items[at-1].Units)-1]
				if end := last.DTS + int64(last.Duration); end != o.Units[0].DTS {
					t.Errorf("item %d of rung %s is decoded from %d on, the one before to %d", s.Seq, id, o.Units[0].DTS, end)
				}
			}
		}
		if missing > gaps {
			t.Errorf("rung %s has %d gaps in %d items", id, missing, len(source.Items))
		}
	}
	if rungs != ladderRungs {
		t.Errorf("%d rungs, want %d", rungs, ladderRungs)
	}
}

func shownTimes(units []check.Stored) (out []int64) {
	for _, u := range units {
		out = append(out, u.PTS)
	}
	slices.Sort(out)
	return out
}

// latest is how long after its end the latest item of a rung was listed, in target durations.
func latest(f *check.Follower, entry string) (most float64) {
	for name, r := range f.Renditions {
		if !strings.HasPrefix(name, "/kLive/"+entry+"_3") || r.Kind != media.Video {
			continue
		}
		for _, it := range r.Items {
			most = max(most, it.FirstListed.Sub(it.Time.Add(it.Duration)).Seconds()/float64(max(r.Target, 1)))
		}
	}
	return most
}

// TestLadder lets klive make the ladder of "Cloud transcode" with ffmpeg from a real encoder's
// frames: B-frames, 29.97 fps.
func TestLadder(t *testing.T) {
	beside(t)
	ffmpeg(t)
	p := start(t, "KLIVE_BROADCAST_RESUME=3s", "KLIVE_TRANSCODE_PRESET="+lightPreset())
	e := controlPlane{p.client, p.admin}.addEntriesOf(t, cloudTranscode, 1)[0]
	clip := x264Clip(t)
	f := publish(t, fmt.Sprintf("rtmp://%s/kLive/?p=102&e=%s&i=0&t=%s/%s_1", p.rtmp, e.ID, e.Token, e.ID), clip, length(5*time.Minute, 10*time.Second))
	done := make(chan struct{})
	var wg sync.WaitGroup
	wg.Go(func() { f.wait(); close(done) })
	follower := follow(t, p, e.ID, done)
	wg.Wait()
	if f.err != nil {
		t.Fatal(f.err)
	}
	sameAsSource(t, follower, e.ID, 0)
	t.Logf("%d renditions; the latest rung segment was listed %.2f target durations after its end", len(follower.Renditions), latest(follower, e.ID))
	if len(follower.Renditions) != ladderRenditions {
		t.Errorf("%d renditions, want %d", len(follower.Renditions), ladderRenditions)
	}
	var firsts []string
	for _, v := range follower.Versions {
		if strings.Contains(v.Text, "#EXT-X-STREAM-INF") && len(firsts) == 0 {
			firsts = append(firsts, v.Text)
		}
	}
	if len(firsts) == 0 || strings.Count(firsts[0], "#EXT-X-STREAM-INF") != ladderRungs+1 {
		t.Errorf("the first multivariant playlist:\n%s", firsts)
	}
	if t.Failed() {
		showLast(t, follower)
	}
}

// lightPreset keeps short runs beside other tests cheap.
func lightPreset() string {
	if proving() {
		return "veryfast"
	}
	return "ultrafast"
}

// TestLadderWithoutFFmpeg holds what comes of a ladder where ffmpeg is missing: the source plays
// in time, its rungs show gaps, and log and API say why.
func TestLadderWithoutFFmpeg(t *testing.T) {
	beside(t)
	p := start(t, "KLIVE_BROADCAST_RESUME=1s", "KLIVE_TRANSCODE_FFMPEG=/nowhere/ffmpeg", "KLIVE_SEGMENT_DURATION=2s")
	e := controlPlane{p.client, p.admin}.addEntriesOf(t, cloudTranscode, 1)[0]
	f := publish(t, fmt.Sprintf("rtmp://%s/kLive/?p=102&e=%s&i=0&t=%s/%s_1", p.rtmp, e.ID, e.Token, e.ID), demoClip(t, publisher.Synthetic{GOP: time.Second}), 30*time.Second)
	rung := "http://" + p.http + "/kLive/" + e.ID + "_33/v.m3u8"
	p.wait(t, 40*time.Second, "a gap in the rung", func() bool { return strings.Contains(p.get(t.Context(), rung), "#EXT-X-GAP") })
	source := p.get(t.Context(), "http://"+p.http+"/kLive/"+e.ID+"_32/v.m3u8")
	if strings.Count(source, "#EXTINF") < 3 || strings.Contains(source, "GAP") {
		t.Errorf("the source:\n%s", source)
	}
	said := p.get(t.Context(), "http://"+p.admin+"/v1/streams")
	for _, want := range []string{`"rendition":"` + e.ID + `_33"`, `"failed":"`, `"reason":"no transcode worker has made it in time`} {
		if !strings.Contains(said, want) {
			t.Errorf("/v1/streams does not say %s:\n%s", want, said)
		}
	}
	if log := p.log.String(); !strings.Contains(log, "nothing can be transcoded here") || !strings.Contains(log, "transcode.ffmpeg") {
		t.Errorf("the log does not say why:\n%s", log)
	}
	if err := f.stop(); err != nil {
		t.Error(err)
	}
}
