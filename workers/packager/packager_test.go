package packager

import (
	"errors"
	"path"
	"regexp"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"klive/infra/live"
	"klive/infra/media"
	"klive/storage/playlist"
	"klive/storage/timeline"
)

const (
	videoTick = time.Second / 90000
	audioTick = time.Second / 44100
)

// ended waits for the broadcast's end and returns its state.
func ended(t *testing.T, g *rig, result <-chan error) *timeline.Broadcast {
	t.Helper()
	if err := <-result; err != nil {
		t.Fatalf("Run: %v", err)
	}
	b := g.state().Current()
	if !b.Ended {
		t.Fatal("the broadcast is still open")
	}
	return b
}

// TestEveryFrameOnce is the frame audit: B-frames, 29.97 fps, 44.1 kHz.
func TestEveryFrameOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := newRig(t)
		result, end := g.start()
		defer end()
		g.on(publish{feed: feedOf(live.Primary, 1, 1), ladder: pass(32), rate: 30, video: small(t), audio: aac(t), duration: 41 * time.Second})
		b := ended(t, g, result)
		if n := len(b.Items); n != 11 || b.Target != 4 {
			t.Errorf("%d items with target %d, want 11 with 4", n, b.Target)
		}
		sameFrames(t, "video", g.samples(b, entry+"_32"), g.sent[0], videoTick)
		sameFrames(t, "audio", g.samples(b, entry+"_a1"), g.sent[1], audioTick)
		for i, it := range b.Items {
			if it.Seq != uint64(i+1) || it.DiscontinuitySeq != 1 || it.Discontinuity {
				t.Errorf("item %d: %+v", i, it)
			}
			if v := it.Of(entry + "_32"); v.Start != it.Start || v.Duration != it.Duration || v.Init != 1 {
				t.Errorf("item %d has video %+v", i, v)
			}
		}
		v, a := b.Rendition(entry+"_32"), b.Rendition(entry+"_a1")
		if v.FrameRate != 29.97 || v.Width != 128 || v.Height != 96 || v.Audio != a.Name || v.Codecs != "avc1.42000a" || v.Peak == 0 || v.Bytes == 0 {
			t.Errorf("video rendition %+v", v)
		}
		if a.Codecs != "mp4a.40.2" || a.SampleRate != 44100 || a.Channels != 2 || strings.Join(a.Groups, " ") != "all web" {
			t.Errorf("audio rendition %+v", a)
		}
		all := string(g.object(playlist.GroupKey(entry, "all", false)))
		if !strings.Contains(all, "avc1.42000a,mp4a.40.2") || !strings.Contains(all, "FRAME-RATE=29.970") {
			t.Errorf("multivariant playlist:\n%s", all)
		}
		for _, r := range b.Renditions {
			text := string(g.object(playlist.LiveKey(r.Name)))
			if !strings.HasSuffix(text, "#EXT-X-ENDLIST\n") || !strings.Contains(text, b.Items[len(b.Items)-1].Of(r.Name).Name+".m4s") {
				t.Errorf("media playlist of %s:\n%s", r.Name, text)
			}
		}
		last := g.notes[len(g.notes)-1]
		if !last.Ended || last.ID != b.ID || last.Target != 4*time.Second || last.LastEnd != b.End {
			t.Errorf("broadcast record %+v", last)
		}
	})
}

func TestFirstSegmentIsStoredAtOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := newRig(t)
		_, end := g.start()
		defer end()
		began := time.Now()
		go g.on(publish{feed: feedOf(live.Primary, 1, 1), ladder: pass(32), rate: 30, video: small(t), audio: aac(t), segment: 2 * time.Second, duration: 10 * time.Second})
		for len(g.state().Broadcasts) == 0 || len(g.state().Current().Items) == 0 {
			time.Sleep(10 * time.Millisecond)
		}
		if d := time.Since(began); d > 2100*time.Millisecond {
			t.Errorf("the first segment of 2 s is in the timeline after %v", d)
		}
		time.Sleep(20 * time.Second)
	})
}

