package e2e

import (
	"errors"
	"fmt"
	"sync"
	"testing"
	"time"

	"klive/infra/check"
	"klive/infra/media"
)

// TestClusterTranscodersKilled kills one of three transcode workers each 5 s, while it works on
// a segment. Every segment of every rung is made by somebody, and is listed in time.
func TestClusterTranscodersKilled(t *testing.T) {
	promised(t)
	ffmpeg(t)
	c := startCluster(t, shape{buses: 1, gateways: 1, workers: 1, origins: 1, settings: []string{"transcode.preset=" + lightPreset(), "transcode.threads=1", "broadcast.resume=8s"}})
	var transcoders []*member
	for i := range 3 {
		transcoders = append(transcoders, c.launch(fmt.Sprintf("transcoder-%d", i+1), "worker", "--roles", "transcode"))
	}
	for _, m := range transcoders {
		m.WaitReady()
	}
	e := controlPlane{c.client, c.control.admin}.addEntriesOf(t, cloudTranscode, 1)[0]
	f := publish(t, c.gateways[0].ingest(e, 0), x264Clip(t), length(2*time.Minute, 15*time.Second))
	done := make(chan struct{})
	var wg sync.WaitGroup
	wg.Go(func() { f.wait(); close(done) })
	kills := map[*member]int{}
	wg.Go(func() {
		next := time.Now().Add(5 * time.Second)
		for {
			select {
			case <-done:
				return
			case <-time.After(20 * time.Millisecond):
			}
			if m := busy(transcoders, kills); m != nil && time.Now().After(next) {
				m.Kill()
				kills[m]++
				m.Relaunch() // as whoever looks after processes does
				next = time.Now().Add(5 * time.Second)
			}
		}
	})
	follower := followUntilEnd(t, c, e, done)
	wg.Wait()
	if f.err != nil {
		t.Fatal(f.err)
	}
	sameAsSource(t, follower, e.ID, 0)
	late := latest(follower, e.ID)
	again := 0
	for _, m := range transcoders {
		again += len(m.Said("is transcoded", "try=2")) + len(m.Said("is transcoded", "try=3"))
	}
	t.Logf("%d items, %d kills, %d segments made by a second worker; the latest rung segment was listed %.2f target durations after its end", len(follower.Kind(media.Video).Items), total(kills), again, late)
	if again == 0 {
		t.Error("no worker was killed while it worked")
	}
	if late > 2.1 { // playlists are read each 100 ms
		t.Errorf("a rung segment was listed %.2f target durations after its end, want at most 2", late)
	}
}

// busy is a worker that has a segment in hand.
func busy(list []*member, kills map[*member]int) *member {
	for _, m := range list {
		if len(m.Said("a segment is taken")) > len(m.Said("a segment is transcoded"))+kills[m] {
			return m
		}
	}
	return nil
}

// followUntilEnd reads an entry's playlists at the first origin until they end.
func followUntilEnd(t *testing.T, c *cluster, e entry, done <-chan struct{}) *check.Follower {
	t.Helper()
	f, err := check.Follow(c.client, c.origins[0].playlist(e.ID, false))
	if err != nil {
		t.Fatal(err)
	}
	var patience <-chan time.Time
	for {
		if err := f.Poll(t.Context()); err != nil && !errors.Is(err, check.ErrNoPlaylist) {
			t.Fatal(err)
		}
		if main := f.Main(); main != nil && main.Ended && patience != nil {
			if err := f.Rules.Err(); err != nil {
				t.Error(err)
			}
			return f
		}
		select {
		case <-time.After(100 * time.Millisecond):
		case <-done:
			done, patience = nil, time.After(time.Minute)
		case <-patience:
			t.Fatal("the playlist did not end")
		}
	}
}

func total(kills map[*member]int) (n int) {
	for _, k := range kills {
		n += k
	}
	return n
}
