package bus_test

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"pgregory.net/rapid"

	"klive/infra/bus"
	"klive/infra/bus/bustest"
)

const (
	modelAge   = 10 * time.Second
	modelBytes = 1000
	modelTotal = 2000
)

type modelMessage struct {
	seq     uint64
	id      string
	subject string
	size    int
	at      time.Time
}

// ringModel says, in the plainest way, what a ring must hold.
type ringModel struct {
	kept []modelMessage // all subjects, oldest first
	last map[string]uint64
	ids  map[string]modelMessage // by subject and id
}

func (m *ringModel) remove(drop func(modelMessage) bool) {
	var kept []modelMessage
	for _, k := range m.kept {
		if !drop(k) {
			kept = append(kept, k)
		}
	}
	m.kept = kept
}

func (m *ringModel) expire(now time.Time) {
	m.remove(func(k modelMessage) bool { return now.Sub(k.at) >= modelAge })
}

func (m *ringModel) of(subject string) (of []modelMessage, bytes int) {
	for _, k := range m.kept {
		if k.subject == subject {
			of = append(of, k)
			bytes += k.size
		}
	}
	return of, bytes
}

func (m *ringModel) total() (bytes int) {
	for _, k := range m.kept {
		bytes += k.size
	}
	return bytes
}

func (m *ringModel) first(subject string) uint64 {
	if of, _ := m.of(subject); len(of) > 0 {
		return of[0].seq
	}
	return m.last[subject] + 1
}

func (m *ringModel) publish(subject, id string, size int, now time.Time) uint64 {
	m.expire(now)
	if known, ok := m.ids[subject+"/"+id]; ok && now.Sub(known.at) < modelAge {
		return known.seq
	}
	for of, bytes := m.of(subject); len(of) > 0 && bytes+size > modelBytes; of, bytes = m.of(subject) {
		m.remove(func(k modelMessage) bool { return k.subject == subject && k.seq == of[0].seq })
	}
	for len(m.kept) > 0 && m.total()+size > modelTotal {
		m.kept = m.kept[1:]
	}
	m.last[subject]++
	k := modelMessage{m.last[subject], id, subject, size, now}
	m.kept = append(m.kept, k)
	m.ids[subject+"/"+id] = k
	return k.seq
}

// modelFollower is a follower and the number it should read next.
type modelFollower struct {
	bus.Follower
	subject string
	next    uint64
}

func TestRingKeepsToItsModel(t *testing.T) {
	// rapid gives up after a day, of virtual time too: pauses are short.
	synctest.Test(t, func(t *testing.T) { rapid.Check(bubbleTB{t}, checkRingModel) })
}

// bubbleTB hides the Deadline method, which may not be called inside a bubble.
type bubbleTB struct{ rapid.TB }

func checkRingModel(t *rapid.T) {
	ring := bus.NewRing(bus.RingConfig{MaxAge: modelAge, MaxBytes: modelBytes, MaxTotalBytes: modelTotal})
	defer ring.Close()
	model := &ringModel{last: make(map[string]uint64), ids: make(map[string]modelMessage)}
	var followers []*modelFollower
	for _, subject := range []string{"a", "b", "c"} { // a followed subject is never forgotten
		f, err := ring.Follow(context.Background(), subject, 0)
		if err != nil {
			t.Fatal(err)
		}
		defer f.Close()
	}
	subjects := rapid.SampledFrom([]string{"a", "b", "c"})
	t.Repeat(map[string]func(*rapid.T){
		"publish": func(t *rapid.T) {
			subject := subjects.Draw(t, "subject")
			for range rapid.IntRange(1, 5).Draw(t, "messages") {
				id, size := fmt.Sprint(rapid.IntRange(0, 200).Draw(t, "id")), rapid.IntRange(0, 600).Draw(t, "size")
				want := model.publish(subject, id, size, time.Now())
				got, err := ring.Publish(context.Background(), subject, id, bustest.Body(make([]byte, size)))
				if err != nil || got != want {
					t.Fatalf("publish %s/%s: number %d, %v; want %d", subject, id, got, err, want)
				}
			}
		},
		"release": func(t *rapid.T) {
			subject := subjects.Draw(t, "subject")
			seq := rapid.Uint64Range(0, model.last[subject]+2).Draw(t, "seq")
			ring.Release(subject, seq)
			model.remove(func(k modelMessage) bool { return k.subject == subject && k.seq <= seq })
		},
		"sleep": func(t *rapid.T) {
			time.Sleep(rapid.SampledFrom([]time.Duration{
				time.Millisecond, time.Second, 3 * time.Second, modelAge - 1, modelAge, modelAge + 1,
			}).Draw(t, "pause"))
		},
		"follow": func(t *rapid.T) {
			subject := subjects.Draw(t, "subject")
			from := rapid.Uint64Range(0, model.last[subject]+1).Draw(t, "from")
			f, err := ring.Follow(context.Background(), subject, from)
			if err != nil {
				t.Fatal(err)
			}
			model.expire(time.Now())
			if from <= 1 {
				from = model.first(subject)
			}
			followers = append(followers, &modelFollower{f, subject, from})
		},
		"unfollow": func(t *rapid.T) {
			if len(followers) == 0 {
				t.Skip()
			}
			followers[0].Close()
			followers = followers[1:]
		},
		"": func(t *rapid.T) {
			model.expire(time.Now())
			for _, f := range followers {
				readOne(t, model, f)
			}
		},
	})
}

// readOne reads at most one message and compares it with the model.
func readOne(t *rapid.T, model *ringModel, f *modelFollower) {
	ctx, cancel := context.WithCancel(context.Background())
	cancel() // what is there is returned, what is not is not waited for
	m, err := f.Next(ctx)
	first, last := model.first(f.subject), model.last[f.subject]
	var aged *bus.AgedOutError
	switch {
	case f.next < first:
		if !errors.As(err, &aged) || aged.Want != f.next || aged.First != first {
			t.Fatalf("%s from %d, oldest %d: got message %d, %v", f.subject, f.next, first, m.Seq, err)
		}
		f.next = first
	case f.next > last:
		if !errors.Is(err, context.Canceled) {
			t.Fatalf("%s from %d, newest %d: got message %d, %v", f.subject, f.next, last, m.Seq, err)
		}
	default:
		of, _ := model.of(f.subject)
		k := of[f.next-first]
		if err != nil || m.Seq != k.seq || m.ID != k.id || m.Size() != k.size || !m.At.Equal(k.at) {
			t.Fatalf("%s from %d: got message %d %q, %v; want %+v", f.subject, f.next, m.Seq, m.ID, err, k)
		}
		f.next++
	}
}
