package recorder_test

import (
	"context"
	"errors"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"klive/infra/bus"
	"klive/infra/bus/bustest"
	"klive/infra/live"
	"klive/infra/media"
	"klive/workers/recorder"
	"klive/workers/transcode/transcodetest"
)

// remaking is a ladder of two renditions, of which the second is encoded, with a way to
// transcode workers, in virtual time.
type remaking struct {
	t     *testing.T
	s     *stream
	k     *kalturaAPI
	rungs *recorder.Rungs
	work  *transcodetest.Worker
	o     recorder.Options
}

func remake(t *testing.T, run func(t *testing.T, g *remaking)) {
	t.Helper()
	bustest.Prepare(t)
	synctest.Test(t, func(t *testing.T) {
		c := bustest.Start(t)
		jobs, err := c.Queue(t.Context(), bus.QueueConfig{Name: live.JobsQueue})
		if err != nil {
			t.Fatal(err)
		}
		ends, err := c.Log(t.Context(), bus.LogConfig{Name: live.RungsLog, MaxPerSubject: 1})
		if err != nil {
			t.Fatal(err)
		}
		ring := bus.NewRing(bus.RingConfig{MaxAge: time.Minute})
		t.Cleanup(func() { ring.Close() })
		g := &remaking{t: t, s: newStream(2, true), k: &kalturaAPI{}, o: options(20 * time.Second),
			rungs: &recorder.Rungs{Jobs: jobs, Ends: ends, Media: ring}, work: &transcodetest.Worker{Jobs: jobs, Ends: ends, Media: ring}}
		g.s.ladder = true
		g.s.newInit(false)
		g.o.Remake = 10 * time.Minute
		run(t, g)
	})
}

// start runs a recorder until it ends by itself, or end is called.
func (g *remaking) start() (done chan error, end context.CancelFunc) {
	g.t.Helper()
	r, err := recorder.New(g.t.Context(), recorder.Config{
		Entry: entry, Owner: "worker", Store: g.s.store, Recordings: g.s.store, Timelines: g.s, API: g.k, Rungs: g.rungs,
		Guard: func(context.Context) error { return nil }, Live: g.s.feeds, Log: testLog(g.t), Options: g.o,
	})
	if err != nil {
		g.t.Fatal(err)
	}
	ctx, end := context.WithCancel(g.t.Context())
	done = make(chan error, 1)
	go func() { done <- r.Run(ctx) }()
	return done, end
}

// employ has the worker work until the returned function is called.
func (g *remaking) employ() (dismiss func()) {
	ctx, cancel := context.WithCancel(g.t.Context())
	done := make(chan struct{})
	go func() {
		defer close(done)
		if err := g.work.Run(ctx); !errors.Is(err, context.Canceled) {
			g.t.Error(err)
		}
	}()
	return func() { cancel(); <-done }
}

// employLate does something in five minutes and employs the worker then, until the returned
// function is called.
func (g *remaking) employLate(before func()) (dismiss func()) {
	var stop func()
	hired := make(chan struct{})
	go func() {
		defer close(hired)
		time.Sleep(5 * time.Minute)
		before()
		stop = g.employ()
	}()
	return func() { <-hired; stop() }
}

// tidy holds that nothing is left of what was made again.
func (g *remaking) tidy() {
	g.t.Helper()
	list, err := g.s.store.List(g.t.Context(), "state/remade/", "", 10)
	if err != nil || len(list) > 0 {
		g.t.Errorf("%d objects are left: %v, %v", len(list), list, err)
	}
}

