package packager

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"klive/infra/bus"
	"klive/infra/bus/bustest"
	"klive/infra/live"
	"klive/infra/media"
	"klive/storage/playlist"
	"klive/storage/timeline"
	"klive/workers/transcode/transcodetest"
)

// coded is a ladder with a source, 32, and two rungs that are encoded.
func coded() live.Ladder {
	l := pass(32)
	for _, id := range []int{33, 34} {
		l.Rungs = append(l.Rungs, live.Rung{ParamsID: id, Name: fmt.Sprintf("rung%d", id), Video: live.VideoRung{
			Mode: live.ModeEncode, Codec: live.CodecH264, Profile: "main", Fit: live.FitWidth, Width: 10 * id, Bitrate: id * 10_000,
		}, Audio: live.AudioRung{Mode: live.ModeEncode, Bitrate: 64e3}})
	}
	return l
}

// ladderRig is a rig with a bus for transcode jobs, in virtual time.
func ladderRig(t *testing.T, run func(t *testing.T, g *rig, w *transcodetest.Worker)) {
	t.Helper()
	bustest.Prepare(t)
	synctest.Test(t, func(t *testing.T) {
		g := newRig(t)
		c := bustest.Start(t)
		jobs, err := c.Queue(t.Context(), bus.QueueConfig{Name: live.JobsQueue})
		if err != nil {
			t.Fatal(err)
		}
		ends, err := c.Log(t.Context(), bus.LogConfig{Name: live.RungsLog, MaxPerSubject: 1})
		if err != nil {
			t.Fatal(err)
		}
		g.jobs, g.ends = jobs, ends
		g.opt.Resume = 5 * time.Second
		run(t, g, &transcodetest.Worker{Jobs: jobs, Ends: ends, Media: g.ring})
	})
}

// employ runs a worker until the returned function is called.
func employ(t *testing.T, w *transcodetest.Worker) (dismiss func()) {
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan struct{})
	go func() {
		defer close(done)
		if err := w.Run(ctx); !errors.Is(err, context.Canceled) {
			t.Error(err)
		}
	}()
	return func() { cancel(); <-done }
}

// wholeLadder holds that each item has each rung, with the same numbers as the source.
func (g *rig) wholeLadder(gaps int) {
	g.t.Helper()
	s := g.state()
	b := s.Current()
	found := 0
	for _, it := range g.items(b) {
		for _, d := range b.Renditions {
			m := it.Of(d.Name)
			switch {
			case m == nil:
				g.t.Errorf("item %d lacks %s", it.Seq, d.Name)
			case m.Gap && d.Encoded:
				found++
			case !m.Stored:
				g.t.Errorf("item %d: %s is not stored", it.Seq, d.Name)
			case m.Encode != nil && m.Encode.Job != nil:
				g.t.Errorf("item %d: %s keeps its job", it.Seq, d.Name)
			}
		}
	}
	if found != gaps {
		g.t.Errorf("%d gaps, want %d", found, gaps)
	}
}

func TestLadder(t *testing.T) {
	ladderRig(t, func(t *testing.T, g *rig, w *transcodetest.Worker) {
		dismiss := employ(t, w)
		defer dismiss()
		result, _ := g.start()
		began := time.Now()
		go g.on(publish{feed: feedOf(live.Primary, 1, 1), ladder: coded(), duration: 30 * time.Second, rate: 30, video: hd(t), audio: aac(t)})
		// As soon as the source can be played, the playlist names the whole ladder.
		for playlist.OnAir(g.writer().State()) == nil {
			time.Sleep(50 * time.Millisecond)
		}
		first := playlist.Multivariant(g.writer().State().Current(), playlist.Selection{Entry: entry, Group: "all"}, false)
		if waited := time.Since(began); waited > 5*time.Second {
			t.Errorf("the source waited %v", waited)
		}
		for _, want := range []string{"_32/v.m3u8", "_33/v.m3u8", "_34/v.m3u8", "RESOLUTION=330x186", "avc1.4d400d"} {
			if !strings.Contains(first, want) {
				t.Errorf("the first playlist lacks %q:\n%s", want, first)
			}
		}
		if err := <-result; err != nil {
			t.Fatal(err)
		}
		g.wholeLadder(0)
		b := g.state().Current()
		source := g.samples(b, entry+"_32")
		for _, name := range []string{entry + "_33", entry + "_34"} {
			rung := g.samples(b, name)
			if len(rung) != len(source) {
				t.Fatalf("%s has %d pictures, the source %d", name, len(rung), len(source))
			}
			for i := range rung {
				if rung[i].PTS != source[i].PTS || !bytes.Equal(rung[i].Payload, source[i].Payload) {
					t.Fatalf("%s: picture %d is another one", name, i)
				}
			}
		}
		text := playlist.Live(b, entry+"_33", 5)
		if !strings.Contains(text, "#EXT-X-SERVER-CONTROL:HOLD-BACK=20\n") || strings.Count(text, "#EXTINF") < 7 {
			t.Errorf("the rung's playlist:\n%s", text)
		}
		if len(w.Done()) != len(g.items(b)) {
			t.Errorf("%d jobs for %d items", len(w.Done()), len(g.items(b)))
		}
	})
}

