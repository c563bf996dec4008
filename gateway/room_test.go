package gateway

import (
	"errors"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"klive/infra/live"
)

// TestRoom: a gateway without room refuses new streams in words, before it asks Kaltura, and lets
// in who comes back with the token that it had.
func TestRoom(t *testing.T) {
	inWorld(t, func(w *world) {
		var full atomic.Bool
		w.cfg.Room = func() error {
			if full.Load() {
				return errors.New("CPU at 97 % (limits.cpu is 95)")
			}
			return nil
		}
		g := w.gateway()
		s := w.publish(g, live.Primary, "_1")
		time.Sleep(2 * time.Second)
		full.Store(true)
		asked := len(w.api.calls)
		other := testConnect(live.Primary)
		other.Params.Entry = "0_another1"
		_, err := g.Connect(w.t.Context(), other)
		if reason(err) != ReasonLimit || !strings.Contains(err.Error(), "takes no more streams: CPU at 97 %") || !strings.Contains(err.Error(), "connect again") {
			t.Errorf("a new stream: %v", err)
		}
		guess := "a-guess"
		wrong := testConnect(live.Primary)
		wrong.Params.Token = &guess
		if _, err := g.Connect(w.t.Context(), wrong); reason(err) != ReasonLimit {
			t.Errorf("another token: %v", err)
		}
		if n := len(w.api.calls); n != asked {
			t.Errorf("Kaltura was asked %d times about streams that there is no room for", n-asked)
		}
		select {
		case <-s.Done():
			t.Errorf("the stream that was there ended: %v", s.Err())
		default:
		}
		s.Close(nil)
		time.Sleep(time.Minute)
		w.publish(g, live.Primary, "_1").Close(nil)
		time.Sleep(4 * time.Minute) // longer than the resume time
		if _, err := g.Connect(w.t.Context(), testConnect(live.Primary)); reason(err) != ReasonLimit {
			t.Errorf("after the broadcast it is a new stream: %v", err)
		}
		full.Store(false)
		w.publish(g, live.Primary, "_1").Close(nil)
	})
}

// TestPartnerStreams counts a partner's streams over the deployment.
func TestPartnerStreams(t *testing.T) {
	inWorld(t, func(w *world) {
		w.cfg.PartnerStreams = func(partner int) int {
			if partner == 102 {
				return 2
			}
			return 0
		}
		g := w.gateway()
		w.cfg.Address = "gw2:8082"
		elsewhere := w.gateway()
		first := w.publish(g, live.Primary, "_1")
		second := w.publish(elsewhere, live.Backup, "_1")
		publish := func(partner int, suffix string) error {
			c := testConnect(live.Primary)
			c.Params.Partner = partner
			p, err := g.Connect(w.t.Context(), c)
			if err != nil {
				t.Fatal(err)
			}
			pub, err := g.Publish(w.t.Context(), p, testPublish(suffix))
			if err == nil {
				pub.Close(nil)
			}
			return err
		}
		if err := publish(102, "_2"); reason(err) != ReasonLimit || !strings.Contains(err.Error(), "has 2 streams on the air and may have 2") {
			t.Errorf("the third: %v", err)
		}
		if err := publish(103, "_3"); err != nil {
			t.Errorf("another partner: %v", err)
		}
		first.Close(nil)
		if err := publish(102, "_1"); err != nil {
			t.Errorf("one that comes back: %v", err)
		}
		if err := publish(102, "_2"); err != nil {
			t.Errorf("once there is room: %v", err)
		}
		second.Close(nil)
	})
}
