package bus_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"klive/infra/bus"
	"klive/infra/bus/bustest"
)

func TestNotices(t *testing.T) {
	bubble(t, func(t *testing.T, n *bus.Node) {
		other := bustest.Connect(t, n, "other")
		var got []string
		sub, err := other.Subscribe("beat.*", func(n bus.Notice) { got = append(got, n.Subject+"="+string(n.Data)) })
		must(t, err)
		synctest.Wait()
		for i := range 3 {
			must(t, n.Control().Notify(fmt.Sprint("beat.node ", i), fmt.Append(nil, i)))
			must(t, n.Control().Notify("other.subject", nil))
		}
		synctest.Wait()
		sub.Close()
		must(t, n.Control().Notify("beat.late", nil))
		synctest.Wait()
		if want := "beat.node 0=0 beat.node 1=1 beat.node 2=2"; strings.Join(got, " ") != want {
			t.Errorf("got %q, want %q", got, want)
		}
		wantErr(t, n.Control().Notify("a", make([]byte, bus.MaxNoticeBytes+1)), bus.ErrTooLarge)
		wantErr(t, n.Control().Notify("", nil), bus.ErrInvalid)
		other.Close()
		wantErr(t, other.Notify("a", nil), bus.ErrClosed)
		_, err = other.Subscribe("a", func(bus.Notice) {})
		wantErr(t, err, bus.ErrClosed)
	})
}

func TestRequests(t *testing.T) {
	bubble(t, func(t *testing.T, n *bus.Node) {
		ctx := t.Context()
		_, err := n.Control().Request(ctx, "feeds.kick", nil)
		wantErr(t, err, bus.ErrNoReply)
		var answers atomic.Int32
		for i := range 2 {
			sub, err := bustest.Connect(t, n, fmt.Sprint(i)).Reply("feeds.*", func(_ context.Context, r bus.Notice) ([]byte, error) {
				answers.Add(1)
				switch string(r.Data) {
				case "fail":
					return nil, errors.New("no such feed:\n0_abc")
				case "large":
					return make([]byte, bus.MaxNoticeBytes+1), nil
				}
				time.Sleep(time.Second)
				return append([]byte(r.Subject+" "), r.Data...), nil
			})
			must(t, err)
			defer sub.Close()
		}
		synctest.Wait()
		before := time.Now()
		var wg sync.WaitGroup
		for i := range 10 {
			wg.Go(func() {
				got, err := n.Control().Request(ctx, "feeds.kick", fmt.Append(nil, i))
				if err != nil || string(got) != fmt.Sprint("feeds.kick ", i) {
					t.Errorf("request %d: %q, %v", i, got, err)
				}
			})
		}
		wg.Wait()
		if answers.Load() != 10 || time.Since(before) > 2*time.Second {
			t.Errorf("10 requests got %d answers in %v", answers.Load(), time.Since(before))
		}
		_, err = n.Control().Request(ctx, "feeds.kick", []byte("fail"))
		var reply *bus.ReplyError
		if !errors.As(err, &reply) || reply.Text != "no such feed: 0_abc" {
			t.Errorf("a refusing answer: %v", err)
		}
		if _, err = n.Control().Request(ctx, "feeds.kick", []byte("large")); !errors.As(err, &reply) {
			t.Errorf("an answer that is too large: %v", err)
		}
	})
}

func TestSlowSubscriberDropsAndLives(t *testing.T) {
	bubble(t, func(t *testing.T, n *bus.Node) {
		var got atomic.Int32
		release := make(chan struct{})
		sub, err := n.Control().Subscribe("flood", func(bus.Notice) { <-release; got.Add(1) })
		must(t, err)
		defer sub.Close()
		for range 20_000 {
			must(t, n.Control().Notify("flood", []byte("x")))
		}
		synctest.Wait()
		close(release)
		synctest.Wait()
		if n := got.Load(); n == 0 || n > 10_000 {
			t.Errorf("%d of 20000 notices were kept for a subscriber that stood still", n)
		}
		before := got.Load()
		must(t, n.Control().Notify("flood", []byte("x")))
		synctest.Wait()
		if got.Load() != before+1 {
			t.Error("a subscriber that had been too slow gets nothing any more")
		}
	})
}
