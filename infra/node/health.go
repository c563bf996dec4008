package node

import (
	"sync"
	"time"
)

// healthFor is how long an answer of the bus stands: anybody may ask for readiness, and the
// gateway asks at each connect.
const healthFor = time.Second

// health remembers whether the bus answers.
type health struct {
	// mu guards the fields below.
	mu    sync.Mutex
	asked time.Time
	err   error
}

// ask returns what check said in the last second, or asks it.
func (h *health) ask(check func() error) error {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.asked.IsZero() || time.Since(h.asked) >= healthFor {
		h.err, h.asked = check(), time.Now()
	}
	return h.err
}
