package fault

import (
	"slices"
	"sync"
	"time"
)

// Write is a request that changed, or tried to change, an object.
type Write struct {
	// Asked is when the store was asked, At when it had answered.
	Asked, At time.Time
	// From is the name of the relay: who wrote.
	From   string
	Method string
	// Path is the request's path, bucket included.
	Path string
	// Status is the store's answer; ETag is the new object's.
	Status int
	ETag   string
	// Body is what was sent, media aside.
	Body []byte
}

// Done reports whether the store did what it was asked.
func (w *Write) Done() bool { return w.Status >= 200 && w.Status < 300 }

// Journal is the history of a store's objects as its relays saw it, in the order of the
// answers. Its methods may be called by several goroutines.
type Journal struct {
	mu     sync.Mutex // guards the field below
	writes []Write
}

func (j *Journal) add(w Write) {
	j.mu.Lock()
	defer j.mu.Unlock()
	j.writes = append(j.writes, w)
}

// Writes returns what came so far and is chosen.
func (j *Journal) Writes(choose func(*Write) bool) []Write {
	j.mu.Lock()
	defer j.mu.Unlock()
	var out []Write
	for i := range j.writes {
		if choose(&j.writes[i]) {
			out = append(out, j.writes[i])
		}
	}
	return slices.Clip(out)
}