func TestReconnectWithinResume(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := newRig(t)
		result, end := g.start()
		defer end()
		p := publish{feed: feedOf(live.Primary, 1, 1), ladder: pass(32), rate: 30, video: small(t), audio: aac(t), duration: 10 * time.Second}
		g.on(p)
		time.Sleep(170 * time.Second)
		p.feed.Epoch = 2
		g.on(p)
		b := ended(t, g, result)
		if len(g.state().Broadcasts) != 1 {
			t.Errorf("%d broadcasts, want one", len(g.state().Broadcasts))
		}
		var marks []uint64
		for _, it := range b.Items {
			if it.Discontinuity {
				marks = append(marks, it.Seq)
			}
		}
		if len(b.Items) != 6 || len(marks) != 1 || marks[0] != 4 {
			t.Errorf("%d items, discontinuities at %v; want 6, at 4", len(b.Items), marks)
		}
		if n := len(g.samples(b, entry+"_32")); n != len(g.sent[0]) {
			t.Errorf("%d frames of %d", n, len(g.sent[0]))
		}
		if v := b.Rendition(entry + "_32"); v.Inits != 1 {
			t.Errorf("%d initialization sections of equal parameters", v.Inits)
		}
	})
}

func TestReconnectBeyondResume(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := newRig(t)
		p := publish{feed: feedOf(live.Primary, 1, 1), ladder: pass(32), rate: 30, video: small(t), duration: 10 * time.Second}
		result, end := g.start()
		g.on(p)
		gone := time.Now()
		first := ended(t, g, result)
		end()
		if d := time.Since(gone); d < 180*time.Second || d > 181*time.Second {
			t.Errorf("the broadcast ended %v after its feed, want 180 s", d)
		}
		p.feed.Epoch = 2
		result, end = g.start()
		defer end()
		g.on(p)
		second := ended(t, g, result)
		if first.ID == second.ID || second.Items[0].Seq != 4 || second.Items[0].DiscontinuitySeq != 2 {
			t.Errorf("the second broadcast %s begins with %+v", second.ID, second.Items[0])
		}
	})
}

// The folder of a broadcast's media is drawn anew for each one, and no shorter than a key
// (contract row 118): who knows an entry, or one of its broadcasts, can't guess the next one's.
func TestMediaNamesAreDrawn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := newRig(t)
		p := publish{feed: feedOf(live.Primary, 1, 1), ladder: pass(32), rate: 30, video: small(t), duration: 6 * time.Second}
		drawn := regexp.MustCompile(`^[a-z2-7]{26}$`) // 130 bits
		seen := map[string]bool{}
		for epoch := range uint64(3) {
			p.feed.Epoch = epoch + 1
			result, end := g.start()
			g.on(p)
			b := ended(t, g, result)
			end()
			if !drawn.MatchString(b.ID) || seen[b.ID] {
				t.Errorf("broadcast %d is %q, after %v", epoch, b.ID, seen)
			}
			seen[b.ID] = true
			folder := playlist.Root + "/" + entry + "_32/" + b.ID + "/"
			list, err := g.store.List(t.Context(), folder, "", 100)
			if err != nil || len(list) < 2 {
				t.Errorf("%s holds %d objects: %v", folder, len(list), err)
			}
		}
		all, err := g.store.List(t.Context(), playlist.Root+"/", "", 1000)
		if err != nil {
			t.Fatal(err)
		}
		for _, o := range all {
			if name := path.Ext(o.Key); (name == ".m4s" || name == ".mp4") && !seen[path.Base(path.Dir(o.Key))] {
				t.Errorf("%s lies outside its broadcast's folder", o.Key)
			}
		}
	})
}

func TestParameterChange(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := newRig(t)
		result, end := g.start()
		defer end()
		g.on(publish{feed: feedOf(live.Primary, 1, 1), ladder: pass(32), rate: 30, video: small(t), audio: aac(t),
			change: hd(t), changeAt: 8 * time.Second, duration: 16 * time.Second})
		b := ended(t, g, result)
		v := b.Rendition(entry + "_32")
		if v.Inits != 2 || v.Width != 1280 {
			t.Errorf("rendition %+v", v)
		}
		var inits []int
		for _, it := range b.Items {
			inits = append(inits, it.Of(entry+"_32").Init)
			if it.Discontinuity != (it.Seq == 4) { // the first keyframe behind 8 s
				t.Errorf("item %d: discontinuity %v", it.Seq, it.Discontinuity)
			}
		}
		sameFrames(t, "video", g.samples(b, entry+"_32"), g.sent[0], videoTick)
		if inits[2] != 1 || inits[3] != 2 {
			t.Errorf("inits %v", inits)
		}
	})
}

