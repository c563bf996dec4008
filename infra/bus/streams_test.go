package bus_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"klive/infra/bus"
	"klive/infra/bus/bustest"
)

func openStreams(t testing.TB, c *bus.Control, config bus.StreamsConfig) *bus.Streams {
	t.Helper()
	if config.Decode == nil {
		config.Decode = bustest.DecodeBody
	}
	s, err := bus.NewStreams(t.Context(), c, config)
	must(t, err)
	t.Cleanup(s.Close)
	return s
}

func TestStreamsConform(t *testing.T) {
	bustest.RunMedia(t, bustest.MediaEngine{Open: func(t *testing.T, r bustest.Retention) bus.Media {
		return openStreams(t, bustest.Start(t), bus.StreamsConfig{MaxAge: r.MaxAge, MaxBytes: r.MaxBytes})
	}})
}

const feedSubject = "m.0_abc.0._1.7"

func send(t *testing.T, s *bus.Streams, id, body string) uint64 {
	t.Helper()
	seq, err := s.Publish(t.Context(), feedSubject, id, bustest.Body(body))
	must(t, err)
	return seq
}

// receive waits for a message, in a bubble for as long as it takes.
func receive(t *testing.T, f bus.Follower, seq uint64, id string) {
	t.Helper()
	receiveBy(t, t.Context(), f, seq, id)
}

func receiveBy(t *testing.T, ctx context.Context, f bus.Follower, seq uint64, id string) {
	t.Helper()
	m, err := f.Next(ctx)
	if err != nil || m.Seq != seq || m.ID != id {
		t.Fatalf("got message %d %q, %v; want %d %q", m.Seq, m.ID, err, seq, id)
	}
}

func followFrom(t *testing.T, s *bus.Streams, from uint64) bus.Follower {
	t.Helper()
	f, err := s.Follow(t.Context(), feedSubject, from)
	must(t, err)
	t.Cleanup(f.Close)
	return f
}

// Two processes on one bus: what one publishes the other reads, a publisher that
// starts again goes on, and knows what its predecessor published.
func TestStreamsShareABus(t *testing.T) {
	bubble(t, func(t *testing.T, n *bus.Node) {
		one := openStreams(t, bustest.Connect(t, n, "one"), bus.StreamsConfig{})
		two := openStreams(t, bustest.Connect(t, n, "two"), bus.StreamsConfig{})
		f := followFrom(t, two, 0)
		for i := uint64(1); i <= 5; i++ {
			if seq := send(t, one, fmt.Sprint(i), "part"); seq != i {
				t.Fatalf("message %d was numbered %d", i, seq)
			}
		}
		one.Close()
		if seq := send(t, two, "3", "again"); seq != 3 {
			t.Errorf("a repeat in another process was numbered %d, want 3", seq)
		}
		if seq := send(t, two, "6", "part"); seq != 6 {
			t.Errorf("the next publisher went on at %d, want 6", seq)
		}
		for i := uint64(1); i <= 6; i++ {
			receive(t, f, i, fmt.Sprint(i))
		}
		receive(t, followFrom(t, two, 4), 4, "4")
		_, err := one.Publish(t.Context(), feedSubject, "7", bustest.Body("x"))
		wantErr(t, err, bus.ErrClosed)
		_, err = one.Follow(t.Context(), feedSubject, 0)
		wantErr(t, err, bus.ErrClosed)
	})
}