// TestLadderWithoutWorkers holds that the source is on time and its rungs are gaps at their
// deadline when nobody makes them, and that they come back by themselves.
func TestLadderWithoutWorkers(t *testing.T) {
	ladderRig(t, func(t *testing.T, g *rig, w *transcodetest.Worker) {
		result, _ := g.start()
		go g.on(publish{feed: feedOf(live.Primary, 1, 1), ladder: coded(), duration: 60 * time.Second, rate: 30, video: hd(t), audio: aac(t)})
		late := time.Duration(0)
		seen := uint64(0)
		for end := time.Now().Add(28 * time.Second); time.Now().Before(end); time.Sleep(50 * time.Millisecond) {
			b := g.writer().State().Current()
			if b == nil {
				continue
			}
			for _, it := range b.Items {
				if m := it.Of(entry + "_32"); m != nil && m.Stored && it.Seq > seen {
					seen = it.Seq
					late = max(late, time.Since(it.End().Std()))
				}
				if m := it.Of(entry + "_33"); m != nil && !m.Settled() && time.Since(it.End().Std()) > 10*time.Second {
					t.Fatalf("item %d waits for its rung for %v", it.Seq, time.Since(it.End().Std()))
				}
			}
		}
		if late > 1500*time.Millisecond {
			t.Errorf("the source was %v late", late)
		}
		b := g.writer().State().Current()
		if text := playlist.Live(b, entry+"_33", 5); !strings.Contains(text, "#EXT-X-GAP") {
			t.Errorf("the rung shows no gap:\n%s", text)
		}
		w.Took = func(j *live.Job) time.Duration {
			if time.Now().After(j.Deadline) {
				return 0
			}
			return time.Second
		}
		dismiss := employ(t, w)
		defer dismiss()
		if err := <-result; err != nil {
			t.Fatal(err)
		}
		b = g.state().Current()
		gaps, made := 0, 0
		for _, it := range g.items(b) {
			if m := it.Of(entry + "_33"); m.Gap {
				gaps++
				if made > 0 {
					t.Errorf("item %d is a gap behind the first that was made", it.Seq)
				}
			} else {
				made++
			}
		}
		if gaps < 4 || made < 6 {
			t.Errorf("%d gaps, %d made", gaps, made)
		}
	})
}

// TestLadderFailure holds that a job that fails costs its segment and nothing else, with the
// reason known at once.
func TestLadderFailure(t *testing.T) {
	ladderRig(t, func(t *testing.T, g *rig, w *transcodetest.Worker) {
		n := 0
		w.Spoil = func(j *live.Job, e live.JobEnd) live.JobEnd {
			if e.Rendition == entry+"_34" {
				if n++; n == 2 {
					return live.JobEnd{Rendition: e.Rendition, Failure: "it can't be decoded", Cause: "failed"}
				}
			}
			return e
		}
		dismiss := employ(t, w)
		defer dismiss()
		result, _ := g.start()
		g.on(publish{feed: feedOf(live.Primary, 1, 1), ladder: coded(), duration: 20 * time.Second, rate: 30, video: hd(t), audio: aac(t)})
		if err := <-result; err != nil {
			t.Fatal(err)
		}
		g.wholeLadder(1)
		for _, it := range g.items(g.state().Current()) {
			if m := it.Of(entry + "_34"); m.Gap && m.Encode.Failure != "it can't be decoded" {
				t.Errorf("item %d is a gap because %q", it.Seq, m.Encode.Failure)
			}
		}
	})
}

// TestLadderTakeOver kills the owner again and again: the next one learns from timeline, log
// and bus what was ordered and made. No rung's segment is missing or doubled.
func TestLadderTakeOver(t *testing.T) {
	ladderRig(t, func(t *testing.T, g *rig, w *transcodetest.Worker) {
		w.Took = func(j *live.Job) time.Duration { return 700 * time.Millisecond }
		dismiss := employ(t, w)
		defer dismiss()
		_, end := g.start()
		over := make(chan struct{})
		go func() {
			defer close(over)
			g.on(publish{feed: feedOf(live.Primary, 1, 1), ladder: coded(), duration: 60 * time.Second, rate: 30, video: hd(t), audio: aac(t)})
		}()
		var result <-chan error
		for i := range 14 {
			time.Sleep(3*time.Second + time.Duration(i)*137*time.Millisecond)
			end()
			result, end = g.start()
		}
		<-over
		if err := <-result; err != nil {
			t.Fatal(err)
		}
		g.wholeLadder(0)
		b := g.state().Current()
		for _, name := range []string{entry + "_32", entry + "_33", entry + "_34"} {
			sameTimes(t, name, g.samples(b, name), g.sent[0])
		}
		if d := b.Rendition(entry + "_33"); d.Inits != 1 {
			t.Errorf("%d initialization sections of one", d.Inits)
		}
	})
}