func TestLateAudio(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := newRig(t)
		result, end := g.start()
		defer end()
		g.on(publish{feed: feedOf(live.Primary, 1, 1), ladder: pass(32), rate: 30, video: small(t), audio: aac(t), audioAt: 9 * time.Second, duration: 20 * time.Second})
		b := ended(t, g, result)
		if a := b.Rendition(entry + "_a1"); a.First != 3 || b.Rendition(entry+"_32").Audio != a.Name {
			t.Errorf("audio begins with item %d, video goes with %q", a.First, b.Rendition(entry+"_32").Audio)
		}
		sameFrames(t, "audio", g.samples(b, entry+"_a1"), g.sent[1], audioTick)
		for _, it := range b.Items {
			if it.Discontinuity {
				t.Errorf("audio that joins makes item %d a discontinuity", it.Seq)
			}
		}
	})
}

func TestAudioOnly(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := newRig(t)
		result, end := g.start()
		defer end()
		g.on(publish{feed: feedOf(live.Primary, 1, 1), ladder: pass(32), audio: aac(t), duration: 20 * time.Second})
		b := ended(t, g, result)
		if len(b.Renditions) != 1 || b.Renditions[0].Name != entry+"_a1" || b.Renditions[0].Rung.ParamsID != 32 {
			t.Errorf("renditions %+v", b.Renditions)
		}
		sameFrames(t, "audio", g.samples(b, entry+"_a1"), g.sent[1], audioTick)
	})
}

func TestMultiBitrate(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := newRig(t)
		result, end := g.start()
		defer end()
		p := publish{ladder: pass(32), rate: 30, video: hd(t), audio: aac(t), duration: 24 * time.Second, start: media.At(time.Now())}
		p.feed = feedOf(live.Primary, 1, 1)
		q := p
		q.feed, q.ladder, q.video, q.duration = feedOf(live.Primary, 2, 2), pass(33), small(t), 12*time.Second
		var wg sync.WaitGroup
		wg.Go(func() { g.on(p) })
		wg.Go(func() { time.Sleep(300 * time.Millisecond); g.on(q) })
		wg.Wait()
		b := ended(t, g, result)
		if len(b.Items) != 7 {
			t.Errorf("%d items, want 7", len(b.Items))
		}
		for i, it := range b.Items {
			if it.Discontinuity {
				t.Errorf("item %d is a discontinuity", it.Seq)
			}
			if has := it.Of(entry+"_33") != nil; has != (i < 4) {
				t.Errorf("item %d has the second bitrate: %v", it.Seq, has)
			}
			if it.Of(entry+"_32") == nil || it.Of(entry+"_a1").Feed.Suffix != 1 {
				t.Errorf("item %d: %+v", it.Seq, it.Media)
			}
		}
		sameFrames(t, "video", g.samples(b, entry+"_32"), g.sent[0], videoTick)
	})
}

// TestStalledBitrate holds the wait for a bitrate that stops without a word.
func TestStalledBitrate(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := newRig(t)
		result, end := g.start()
		defer end()
		p := publish{ladder: pass(32), rate: 30, video: hd(t), duration: 24 * time.Second, start: media.At(time.Now())}
		p.feed = feedOf(live.Primary, 1, 1)
		q := p
		q.feed, q.ladder, q.duration, q.cut = feedOf(live.Primary, 2, 2), pass(33), 7*time.Second, true
		go g.on(q)
		g.on(p)
		b := ended(t, g, result)
		if len(b.Items) != 7 {
			t.Errorf("%d items, want 7", len(b.Items))
		}
		for i, it := range b.Items {
			if it.Of(entry+"_32") == nil {
				t.Errorf("item %d lacks the first bitrate", i)
			}
		}
		if b.Items[0].Of(entry+"_33") == nil || b.Items[2].Of(entry+"_33") != nil {
			t.Error("the second bitrate should be there until it stalls, and not after")
		}
	})
}

