package spool_test

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"pgregory.net/rapid"

	"klive/storage"
	"klive/storage/spool"
)

// fate is a spool that goes through faults, which choices decide.
type fate struct {
	*rig
	choices []byte
	held    map[int]int // object: in which run of the process it was held
	owed    map[int]int // object: callbacks that are owed for it, while there was one process
	direct  map[int]bool
	run     int
	n       int
}

func (f *fate) pick(n int) int {
	if len(f.choices) == 0 {
		return 0
	}
	c := int(f.choices[0])
	f.choices = f.choices[1:]
	return c % n
}

func (f *fate) step() {
	switch f.pick(8) {
	case 0:
		faults := []func(context.Context, string) error{nil, down, hang, slow(1500 * time.Millisecond), slow(4 * time.Second), slow(50 * time.Millisecond), f.flaky}
		f.store.set(faults[f.pick(len(faults))])
	case 1:
		time.Sleep([]time.Duration{10 * time.Millisecond, time.Second, 5 * time.Second, 30 * time.Second}[f.pick(4)])
	case 2:
		if f.pick(4) == 0 {
			f.spool.Close()
			f.run++
			f.start(f.budget)
		}
	case 3:
		// Whether it works depends; that it is quick does not.
		began := time.Now()
		_, _ = f.spool.Put(context.Background(), "state/head.json", nil, storage.PutOptions{})
		if took := time.Since(began); took > 10*time.Second {
			f.t.Errorf("a write took %v", took)
		}
	default:
		f.media()
	}
}

// flaky fails every third object.
func (f *fate) flaky(_ context.Context, k string) error {
	if k[len(k)-8]%3 == 0 {
		return errDown
	}
	return nil
}

func (f *fate) budget(c *spool.Config) { c.MaxBytes, c.MaxAge = 20*700, 5*time.Minute }

func (f *fate) media() {
	n := f.n
	if n > 0 && f.pick(6) == 0 {
		n = f.pick(n) // once more, as the next owner would
	} else {
		f.n++
	}
	began := time.Now()
	held, err := f.spool.PutMedia(context.Background(), key(n), [][]byte{[]byte(text(n))}, mediaOptions, f.note(n))
	if took := time.Since(began); took > time.Second {
		f.t.Errorf("object %d took %v", n, took)
	}
	switch {
	case held:
		f.held[n] = f.run + 1
		f.owed[n]++
	case err == nil || errors.Is(err, storage.ErrPrecondition):
		f.direct[n] = true
	default:
		f.t.Errorf("object %d: %v", n, err)
	}
}

// check holds what has become of each object against what was said of it.
func (f *fate) check() error {
	for n := range f.n {
		outcome := f.outcome(n)
		if f.run == 0 && len(outcome) != f.owed[n] || len(outcome) > f.owed[n] {
			return fmt.Errorf("object %d was held %d times and settled %d times", n, f.owed[n], len(outcome))
		}
		got, err := f.get(f.store, n, nil)
		stored := err == nil
		if stored && got != text(n) {
			return fmt.Errorf("object %d is not what was put", n)
		}
		given := false
		for _, err := range outcome {
			if err == nil && !stored {
				return fmt.Errorf("object %d is said to rest in the store and does not", n)
			}
			if err != nil && !errors.Is(err, spool.ErrGivenUp) {
				return fmt.Errorf("object %d: settled with %v", n, err)
			}
			given = given || err != nil
		}
		if f.direct[n] && !stored {
			return fmt.Errorf("object %d was taken by the store and is not there", n)
		}
		// Callbacks of a process that has ended don't come.
		if f.held[n] == f.run+1 && len(outcome) == 0 {
			return fmt.Errorf("object %d was held and never settled", n)
		}
		if f.run == 0 && f.held[n] > 0 && !stored && !given {
			return fmt.Errorf("object %d was lost in silence", n)
		}
	}
	if s := f.spool.Stats(); s != (spool.Stats{}) {
		return fmt.Errorf("left over: %+v", s)
	}
	if left := files(f.rig.t, f.dir); len(left) > 0 {
		return fmt.Errorf("files left over: %v", left)
	}
	return nil
}

// Whatever the store does, each object is stored or given up, and what is said of it is true.
func TestNothingLostInSilence(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		choices := rapid.SliceOfN(rapid.Byte(), 10, 300).Draw(rt, "choices")
		var wrong error
		synctest.Test(t, func(t *testing.T) {
			f := &fate{choices: choices, held: map[int]int{}, owed: map[int]int{}, direct: map[int]bool{}}
			f.rig = newRig(t, f.budget)
			for len(f.choices) > 0 {
				f.step()
			}
			f.store.set(nil)
			time.Sleep(2 * time.Minute)
			f.media() // proves that the store is back, where nothing else does
			time.Sleep(2 * time.Minute)
			wrong = f.check()
		})
		if wrong != nil {
			rt.Fatal(wrong)
		}
	})
}
