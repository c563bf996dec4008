package recorder_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"regexp"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"klive/infra/check"
	"klive/infra/kaltura"
	"klive/infra/live"
	"klive/infra/media"
	"klive/storage/ledger"
	"klive/storage/timeline"
	"klive/workers/recorder"
)

// frames returns the numbers of the frames in an MP4, in the order of its data.
func frames(file []byte) (out []int) {
	for _, m := range regexp.MustCompile(`frame (\d+);`).FindAllSubmatch(file, -1) {
		n, _ := strconv.Atoi(string(m[1]))
		out = append(out, n)
	}
	return out
}

// everyFrame holds that the files of an asset hold each frame once and in order.
// In between, the sound may have a hole if the broadcast had one.
func everyFrame(t *testing.T, k *kalturaAPI, asset string, want int, hole ...bool) {
	t.Helper()
	next, sound, holes := 0, -1, len(hole) > 0 && hole[0]
	for n, a := range k.of(asset) {
		if moov, mdat := bytes.Index(a.file, []byte("moov")), bytes.Index(a.file, []byte("mdat")); moov < 0 || mdat < moov {
			t.Errorf("file %d of %s: moov at %d, mdat at %d", n, asset, moov, mdat)
		}
		for _, f := range frames(a.file) {
			if f != next {
				t.Fatalf("file %d of %s has frame %d, want %d", n, asset, f, next)
			}
			next++
		}
		for _, m := range regexp.MustCompile(`sound (\d+);`).FindAllSubmatch(a.file, -1) {
			k, _ := strconv.Atoi(string(m[1]))
			if sound >= 0 && k != sound+1 && (!holes || k <= sound) {
				t.Fatalf("file %d of %s has sound %d behind %d", n, asset, k, sound)
			}
			sound = k
		}
	}
	if next != want {
		t.Errorf("%s has %d frames, want %d", asset, next, want)
	}
}

// TestBroadcastBecomesFiles records four live assets in files of a minute, as the broadcast
// goes on.
func TestBroadcastBecomesFiles(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, k := newStream(4, true), &kalturaAPI{}
		r := newRecorder(t, s, s.store, k, options(time.Minute))
		done := make(chan error, 1)
		go func() { done <- r.Run(t.Context()) }()
		s.add(30) // the first is cut early
		for range 59 {
			time.Sleep(4 * time.Second)
			s.add(100)
		}
		time.Sleep(time.Second)
		if n := len(k.of(assets[0])); n != 3 {
			t.Errorf("%d files are appended while the broadcast goes on, want 3", n)
		}
		s.end()
		if err := <-done; err != nil {
			t.Fatal(err)
		}
		for _, a := range assets {
			k.inOrder(t, a, true)
			everyFrame(t, k, a, 30+59*100)
			if n := len(k.of(a)); n != 4 {
				t.Errorf("%d files of %s, want 4", n, a)
			}
		}
		var sum float64
		for _, a := range k.of(assets[0]) {
			sum += a.Duration
			if d := a.Duration - 60; !a.Last && (d > 2 || d < -2) {
				t.Errorf("a file lasts %v s", a.Duration)
			}
		}
		if want := (30 + 59*100) / float64(frameRate); sum-want > 1e-6 || want-sum > 1e-6 {
			t.Errorf("the files last %v s, want %v", sum, want)
		}
		// The replacement is taken back before the anchor's last file (row 99).
		calls := strings.Join(k.calls, "\n")
		if !strings.Contains(calls, "cancelReplace 0_recorded\nappend "+assets[0]) || strings.Count(calls, "cancelReplace") != 1 {
			t.Errorf("calls:\n%s", calls)
		}
		if l := loadLedger(t, s.store); l.Unfinished() || l.RecordedEntry != "0_recorded" {
			t.Errorf("ledger: %+v", l)
		}
	})
}

// TestRecordingSurvives drops answers and kills the recorder at every kind of moment: with
// upload tokens each file is appended once, in order, none missing.
func TestRecordingSurvives(t *testing.T) {
	for seed := range seeds() {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) { survive(t, uint64(seed), recorder.UploadToken) })
		})
	}
}

