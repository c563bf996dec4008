package telemetry

import (
	"sync"
	"time"
)

// Throttle keeps what comes again and again from filling the log: of each key it lets one line through, and then
// none for a while. What it held back it counts, for the next line to say. The zero value is ready and lets one line a
// minute through; it is safe for concurrent use.
type Throttle struct {
	// Every is the least time between two lines of a key; 0 means a minute.
	Every time.Duration

	// mu guards the fields below.
	mu     sync.Mutex
	keys   map[string]*throttled
	looked time.Time // when forget last went through all keys
}

// throttled is what was said of a key: when, and what has been held back since.
type throttled struct {
	at   time.Time
	held int
}

// maxThrottled bounds the keys that are remembered. All others share one.
const maxThrottled = 1000

// Pass reports whether a line may be written now, and how many were held back since the last one.
func (t *Throttle) Pass(key string) (held int, ok bool) {
	every, now := t.Every, time.Now()
	if every <= 0 {
		every = time.Minute
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	k := t.keys[key]
	if k == nil && len(t.keys) >= maxThrottled && now.Sub(t.looked) >= time.Second { // a flood must not cost a look each
		t.looked = now
		t.forget(now.Add(-every))
	}
	if k == nil && len(t.keys) >= maxThrottled {
		key = ""
		k = t.keys[key]
	}
	if k == nil {
		if t.keys == nil {
			t.keys = map[string]*throttled{}
		}
		t.keys[key] = &throttled{at: now}
		return 0, true
	}
	if now.Sub(k.at) < every {
		k.held++
		return 0, false
	}
	held, k.at, k.held = k.held, now, 0
	return held, true
}

// forget drops the keys of which nothing was said since, and what was held back of them: the metrics have it.
func (t *Throttle) forget(since time.Time) {
	for key, k := range t.keys {
		if k.at.Before(since) {
			delete(t.keys, key)
		}
	}
}
