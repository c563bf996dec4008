package node

import (
	"errors"
	"testing"
	"testing/synctest"
	"time"
)

func TestHealthIsAskedOnceASecond(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var h health
		asked, down := 0, errors.New("down")
		check := func() error {
			asked++
			if asked > 1 {
				return down
			}
			return nil
		}
		for range 100 {
			if err := h.ask(check); err != nil {
				t.Fatal(err)
			}
		}
		time.Sleep(healthFor)
		if err := h.ask(check); !errors.Is(err, down) || asked != 2 {
			t.Errorf("a second later: %v after %d questions", err, asked)
		}
	})
}