// TestGapsAreMadeAgain leaves rungs out of a broadcast, at the beginning of files, within and at
// their ends, throughout one file and where the source begins without a keyframe: every picture
// is in the files in the end, also when the recorder dies on the way.
func TestGapsAreMadeAgain(t *testing.T) {
	remake(t, func(t *testing.T, g *remaking) {
		dismiss := g.employ()
		defer dismiss()
		done, end := g.start()
		for i := range 40 {
			g.s.dependent = i%7 == 3 || i%7 == 4
			if i < 2 || i%3 == 0 || i >= 10 && i < 22 || i == 39 {
				g.s.add(100, 1)
			} else {
				g.s.add(100)
			}
			time.Sleep(4 * time.Second)
			if i%8 == 6 {
				end()
				<-done
				done, end = g.start()
			}
		}
		g.s.end()
		if err := <-done; err != nil {
			t.Fatal(err)
		}
		end()
		for _, a := range assets[:2] {
			g.k.inOrder(t, a, true)
			everyFrame(t, g.k, a, 4000)
			if n := len(g.k.of(a)); n < 6 || n > 9 {
				t.Errorf("%d files of %s", n, a)
			}
		}
		for i, a := range g.k.of(assets[1]) {
			if i >= len(g.k.of(assets[0])) {
				t.Fatal("the assets are cut apart")
			}
			if b := g.k.of(assets[0])[i]; a.Duration != b.Duration {
				t.Errorf("file %d lasts %v s, the anchor's %v", i, a.Duration, b.Duration)
			}
		}
		for _, f := range loadLedger(t, g.s.store).Files {
			if f.Lost > 0 || f.Remake > 0 {
				t.Errorf("%+v", f)
			}
		}
		g.tidy()
	})
}

// TestGapsThatStay holds what can't be made again: a worker fails at one segment, there is none
// for a while, and then what is on the air has all of them.
func TestGapsThatStay(t *testing.T) {
	for _, c := range []struct {
		name   string
		do     func(g *remaking) (stop func())
		frames int
		lost   int
		length float64
	}{
		{"worker fails at the first", func(g *remaking) func() {
			first := g.s.b.Start
			g.work.Spoil = func(j *live.Job, e live.JobEnd) live.JobEnd {
				if j.Start == first {
					return live.JobEnd{Rendition: e.Rendition, Failure: "ffmpeg ended with 1"}
				}
				return e
			}
			return g.employ()
		}, 300, 1, 12},
		{"no worker", func(*remaking) func() { return func() {} }, 200, 2, 12},
		{"always busy", func(g *remaking) func() {
			if err := g.rungs.Jobs.Put(g.t.Context(), "somebody's", []byte("x")); err != nil {
				g.t.Fatal(err)
			}
			return func() {}
		}, 200, 2, 12},
		{"late worker", func(g *remaking) func() { return g.employLate(func() {}) }, 400, 0, 16},
		{"late worker, the items are in a chapter by then", func(g *remaking) func() { return g.employLate(g.s.shelve) }, 400, 0, 16},
		{"source gone", func(g *remaking) func() {
			g.s.isGone = true
			return g.employ()
		}, 200, 2, 12},
	} {
		t.Run(c.name, func(t *testing.T) {
			remake(t, func(t *testing.T, g *remaking) {
				stop := c.do(g)
				done, end := g.start()
				defer end()
				time.Sleep(time.Second)
				g.s.add(100, 1)
				g.s.add(100)
				g.s.add(100, 1)
				g.s.add(100)
				if g.s.isGone {
					g.s.lose()
				}
				g.s.end()
				if err := <-done; err != nil {
					t.Fatal(err)
				}
				stop()
				list := g.k.of(assets[1])
				if len(list) != 1 || len(frames(list[0].file)) != c.frames || list[0].Duration-c.length > 1e-6 {
					t.Fatalf("%d files, the first has %d frames and lasts %v s; want %d and %v", len(list), len(frames(list[0].file)), list[0].Duration, c.frames, c.length)
				}
				if f := loadLedger(t, g.s.store).File(assets[1] + ".0_0"); f.Lost != c.lost {
					t.Errorf("%+v", f)
				}
				g.tidy()
			})
		})
	}
}

// downJobs is a queue that takes nothing until a time.
type downJobs struct {
	recorder.Jobs
	until time.Time
	puts  atomic.Int32
}

