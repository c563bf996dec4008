package e2e

import (
	"testing"
	"time"

	"klive/infra/publisher"
)

// TestEncoderAddresses publishes in each of the ways in which encoders put the broadcast
// parameters into an address.
func TestEncoderAddresses(t *testing.T) {
	beside(t)
	p := start(t, "KLIVE_BROADCAST_RESUME=1s", "KLIVE_GATEWAY_TAKEOVER=500ms")
	server := "rtmp://" + p.rtmp
	const params = "p=102&e=0_demolive&i=0&t=demo1234"
	clip := demoClip(t, publisher.Synthetic{GOP: time.Second})
	for _, c := range []struct{ name, url, key string }{
		{"one address", server + "/kLive/?" + params + "/0_demolive_1", ""},
		{"no slash before the query", server + "/kLive?" + params, "0_demolive_1"},
		{"server and key apart", server + "/kLive/?" + params, "0_demolive_1"},
		{"query on the key", server + "/kLive", "0_demolive_1?" + params},
		{"bare entry id as name", server + "/kLive/?" + params, "0_demolive"},
		{"parameters in another order, doubled", server + "/kLive/?t=demo1234&i=1&e=0_demolive&x&i=0&p=102", "0_demolive_1"},
	} {
		t.Run(c.name, func(t *testing.T) {
			pub, err := publisher.Dial(t.Context(), publisher.Config{URL: c.url, Name: c.key})
			if err != nil {
				t.Fatalf("%v\n%s", err, p.log)
			}
			if err := pub.Play(t.Context(), publisher.Play{Clip: clip, Limit: 1500 * time.Millisecond}); err != nil {
				t.Error(err)
			}
			if err := pub.Close(); err != nil {
				t.Error(err)
			}
		})
	}
	t.Run("ffmpeg with -rtmp_playpath", func(t *testing.T) {
		p := start(t) // where nothing is playable yet
		encodeLive(t, "-rtmp_app", "kLive/?"+params, "-rtmp_playpath", "0_demolive_1", "rtmp://"+p.rtmp+"/kLive")
		waitPlayable(t, p)
	})
	// What serve prints for people holds the demo's token; what it logs must not.
	if held := p.log.with("demo1234", "level="); len(held) > 0 {
		t.Errorf("the log holds the token: %q", held)
	}
}

func demoClip(t testing.TB, s publisher.Synthetic) *publisher.Clip {
	t.Helper()
	c, err := publisher.NewSynthetic(s)
	if err != nil {
		t.Fatal(err)
	}
	return c
}