// Two that believe they publish a subject use no number twice and leave none out.
func TestStreamsTwoPublishers(t *testing.T) {
	bubble(t, func(t *testing.T, n *bus.Node) {
		engines := []*bus.Streams{
			openStreams(t, bustest.Connect(t, n, "one"), bus.StreamsConfig{}),
			openStreams(t, bustest.Connect(t, n, "two"), bus.StreamsConfig{}),
		}
		f := followFrom(t, engines[0], 0)
		const each = 50
		var wg sync.WaitGroup
		for e, s := range engines {
			wg.Go(func() {
				for i := range each {
					if _, err := s.Publish(t.Context(), feedSubject, fmt.Sprint(e, "-", i), bustest.Body("part")); err != nil {
						t.Error(err)
					}
				}
			})
		}
		wg.Wait()
		seen := map[string]bool{}
		for i := uint64(1); i <= 2*each; i++ {
			m, err := f.Next(t.Context())
			if err != nil || m.Seq != i || seen[m.ID] {
				t.Fatalf("message %d: got %d %q, %v", i, m.Seq, m.ID, err)
			}
			seen[m.ID] = true
		}
	})
}

// The network is cut again and again in the midst of publishing and following:
// with each id repeated until it is acknowledged, all arrive once and in order.
func TestStreamsOverBadNetwork(t *testing.T) {
	bubble(t, func(t *testing.T, n *bus.Node) {
		near, far := newNetwork(n), newNetwork(n)
		s := openStreams(t, near.connect(t), bus.StreamsConfig{MaxAge: time.Hour})
		f := followFrom(t, openStreams(t, far.connect(t), bus.StreamsConfig{MaxAge: time.Hour}), 0)
		ctx, stop := context.WithCancel(t.Context())
		var wg sync.WaitGroup
		wg.Go(func() {
			for i := 0; ctx.Err() == nil; i++ {
				net := []*network{near, far}[i%2]
				time.Sleep(time.Duration(700+i*130) * time.Millisecond)
				net.cut()
				time.Sleep([]time.Duration{0, 5, 1, 60, 3}[i%5] * time.Second)
				net.heal()
				time.Sleep(20 * time.Second)
			}
		})
		const messages = 600
		wg.Go(func() {
			for i := 1; i <= messages; i++ {
				for t.Context().Err() == nil {
					if _, err := s.Publish(t.Context(), feedSubject, fmt.Sprint(i), bustest.Body("part")); err == nil {
						break
					}
				}
				time.Sleep(333 * time.Millisecond)
			}
		})
		for i := 1; i <= messages; i++ {
			receive(t, f, uint64(i), fmt.Sprint(i))
		}
		stop()
		wg.Wait()
	})
}

// A single server that restarts has forgotten the media: publisher and follower go
// on by themselves, and the follower hears what is lost.
func TestStreamsServerForgets(t *testing.T) {
	bubble(t, func(t *testing.T, n *bus.Node) {
		net := newNetwork(n)
		s := openStreams(t, net.connect(t), bus.StreamsConfig{})
		other := openStreams(t, net.connect(t), bus.StreamsConfig{})
		f := followFrom(t, other, 0)
		for i := 1; i <= 20; i++ {
			send(t, s, fmt.Sprint(i), "part")
		}
		receive(t, f, 1, "1")
		synctest.Wait() // until what it reads ahead has come
		n.Close()
		net.move(bustest.StartNode(t))
		time.Sleep(5 * time.Second)
		if seq := send(t, s, "21", "part"); seq != 21 {
			t.Errorf("after the loss the publisher went on at %d, want 21", seq)
		}
		next := uint64(2) // what it has read ahead is not lost
		for ; next <= 8; next++ {
			receive(t, f, next, fmt.Sprint(next))
		}
		wantAged(t, f, next, 21)
		receive(t, f, 21, "21")
		late := followFrom(t, other, 3)
		wantAged(t, late, 3, 21)
		receive(t, late, 21, "21")
	})
}

