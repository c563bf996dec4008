package e2e

import (
	"context"
	"fmt"
	"math/rand/v2"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	srt "github.com/datarhei/gosrt"

	"klive/infra/check/fault"
	"klive/infra/publisher"
)

// attackRound is how long one process calls: the library leaves goroutines and sockets behind with
// each call that fails.
const attackRound = 20 * time.Second

// attackSRT calls an address again and again, and sends a little on each call that is answered.
// Its arguments are the address, the passphrase and the stream ids; every second call encrypts.
func attackSRT(args []string) error {
	address, pass, ids := args[0], args[1], args[2:]
	var calls, answered atomic.Int64
	var callers sync.WaitGroup
	end := time.Now().Add(attackRound)
	for range 8 {
		callers.Go(func() {
			for time.Now().Before(end) {
				c := srt.DefaultConfig()
				c.StreamId, c.ConnectionTimeout, c.PeerIdleTimeout = ids[rand.IntN(len(ids))], 300*time.Millisecond, time.Second
				if calls.Add(1)%2 == 0 {
					c.Passphrase = pass
				}
				conn, err := srt.Dial("srt", address, c)
				if err != nil {
					continue
				}
				answered.Add(1)
				for range 50 {
					if _, err := conn.Write(make([]byte, 1316)); err != nil {
						break
					}
					time.Sleep(time.Millisecond)
				}
				conn.Close()
			}
		})
	}
	callers.Wait()
	fmt.Printf("%d calls, %d answered\n", calls.Load(), answered.Load())
	return nil
}

// TestMutatedDatagrams has SRT callers whose datagrams are changed on their way, plain and
// encrypted ones: klive lives, its heap stays small, no goroutine is left of them, and a healthy
// feed beside them loses nothing.
func TestMutatedDatagrams(t *testing.T) {
	if !proving() {
		t.Skip("SKIP: runs under KLIVE_PROVE=1; TestMutatedDatagrams of gateway/srt is its short form")
	}
	p := start(t, "KLIVE_BROADCAST_RESUME=2s", "KLIVE_SEGMENT_DURATION=1s", "KLIVE_LOG_LEVEL=error", "KLIVE_RECORDING_ENABLED=false", "KLIVE_SRT_PUBLISH_TIMEOUT=5s")
	const run = 10 * time.Minute
	file, sent := transportFile(t, demoClip(t, publisher.Synthetic{GOP: time.Second, BFrames: 2}), run+2*time.Second)
	args := []string{fault.NewDatagramRelay(t, p.srt, fault.Weather{Mutate: 0.2}, fault.Weather{}).Addr(), srtPass}
	for i, e := range append(p.addEntries(t, 3), p.addSecretEntry(t)) {
		args = append(args, []string{"#!::r=" + e.ID + "_1,m=publish,u=102,i=0,s=" + e.Token, "#:::e=" + e.ID + ",st=0,p=" + e.Token}[i%2])
	}
	healthy := callSRT(t, p, file, "#:::e=0_demolive,st=0,p=demo1234", "")
	waitPlayable(t, p)
	calm := p.metric(t, "go_goroutines")
	ctx, cancel := context.WithTimeout(t.Context(), run)
	done := make(chan struct{})
	var heap, goroutines atomic.Int64
	var rounds int
	attackers := child(t, "srt-attack", args...)
	var watching sync.WaitGroup
	defer watching.Wait()
	defer cancel()
	watching.Go(func() {
		for rounds = 1; ctx.Err() == nil && p.running(); time.Sleep(100 * time.Millisecond) {
			heap.Store(max(heap.Load(), p.metric(t, "go_memstats_heap_inuse_bytes")))
			goroutines.Store(max(goroutines.Load(), p.metric(t, "go_goroutines")))
			if !attackers.Running() {
				attackers.Relaunch()
				rounds++
			}
		}
		attackers.Kill()
	})
	go func() { <-healthy.done; close(done) }()
	follower := follow(t, p, "0_demolive", done)
	watching.Wait()
	t.Logf("%v, %d processes of callers: %d malformed handshakes caught, %d callers let in; at most %d MB of heap and %d goroutines (%d before, with one feed)",
		run, rounds, p.metric(t, "klive_srt_panics_total"), p.metric(t, "klive_srt_accepted_total"), heap.Load()>>20, goroutines.Load(), calm)
	if !p.running() {
		t.Fatalf("the service died: %v\n%s", p.err, p.log)
	}
	if heap.Load() > maxHeap || heap.Load() == 0 {
		t.Errorf("the heap took %d MB, want at most %d", heap.Load()>>20, maxHeap>>20)
	}
	if n := p.metric(t, "klive_srt_accepted_total"); n < 3 {
		t.Errorf("%d callers were let in: too few to say anything", n)
	}
	auditWhole(t, "the healthy feed", follower.Audit(sent), 30)
	// Of what runs in klive, nothing is a caller's any more. The sum may be above what it was by the
	// idle connections to Kaltura's API.
	end := time.Now().Add(time.Minute)
	for {
		stacks := p.get(t.Context(), "http://"+p.admin+"/debug/pprof/goroutine?debug=2")
		left := strings.Count(stacks, "gosrt.(*srtConn)") + strings.Count(stacks, "gateway/srt.(*caller)")
		now := p.metric(t, "go_goroutines")
		if stacks != "" && left == 0 && now <= calm+64 && p.metric(t, "klive_srt_connections") == 0 {
			t.Logf("%d goroutines are left", now)
			return
		}
		if time.Now().After(end) {
			t.Fatalf("%d frames of callers in %d goroutines are left; there were %d goroutines before\n%s", left, now, calm, stacks)
		}
		time.Sleep(250 * time.Millisecond)
	}
}
