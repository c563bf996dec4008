package bustest

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"klive/infra/bus"
)

// Retention is what a test asks of a media engine.
type Retention struct {
	MaxAge   time.Duration
	MaxBytes int64 // per subject
}

// MediaEngine is an engine of the media plane that [RunMedia] tests.
type MediaEngine struct {
	// Open returns an empty engine that is closed by t.Cleanup. It is called inside
	// a synctest bubble. Bodies are of type [Body]; an engine that does not pass
	// references decodes them with [DecodeBody].
	Open func(t *testing.T, r Retention) bus.Media
	// Shares says that followers get the very body that was published.
	Shares bool
}

// RunMedia holds an engine to the contract of [bus.Media]. Each test runs in a
// synctest bubble of its own, so its hours pass at once.
func RunMedia(t *testing.T, e MediaEngine) {
	for _, test := range []struct {
		name string
		run  func(t *testing.T, e MediaEngine)
	}{
		{"order", mediaOrder},
		{"body", mediaBody},
		{"repeated id", mediaRepeat},
		{"follow before the subject exists", mediaFollowFirst},
		{"follow from a number", mediaFollowFrom},
		{"several followers", mediaSeveral},
		{"subjects are apart", mediaApart},
		{"waiting ends with its context", mediaContext},
		{"close wakes", mediaClose},
		{"old messages leave", mediaAge},
		{"bytes are bounded", mediaBytes},
		{"release", mediaRelease},
		{"publishers at once", mediaParallel},
	} {
		t.Run(test.name, func(t *testing.T) {
			Prepare(t)
			synctest.Test(t, func(t *testing.T) { test.run(t, e) })
		})
	}
}

var wide = Retention{MaxAge: time.Minute, MaxBytes: 1 << 20}

func mediaOrder(t *testing.T, e MediaEngine) {
	m := e.Open(t, wide)
	f := follow(t, m, "a", 0)
	for i := 1; i <= 100; i++ {
		if seq := publish(t, m, "a", fmt.Sprint("id", i), Body(fmt.Sprint(i))); seq != uint64(i) {
			t.Fatalf("message %d was numbered %d", i, seq)
		}
	}
	for i := 1; i <= 100; i++ {
		want(t, f, uint64(i), fmt.Sprint(i))
	}
	wantNothing(t, f)
}

