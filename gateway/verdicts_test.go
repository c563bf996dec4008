package gateway

import (
	"errors"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"klive/infra/live"
)

// What Kaltura says holds for as long as it is set to, for the address that it was said to.
func TestVerdictsHold(t *testing.T) {
	inWorld(t, func(w *world) {
		w.cfg.AcceptFor, w.cfg.RefuseFor = 10*time.Second, 30*time.Second
		g := w.gateway()
		connect := func(change func(*Params)) error {
			c := testConnect(live.Primary)
			if change != nil {
				change(&c.Params)
			}
			_, err := g.Connect(w.t.Context(), c)
			return err
		}
		calls := func(want int) {
			w.t.Helper()
			if n := len(w.api.calls); n != want {
				w.t.Errorf("%d calls, want %d: %v", n, want, w.api.calls)
			}
		}
		for range 3 {
			if err := connect(nil); err != nil {
				t.Error(err)
			}
		}
		calls(1)
		if err := connect(func(p *Params) { p.Index = live.Backup }); err != nil {
			t.Error(err)
		}
		calls(2) // Kaltura wants to hear of each index
		time.Sleep(10 * time.Second)
		if err := connect(nil); err != nil {
			t.Error(err)
		}
		calls(3)

		other := "not-the-token"
		w.api.answer(&APIError{Code: "LIVE_STREAM_INVALID_TOKEN"}, nil)
		wrong := func() error { return connect(func(p *Params) { p.Token = &other }) }
		if err := wrong(); reason(err) != ReasonAuth {
			t.Error(err)
		}
		time.Sleep(12 * time.Second)
		if err := wrong(); reason(err) != ReasonAuth || !strings.Contains(err.Error(), "asked again in 18 s") || strings.Contains(err.Error(), other) {
			t.Error(err)
		}
		calls(4)
		w.api.answer(nil, nil)
		if err := connect(nil); err != nil {
			t.Errorf("the right token is kept out by a wrong one: %v", err)
		}
		calls(5)
		time.Sleep(18 * time.Second)
		if err := wrong(); err != nil {
			t.Error(err)
		}
		calls(6)

		// No answer is no verdict, and a kick ends what was one.
		if err := connect(nil); err != nil {
			t.Error(err)
		}
		calls(7)
		g.Kick("0_rkij47dr", "blocked")
		w.api.answer(errors.New("no route to host"), nil)
		for range 2 {
			if err := connect(nil); reason(err) != ReasonAPI {
				t.Error(err)
			}
		}
		calls(9)
	})
}

// Without the settings each connection asks (row 33).
func TestEachConnectionAuthenticates(t *testing.T) {
	inWorld(t, func(w *world) {
		g := w.gateway()
		for range 3 {
			if _, err := g.Connect(w.t.Context(), testConnect(live.Primary)); err != nil {
				t.Error(err)
			}
		}
		if len(w.api.calls) != 3 {
			t.Errorf("calls %v", w.api.calls)
		}
	})
}

func TestVerdictsAreBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		v := newVerdicts(time.Second, 0)
		for i := range 2 * maxVerdicts {
			v.keep(Params{Partner: i, Entry: "0_rkij47dr"}, live.EntryFacts{}, nil)
		}
		if n := len(v.held); n != maxVerdicts {
			t.Errorf("%d are held", n)
		}
		time.Sleep(2 * time.Second)
		v.keep(Params{Partner: 1, Entry: "0_rkij47dr"}, live.EntryFacts{}, nil)
		if n := len(v.held); n != 1 {
			t.Errorf("%d are held after their time", n)
		}
	})
}

// An encoder that is back does not wait long for an API that hangs (design: reconnects go on).
func TestStoredGrantDoesNotWaitForTheAPI(t *testing.T) {
	inWorld(t, func(w *world) {
		g := w.gateway()
		w.publish(g, live.Primary, "_1").Close(nil)
		w.api.hang = true
		start := time.Now()
		s := w.publish(g, live.Primary, "_1")
		if took := time.Since(start); took > 6*time.Second {
			t.Errorf("it took %v", took)
		}
		if got := w.record(testID).Grant; len(got.Ladder.Rungs) != 1 || got.Unstarted {
			t.Errorf("grant %+v", got)
		}
		s.Close(nil)
	})
}

// Entry ids begin with the digits of the Kaltura's data centres (row 24).
func TestEntryDigits(t *testing.T) {
	for digits, takes := range map[string]string{"": "01", "0123456789": "0123456789", "1": "1"} {
		inWorld(t, func(w *world) {
			w.cfg.EntryDigits = digits
			g := w.gateway()
			for _, digit := range "0123456789" {
				c := testConnect(live.Primary)
				c.Params.Entry = string(digit) + "_rkij47dr"
				_, err := g.Connect(w.t.Context(), c)
				if strings.ContainsRune(takes, digit) {
					if err != nil {
						t.Errorf("digits %q: %v", digits, err)
					}
				} else if reason(err) != ReasonParams || !strings.Contains(err.Error(), c.Params.Entry) || !strings.Contains(err.Error(), "check e=") {
					t.Errorf("digits %q, entry %s: %v", digits, c.Params.Entry, err)
				}
			}
		})
	}
}
