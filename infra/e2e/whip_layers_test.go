package e2e

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"klive/infra/check"
	"klive/infra/check/fault"
	"klive/infra/media"
	"klive/infra/publisher"
)

// TestWHIPLayers publishes three layers over WebRTC to an entry whose profile takes three bitrates: one
// multivariant playlist offers them all, and their segments begin together.
func TestWHIPLayers(t *testing.T) {
	beside(t)
	p := start(t, "KLIVE_BROADCAST_RESUME=2s", "KLIVE_SEGMENT_DURATION=1s")
	e := p.addEntries(t, 1)[0]
	var clips []*publisher.Clip
	for _, b := range slices.Backward(bitrates) { // browsers begin with the smallest
		clips = append(clips, demoClip(t, publisher.Synthetic{Width: b.width, Height: b.height, GOP: time.Second, RepeatSets: true}))
	}
	w, err := publisher.DialWHIP(t.Context(), publisher.WHIPConfig{
		URL: "http://" + p.http + "/whip/" + e.ID + "_1?p=102&i=0", Token: e.Token, Client: p.client, NoAudio: true, Layers: []string{"q", "h", "f"},
	})
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		if err := w.Play(t.Context(), publisher.WHIPPlay{Layers: clips, Limit: length(30*time.Second, 9*time.Second)}); err != nil {
			t.Error(err)
		}
		if err := w.Close(context.Background()); err != nil {
			t.Error(err)
		}
	}()
	f := follow(t, p, e.ID, done)
	holdLayers(t, f, e.ID, bitrates[0].width, bitrates[1].width, bitrates[2].width)
	startTogether(t, f, time.Second/fps)
}

// holdLayers holds that the bitrates of an entry, from the first one on, have pictures of these widths.
func holdLayers(t *testing.T, f *check.Follower, entry string, widths ...int) {
	t.Helper()
	for i, want := range widths {
		r := f.Renditions[fmt.Sprintf("/kLive/%s_%d/v.m3u8", entry, []int{32, 36, 37}[i])]
		if r == nil {
			t.Errorf("nothing of bitrate %d is stored", i+1)
			continue
		}
		var v media.VideoParams
		for _, item := range r.Items { // at the end there may be none: a browser stops what its network does not carry
			if p, ok := item.Params.(media.VideoParams); ok {
				v = p
			}
		}
		if v == nil {
			t.Errorf("of bitrate %d there is no picture", i+1)
			continue
		}
		if width, height := v.Size(); width != want {
			t.Errorf("bitrate %d has pictures of %d×%d, want a width of %d", i+1, width, height, want)
		}
	}
}

// TestBrowserPublishesLayers has Chromium publish a canvas in three sizes at a time, through a network that loses packets: all are
// taken, in H264, each with its repeats, and become the bitrates of the entry.
func TestBrowserPublishesLayers(t *testing.T) {
	if !proving() {
		t.Skip("SKIP: a browser that encodes three sizes needs a quiet machine; make prove PROVE=TestBrowserPublishesLayers")
	}
	p := start(t, "KLIVE_BROADCAST_RESUME=2s", "KLIVE_SEGMENT_DURATION=1s", "KLIVE_WHIP_KEYFRAME=1s", "KLIVE_RECORDING_ENABLED=false")
	weather := fault.Weather{Delay: 10 * time.Millisecond, Jitter: 2 * time.Millisecond, Loss: 0.01}
	relay := fault.NewDatagramRelay(t, p.webrtc, weather, fault.Weather{Delay: 10 * time.Millisecond})
	saw, f := publishInChromium(t, p, "0_demolive", "publish-layers.mjs", "http://"+p.admin+"/", "http://"+p.http+"/whip/0_demolive_1?p=102&i=0", "demo1234",
		relay.Addr(), "30")
	for _, want := range []string{"a=simulcast:recv q;h;f", "H264/90000", "rtx/90000", "a=rid:q recv"} {
		if !strings.Contains(saw.Answer, want) {
			t.Errorf("the answer lacks %s:\n%s", want, saw.Answer)
		}
	}
	nacks, repeats := 0, 0
	for _, l := range saw.Layers {
		t.Logf("%+v", l)
		if l.Frames == 0 || !l.Repeating {
			t.Errorf("of layer %s: %+v", l.RID, l)
		}
		nacks, repeats = nacks+l.NACKs, repeats+l.Repeats
	}
	if len(saw.Layers) != 3 || nacks == 0 || repeats == 0 {
		t.Errorf("%d layers, %d packets were asked for again and %d sent again", len(saw.Layers), nacks, repeats)
	}
	repeated, dropped := p.metric(t, `klive_whip_packets_total{kind="retransmitted"}`), p.metric(t, `klive_whip_packets_total{kind="dropped"}`)
	if t.Logf("%d packets came again, %d never did", repeated, dropped); repeated == 0 || dropped > 1+repeated/5 {
		t.Error("repeats don't arrive")
	}
	holdLayers(t, f, "0_demolive", 1280, 640, 320)
	startTogether(t, f, time.Second/15)
}
