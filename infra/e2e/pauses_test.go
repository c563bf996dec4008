package e2e

import (
	"context"
	"sync"
	"testing"
	"time"
)

// hops are the processes that a picture passes between an encoder and a viewer. mostAllowance bounds
// what is allowed for: a machine that stands still for longer shows nothing.
const (
	hops          = 5
	mostAllowance = 5 * time.Second
)

// pauses measures how long the machine lets a process wait that has something to do.
type pauses struct {
	mu    sync.Mutex // guards the field below
	worst time.Duration
}

// measurePauses measures until the test ends.
func measurePauses(t testing.TB) *pauses {
	p := &pauses{}
	ctx, cancel := context.WithCancel(context.Background())
	var wg sync.WaitGroup
	wg.Go(func() {
		const step = 10 * time.Millisecond
		for ctx.Err() == nil {
			begin := time.Now()
			time.Sleep(step)
			p.note(time.Since(begin) - step)
		}
	})
	t.Cleanup(func() { cancel(); wg.Wait() })
	return p
}

func (p *pauses) note(d time.Duration) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.worst = max(p.worst, d)
}

// allowance is what the machine's own pauses may add to a delay: nothing at the stated length, where tests run alone.
func (p *pauses) allowance() time.Duration {
	if proving() {
		return 0
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	return min(hops*p.worst, mostAllowance)
}

// TestPauses holds that the allowance is that of the longest pause, and that none is noted before one was.
func TestPauses(t *testing.T) {
	var p pauses
	if d := p.allowance(); d != 0 {
		t.Errorf("without a pause %v are allowed", d)
	}
	p.note(30 * time.Millisecond)
	p.note(20 * time.Millisecond)
	want := hops * 30 * time.Millisecond
	if proving() {
		want = 0
	}
	if d := p.allowance(); d != want {
		t.Errorf("%v are allowed after a pause of 30 ms, want %v", d, want)
	}
}
