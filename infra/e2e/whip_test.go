package e2e

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"sync"
	"testing"
	"time"

	"klive/infra/check"
	"klive/infra/check/fault"
	"klive/infra/media"
	"klive/infra/publisher"
)

// whipClip is a clip that WebRTC can carry.
func whipClip(t testing.TB, bitrate int) *publisher.Clip {
	return demoClip(t, publisher.Synthetic{GOP: time.Second, RepeatSets: true, Bitrate: bitrate})
}

// dialWHIP connects a publisher of pictures with the HTTP listener at host; via is a relay before
// the media port, or empty. Sound would have to be encoded, which has tests of its own.
func dialWHIP(t testing.TB, client *http.Client, host string, e entry, via string) *publisher.WHIP {
	t.Helper()
	w, err := publisher.DialWHIP(t.Context(), publisher.WHIPConfig{
		URL: "http://" + host + "/whip/" + e.ID + "_1?p=102&i=0", Token: e.Token, Client: client, Via: via, NoAudio: true,
	})
	if err != nil {
		t.Fatal(err)
	}
	return w
}

// pictures are what a publisher over WebRTC has sent.
type pictures struct {
	mu   sync.Mutex // guards the field below
	sent []check.Sent
}

func (p *pictures) note(n uint64, at time.Duration) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.sent = append(p.sent, check.Sent{Kind: media.Video, Number: n, DTS: at, PTS: at})
}

// TestWHIPBadNetwork publishes over WebRTC through a network that loses packets: every stored
// segment decodes, no picture in one depends on a lost packet, and a clean picture follows each
// loss within 2.5 s.
func TestWHIPBadNetwork(t *testing.T) {
	beside(t)
	p := start(t, "KLIVE_BROADCAST_RESUME=2s", "KLIVE_SEGMENT_DURATION=1s")
	clip := whipClip(t, 1_000_000)
	long := length(60*time.Second, 7*time.Second)
	for i, loss := range []float64{0.02, 0.10} {
		e := p.addEntries(t, 2)[i]
		t.Run(fmt.Sprintf("%.0f %% lost", loss*100), func(t *testing.T) {
			t.Parallel()
			clear := fault.Weather{Delay: 20 * time.Millisecond, Jitter: 2 * time.Millisecond}
			relay := fault.NewDatagramRelay(t, p.webrtc, clear, clear)
			w := dialWHIP(t, p.client, p.http, e, relay.Addr())
			bad := clear
			bad.Loss = loss
			relay.Set(bad, bad)
			var sent pictures
			done := make(chan struct{})
			go func() {
				defer close(done)
				if err := w.Play(t.Context(), publisher.WHIPPlay{Clip: clip, Limit: long, Sent: sent.note}); err != nil {
					t.Error(err)
				}
				time.Sleep(time.Second) // what is on its way, and repeats of it
				if err := w.Close(context.Background()); err != nil {
					t.Error(err)
				}
			}()
			follower := follow(t, p, e.ID, done)
			passed, lost := relay.Count()
			t.Logf("%d datagrams came through, %d were lost", passed, lost)
			holdPictures(t, follower, &sent, long)
			decodeStored(t, p, e.ID)
		})
	}
}

// holdPictures holds the numbers in the pictures that were stored against each other: behind a
// hole stands a keyframe, and no hole is longer than 2.5 s.
func holdPictures(t *testing.T, f *check.Follower, sent *pictures, long time.Duration) {
	t.Helper()
	units := f.Kind(media.Video).Units()
	last, longest, holes := -1, 0, 0
	for _, u := range units {
		n := int(u.Number)
		if !u.Marked || n <= last {
			t.Errorf("picture %d (marked: %t) follows %d", n, u.Marked, last)
		}
		if hole := n - last - 1; hole > 0 {
			if last >= 0 {
				holes++
				longest = max(longest, hole)
			}
			if !u.Key {
				t.Errorf("picture %d depends on one that is missing: it follows %d and is no keyframe", n, last)
			}
		}
		last = n
	}
	a := f.Audit(sent.sent)
	t.Logf("%d pictures were sent and %d stored, with %d holes, the longest of %d pictures (%v)", len(sent.sent), len(units), holes, longest,
		time.Duration(longest)*time.Second/30)
	if longest > 75 || len(units) < int(long.Seconds()*30)/2 || a.Video.Tail > 75 {
		t.Errorf("no clean picture within 2.5 s: %v", a)
	}
}

