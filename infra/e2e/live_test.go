package e2e

import (
	"context"
	"errors"
	"sync"
	"testing"
	"time"

	"klive/infra/check"
	"klive/infra/media"
	"klive/infra/publisher"
)

// feed is a light publisher at work against a process, with what it has sent.
type feed struct {
	pub    *publisher.Publisher
	cancel context.CancelFunc
	wg     sync.WaitGroup
	err    error // set when the play has ended

	mu    sync.Mutex // guards the fields below
	sent  []check.Sent
	first time.Time
}

// publish plays a clip in real time until stop or the limit.
func publish(t testing.TB, url string, clip *publisher.Clip, limit time.Duration) *feed {
	t.Helper()
	pub, err := publisher.Dial(t.Context(), publisher.Config{URL: url})
	if err != nil {
		t.Fatal(err)
	}
	return publishOn(t, pub, clip, limit)
}

// publishOn publishes a clip on a connection that has been accepted.
func publishOn(t testing.TB, pub *publisher.Publisher, clip *publisher.Clip, limit time.Duration) *feed {
	t.Helper()
	f := &feed{pub: pub}
	f.play(t, publisher.Play{Clip: clip, Limit: limit, Sent: f.note})
	return f
}

// play begins to play until stop.
func (f *feed) play(t testing.TB, play publisher.Play) {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	f.cancel = cancel
	f.wg.Go(func() {
		f.err = f.pub.Play(ctx, play)
		if errors.Is(f.err, context.Canceled) {
			f.err = nil
		}
		f.pub.Close()
	})
	t.Cleanup(func() { f.stop() })
}

func (f *feed) note(u publisher.Unit) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.first.IsZero() && u.Key && u.Kind == media.Video {
		f.first = time.Now()
	}
	f.sent = append(f.sent, check.Sent{Kind: u.Kind, Number: u.Number, DTS: u.DTS, PTS: u.PTS})
}

// stop ends the play and returns why it ended; nil when it was in order.
func (f *feed) stop() error {
	f.cancel()
	f.wg.Wait()
	return f.err
}

// wait lets the play come to its limit.
func (f *feed) wait() error {
	f.wg.Wait()
	return f.err
}

func (f *feed) firstKey() time.Time {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.first
}

// follow reads an entry's playlists until done is closed and then until they end.
func follow(t testing.TB, p *process, entry string, done <-chan struct{}) *check.Follower {
	t.Helper()
	f, err := check.Follow(p.client, p.playlist(entry))
	if err != nil {
		t.Fatal(err)
	}
	tick := time.NewTicker(100 * time.Millisecond)
	defer tick.Stop()
	var grace <-chan time.Time
	for {
		if err := f.Poll(t.Context()); err != nil && !errors.Is(err, check.ErrNoPlaylist) {
			t.Fatalf("%v\n%s", err, p.log)
		}
		if main := f.Main(); main != nil && main.Ended && grace != nil {
			if err := f.Err(); err != nil {
				t.Error(err)
			}
			return f
		}
		select {
		case <-tick.C:
		case <-done:
			done, grace = nil, time.After(30*time.Second)
		case <-grace:
			t.Fatalf("the playlist did not end\n%s", p.log)
		}
	}
}

// TestFirstPlayable holds the first playable playlist to one GOP and a second after the
// first keyframe.
func TestFirstPlayable(t *testing.T) {
	p := start(t)
	const gop = 2 * time.Second
	f := publish(t, p.demo(), demoClip(t, publisher.Synthetic{GOP: gop, BFrames: 2}), 0)
	follower, err := check.Follow(p.client, p.playlist("0_demolive"))
	if err != nil {
		t.Fatal(err)
	}
	p.wait(t, 20*time.Second, "a segment of each rendition", func() bool {
		if err := follower.Poll(t.Context()); err != nil && !errors.Is(err, check.ErrNoPlaylist) {
			t.Fatal(err)
		}
		v, a := follower.Kind(media.Video), follower.Kind(media.Audio)
		return v != nil && a != nil && len(v.Items) > 0 && len(a.Items) > 0
	})
	took := max(
		follower.Kind(media.Video).Items[0].FirstListed.Sub(f.firstKey()),
		follower.Kind(media.Audio).Items[0].FirstListed.Sub(f.firstKey()))
	t.Logf("first playable playlist %v after the first keyframe", took.Round(time.Millisecond))
	if took > gop+time.Second {
		t.Errorf("the first playable playlist came %v after the first keyframe, want at most %v", took, gop+time.Second)
	}
}

// TestFrameAudit sends a real encoder's frames and asks for each of them in the segments.
func TestFrameAudit(t *testing.T) {
	beside(t)
	p := start(t, "KLIVE_BROADCAST_RESUME=2s")
	clip := x264Clip(t)
	run := length(130*time.Second, 15*time.Second)
	f := publish(t, p.demo(), clip, run)
	done := make(chan struct{})
	var wg sync.WaitGroup
	wg.Go(func() { f.wait(); close(done) })
	follower := follow(t, p, "0_demolive", done)
	wg.Wait()
	if f.err != nil {
		t.Fatal(f.err)
	}
	audit := follower.Audit(f.sent)
	t.Logf("audit over %v:\n%v", run, audit)
	for _, tr := range []check.TrackAudit{audit.Video, audit.Audio} {
		if tr.Sent == 0 || len(tr.Lost)+tr.Tail+len(tr.Doubled)+len(tr.Disordered)+tr.Unknown > 0 {
			t.Errorf("not each frame once, in order: %+v", tr)
		}
	}
	if audit.Video.Jitter > time.Millisecond {
		t.Errorf("video times are off by %v, want at most 1 ms", audit.Video.Jitter)
	}
	if audit.Audio.JoinGap != 0 {
		t.Errorf("audio has a gap or overlap of %d samples, want half a sample at most", audit.Audio.JoinGap)
	}
	if audit.MaxOffset() > time.Millisecond || len(audit.Offsets) == 0 {
		t.Errorf("video moved against audio by %v, want at most 1 ms", audit.Offsets)
	}
}