func (j *downJobs) Put(ctx context.Context, id string, task []byte) error {
	j.puts.Add(1)
	if time.Now().Before(j.until) {
		return errors.New("503 Slow Down")
	}
	return j.Jobs.Put(ctx, id, task)
}

// TestRemakingWaits gives what is down the time that it needs, longer each time, and goes on then.
func TestRemakingWaits(t *testing.T) {
	remake(t, func(t *testing.T, g *remaking) {
		defer g.employ()()
		jobs := &downJobs{Jobs: g.rungs.Jobs, until: time.Now().Add(5 * time.Minute)}
		g.rungs.Jobs, g.o.RetryMost = jobs, 30*time.Second
		done, end := g.start()
		defer end()
		time.Sleep(time.Second)
		g.s.add(100)
		g.s.add(100, 1)
		g.s.add(100)
		g.s.end()
		if err := <-done; err != nil {
			t.Fatal(err)
		}
		if n := jobs.puts.Load(); n < 5 || n > 20 { // 2, 4, 8, 16 and then 30 s
			t.Errorf("the job was put %d times in 5 minutes", n)
		}
		if f := loadLedger(t, g.s.store).File(assets[1] + ".0_0"); f.Lost != 0 || f.Remade != 1 || len(frames(g.k.of(assets[1])[0].file)) != 300 {
			t.Errorf("%+v", f)
		}
		g.tidy()
	})
}

// TestRemadeOfOtherKind refuses what a worker of another build makes: its parameter sets don't go
// into one file with those of the others.
func TestRemadeOfOtherKind(t *testing.T) {
	remake(t, func(t *testing.T, g *remaking) {
		defer g.employ()()
		g.s.ladder = false // its stored segments have other parameters
		g.s.newInit(false)
		g.s.ladder = true
		done, end := g.start()
		defer end()
		time.Sleep(time.Second)
		g.s.add(100)
		g.s.add(100, 1)
		g.s.add(100)
		g.s.end()
		if err := <-done; err != nil {
			t.Fatal(err)
		}
		if f := loadLedger(t, g.s.store).File(assets[1] + ".0_0"); f.Lost != 1 || f.Remade != 0 || len(frames(g.k.of(assets[1])[0].file)) != 200 {
			t.Errorf("%+v", f)
		}
		g.tidy()
	})
}

// TestFilesBeginWithKeyframes cuts only where a decoder can begin, however the source's keyframes lie.
func TestFilesBeginWithKeyframes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, k := newStream(1, true), &kalturaAPI{}
		r := newRecorder(t, s, s.store, k, options(10*time.Second))
		done := make(chan error, 1)
		go func() { done <- r.Run(t.Context()) }()
		time.Sleep(time.Second)
		for i := range 30 {
			s.dependent = i%5 != 0
			s.add(100)
			time.Sleep(time.Second)
		}
		s.end()
		if err := <-done; err != nil {
			t.Fatal(err)
		}
		k.inOrder(t, assets[0], true)
		everyFrame(t, k, assets[0], 3000)
		for n, a := range k.of(assets[0]) {
			if f := frames(a.file)[0]; f%500 != 0 {
				t.Errorf("file %d begins with frame %d, which is no keyframe", n, f)
			}
			if !strings.HasSuffix(a.name, ".mp4") || a.Duration != 20 {
				t.Errorf("file %d lasts %v s, want 20", n, a.Duration)
			}
		}
	})
}

// lose removes the media of the first rendition from the store.
func (s *stream) lose() {
	s.mu.Lock()
	defer s.mu.Unlock()
	for i := range s.b.Items {
		for _, m := range s.b.Items[i].Media {
			if r := s.b.Rendition(m.Rendition); r.Name == s.b.Renditions[0].Name && r.Kind == media.Video {
				_ = s.store.Delete(context.Background(), "kLive/"+m.Rendition+"/"+broadcast+"/"+m.Name+".m4s")
			}
		}
	}
}
