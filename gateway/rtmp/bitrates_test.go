package rtmp

import (
	"fmt"
	"strings"
	"testing"
	"testing/synctest"

	"klive/gateway"
)

// TestSeveralStreams publishes three bitrates on one connection (contract row 29): one
// authentication, media that stay apart, and a refusal or an end of one that leaves the others
// on the air.
func TestSeveralStreams(t *testing.T) {
	inBubble(t, nil, func(r *rig) {
		r.gw.publishErr = func(p gateway.Publish) error {
			if strings.HasSuffix(p.Name, "_7") {
				return &gateway.Refusal{Reason: gateway.ReasonParams, Text: "there is no stream with suffix 7"}
			}
			return nil
		}
		c := r.client()
		c.publishing()
		for i := 2; i <= 4; i++ {
			c.command(0, "createStream", float64(10*i), nil)
		}
		c.commands()
		for i, suffix := range []int{2, 3, 7} {
			c.command(uint32(i+2), "publish", float64(10*i+1), nil, fmt.Sprintf("0_rkij47dr_%d", suffix), "live")
		}
		if got := describe(c.commands()); strings.Count(got, "Publish.Start") < 2 || !strings.Contains(got, "NetStream.Publish.BadName: there is no stream with suffix 7") {
			t.Errorf("answers:\n%s", got)
		}
		for i := range 3 {
			c.send(message{typ: typeVideo, stream: uint32(i + 1), body: sequenceHeader(t)})
			for n := range i + 1 {
				m := keyframe(uint32(40*n), 10)
				m.stream = uint32(i + 1)
				c.send(m)
			}
		}
		synctest.Wait()
		for i := range 3 {
			if n := r.gw.pub(t, i).count(); n != i+1 {
				t.Errorf("stream %d has %d pictures, want %d", i+1, n, i+1)
			}
		}
		c.command(2, "closeStream", 0, nil)
		c.commands()
		m := keyframe(400, 10)
		m.stream = 3
		c.send(m)
		synctest.Wait()
		if n, _ := r.gw.pub(t, 1).state(); n != 1 {
			t.Error("the second stream goes on")
		}
		if n := r.gw.pub(t, 2).count(); n != 4 || c.left() {
			t.Errorf("the third stream has %d pictures", n)
		}
		if n := len(r.gw.connects); n != 1 {
			t.Errorf("authenticated %d times", n)
		}
	})
}