// What is asked of servers that have no leader is not answered: a follower asks again after a second,
// when it begins and when it goes on, and gives slow servers more time when that was of no use.
func TestStreamsAskedInVain(t *testing.T) {
	bubble(t, func(t *testing.T, n *bus.Node) {
		const try = time.Second
		far := newNetwork(n)
		s := openStreams(t, n.Control(), bus.StreamsConfig{})
		other := openStreams(t, far.connect(t), bus.StreamsConfig{})
		far.loseNext("CONSUMER.CREATE")
		asked := time.Now()
		f := followFrom(t, other, 0)
		if took := time.Since(asked); took < try || took > 1200*time.Millisecond {
			t.Errorf("it begins after %v, want %v", took, try)
		}
		send(t, s, "1", "part")
		receive(t, f, 1, "1")

		far.snap()
		far.loseNext("CONSUMER.CREATE")
		broken := time.Now()
		send(t, s, "2", "part") // is lost, and missed with a beat
		receive(t, f, 2, "2")
		if far.lost() != 2 {
			t.Error("the second request was not lost")
		}
		if took := time.Since(broken); took < try || took > 3*time.Second {
			t.Errorf("it goes on after %v, want %v behind a new connection and a beat", took, try)
		}

		far.loseNext("CONSUMER.CREATE", "CONSUMER.CREATE", "CONSUMER.CREATE")
		asked = time.Now()
		followFrom(t, other, 3)
		if took := time.Since(asked); took < 4*time.Second {
			t.Errorf("the third attempt ended after %v in all, want %v, %v and 2s", took, try, try)
		}
	})
}

func wantAged(t *testing.T, f bus.Follower, from, first uint64) {
	t.Helper()
	var aged *bus.AgedOutError
	if m, err := f.Next(t.Context()); !errors.As(err, &aged) || aged.Want != from || aged.First != first {
		t.Fatalf("got message %d, %v; want messages %d to %d reported as dropped", m.Seq, err, from, first-1)
	}
}

// What another release wrote is reported once, counted, told to the operator now
// and then, and passed over.
func TestStreamsUnreadable(t *testing.T) {
	bubble(t, func(t *testing.T, n *bus.Node) {
		var log bytes.Buffer
		reg := prometheus.NewPedanticRegistry()
		errNewer := errors.New("part version 9")
		s := openStreams(t, n.Control(), bus.StreamsConfig{
			Logger:     slog.New(slog.NewTextHandler(&log, nil)),
			Registerer: reg,
			Decode: func(wire []byte) (bus.Body, error) {
				if string(wire) == "newer" {
					return nil, errNewer
				}
				return bustest.Body(wire), nil
			},
		})
		send(t, s, "1", "part")
		for i := 2; i <= 4; i++ {
			send(t, s, fmt.Sprint(i), "newer")
		}
		send(t, s, "5", "part")
		f := followFrom(t, s, 0)
		receive(t, f, 1, "1")
		for i := uint64(2); i <= 4; i++ {
			_, err := f.Next(t.Context())
			var unreadable *bus.UnreadableError
			if !errors.As(err, &unreadable) || unreadable.Seq != i || !errors.Is(err, errNewer) {
				t.Fatalf("message %d of another release: %v", i, err)
			}
			var aged *bus.AgedOutError
			if !errors.As(err, &aged) || aged.First != i+1 {
				t.Errorf("to a reader it is as lost as one that aged out: %v", err)
			}
		}
		receive(t, f, 5, "5")
		if lines := strings.Count(log.String(), "cannot be read"); lines != 1 {
			t.Errorf("%d lines in the log, want 1:\n%s", lines, log.String())
		}
		if v := metric(t, reg, "klive_bus_media_unreadable_total"); v != 3 {
			t.Errorf("unreadable_total is %v", v)
		}
		stats, err := s.Stats(t.Context())
		must(t, err)
		var messages uint64
		for _, st := range stats {
			messages += st.Messages
			if st.Messages > 0 && (st.Oldest.IsZero() || st.Newest.Before(st.Oldest) || st.Bytes == 0 || st.Subjects != 1) {
				t.Errorf("state of a shard: %+v", st)
			}
		}
		if messages != 5 || metric(t, reg, "klive_bus_media_messages") != 5 {
			t.Errorf("the shards keep %d messages, want 5", messages)
		}
		s.Close()
		openStreams(t, n.Control(), bus.StreamsConfig{Registerer: reg}) // its metrics are free again
	})
}

