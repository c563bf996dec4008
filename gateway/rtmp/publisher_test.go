package rtmp

import (
	"context"
	"errors"
	"net"
	"testing"
	"testing/synctest"
	"time"

	"klive/gateway"
	"klive/infra/media"
	"klive/infra/publisher"
)

// TestLightPublisher publishes two minutes across the wrap of the 32-bit clock, in virtual time.
func TestLightPublisher(t *testing.T) {
	clip, err := publisher.NewSynthetic(publisher.Synthetic{})
	if err != nil {
		t.Fatal(err)
	}
	inBubble(t, nil, func(r *rig) {
		dial := func(context.Context, string, string) (net.Conn, error) { return r.dial(), nil }
		p, err := publisher.Dial(r.t.Context(), publisher.Config{URL: "rtmp://klive/" + testApp, Name: testName, DialContext: dial})
		if err != nil {
			t.Fatal(err)
		}
		start := ^uint32(0) - 60_000
		sent := map[bool]int{}
		err = p.Play(r.t.Context(), publisher.Play{Clip: clip, Start: start, Limit: 2 * time.Minute, Sent: func(u publisher.Unit) {
			sent[u.Kind == media.Video]++
		}})
		if err != nil {
			t.Fatal(err)
		}
		if err := p.Close(); err != nil {
			t.Fatal(err)
		}
		synctest.Wait()
		pub := r.gw.pub(t, 0)
		if n, cause := pub.state(); n != 1 || cause != nil {
			t.Errorf("closed %d times with %v", n, cause)
		}
		got := map[bool]int{}
		for _, u := range pub.units {
			got[u.Track == media.VideoTrack]++
			if u.Time > 1<<32-1 || uint32(u.Time)-start > 121_000 {
				t.Fatalf("time %d", u.Time)
			}
		}
		if got[true] != sent[true] || got[false] != sent[false] || got[true] < 2000 {
			t.Errorf("%v units sent, %v arrived", sent, got)
		}
	})
}

// TestLightPublisherRefused checks that the publisher understands our refusals.
func TestLightPublisherRefused(t *testing.T) {
	inBubble(t, nil, func(r *rig) {
		dial := func(context.Context, string, string) (net.Conn, error) { return r.dial(), nil }
		r.gw.connectErr = func(gateway.Connect) error {
			return &gateway.Refusal{Reason: gateway.ReasonAuth, Text: "the token is wrong"}
		}
		_, err := publisher.Dial(r.t.Context(), publisher.Config{URL: "rtmp://klive/" + testApp, Name: testName, DialContext: dial})
		var refused *publisher.RefusedError
		if !errors.As(err, &refused) || refused.Code != codeConnectRejected || refused.Description != "the token is wrong" {
			t.Errorf("Dial = %v", err)
		}
	})
}
