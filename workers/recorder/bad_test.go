package recorder_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"klive/infra/kaltura"
	"klive/storage"
	"klive/storage/ledger"
	"klive/workers/recorder"
)

// told keeps what a recorder's log says.
type told struct {
	mu  sync.Mutex // guards the field below
	buf bytes.Buffer
}

func (w *told) Write(b []byte) (int, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.buf.Write(b)
}

func (w *told) String() string {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.buf.String()
}

// listened is newRecorder with its log kept.
func listened(t *testing.T, s *stream, k *kalturaAPI, o recorder.Options) (*recorder.Recorder, *told) {
	t.Helper()
	w := &told{}
	r, err := recorder.New(t.Context(), recorder.Config{
		Entry: entry, Owner: "worker", Store: s.store, Recordings: s.store, Timelines: s, API: k, Guard: func(context.Context) error { return nil },
		Live: s.feeds, Log: slog.New(slog.NewTextHandler(w, nil)), Options: o,
	})
	if err != nil {
		t.Fatal(err)
	}
	return r, w
}

// TestAPITrouble records while the API is away, slow, or answers errors that pass: every file is
// appended once and in order, and the log says why it took so long.
func TestAPITrouble(t *testing.T) {
	for _, c := range []struct {
		name string
		do   func(k *kalturaAPI, over func() bool)
		says string
	}{
		{"down for ten minutes", func(k *kalturaAPI, over func() bool) {
			k.fault = func(string) int {
				if over() {
					return faultNone
				}
				return faultUnsent
			}
		}, "a recording could not be handed to Kaltura, trying again"},
		{"appends without an answer for ten minutes", func(k *kalturaAPI, over func() bool) {
			k.fault = func(call string) int {
				if over() || !strings.HasPrefix(call, "append") {
					return faultNone
				}
				return faultAfter
			}
		}, "an earlier call whose answer was lost has used its upload"},
		{"slow", func(k *kalturaAPI, _ func() bool) { k.slow = 50 * time.Second }, "a recording is appended"},
		{"its database is down", func(k *kalturaAPI, over func() bool) {
			k.refuse = func(kaltura.AppendRequest) error {
				if over() {
					return nil
				}
				return &kaltura.APIError{Code: kaltura.CodeInternalDatabase, Message: "gone away"}
			}
		}, "gone away"},
		{"its session runs out", func(k *kalturaAPI, over func() bool) {
			k.refuse = func(kaltura.AppendRequest) error {
				if over() {
					return nil
				}
				return &kaltura.APIError{Code: kaltura.CodeInvalidKS, Message: "expired"}
			}
		}, kaltura.CodeInvalidKS},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s, k := newStream(2, true), &kalturaAPI{}
				end := time.Now().Add(10 * time.Minute)
				c.do(k, func() bool { return time.Now().After(end) })
				o := options(20 * time.Second)
				o.RetryMost = 10 * time.Second
				r, log := listened(t, s, k, o)
				done := make(chan error, 1)
				go func() { done <- r.Run(t.Context()) }()
				for range 30 {
					s.add(100)
					time.Sleep(4 * time.Second)
				}
				s.end()
				if err := <-done; err != nil {
					t.Fatal(err)
				}
				for _, a := range assets[:2] {
					k.inOrder(t, a, true)
					everyFrame(t, k, a, 3000)
					if n := len(k.of(a)); n != 6 {
						t.Errorf("%d files of %s, want 6", n, a)
					}
				}
				if !strings.Contains(log.String(), c.says) {
					t.Errorf("the log does not say %q:\n%s", c.says, log)
				}
			})
		})
	}
}

// TestAssetVanishes takes a live asset out of the profile while the broadcast is recorded: what was
// cut is refused and waits for an operator in words, and the other assets go on.
func TestAssetVanishes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, k := newStream(2, true), &kalturaAPI{}
		var gone atomic.Bool
		k.refuse = func(r kaltura.AppendRequest) error {
			if r.AssetID == assets[1] && gone.Load() {
				return &kaltura.APIError{Code: kaltura.CodeAssetNotFound, Message: "Asset id " + r.AssetID + " not found"}
			}
			return nil
		}
		r, log := listened(t, s, k, options(20*time.Second))
		ctx, stop := context.WithCancel(t.Context())
		done := make(chan error, 1)
		go func() { done <- r.Run(ctx) }()
		for i := range 30 {
			s.add(100)
			time.Sleep(4 * time.Second)
			gone.Store(i >= 14)
		}
		s.end()
		time.Sleep(time.Minute)
		stop()
		<-done
		k.inOrder(t, assets[0], true)
		everyFrame(t, k, assets[0], 3000)
		if n := len(k.of(assets[1])); n != 2 && n != 3 {
			t.Errorf("%d files were appended to the asset before it vanished", n)
		}
		l := loadLedger(t, s.store)
		f := l.Due(assets[1] + ".0")
		if f == nil || f.State != ledger.Parked || !strings.Contains(f.Reason, assets[1]) || !strings.Contains(log.String(), "klive recording list") {
			t.Errorf("the asset's next file is %+v\n%s", f, log)
		}
		for i := range l.Files { // nothing is lost: the files rest in the store
			if l.Files[i].Series() == assets[1]+".0" && l.Files[i].Size == 0 {
				t.Errorf("%+v was not written", l.Files[i])
			}
		}
	})
}