// TestRecordingIsNeverDoubled does the same to files that Kaltura reads from shared storage:
// what can't be known of the anchor is found out by the duration, of the others it is parked.
func TestRecordingIsNeverDoubled(t *testing.T) {
	for seed := range seeds() {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) { survive(t, uint64(seed), recorder.ServerFile) })
		})
	}
}

// seeds is how many runs a random test makes.
func seeds() int {
	return check.Length(300, 8)
}

func survive(t *testing.T, seed uint64, strategy recorder.Strategy) {
	s, k := newStream(2, true), &kalturaAPI{}
	chance := newChance(seed)
	o := options(10 * time.Second)
	o.Strategy, o.Path = strategy, "/web/content/recorded/{name}"
	var healthy atomic.Bool
	k.fault = func(string) int {
		if healthy.Load() || chance.IntN(3) > 0 {
			return faultNone
		}
		return 1 + chance.IntN(3)
	}
	ctx, kill := context.WithCancel(t.Context())
	done := make(chan error, 1)
	p := &process{}
	start := func() {
		p = &process{}
		ctx, kill = context.WithCancel(t.Context())
		r := newRecorder(t, s, mortal{s.store, p}, mortalAPI{k, p}, o)
		go func(ctx context.Context) { done <- r.Run(ctx) }(ctx)
	}
	start()
	die := func() {
		p.kill(chance.IntN(8))
		time.Sleep(time.Duration(chance.IntN(2000)) * time.Millisecond)
		p.kill(0)
		kill()
		<-done
		start()
	}
	for i := range 30 {
		s.add(100)
		time.Sleep(time.Duration(chance.IntN(4000)) * time.Millisecond)
		if i%3 == 2 {
			die()
		}
	}
	s.end()
	for range 5 {
		time.Sleep(time.Duration(chance.IntN(300)) * time.Millisecond)
		die()
	}
	healthy.Store(true)
	time.Sleep(20 * time.Minute)
	for _, a := range assets[:2] {
		parked := operate(t, s, k, a, func() {
			kill()
			<-done
			start()
			time.Sleep(time.Minute)
		}, strategy == recorder.UploadToken || a == assets[0])
		if strategy == recorder.UploadToken || a == assets[0] {
			k.inOrder(t, a, true)
		}
		seen := map[string]bool{}
		for _, f := range k.of(a) {
			if seen[f.name] {
				t.Errorf("%s was appended twice", f.name)
			}
			seen[f.name] = true
		}
		if strategy == recorder.UploadToken {
			everyFrame(t, k, a, 3000)
		}
		if n := len(k.of(a)); n != 15 {
			t.Errorf("%s: %d files, want 15 (%d were parked)", a, n, parked)
		}
	}
	kill()
	<-done
}

// operate lets an operator look whether the VOD has what is parked of an asset, until nothing
// is. It returns how many files were; sure says that none may be.
func operate(t *testing.T, s *stream, k *kalturaAPI, asset string, again func(), sure bool) (parked int) {
	t.Helper()
	for f := loadLedger(t, s.store).Due(asset + ".0"); f != nil; f = loadLedger(t, s.store).Due(asset + ".0") {
		if sure {
			t.Errorf("%s: file %s is %s: %s", asset, f.ID(), f.State, f.Reason)
			break
		}
		parked++
		decide(t, s, k, f)
		again()
	}
	return parked
}

