package bus

import (
	"fmt"
	"strings"
	"sync"
	"time"
)

// troubleFresh is how long a publish that was not taken says something about now.
const troubleFresh = 3*time.Second + ackTimeout

// trouble is how long a media stream has taken nothing that was published to it: a leader that
// the other servers no longer follow answers questions, and acknowledges nothing.
type trouble struct {
	// mu guards the fields below.
	mu          sync.Mutex
	first, last time.Time // failures since the last success; zero without one
}

// note takes what came of an attempt to publish.
func (t *trouble) note(err error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	switch now := time.Now(); {
	case err == nil:
		t.first, t.last = time.Time{}, time.Time{}
	case passing(err):
		if now.Sub(t.last) > troubleFresh {
			t.first = now
		}
		t.last = now
	}
}

// lasting is whether two attempts or more in a row have failed, and lately.
func (t *trouble) lasting(now time.Time) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.last.After(t.first) && now.Sub(t.last) <= troubleFresh
}

// Healthy says whether the media streams take what this process publishes, as far as it has
// lately published. What it can't say of others, [Control.Led] does.
func (s *Streams) Healthy() error {
	var stuck []string
	for _, sh := range s.shards {
		if sh.trouble.lasting(time.Now()) {
			stuck = append(stuck, sh.name)
		}
	}
	if len(stuck) == 0 {
		return nil
	}
	return fmt.Errorf("%w: %w: nothing that was published to %s was taken lately", ErrUnavailable, ErrElecting, strings.Join(stuck, ", "))
}