// TestNoSound records a broadcast without sound in several files, and one whose sound begins and
// ends on the way.
func TestNoSound(t *testing.T) {
	for _, c := range []struct {
		name  string
		mute  func(i int) bool
		files int
	}{
		{"none", func(int) bool { return true }, 3},
		{"from the middle on", func(i int) bool { return i < 8 }, 4},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s, k := newStream(1, c.name != "none"), &kalturaAPI{}
				r := newRecorder(t, s, s.store, k, options(20*time.Second))
				done := make(chan error, 1)
				go func() { done <- r.Run(t.Context()) }()
				time.Sleep(time.Second)
				for i := range 15 {
					s.mute = c.mute(i)
					if !s.mute && i > 0 && c.mute(i-1) {
						s.pauseFor(0)
					}
					s.add(100)
					time.Sleep(4 * time.Second)
				}
				s.end()
				if err := <-done; err != nil {
					t.Fatal(err)
				}
				k.inOrder(t, assets[0], true)
				everyFrame(t, k, assets[0], 1500)
				if n := len(k.of(assets[0])); n != c.files {
					t.Errorf("%d files, want %d", n, c.files)
				}
			})
		})
	}
}

// TestCodecChangesEveryMinute gives the encoder other parameters every minute: each file has one set
// of them, and they join without a missing or doubled frame.
func TestCodecChangesEveryMinute(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, k := newStream(2, true), &kalturaAPI{}
		r := newRecorder(t, s, s.store, k, options(15*time.Minute))
		done := make(chan error, 1)
		go func() { done <- r.Run(t.Context()) }()
		time.Sleep(time.Second)
		const minutes = 10
		for i := range minutes {
			for range 15 {
				s.add(100)
				time.Sleep(4 * time.Second)
			}
			s.newInit(i%2 == 0)
		}
		s.end()
		if err := <-done; err != nil {
			t.Fatal(err)
		}
		for _, a := range assets[:2] {
			k.inOrder(t, a, true)
			everyFrame(t, k, a, minutes*1500)
			if n := len(k.of(a)); n != minutes {
				t.Errorf("%d files of %s, want %d", n, a, minutes)
			}
		}
	})
}

// TestLedgerEditedByHand edits the ledger of an entry while it is recorded, and while nobody does.
// What can't be is refused with the place and what to do, nothing is appended on its word, and the
// media stay; what can be counts.
func TestLedgerEditedByHand(t *testing.T) {
	for _, c := range []struct {
		name, old, new string
		says           string // of the error; empty: the edit is taken
	}{
		{"no JSON", `"files":[`, `"files":[[`, "bring it back from a copy, or repair what is named"},
		{"a state that there is none of", `"state":"confirmed"`, `"state":"done"`, `state "done" is none of planned`},
		{"a number that was given", `"next":{"0_asset000.0":2`, `"next":{"0_asset000.0":1`, "the next number of 0_asset000.0 is 1"},
		{"another entry", `"entry":"0_rkij47dr"`, `"entry":"0_other_00"`, "it is of entry"},
		{"the VOD", `"recordedEntry":"0_recorded"`, `"recordedEntry":"0_repaired"`, ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s, k := newStream(1, true), &kalturaAPI{}
				r, log := listened(t, s, k, options(20*time.Second))
				done := make(chan error, 1)
				ctx, kill := context.WithCancel(t.Context())
				go func() { done <- r.Run(ctx) }()
				for range 12 {
					s.add(100)
					time.Sleep(4 * time.Second)
				}
				before := len(k.of(assets[0]))
				edit(t, s.store, c.old, c.new)
				for range 12 {
					s.add(100)
					time.Sleep(4 * time.Second)
				}
				floors := recorder.Floors{Store: s.store, Timelines: s}
				_, kept, err := floors.Floor(t.Context(), entry)
				if c.says == "" {
					s.end()
					if err := <-done; err != nil {
						t.Fatal(err)
					}
					k.inOrder(t, assets[0], true)
					everyFrame(t, k, assets[0], 2400)
					kill()
					return
				}
				if err == nil || kept {
					t.Errorf("media may go: %v, %v", kept, err)
				}
				kill()
				if err := <-done; !errors.Is(err, ledger.ErrDamaged) || !strings.Contains(err.Error(), c.says) || !strings.Contains(err.Error(), ledger.Key(entry)) {
					t.Errorf("the recorder ended with %v\n%s", err, log)
				}
				if n := len(k.of(assets[0])); n != before {
					t.Errorf("%d files were appended after the edit", n-before)
				}
				// Repaired, it goes on where it was.
				edit(t, s.store, c.new, c.old)
				s.end()
				if err := newRecorder(t, s, s.store, k, options(20*time.Second)).Run(t.Context()); err != nil {
					t.Fatal(err)
				}
				k.inOrder(t, assets[0], true)
				everyFrame(t, k, assets[0], 2400)
			})
		})
	}
}

// edit replaces a text in the stored ledger, as a person does.
func edit(t *testing.T, store storage.Store, old, by string) {
	t.Helper()
	body, _, err := store.Get(t.Context(), ledger.Key(entry), nil)
	if err != nil {
		t.Fatal(err)
	}
	defer body.Close()
	var b bytes.Buffer
	if _, err := b.ReadFrom(body); err != nil || !strings.Contains(b.String(), old) {
		t.Fatalf("the ledger does not hold %s: %v\n%s", old, err, b.String())
	}
	text := strings.Replace(b.String(), old, by, 1)
	if _, err := store.Put(context.WithValue(t.Context(), byRig{}, true), ledger.Key(entry), [][]byte{[]byte(text)}, storage.PutOptions{}); err != nil {
		t.Fatal(fmt.Errorf("edit: %w", err))
	}
}