// metric returns the sum of a metric over its labels.
func metric(t *testing.T, g prometheus.Gatherer, name string) (sum float64) {
	t.Helper()
	families, err := g.Gather()
	must(t, err)
	for _, f := range families {
		for _, m := range f.GetMetric() {
			if f.GetName() == name {
				sum += m.GetCounter().GetValue() + m.GetGauge().GetValue()
			}
		}
	}
	return sum
}

func TestStreamsSettings(t *testing.T) {
	bubble(t, func(t *testing.T, n *bus.Node) {
		_, err := bus.NewStreams(t.Context(), n.Control(), bus.StreamsConfig{})
		wantErr(t, err, bus.ErrInvalid)
		one := openStreams(t, bustest.Connect(t, n, "one"), bus.StreamsConfig{Shards: 3, MaxBytes: 1 << 20})
		send(t, one, "1", "part")
		var log bytes.Buffer
		two := openStreams(t, bustest.Connect(t, n, "two"), bus.StreamsConfig{Shards: 8, Logger: slog.New(slog.NewTextHandler(&log, nil))})
		receive(t, followFrom(t, two, 0), 1, "1")
		if !strings.Contains(log.String(), "bus.shards") {
			t.Errorf("nobody was told that the number of shards is another: %s", log.String())
		}
		_, err = one.Publish(t.Context(), feedSubject, "2", make(bustest.Body, 2<<20))
		wantErr(t, err, bus.ErrTooLarge)
		_, err = two.Publish(t.Context(), feedSubject, "2", make(bustest.Body, 9<<20))
		wantErr(t, err, bus.ErrTooLarge)
		if seq, err := two.Publish(t.Context(), feedSubject, "2", make(bustest.Body, 7<<20+300<<10)); err != nil || seq != 2 {
			t.Errorf("the largest part: number %d, %v", seq, err)
		}
		for _, bad := range []struct{ subject, id string }{{"", "x"}, {"a..b", "x"}, {"a", ""}, {"a", "x\ny"}} {
			_, err := one.Publish(t.Context(), bad.subject, bad.id, bustest.Body("x"))
			wantErr(t, err, bus.ErrInvalid)
		}
		_, err = one.Follow(t.Context(), "a..b", 0)
		wantErr(t, err, bus.ErrInvalid)
		_, err = bus.NewStreams(t.Context(), n.Control(), bus.StreamsConfig{MaxTotalBytes: 64 << 30, Decode: bustest.DecodeBody})
		wantErr(t, err, bus.ErrFull)
		_, err = bus.NewStreams(t.Context(), n.Control(), bus.StreamsConfig{Replicas: 3, Decode: bustest.DecodeBody})
		wantErr(t, err, bus.ErrInvalid)
	})
}

// A follower that begins late in a subject is not sent what lies before, nor what
// other subjects of the shard hold.
func TestStreamsStartLate(t *testing.T) {
	bubble(t, func(t *testing.T, n *bus.Node) {
		s := openStreams(t, n.Control(), bus.StreamsConfig{Shards: 1})
		const messages, size = 270, 20_000
		for i := 1; i <= messages; i++ {
			for _, subject := range []string{feedSubject, "m.0_abc.0._2.8"} {
				_, err := s.Publish(t.Context(), subject, fmt.Sprint(i), make(bustest.Body, size))
				must(t, err)
			}
		}
		c := bustest.Connect(t, n, "late")
		late := openStreams(t, c, bus.StreamsConfig{Shards: 1})
		before := c.Traffic().InBytes
		f := followFrom(t, late, 251)
		for i := uint64(251); i <= messages; i++ {
			receive(t, f, i, fmt.Sprint(i))
		}
		const wanted, headers = 20 * size, 251 * 400
		if got := c.Traffic().InBytes - before; got > wanted+headers {
			t.Errorf("%d bytes came for the last 20 messages, which have %d", got, wanted)
		}
	})
}
