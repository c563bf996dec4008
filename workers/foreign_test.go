package workers

import (
	"bytes"
	"strings"
	"sync"
	"testing"
	"time"

	"klive/infra/bus/bustest"
	"klive/storage/timeline"
	"klive/storage/timeline/buslog"
)

// lines is a log that several processes write.
type lines struct {
	// mu guards the fields below.
	mu   sync.Mutex
	text bytes.Buffer
}

func (l *lines) Write(b []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.Write(b)
}

func (l *lines) count(what string) int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return strings.Count(l.text.String(), what)
}

// TestAnotherDeployment claims an entry in the store that a worker owns on its bus. When the
// claim comes from another bus the log names the cause; a claim of a process that is heard on
// the worker's own is nothing of the kind.
func TestAnotherDeployment(t *testing.T) {
	for _, c := range []struct {
		by    string
		heard bool
	}{{"elsewhere", false}, {"b", true}} {
		t.Run(c.by, func(t *testing.T) {
			bubble(t, func(t *testing.T) {
				w, logs := newWorld(t), &lines{}
				w.logs = logs
				defer w.stopAll()
				w.start("a")
				time.Sleep(time.Second)
				published := make(chan struct{})
				go func() { defer close(published); w.publish(1, 30*time.Second) }()
				time.Sleep(5 * time.Second)
				if c.heard {
					w.start(c.by)
				}
				time.Sleep(7 * time.Second)
				other, err := buslog.Open(t.Context(), bustest.StartNode(t).Control())
				if err != nil {
					t.Fatal(err)
				}
				_, err = timeline.OpenWriter(t.Context(), timeline.WriterConfig{Store: w.memory, Log: other, Entry: entry, Epoch: w.state().Epoch + 100, Owner: c.by})
				if err != nil {
					t.Fatal(err)
				}
				<-published
				if logs.count("lost the entry") == 0 {
					t.Error("a was not fenced")
				}
				want := 1
				if c.heard {
					want = 0
				}
				if got := logs.count(`level=ERROR msg="another deployment writes to the same storage.url`); got != want {
					t.Errorf("told %d times of another deployment, want %d", got, want)
				}
			})
		})
	}
}