// decide does with a parked file what an operator does who has looked at the VOD.
func decide(t *testing.T, s *stream, k *kalturaAPI, f *ledger.File) {
	t.Helper()
	if f.State != ledger.Parked || !strings.Contains(f.Reason, "not known") {
		t.Fatalf("file %s is %s: %s", f.ID(), f.State, f.Reason)
	}
	has := false
	for _, a := range k.of(f.Asset) {
		has = has || strings.HasSuffix(a.name, f.Name(entry))
	}
	b, err := ledger.Open(t.Context(), s.store, entry, "operator")
	if err != nil {
		t.Fatal(err)
	}
	err = b.Change(t.Context(), func(l *ledger.Ledger) error {
		g := l.File(f.ID())
		if g.State, g.Attempts = ledger.Uploaded, 0; has {
			g.State = ledger.Skipped
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}

func TestKalturaSaysNo(t *testing.T) {
	for _, c := range []struct {
		name, code  string
		state       ledger.State
		says        string
		others      bool // the other asset goes on
		stopSession bool
	}{
		{"full", kaltura.CodeRecordingFull, ledger.Skipped, "as long as Kaltura allows", false, true},
		{"elsewhere", kaltura.CodeRecordingElsewhere, ledger.Skipped, "records this partner's entries itself", false, true},
		{"asset gone", kaltura.CodeAssetNotFound, ledger.Parked, "ASSET_ID_NOT_FOUND", true, false},
		{"token spoilt", kaltura.CodeUploadTokenNotFull, ledger.Parked, "UPLOAD_TOKEN_INVALID", true, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s, k := newStream(2, false), &kalturaAPI{}
				k.refuse = func(r kaltura.AppendRequest) error {
					if r.AssetID == assets[0] && len(k.appended) > 1 {
						return &kaltura.APIError{Code: c.code, Message: "no"}
					}
					return nil
				}
				ctx, cancel := context.WithCancel(t.Context())
				done := make(chan error, 1)
				r := newRecorder(t, s, s.store, k, options(8*time.Second))
				go func() { done <- r.Run(ctx) }()
				for range 12 {
					s.add(100)
					time.Sleep(4 * time.Second)
				}
				s.end()
				time.Sleep(time.Minute)
				cancel()
				<-done
				l := loadLedger(t, s.store)
				f := l.File(assets[0] + ".0_1")
				if f == nil || f.State != c.state || !strings.Contains(f.Reason, c.says) {
					t.Errorf("the second file: %+v", f)
				}
				if n := len(k.of(assets[0])); n != 1 {
					t.Errorf("%d files were appended to the anchor, want 1", n)
				}
				if n := len(k.of(assets[1])); c.others && n != 6 || !c.others && n > 3 {
					t.Errorf("%d files were appended to the other asset", n)
				}
				if len(l.Sessions) != 0 {
					t.Errorf("sessions are left: %+v", l.Sessions)
				}
			})
		})
	}
}

// TestOddBroadcasts records what encoders do: stop after three seconds, send one keyframe, no
// sound, other parameters every minute, holes.
func TestOddBroadcasts(t *testing.T) {
	for _, c := range []struct {
		name   string
		sound  bool
		do     func(s *stream)
		files  int
		frames int
	}{
		{"three seconds", true, func(s *stream) { s.add(75) }, 1, 75},
		{"one keyframe", false, func(s *stream) { s.add(1) }, 1, 1},
		{"nothing", true, func(*stream) {}, 0, 0},
		{"codec changes", true, func(s *stream) {
			for i := range 5 {
				s.add(100)
				s.add(100)
				s.newInit(i%2 == 0)
			}
		}, 5, 1000},
		{"a reconnect", true, func(s *stream) { s.add(100); s.pauseFor(17 * time.Second); s.add(100) }, 1, 200},
		{"ends at a cut", true, func(s *stream) {
			for range 30 {
				s.add(100)
			}
		}, 2, 3000},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s, k := newStream(1, c.sound), &kalturaAPI{}
				r := newRecorder(t, s, s.store, k, options(time.Minute))
				done := make(chan error, 1)
				go func() { done <- r.Run(t.Context()) }()
				time.Sleep(time.Second)
				c.do(s)
				time.Sleep(time.Second)
				s.end()
				if err := <-done; err != nil {
					t.Fatal(err)
				}
				k.inOrder(t, assets[0], true)
				everyFrame(t, k, assets[0], c.frames, c.name == "a reconnect")
				if n := len(k.of(assets[0])); n != c.files {
					t.Errorf("%d files, want %d", n, c.files)
				}
			})
		})
	}
}