func mediaBody(t *testing.T, e MediaEngine) {
	m := e.Open(t, wide)
	f := follow(t, m, "a", 0)
	sent := &Body{}
	*sent = bytes.Repeat([]byte("video"), 5000)
	before := time.Now()
	publish(t, m, "a", "one", sent)
	got, err := f.Next(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if got.ID != "one" || got.At.Before(before) || got.At.After(time.Now()) {
		t.Errorf("got id %q at %v, published at %v", got.ID, got.At, before)
	}
	if got.Size() != len(*sent) || text(t, got) != string(*sent) {
		t.Error("the body changed on its way")
	}
	if e.Shares && got.Body != bus.Body(sent) {
		t.Error("the engine copied the body")
	}
}

func mediaRepeat(t *testing.T, e MediaEngine) {
	m := e.Open(t, wide)
	first := publish(t, m, "a", "x", Body("1"))
	publish(t, m, "a", "y", Body("2"))
	if again := publish(t, m, "a", "x", Body("other")); again != first {
		t.Errorf("a repeated id got number %d, the first one had %d", again, first)
	}
	if other := publish(t, m, "b", "x", Body("3")); other != 1 {
		t.Errorf("the same id under another subject got number %d", other)
	}
	f := follow(t, m, "a", 0)
	want(t, f, 1, "1")
	want(t, f, 2, "2")
	wantNothing(t, f)
}

func mediaFollowFirst(t *testing.T, e MediaEngine) {
	m := e.Open(t, wide)
	f := follow(t, m, "later", 0)
	wantNothing(t, f)
	time.AfterFunc(time.Second, func() { _, _ = m.Publish(context.Background(), "later", "x", Body("here")) })
	want(t, f, 1, "here")
}

func mediaFollowFrom(t *testing.T, e MediaEngine) {
	m := e.Open(t, wide)
	for i := 1; i <= 10; i++ {
		publish(t, m, "a", fmt.Sprint(i), Body(fmt.Sprint(i)))
	}
	for _, c := range []struct{ from, first uint64 }{{0, 1}, {1, 1}, {7, 7}} {
		f := follow(t, m, "a", c.from)
		for i := c.first; i <= 10; i++ {
			want(t, f, i, fmt.Sprint(i))
		}
	}
	ahead := follow(t, m, "a", 12)
	publish(t, m, "a", "11", Body("11"))
	wantNothing(t, ahead)
	publish(t, m, "a", "12", Body("12"))
	want(t, ahead, 12, "12")
}

func mediaSeveral(t *testing.T, e MediaEngine) {
	m := e.Open(t, wide)
	slow, fast := follow(t, m, "a", 0), follow(t, m, "a", 0)
	for i := 1; i <= 5; i++ {
		publish(t, m, "a", fmt.Sprint(i), Body(fmt.Sprint(i)))
		want(t, fast, uint64(i), fmt.Sprint(i))
	}
	fast.Close()
	for i := 1; i <= 5; i++ {
		want(t, slow, uint64(i), fmt.Sprint(i))
	}
}

func mediaApart(t *testing.T, e MediaEngine) {
	m := e.Open(t, wide)
	a, b := follow(t, m, "feed.a", 0), follow(t, m, "feed.b", 0)
	publish(t, m, "feed.a", "1", Body("for a"))
	publish(t, m, "feed.b", "1", Body("for b"))
	want(t, a, 1, "for a")
	want(t, b, 1, "for b")
	wantNothing(t, a)
	m.Release("feed.a", 1)
	want(t, follow(t, m, "feed.b", 0), 1, "for b")
}

func mediaContext(t *testing.T, e MediaEngine) {
	m := e.Open(t, wide)
	f := follow(t, m, "a", 0)
	wantNothing(t, f)
	gone, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := m.Publish(gone, "a", "x", Body("x")); !errors.Is(err, context.Canceled) {
		t.Errorf("publish with an ended context: %v", err)
	}
	publish(t, m, "a", "y", Body("still usable"))
	want(t, f, 1, "still usable")
}

func mediaClose(t *testing.T, e MediaEngine) {
	m := e.Open(t, wide)
	f := follow(t, m, "a", 0)
	time.AfterFunc(time.Second, f.Close)
	if _, err := f.Next(t.Context()); !errors.Is(err, bus.ErrClosed) {
		t.Errorf("a waiting Next returned %v", err)
	}
	f.Close()
	if _, err := f.Next(t.Context()); !errors.Is(err, bus.ErrClosed) {
		t.Errorf("a later Next returned %v", err)
	}
}

func mediaAge(t *testing.T, e MediaEngine) {
	m := e.Open(t, Retention{MaxAge: 10 * time.Second, MaxBytes: 1 << 20})
	behind := follow(t, m, "a", 0)
	const old = 2 * readAhead
	for i := 1; i <= old; i++ {
		publish(t, m, "a", fmt.Sprint(i), Body(fmt.Sprint(i)))
	}
	want(t, behind, 1, "1")
	time.Sleep(15 * time.Second)
	publish(t, m, "a", "new", Body("new"))
	wantAgedBehind(t, behind, 2, old+1)
	want(t, behind, old+1, "new")
	want(t, follow(t, m, "a", 0), old+1, "new")
	late := follow(t, m, "a", 2)
	wantAged(t, late, 2, old+1)
	want(t, late, old+1, "new")
}

func mediaBytes(t *testing.T, e MediaEngine) {
	const size = 20_000
	m := e.Open(t, Retention{MaxAge: time.Hour, MaxBytes: 10 * size})
	behind := follow(t, m, "a", 0)
	for i := 1; i <= 30; i++ {
		publish(t, m, "a", fmt.Sprint(i), Body(bytes.Repeat([]byte{byte(i)}, size)))
	}
	var aged *bus.AgedOutError
	for next := uint64(1); aged == nil; next++ {
		m, err := behind.Next(t.Context())
		if ahead := err == nil && m.Seq == next && next <= readAhead; ahead {
			continue
		}
		if !errors.As(err, &aged) || aged.Want != next || aged.First < 21 || aged.First > 30 {
			t.Fatalf("30 bodies where 10 fit: got message %d, %v; want all from %d to 21 or later dropped", m.Seq, err, next)
		}
	}
	for i := aged.First; i <= 30; i++ {
		want(t, behind, i, string(bytes.Repeat([]byte{byte(i)}, size)))
	}
}

func mediaRelease(t *testing.T, e MediaEngine) {
	m := e.Open(t, wide)
	for i := 1; i <= 4; i++ {
		publish(t, m, "a", fmt.Sprint(i), Body(fmt.Sprint(i)))
	}
	m.Release("a", 2)
	m.Release("unknown", 7)
	f := follow(t, m, "a", 3)
	want(t, f, 3, "3")
	m.Release("a", 99)
	if seq := publish(t, m, "a", "5", Body("5")); seq != 5 {
		t.Errorf("the message after a release is numbered %d, want 5", seq)
	}
	got, err := f.Next(t.Context())
	if aged := new(bus.AgedOutError); errors.As(err, &aged) {
		got, err = f.Next(t.Context())
	}
	if err != nil || (got.Seq != 4 && got.Seq != 5) {
		t.Errorf("after a release: message %d, %v", got.Seq, err)
	}
}

func mediaParallel(t *testing.T, e MediaEngine) {
	const publishers, each = 8, 50
	m := e.Open(t, wide)
	f := follow(t, m, "a", 0)
	var wg sync.WaitGroup
	defer wg.Wait()
	for p := range publishers {
		wg.Go(func() {
			for i := range each {
				id := fmt.Sprintf("%d-%d", p, i)
				if _, err := m.Publish(t.Context(), "a", id, Body(id)); err != nil {
					t.Errorf("publish %s: %v", id, err)
				}
			}
		})
	}
	seen := make(map[string]bool)
	next := make([]int, publishers)
	for want := uint64(1); want <= publishers*each; want++ {
		got, err := f.Next(t.Context())
		if err != nil || got.Seq != want || seen[got.ID] {
			t.Fatalf("message %d: got %d %q, %v", want, got.Seq, got.ID, err)
		}
		seen[got.ID] = true
		var p, i int
		if _, err := fmt.Sscanf(got.ID, "%d-%d", &p, &i); err != nil || next[p] != i {
			t.Fatalf("publisher %d: got its message %d, want %d (%v)", p, i, next[p], err)
		}
		next[p]++
	}
}
