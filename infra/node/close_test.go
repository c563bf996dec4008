package node

import (
	"regexp"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"klive/infra/bus/bustest"
	"klive/infra/config"
	"klive/infra/live"
)

const (
	registerAction   = "liveStream.registerMediaServer"
	unregisterAction = "liveStream.unregisterMediaServer"
	mediaPlaylist    = "/kLive/0_demolive_32/dvr.m3u8"
)

var extinf = regexp.MustCompile(`(?m)^#EXTINF:([0-9.]+),`)

// length is how much media a playlist lists.
func length(t *testing.T, playlist string) (total time.Duration) {
	t.Helper()
	for _, m := range extinf.FindAllStringSubmatch(playlist, -1) {
		d, err := time.ParseDuration(m[1] + "s")
		if err != nil {
			t.Fatal(err)
		}
		total += d
	}
	return total
}

// A node that closes while an encoder publishes stores all that came, down to the open
// segment, and takes its registration back.
func TestCloseLosesNothing(t *testing.T) {
	bustest.Prepare(t)
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, nil)
		e := r.publish()
		playing := make(chan error, 1)
		go func() { playing <- e.play(time.Hour) }()
		time.Sleep(21500 * time.Millisecond)
		if n := r.calls.count(unregisterAction); n != 0 || r.calls.count(registerAction) == 0 {
			t.Errorf("%d unregister calls while the encoder publishes, %d register calls", n, r.calls.count(registerAction))
		}
		r.close()
		if err := <-playing; err == nil {
			t.Error("the encoder's connection outlives the node")
		}
		e.Abort()
		if n := r.calls.count(unregisterAction); n != 1 {
			t.Errorf("%d unregister calls after the close, want 1", n)
		}

		r.start()
		defer r.close()
		// The encoder stayed for the second of gateway.drain, and all of it is there.
		got := length(t, r.get(mediaPlaylist))
		if want := 22500 * time.Millisecond; (got - want).Abs() > 100*time.Millisecond {
			t.Errorf("%v of media are stored, want %v", got, want)
		}
	})
}

// An encoder that comes back in time after a restart goes on with the broadcast.
func TestBroadcastGoesOnAfterRestart(t *testing.T) {
	bustest.Prepare(t)
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, nil)
		e := r.publish()
		go e.play(time.Hour)
		time.Sleep(10 * time.Second)
		before := r.get(mediaPlaylist)
		r.close()
		e.Abort()
		time.Sleep(20 * time.Second)
		r.start()
		defer r.close()
		e = r.publish()
		if err := e.play(10 * time.Second); err != nil {
			t.Fatal(err)
		}
		e.Close()
		time.Sleep(time.Second)
		after := r.get(mediaPlaylist)
		if head, _, _ := strings.Cut(after, "#EXT-X-DISCONTINUITY\n"); !strings.HasPrefix(head, strings.TrimSpace(before)) {
			t.Errorf("the playlist was\n%s\nand is now\n%s", before, after)
		}
		if n := strings.Count(after, "#EXT-X-DISCONTINUITY\n"); n != 1 || strings.Contains(after, "ENDLIST") {
			t.Errorf("%d discontinuities in\n%s", n, after)
		}
	})
}

// A closing node waits for its encoders as long as gateway.drain says, and no longer than
// they stay.
func TestDrain(t *testing.T) {
	bustest.Prepare(t)
	for _, c := range []struct {
		name  string
		stays time.Duration // how long the encoder goes on after the close began
		want  time.Duration
	}{
		{"the encoder goes", 7 * time.Second, 7 * time.Second},
		{"the encoder stays", time.Hour, 20 * time.Second},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				r := newRig(t, func(s *config.Config) { s.Gateway.Drain = 20 * time.Second })
				e := r.publish()
				const before = 5 * time.Second
				played := make(chan struct{})
				go func() {
					defer close(played)
					if e.play(before+c.stays) == nil {
						e.Close()
					} else {
						e.Abort()
					}
				}()
				time.Sleep(before)
				if err := r.node.Ready(t.Context()); err != nil {
					t.Errorf("before the close: %v", err)
				}
				begin := time.Now()
				closed := make(chan struct{})
				go func() { defer close(closed); r.close() }()
				time.Sleep(time.Second)
				if err := r.node.Ready(t.Context()); err == nil {
					t.Error("a closing node says that it is ready")
				}
				<-closed
				if took := time.Since(begin); took < c.want || took > c.want+2*time.Second {
					t.Errorf("the close took %v, want %v", took, c.want)
				}
				<-played
			})
		})
	}
}

// What a killed process left open is closed; what another host holds is not.
func TestDeadFeeds(t *testing.T) {
	bustest.Prepare(t)
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, nil)
		r.close()
		feeds := r.bucket(live.FeedsBucket)
		record := live.FeedRecord{
			Feed:    live.Feed{FeedID: live.FeedID{Entry: "0_demolive", Suffix: 1}, Epoch: 7},
			Gateway: "elsewhere", Opened: time.Now().Add(-time.Hour), Beat: time.Now(),
		}
		put := func() {
			t.Helper()
			value, err := record.Marshal()
			if err != nil {
				t.Fatal(err)
			}
			if _, err := feeds.Put(t.Context(), record.Feed.FeedID.String(), value); err != nil {
				t.Fatal(err)
			}
		}
		alive := func() bool {
			t.Helper()
			kv, err := feeds.Get(t.Context(), record.Feed.FeedID.String())
			if err != nil {
				t.Fatal(err)
			}
			got, err := live.UnmarshalFeedRecord(kv.Value)
			if err != nil {
				t.Fatal(err)
			}
			if got.Feed != record.Feed || !got.Closed.IsZero() && !got.Closed.Equal(record.Beat) {
				t.Errorf("the record has become %+v", got)
			}
			return got.Alive(time.Now())
		}
		put()
		r.start()
		if alive() {
			t.Error("on a bus of its own a node leaves the feed of a dead process open")
		}
		r.close()
		put()
		shared := *r.cfg.Settings
		shared.Bus.URL = "nats://bus.example.com:4222"
		shared.Storage.URL = "file://" + t.TempDir()
		r.cfg.Settings = &shared
		r.start()
		if !alive() {
			t.Error("on a shared bus a node closes another one's feed")
		}
	})
}