// TestPicturesComeLater records a broadcast whose sound begins before its pictures: the live asset
// is the sound's until they come, and the pictures' from then on.
func TestPicturesComeLater(t *testing.T) {
	for name, alone := range map[string]int{"at once": 1, "after files of sound": 40} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s, k := newStream(1, true), &kalturaAPI{}
				whole := s.b.Renditions
				rung := whole[0].Rung
				s.b.Renditions = []timeline.Rendition{{Name: entry + "_a1", Kind: media.Audio, Rung: rung, First: 1}}
				r := newRecorder(t, s, s.store, k, options(time.Minute))
				done := make(chan error, 1)
				go func() { done <- r.Run(t.Context()) }()
				for range alone {
					s.add(100)
				}
				time.Sleep(10 * time.Second)
				before := len(k.of(assets[0]))
				s.mu.Lock()
				s.frame, whole[0].First = 0, s.state.NextSeq+1
				s.b.Renditions = whole
				s.mu.Unlock()
				s.add(100)
				s.add(100)
				time.Sleep(time.Second)
				s.end()
				if err := <-done; err != nil {
					t.Fatal(err)
				}
				k.inOrder(t, assets[0], true)
				everyFrame(t, k, assets[0], 200, true)
				if n, want := len(k.of(assets[0])), alone*4/60; before != want || n != want+1 {
					t.Errorf("%d files of sound and %d in all, want %d and one more", before, n, want)
				}
			})
		})
	}
}

// TestDayLongBroadcast records 26 h: Kaltura takes 25.
func TestDayLongBroadcast(t *testing.T) {
	check.Calculation(t)
	synctest.Test(t, func(t *testing.T) {
		s, k := newStream(1, true), &kalturaAPI{}
		k.refuse = func(r kaltura.AppendRequest) error {
			if k.ms+int64(r.Duration*1000) > 25*3600*1000 {
				return &kaltura.APIError{Code: kaltura.CodeRecordingFull, Message: "no more"}
			}
			return nil
		}
		o := options(15 * time.Minute)
		o.Poll = 2 * time.Second
		o.Keep = time.Minute
		r := newRecorder(t, s, s.store, k, o)
		done := make(chan error, 1)
		go func() { done <- r.Run(t.Context()) }()
		for range 26 * 60 { // items of a minute
			s.add(1500)
			time.Sleep(time.Minute)
			s.forget()
		}
		s.end()
		if err := <-done; err != nil {
			t.Fatal(err)
		}
		list := k.of(assets[0])
		k.inOrder(t, assets[0], false)
		if len(list) != 100 || k.ms != 25*3600*1000 {
			t.Errorf("%d files, %d ms: want 100 and 25 h", len(list), k.ms)
		}
	})
}

// TestBucketDownAtTheEnd keeps everything until the store is back.
func TestBucketDownAtTheEnd(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, k := newStream(1, true), &kalturaAPI{}
		r := newRecorder(t, s, s.store, k, options(time.Minute))
		done := make(chan error, 1)
		go func() { done <- r.Run(t.Context()) }()
		for range 20 {
			s.add(100)
			time.Sleep(4 * time.Second)
		}
		var down atomic.Bool
		down.Store(true)
		s.down(down.Load)
		s.end()
		time.Sleep(10 * time.Minute)
		down.Store(false)
		if err := <-done; err != nil {
			t.Fatal(err)
		}
		k.inOrder(t, assets[0], true)
		everyFrame(t, k, assets[0], 2000)
	})
}

// TestStoreDownThroughout records a broadcast that was over before a recorder could begin, once.
func TestStoreDownThroughout(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, k := newStream(1, true), &kalturaAPI{}
		for range 20 {
			s.add(100)
		}
		s.end()
		for range 2 {
			r, err := recorder.New(t.Context(), recorder.Config{
				Entry: entry, Owner: "worker", Store: s.store, Recordings: s.store, Timelines: s, API: k, Log: testLog(t),
				Guard: func(context.Context) error { return nil }, Live: s.feeds, Options: options(time.Minute),
				Owed: &live.Grant{Entry: entry, PartnerID: 102, Record: 1},
			})
			if err == nil {
				err = r.Run(t.Context())
			}
			if err != nil {
				t.Fatal(err)
			}
		}
		k.inOrder(t, assets[0], true)
		everyFrame(t, k, assets[0], 2000)
		if n := len(k.of(assets[0])); n != 2 {
			t.Errorf("%d files, want 2", n)
		}
	})
}