func TestFailoverAndReturn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := newRig(t)
		result, end := g.start()
		defer end()
		p := publish{ladder: pass(32), rate: 30, video: small(t), audio: aac(t), start: media.At(time.Now())}
		backup := p
		backup.feed, backup.duration = feedOf(live.Backup, 1, 2), 60*time.Second
		p.feed, p.duration, p.cut = feedOf(live.Primary, 1, 1), 14*time.Second, true
		again := p
		again.feed.Epoch, again.duration, again.cut = 3, 28*time.Second, false
		again.start = p.start.Add(595 * 1001 * time.Millisecond / 30) // on the backup's grid, 20 s in
		go g.on(backup)
		g.on(p)
		time.Sleep(time.Until(again.start.Std()))
		g.on(again)
		b := ended(t, g, result)
		var from []live.Index
		at := b.Items[0].Start
		for i, it := range g.items(b) {
			from = append(from, it.Media[0].Feed.Index)
			if i > 0 && it.Discontinuity != (from[i] != from[i-1]) {
				t.Errorf("item %d of the %v: discontinuity %v", it.Seq, from[i], it.Discontinuity)
			}
			if d := it.Start.Sub(at); d < -time.Millisecond || d > 100*time.Millisecond {
				t.Errorf("item %d starts %v behind the end of the one before", it.Seq, d)
			}
			at = it.End()
		}
		switches := 0
		for i := 1; i < len(from); i++ {
			if from[i] != from[i-1] {
				switches++
			}
		}
		if switches != 3 || from[0] != live.Primary || from[len(from)-1] != live.Backup {
			t.Errorf("the items come from %v", from)
		}
	})
}

func TestLostPartBecomesGap(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := newRig(t)
		result, end := g.start()
		defer end()
		g.on(publish{feed: feedOf(live.Primary, 1, 1), ladder: pass(32), rate: 30, video: small(t), audio: aac(t), duration: 24 * time.Second,
			lose: func(seq uint64) bool { return seq == 30 }})
		b := ended(t, g, result)
		gaps := 0
		for i, it := range b.Items {
			if it.Discontinuity || i > 0 && it.Start != b.Items[i-1].End() {
				t.Errorf("item %d: %+v", it.Seq, it)
			}
			if it.Media[0].Gap {
				gaps++
			}
			for _, m := range it.Media {
				if i > 0 && m.Start != b.Items[i-1].Of(m.Rendition).Start.Add(b.Items[i-1].Of(m.Rendition).Duration) {
					t.Errorf("item %d of %s does not begin where the one before it ends", it.Seq, m.Rendition)
				}
			}
		}
		if gaps != 1 || len(b.Items) != 7 {
			t.Errorf("%d gaps in %d items, want one in 7", gaps, len(b.Items))
		}
	})
}

func TestStoreOutage(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := newRig(t)
		g.opt.LiveGrace = time.Hour
		result, end := g.start()
		defer end()
		began := time.Now()
		g.store.put = func(string) error {
			if d := time.Since(began); d > 10*time.Second && d < 70*time.Second {
				return errors.New("503 Slow Down")
			}
			return nil
		}
		g.on(publish{feed: feedOf(live.Primary, 1, 1), ladder: pass(32), rate: 30, video: small(t), audio: aac(t), duration: 100 * time.Second})
		b := ended(t, g, result)
		sameFrames(t, "video", g.samples(b, entry+"_32"), g.sent[0], videoTick)
		sameFrames(t, "audio", g.samples(b, entry+"_a1"), g.sent[1], audioTick)
	})
}

func TestStoreThatRefusesOneSegment(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := newRig(t)
		g.opt.StoreGiveUp = 6 * time.Second
		result, end := g.start()
		defer end()
		third := ""
		g.store.put = func(key string) error {
			if !strings.HasSuffix(key, ".m4s") {
				return nil
			}
			if st := g.state(); third == "" && st.NextSeq == 3 {
				third = key
			}
			if key == third {
				return errors.New("this one never")
			}
			return nil
		}
		g.on(publish{feed: feedOf(live.Primary, 1, 1), ladder: pass(32), rate: 30, video: small(t), duration: 24 * time.Second})
		b := ended(t, g, result)
		for _, it := range b.Items {
			if m := it.Media[0]; m.Gap != (it.Seq == 3) || m.Stored == m.Gap {
				t.Errorf("item %d: %+v", it.Seq, m)
			}
		}
	})
}

