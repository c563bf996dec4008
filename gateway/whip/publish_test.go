package whip

import (
	"context"
	"net/http"
	"testing"
	"time"

	"klive/infra/publisher"
)

// TestPublish publishes pictures and sound and ends in order.
func TestPublish(t *testing.T) {
	r := newRig(t, nil)
	w := r.mustDial(nil)
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- w.Play(ctx, publisher.WHIPPlay{Clip: clip(t, nil)}) }()
	r.wait("pictures and sound on the air", func() bool {
		s := r.stats()
		return s.Video == "H264" && s.Audio == "Opus" && s.Frames > 50 &&
			s.Link != nil && s.Link.PLIs > 0 // they are counted once in a while
	})
	if s := r.stats(); s.Width != 640 || s.Height != 360 || s.Link == nil || !s.Link.Encrypted || s.Link.PLIs == 0 || s.Link.Damaged > 1 {
		t.Errorf("%+v, %+v", s, s.Link)
	}
	cancel()
	<-done
	end, stop := context.WithTimeout(t.Context(), 5*time.Second)
	defer stop()
	if err := w.Close(end); err != nil {
		t.Error(err)
	}
	if n := r.onAir(); n != 0 {
		t.Errorf("%d feeds after DELETE", n)
	}
	address, _ := w.Session()
	if res, _ := r.send(http.MethodDelete, address[len(r.server.URL):], ""); res.StatusCode != http.StatusNotFound {
		t.Errorf("a second DELETE: %s", res.Status)
	}
}
