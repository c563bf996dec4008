package bus_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"klive/infra/bus"
	"klive/infra/bus/bustest"
)

func openQueue(t *testing.T, c *bus.Control, config bus.QueueConfig) *bus.Queue {
	t.Helper()
	q, err := c.Queue(t.Context(), config)
	must(t, err)
	return q
}

// taken takes a task, or fails when there is none within ten seconds.
func taken(t *testing.T, q *bus.Queue) *bus.Task {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	task, err := q.Take(ctx)
	must(t, err)
	return task
}

// idle fails when there is a task within the given time.
func idle(t *testing.T, q *bus.Queue, d time.Duration) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), d)
	defer cancel()
	if task, err := q.Take(ctx); !errors.Is(err, context.DeadlineExceeded) {
		t.Fatalf("took %v, %v", task, err)
	}
}

func TestQueueOrderAndDone(t *testing.T) {
	bubble(t, func(t *testing.T, n *bus.Node) {
		q := openQueue(t, n.Control(), bus.QueueConfig{Name: "work"})
		for i := range 3 {
			must(t, q.Put(t.Context(), fmt.Sprint(i), fmt.Appendf(nil, "task %d", i)))
		}
		must(t, q.Put(t.Context(), "1", []byte("again")))
		for i := range 3 {
			task := taken(t, q)
			if string(task.Data) != fmt.Sprintf("task %d", i) || task.ID != fmt.Sprint(i) || task.Tries != 1 || time.Since(task.At) > time.Minute {
				t.Errorf("task %d: %q, id %s, %d tries, put at %v", i, task.Data, task.ID, task.Tries, task.At)
			}
			must(t, task.Done(t.Context()))
		}
		s, err := q.State(t.Context())
		must(t, err)
		if s != (bus.QueueState{}) {
			t.Errorf("the queue is not empty: %+v", s)
		}
		must(t, q.Put(t.Context(), "1", []byte("a task that is done")))
		idle(t, q, 20*time.Second)
	})
}

// TestQueueTakerDies holds that a silent taker's task goes to another, and a busy one's not.
func TestQueueTakerDies(t *testing.T) {
	bubble(t, func(t *testing.T, n *bus.Node) {
		mine, other := bustest.Connect(t, n, "mine"), bustest.Connect(t, n, "other")
		q, p := openQueue(t, mine, bus.QueueConfig{Name: "work"}), openQueue(t, other, bus.QueueConfig{Name: "work"})
		must(t, q.Put(t.Context(), "a", []byte("a")))
		task := taken(t, q)
		s, err := q.State(t.Context())
		must(t, err)
		if s.Tasks != 1 || s.Taken != 1 || s.Oldest.IsZero() {
			t.Errorf("state %+v", s)
		}
		for range 10 {
			idle(t, p, time.Second)
			must(t, task.Extend())
		}
		began := time.Now()
		again := taken(t, p)
		if again.ID != "a" || again.Tries != 2 || time.Since(began) > 5*time.Second {
			t.Errorf("%s after %v, %d tries", again.ID, time.Since(began), again.Tries)
		}
		must(t, again.Return(time.Second))
		began = time.Now()
		third := taken(t, p)
		if third.Tries != 3 || time.Since(began) < time.Second/2 {
			t.Errorf("returned task came after %v, %d tries", time.Since(began), third.Tries)
		}
		must(t, third.Done(t.Context()))
		idle(t, q, 10*time.Second)
	})
}

func TestQueueBounds(t *testing.T) {
	bubble(t, func(t *testing.T, n *bus.Node) {
		q := openQueue(t, n.Control(), bus.QueueConfig{Name: "work", MaxBytes: 64 << 10, MaxAge: time.Minute})
		wantErr(t, q.Put(t.Context(), "large", make([]byte, bus.MaxTaskBytes+1)), bus.ErrTooLarge)
		wantErr(t, q.Put(t.Context(), "two\nlines", nil), bus.ErrInvalid)
		var err error
		for i := 0; err == nil && i < 10; i++ {
			err = q.Put(t.Context(), fmt.Sprint(i), make([]byte, 20<<10))
		}
		wantErr(t, err, bus.ErrFull)
		time.Sleep(2 * time.Minute)
		s, err := q.State(t.Context())
		must(t, err)
		if s.Tasks != 0 {
			t.Errorf("tasks are kept beyond their age: %+v", s)
		}
		_, err = n.Control().Queue(t.Context(), bus.QueueConfig{Name: "a b"})
		wantErr(t, err, bus.ErrInvalid)
	})
}

// TestQueueMadeAnew holds that a queue works again when the servers lost it.
func TestQueueMadeAnew(t *testing.T) {
	bubble(t, func(t *testing.T, n *bus.Node) {
		c := n.Control()
		q := openQueue(t, c, bus.QueueConfig{Name: "work"})
		must(t, q.Put(t.Context(), "a", []byte("a")))
		bustest.Lose(t, n)
		_, err := c.Restore(t.Context())
		must(t, err)
		must(t, q.Put(t.Context(), "b", []byte("b")))
		if task := taken(t, q); task.ID != "b" {
			t.Errorf("took %s", task.ID)
		}
	})
}

// TestQueueTakeTells holds that what waiting does not mend is returned, not tried again in silence for ever.
func TestQueueTakeTells(t *testing.T) {
	bubble(t, func(t *testing.T, n *bus.Node) {
		q := openQueue(t, n.Control(), bus.QueueConfig{Name: "work"})
		bustest.LoseTakers(t, n, "work")
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		began := time.Now()
		task, err := q.Take(ctx)
		if task != nil || err == nil || ctx.Err() != nil || !strings.Contains(err.Error(), "take from queue work") {
			t.Errorf("took %v, %v", task, err)
		}
		if d := time.Since(began); d < 5*time.Second {
			t.Errorf("it gave up after %v", d)
		}
	})
}