func TestRestart(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := newRig(t)
		_, end := g.start()
		p := publish{feed: feedOf(live.Primary, 1, 1), ladder: pass(32), rate: 30, video: small(t), audio: aac(t), duration: 60 * time.Second}
		done := make(chan struct{})
		go func() { defer close(done); g.on(p) }()
		time.Sleep(17 * time.Second)
		end() // killed within a segment; the bus goes on
		time.Sleep(3 * time.Second)
		result, end := g.start()
		defer end()
		<-done
		b := ended(t, g, result)
		sameFrames(t, "video", g.samples(b, entry+"_32"), g.sent[0], videoTick)
		for _, it := range b.Items {
			if it.Discontinuity {
				t.Errorf("the new owner made item %d a discontinuity", it.Seq)
			}
		}
	})
}

func TestDeadProcessEndsBroadcast(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := newRig(t)
		_, end := g.start()
		go g.on(publish{feed: feedOf(live.Primary, 1, 1), ladder: pass(32), rate: 30, video: small(t), duration: 17 * time.Second})
		time.Sleep(14 * time.Second)
		end()
		time.Sleep(5 * time.Minute)
		result, end := g.start()
		defer end()
		b := ended(t, g, result)
		if len(b.Items) != 3 {
			t.Errorf("%d items", len(b.Items))
		}
	})
}

func TestFencedOwnerStops(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := newRig(t)
		result, end := g.start()
		defer end()
		go g.on(publish{feed: feedOf(live.Primary, 1, 1), ladder: pass(32), rate: 30, video: small(t), duration: 30 * time.Second})
		time.Sleep(10 * time.Second)
		if _, err := timeline.OpenWriter(t.Context(), timeline.WriterConfig{Store: g.store, Log: g.log, Entry: entry, Epoch: 99, Owner: "other"}); err != nil {
			t.Fatal(err)
		}
		if err := <-result; !errors.Is(err, timeline.ErrFenced) {
			t.Errorf("Run: %v, want ErrFenced", err)
		}
		puts := g.store.puts.Load()
		time.Sleep(time.Minute)
		if g.store.puts.Load() != puts || len(g.state().Current().Items) != 2 {
			t.Error("the fenced owner went on writing")
		}
	})
}

func TestStopStoresWhatIsComplete(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := newRig(t)
		result, end := g.start()
		defer end()
		g.on(publish{feed: feedOf(live.Primary, 1, 1), ladder: pass(32), rate: 30, video: small(t), duration: 10 * time.Second})
		g.p.Stop()
		if err := <-result; !errors.Is(err, ErrStopped) {
			t.Errorf("Run: %v", err)
		}
		if b := g.state().Current(); b.Ended || len(b.Items) != 3 {
			t.Errorf("ended %v with %d items, want open with 3", b.Ended, len(b.Items))
		}
	})
}

func TestExpiryDeletesMedia(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := newRig(t)
		g.opt.LiveGrace = 20 * time.Second
		result, end := g.start()
		defer end()
		g.on(publish{feed: feedOf(live.Primary, 1, 1), ladder: pass(32), rate: 30, video: small(t), audio: aac(t), duration: 5 * time.Minute})
		b := ended(t, g, result)
		if b.FirstSeq < 50 || b.FirstSeq > 66 {
			t.Errorf("the oldest item is %d", b.FirstSeq)
		}
		list, err := g.store.List(t.Context(), "kLive/"+entry+"_32/", "", 1000)
		if err != nil {
			t.Fatal(err)
		}
		if n := len(list); n < 10 || n > 24 {
			t.Errorf("%d objects of the rendition are left", n)
		}
	})
}

func TestRingIsReleased(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := newRig(t)
		result, end := g.start()
		defer end()
		f := feedOf(live.Primary, 1, 1)
		g.on(publish{feed: f, ladder: pass(32), rate: 30, video: small(t), duration: 12 * time.Second})
		time.Sleep(time.Second)
		r, err := g.ring.Follow(t.Context(), f.Subject(), 1)
		if err != nil {
			t.Fatal(err)
		}
		defer r.Close()
		next := make(chan error, 1)
		go func() { _, err := r.Next(t.Context()); next <- err }()
		synctest.Wait()
		select {
		case <-next:
			t.Error("stored parts are still in the ring")
		default:
		}
		r.Close()
		<-next
		<-result
	})
}
