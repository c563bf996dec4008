package e2e

import (
	"context"
	"strings"
	"testing"
	"time"

	"klive/infra/check"
	"klive/infra/publisher"
)

// TestProtocolChange lets one feed come over RTMP, then SRT, then HTTP, each encoder killed: it
// stays one broadcast in one playlist. A killed and restarted packager goes on as well.
func TestProtocolChange(t *testing.T) {
	beside(t)
	p := start(t, "KLIVE_SEGMENT_DURATION=1s")
	clip := demoClip(t, publisher.Synthetic{GOP: time.Second, BFrames: 2})
	file, _ := transportFile(t, clip, time.Minute)
	movie := movieFile(t, file)
	again, _ := transportFile(t, demoClip(t, publisher.Synthetic{GOP: time.Second, Bitrate: 300_000}), time.Minute)
	again = movieFile(t, again) // what an encoder makes anew is not the same twice
	v, err := check.Watch("serve", p.playlist("0_demolive"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(v.Stop)
	ctx, cancel := context.WithTimeout(t.Context(), 60*time.Second)
	defer cancel()
	e := entry{ID: "0_demolive", Token: "demo1234"}
	var last uint64
	air := func(protocol string, start func() (kill func())) {
		t.Helper()
		kill := start()
		if err := v.WaitFor(ctx, last+2); err != nil {
			t.Fatalf("%s: %v\n%s", protocol, err, p.log)
		}
		kill()
		time.Sleep(500 * time.Millisecond) // what is on its way
		last, _ = v.Last()
	}
	air("rtmp", func() func() {
		f := publish(t, p.demo(), clip, 0)
		return func() { f.pub.Abort(); f.stop() }
	})
	air("srt", func() func() { return callSRT(t, p, file, "#:::e=0_demolive,st=0,p=demo1234", "").kill })
	packagers, feeds := []string{"mpegts", "dash"}, 2
	if proving() {
		packagers, feeds = []string{"mpegts", "hls", "hls", "dash"}, 3 // one that is restarted at once goes on in its feed
	}
	for i, name := range packagers {
		air(name, func() func() { return pushFile(t, p.http, []string{movie, again}[i%2], pushLines[name], e).kill })
	}
	v.Stop()
	if n := len(p.log.with("the broadcast begins")); n != 1 {
		t.Errorf("%d broadcasts began", n)
	}
	for protocol, n := range map[string]int{"rtmp": 1, "srt": 1, "push": feeds} {
		if got := len(p.log.with("on the air", "protocol="+protocol)); got != n {
			t.Errorf("%d feeds were on the air over %s, want %d\n%s", got, protocol, n, p.log)
		}
	}
	if err := v.Err(); err != nil {
		t.Error(err)
	}
	if failures := v.Failures(); len(failures) > 0 {
		t.Errorf("the viewer met %v", failures)
	}
	if dvr := p.get(t.Context(), strings.Replace(p.playlist("0_demolive"), "smil:0_demolive_all.smil/playlist.m3u8", "0_demolive_32/dvr.m3u8", 1)); strings.Contains(dvr, "ENDLIST") || strings.Count(dvr, "#EXT-X-DISCONTINUITY\n") < 1+feeds {
		t.Errorf("the playlist is\n%s", dvr)
	}
}