// decodeStored has ffmpeg decode each stored segment of an entry's pictures, and end at the first
// mistake.
func decodeStored(t *testing.T, p *process, entry string) {
	t.Helper()
	inits, err := filepath.Glob(filepath.Join(p.dir, "data", "store", "objects", "kLive", entry+"_*", "*", "init-1.mp4"))
	if err != nil {
		t.Fatal(err)
	}
	decoded := 0
	for _, init := range inits {
		segments, _ := filepath.Glob(filepath.Join(filepath.Dir(init), "*.m4s"))
		slices.Sort(segments)
		var stream bytes.Buffer
		for _, name := range append([]string{init}, segments...) {
			b, err := os.ReadFile(name)
			if err != nil {
				t.Fatal(err)
			}
			stream.Write(b)
		}
		cmd := exec.CommandContext(t.Context(), ffmpeg(t), "-v", "error", "-xerror", "-err_detect", "explode", "-f", "mp4", "-i", "pipe:0", "-f", "null", "-")
		cmd.Stdin = &stream
		if out, err := cmd.CombinedOutput(); err != nil || len(out) > 0 {
			t.Errorf("%s: %v\n%.2000s", filepath.Dir(init), err, out)
		}
		decoded += len(segments)
	}
	if decoded < 6 {
		t.Errorf("%d segments were stored, in %v", decoded, inits)
	}
}

// TestWHIPCluster publishes over WebRTC through a load balancer that brings each request to
// another gateway: an ICE restart and the end reach the one that holds the session.
func TestWHIPCluster(t *testing.T) {
	beside(t)
	c := startCluster(t, shape{buses: 1, gateways: 2, workers: 1, origins: 1, settings: []string{"broadcast.resume=2s", "segment.duration=1s"}})
	balancer := roundRobin(t, c.gateways[0].http, c.gateways[1].http)
	e := controlPlane{&http.Client{Transport: bearer{}}, c.control.admin}.addEntries(t, 1)[0]
	client := &http.Client{Transport: &http.Transport{}}
	defer client.CloseIdleConnections()
	for round := range 2 { // the second begins on the other gateway
		w := dialWHIP(t, client, balancer, e, "")
		ctx, cancel := context.WithCancel(t.Context())
		playing := make(chan error, 1)
		go func() { playing <- w.Play(ctx, publisher.WHIPPlay{Clip: whipClip(t, 0)}) }()
		_, before := w.Session()
		for range 2 { // one of them goes to the gateway that does not hold the session
			if err := w.RestartICE(t.Context()); err != nil {
				t.Errorf("round %d: %v", round, err)
			}
		}
		if _, tag := w.Session(); tag == before {
			t.Errorf("round %d: the entity tag is still %s", round, tag)
		}
		v, err := check.Watch("viewer", c.origins[0].playlist(e.ID, false))
		if err != nil {
			t.Fatal(err)
		}
		eventually(t, 30*time.Second, "pictures at the origin", func() error {
			if v.Audit(nil).Video.Stored < 45 {
				return check.ErrNoPlaylist
			}
			return nil
		})
		v.Stop()
		address, tag := w.Session()
		for range 2 {
			if status, text, err := w.Patch(t.Context(), before, w.Fragment()); err != nil || status != http.StatusPreconditionFailed {
				t.Errorf("round %d: an old tag: %d %s %v", round, status, text, err)
			}
			if status, text, err := w.Patch(t.Context(), tag, w.Fragment()); err != nil || status != http.StatusNoContent {
				t.Errorf("round %d: candidates: %d %s %v", round, status, text, err)
			}
		}
		cancel()
		<-playing
		if err := w.Close(t.Context()); err != nil {
			t.Errorf("round %d: %v", round, err)
		}
		if u, err := url.Parse(address); err != nil || u.Host != balancer {
			t.Errorf("the session's address is %s", address)
		}
		if round == 0 { // an odd number of requests, so that the other gateway begins
			if res, err := client.Get("http://" + balancer + "/healthz"); err == nil {
				_, _ = io.Copy(io.Discard, res.Body)
				res.Body.Close()
			}
		}
	}
}