// TestLadderOpus makes AAC of Opus where the profile asks for it: one audio rendition, which all
// pictures go with.
func TestLadderOpus(t *testing.T) {
	ladderRig(t, func(t *testing.T, g *rig, w *transcodetest.Worker) {
		dismiss := employ(t, w)
		defer dismiss()
		result, _ := g.start()
		l := coded()
		l.Rungs[0].Audio = live.AudioRung{Mode: live.ModeEncode, Bitrate: 96e3}
		g.on(publish{feed: feedOf(live.Primary, 1, 1), ladder: l, duration: 20 * time.Second, rate: 30, video: hd(t), audio: &media.Opus{ChannelCount: 2}})
		if err := <-result; err != nil {
			t.Fatal(err)
		}
		g.wholeLadder(0)
		b := g.state().Current()
		d := b.Rendition(entry + "_a1")
		if d == nil || !d.Encoded || d.Codecs != "mp4a.40.2" || d.Inits != 1 {
			t.Errorf("the sound is %+v", d)
		}
		text := playlist.Multivariant(b, playlist.Selection{Entry: entry, Group: "all"}, false)
		if strings.Count(text, `mp4a.40.2",RES`) != 3 || strings.Contains(text, "opus") || strings.Count(text, `AUDIO="a1"`) != 3 {
			t.Errorf("the multivariant playlist:\n%s", text)
		}
	})
}

// TestLadderStop ends the process on the air: what is complete gets its rungs before.
func TestLadderStop(t *testing.T) {
	ladderRig(t, func(t *testing.T, g *rig, w *transcodetest.Worker) {
		w.Took = func(*live.Job) time.Duration { return 3 * time.Second }
		dismiss := employ(t, w)
		defer dismiss()
		result, _ := g.start()
		over := make(chan struct{})
		go func() {
			defer close(over)
			g.on(publish{feed: feedOf(live.Primary, 1, 1), ladder: coded(), duration: 20 * time.Second, rate: 30, video: hd(t), audio: aac(t)})
		}()
		time.Sleep(12500 * time.Millisecond)
		g.p.Stop()
		if err := <-result; !errors.Is(err, ErrStopped) {
			t.Error(err)
		}
		g.wholeLadder(0)
		<-over
	})
}

func sameTimes(t *testing.T, what string, got, want []media.Frame) {
	t.Helper()
	if len(got) != len(want) {
		t.Fatalf("%s: %d pictures, want %d", what, len(got), len(want))
	}
	for i := range got {
		if got[i].PTS.Sub(want[i].PTS).Abs() > 6*time.Microsecond {
			t.Fatalf("%s: picture %d is shown at %v, want %v", what, i, got[i].PTS.Std(), want[i].PTS.Std())
		}
	}
}

// TestLadderRebuilt holds that the parts on the bus make the very object that is stored, for
// origins while the store is away.
func TestLadderRebuilt(t *testing.T) {
	var at timeline.Media
	at.Rendition = entry + "_33"
	at.Encode = &timeline.Encode{Attempt: "abc", Parts: 3}
	subject, first, last, _, ok := at.Parts(entry)
	if !ok || subject != "r.0_demolive.0_demolive_33.abc" || first != 1 || last != 3 {
		t.Errorf("%s %d %d %v", subject, first, last, ok)
	}
	at.Encode.Attempt = ""
	if _, _, _, _, ok := at.Parts(entry); ok {
		t.Error("media that nobody has made yet have parts")
	}
}

// TestSilentFeed lets an encoder come back without its sound: the sound's playlist goes on with
// silence, where players would stop at a gap.
func TestSilentFeed(t *testing.T) {
	ladderRig(t, func(t *testing.T, g *rig, w *transcodetest.Worker) {
		dismiss := employ(t, w)
		defer dismiss()
		result, _ := g.start()
		go func() {
			g.on(publish{feed: feedOf(live.Primary, 1, 1), ladder: coded(), duration: 14 * time.Second, rate: 30, video: hd(t), audio: aac(t)})
			time.Sleep(time.Second)
			g.on(publish{feed: feedOf(live.Primary, 1, 2), ladder: coded(), duration: 14 * time.Second, rate: 30, video: hd(t)})
		}()
		if err := <-result; err != nil {
			t.Fatal(err)
		}
		g.wholeLadder(0)
		b := g.state().Current()
		silent := 0
		for _, it := range g.items(b) {
			if m := it.Of(entry + "_a1"); m != nil && m.Encode != nil {
				silent++
			}
		}
		sound := g.samples(b, entry+"_a1")
		if silent < 3 || len(sound) == 0 {
			t.Fatalf("%d of %d items are silence, with %d frames of sound in all", silent, len(g.items(b)), len(sound))
		}
		text := playlist.Live(b, entry+"_a1", 20)
		if strings.Contains(text, "GAP") || strings.Count(text, "#EXTINF") != strings.Count(playlist.Live(b, entry+"_32", 20), "#EXTINF") {
			t.Errorf("the sound's playlist:\n%s", text)
		}
	})
}