// TestOperators holds what an operator can say: split, skip, retry.
func TestOperators(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, k := newStream(1, true), &kalturaAPI{}
		var waits atomic.Pointer[[]recorder.Order]
		order := func(o recorder.Order) {
			o.Done = func() { waits.Store(nil) }
			waits.Store(&[]recorder.Order{o})
		}
		orders := func() []recorder.Order {
			if list := waits.Load(); list != nil {
				return *list
			}
			return nil
		}
		r, err := recorder.New(t.Context(), recorder.Config{
			Entry: entry, Owner: "worker", Store: s.store, Recordings: s.store, Timelines: s, API: k, Log: testLog(t),
			Guard: func(context.Context) error { return nil }, Live: s.feeds, Options: options(time.Hour),
			Orders: orders,
		})
		if err != nil {
			t.Fatal(err)
		}
		done := make(chan error, 1)
		go func() { done <- r.Run(t.Context()) }()
		for i := range 10 {
			s.add(100)
			time.Sleep(4 * time.Second)
			if i == 3 {
				order(recorder.Order{Kind: recorder.OrderSplit, At: s.now()})
			}
			if i == 5 {
				k.mu.Lock()
				k.refuse = func(kaltura.AppendRequest) error { return &kaltura.APIError{Code: "SERVICE_FORBIDDEN", Message: "no"} }
				k.mu.Unlock()
				order(recorder.Order{Kind: recorder.OrderSplit, At: s.now()})
			}
		}
		s.end()
		time.Sleep(time.Minute)
		if l := loadLedger(t, s.store); l.File(assets[0]+".0_1").State != ledger.Parked || len(k.of(assets[0])) != 1 {
			t.Fatalf("%+v", l.Files)
		}
		k.mu.Lock()
		k.refuse = nil
		k.mu.Unlock()
		// The recorder has nothing to do until somebody says what; the next one is told.
		if err := <-done; err != nil {
			t.Fatal(err)
		}
		again := func(o recorder.Order) {
			order(o)
			r, err := recorder.New(t.Context(), recorder.Config{
				Entry: entry, Owner: "worker", Store: s.store, Recordings: s.store, Timelines: s, API: k, Log: testLog(t),
				Guard: func(context.Context) error { return nil }, Options: options(time.Hour), Orders: orders,
			})
			if err == nil {
				err = r.Run(t.Context())
			}
			if err != nil {
				t.Fatal(err)
			}
		}
		again(recorder.Order{Kind: recorder.OrderRetry, File: assets[0] + ".0_1"})
		k.inOrder(t, assets[0], true)
		everyFrame(t, k, assets[0], 1000)
		if n := len(k.of(assets[0])); n != 3 {
			t.Errorf("%d files, want 3", n)
		}
		if calls := strings.Join(k.calls, "\n"); strings.Count(calls, "cancelReplace") < 2 {
			t.Errorf("no cancelReplace before the split and the end:\n%s", calls)
		}
	})
}

// TestShedRungs lets a picture stand where a rung has no segment, and counts it.
func TestShedRungs(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, k := newStream(2, true), &kalturaAPI{}
		r := newRecorder(t, s, s.store, k, options(time.Minute))
		done := make(chan error, 1)
		go func() { done <- r.Run(t.Context()) }()
		s.add(100, 1)
		s.add(100)
		s.add(100, 1)
		s.add(100)
		time.Sleep(time.Second)
		s.end()
		if err := <-done; err != nil {
			t.Fatal(err)
		}
		everyFrame(t, k, assets[0], 400)
		a := k.of(assets[1])
		if len(a) != 1 || len(frames(a[0].file)) != 200 || a[0].Duration != 12 {
			t.Errorf("the rung: %d files", len(a))
		}
		if f := loadLedger(t, s.store).File(assets[1] + ".0_0"); f.Lost != 1 {
			t.Errorf("%+v", f)
		}
	})
}

var errDead = errors.New("the process is dead")
