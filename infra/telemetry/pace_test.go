package telemetry

import (
	"bytes"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

func TestRepeatedWarningsArePaced(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var out bytes.Buffer
		log, err := NewLogger(&out, LogConfig{Format: "text"})
		if err != nil {
			t.Fatal(err)
		}
		one, two := log.With("entry", "0_one"), log.With("entry", "0_two")
		for i := range 35 {
			one.Warn("following anew", "from", i, "peer", fmt.Sprint("h:", i), "err", fmt.Errorf("try %d", i))
			two.Warn("following anew", "from", i, "err", errors.New("away"))
			one.Info("progress", "from", 1)
			time.Sleep(time.Second)
		}
		lines := out.String()
		for text, want := range map[string]int{"entry=0_one from=": 4 + 35, "entry=0_two from=": 4, "repeated=9": 6, "repeated=": 6, "msg=progress": 35, "from=30 ": 2} {
			if got := strings.Count(lines, text); got != want {
				t.Errorf("%q stands there %d times, want %d", text, got, want)
			}
		}
		if got := strings.Count(lines, "following anew"); got != 8 {
			t.Errorf("%d warnings, want 8", got)
		}
	})
}

func TestOtherWarningsAreNot(t *testing.T) {
	var out bytes.Buffer
	log, err := NewLogger(&out, LogConfig{Format: "text"})
	if err != nil {
		t.Fatal(err)
	}
	log.Warn("lost", "feed", "a")
	log.Warn("lost", "feed", "b")
	log.Warn("lost", "feed", "b", "err", errors.New("another cause"))
	log.Error("lost", "feed", "a")
	log.WithGroup("g").Warn("lost", "feed", "a")
	log.With("feed", "a").Warn("lost", "why", named{"0_x", "a"})
	log.With("feed", "a").Warn("lost", "why", named{"0_y", "a"})
	if got := strings.Count(out.String(), "lost"); got != 7 {
		t.Errorf("%d lines, want 7:\n%s", got, out.String())
	}
}

// However many lines there are, what is kept of them is bounded, and so is what is written
// once there are too many.
func TestPaceIsBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var out bytes.Buffer
		h := newPaced(slog.NewTextHandler(&out, nil))
		for range 2 {
			for i := range 5 * maxPaced {
				slog.New(h).Warn("refused", "path", fmt.Sprint("/", i))
			}
			if got := len(h.lines.known); got > maxPaced+1 {
				t.Errorf("%d lines are known", got)
			}
			time.Sleep(paceEvery)
		}
		if got := strings.Count(out.String(), "refused"); got > 2*(maxPaced+1) {
			t.Errorf("%d lines", got)
		}
	})
}
