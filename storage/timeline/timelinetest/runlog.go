package timelinetest

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"
	"time"

	"klive/storage/timeline"
)

// RunLog holds the log that open returns against what a timeline needs of it.
func RunLog(t *testing.T, open func(t *testing.T) timeline.Log) {
	t.Run("Append", func(t *testing.T) { testAppend(t, open(t)) })
	t.Run("Race", func(t *testing.T) { testRace(t, open(t)) })
	t.Run("Follow", func(t *testing.T) { testFollow(t, open(t)) })
}

func mustAppend(t *testing.T, l timeline.Log, subject, id string, last uint64) uint64 {
	t.Helper()
	seq, err := l.Append(t.Context(), subject, id, []byte(id), last)
	if err != nil {
		t.Fatalf("Append(%s, %s): %v", subject, id, err)
	}
	return seq
}

func testAppend(t *testing.T, l timeline.Log) {
	if last, err := l.Last(t.Context(), "tl.a"); err != nil || last != 0 {
		t.Fatalf("an empty subject's last is %d, %v", last, err)
	}
	one := mustAppend(t, l, "tl.a", "1", 0)
	other := mustAppend(t, l, "tl.b", "1", 0)
	two := mustAppend(t, l, "tl.a", "2", one)
	if one >= two || one == other {
		t.Errorf("numbers %d, %d and %d of another subject", one, two, other)
	}
	if again := mustAppend(t, l, "tl.a", "2", one); again != two {
		t.Errorf("a repeated append gives %d, want %d", again, two)
	}
	if _, err := l.Append(t.Context(), "tl.a", "3", []byte("x"), one); !errors.Is(err, timeline.ErrConflict) {
		t.Errorf("append behind an old record = %v, want ErrConflict", err)
	}
	if last, err := l.Last(t.Context(), "tl.a"); err != nil || last != two {
		t.Errorf("last is %d, %v, want %d", last, err, two)
	}
}

func testRace(t *testing.T, l timeline.Log) {
	var wg sync.WaitGroup
	var mu sync.Mutex
	wins := 0
	for i := range 8 {
		wg.Go(func() {
			_, err := l.Append(t.Context(), "tl.a", fmt.Sprint(i), []byte("x"), 0)
			mu.Lock()
			defer mu.Unlock()
			if err == nil {
				wins++
			} else if !errors.Is(err, timeline.ErrConflict) {
				t.Errorf("a loser got %v, want ErrConflict", err)
			}
		})
	}
	wg.Wait()
	if wins != 1 {
		t.Errorf("%d winners", wins)
	}
}

func testFollow(t *testing.T, l timeline.Log) {
	one := mustAppend(t, l, "tl.a", "1", 0)
	mustAppend(t, l, "tl.b", "other", 0)
	two := mustAppend(t, l, "tl.a", "2", one)
	f, err := l.Follow(t.Context(), "tl.a", one+1)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if seq, data, err := f.Next(t.Context()); err != nil || seq != two || string(data) != "2" {
		t.Fatalf("Next = %d %q, %v", seq, data, err)
	}
	short, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
	defer cancel()
	if _, _, err := f.Next(short); !errors.Is(err, context.DeadlineExceeded) {
		t.Fatalf("Next at the end = %v, want DeadlineExceeded", err)
	}
	three := mustAppend(t, l, "tl.a", "3", two)
	if seq, data, err := f.Next(t.Context()); err != nil || seq != three || string(data) != "3" {
		t.Fatalf("Next after the wait = %d %q, %v", seq, data, err)
	}
}
