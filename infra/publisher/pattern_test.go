package publisher

import (
	"errors"
	"os/exec"
	"strings"
	"testing"
	"time"
)

func TestPatternPublishes(t *testing.T) {
	if _, err := exec.LookPath("ffmpeg"); err != nil {
		t.Skip("SKIP: no ffmpeg; apt-get install ffmpeg")
	}
	var r recorder
	serve(t, &r)
	p := Pattern{URL: "rtmp://" + r.host + "/kLive/?p=102&t=secret99/0_demolive_1", Width: 320, Height: 180, FPS: 10, Duration: time.Second}
	if err := p.Run(t.Context()); err != nil {
		t.Fatal(err)
	}
	<-r.closed
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.name != "0_demolive_1" || len(r.bodies) < 30 {
		t.Errorf("stream %q, %d messages", r.name, len(r.bodies))
	}
}

func TestPatternErrors(t *testing.T) {
	p := Pattern{URL: "rtmp://127.0.0.1:1/kLive/?p=102&t=secret99/0_demolive_1", FFmpeg: "/nonexistent/ffmpeg"}
	if err := p.Run(t.Context()); !errors.Is(err, ErrNoFFmpeg) {
		t.Errorf("without ffmpeg: %v", err)
	}
	if _, err := exec.LookPath("ffmpeg"); err != nil {
		t.Skip("SKIP: no ffmpeg; apt-get install ffmpeg")
	}
	p.FFmpeg = ""
	err := p.Run(t.Context())
	if err == nil || strings.Contains(err.Error(), "secret99") {
		t.Errorf("a server that refuses connections gives %v", err)
	}
}

func TestHideToken(t *testing.T) {
	const url = "rtmp://h/kLive/?p=1&t=secret99/0_demolive_1"
	got := hideToken("cannot open "+url+"\nrtmp://h/kLive/?p=1&t=secret99\n", url)
	if strings.Contains(got, "secret99") || !strings.Contains(got, "cannot open rtmp://h/kLive/?…") {
		t.Errorf("the text reads %q", got)
	}
}
