package bus_test

import (
	"bytes"
	"fmt"
	"io"
	"log/slog"
	"net"
	"strings"
	"testing"
	"time"

	"klive/infra/bus"
)

// TestServerLeavesDescriptors: a node that may have few descriptors takes no more clients than leave it what it needs for
// its own files. Those that are too many are sent away in words, what is connected goes on, and the log tells of it once.
func TestServerLeavesDescriptors(t *testing.T) {
	var log lockedBuffer
	const descriptors, room = 64, 32
	s := startServer(t, bus.ServerConfig{Descriptors: descriptors, Logger: slog.New(slog.NewTextHandler(&log, nil))})
	before, err := bus.Connect(t.Context(), bus.ConnectConfig{URL: "nats://" + s.Addr().String(), Name: "before"})
	must(t, err)
	defer before.Close()
	b := openBucket(t, before, bus.BucketConfig{Name: "feeds"})
	var taken []net.Conn // that say nothing
	refused := 0
	for range descriptors {
		c, err := net.DialTimeout("tcp", s.Addr().String(), 5*time.Second)
		must(t, err)
		defer func() { _ = c.Close() }()
		must(t, c.SetReadDeadline(time.Now().Add(10*time.Second)))
		_, _ = io.WriteString(c, "PING\r\n") // fails where it is sent away at once
		switch text := heard(c); {
		case strings.Contains(text, "PONG"):
			taken = append(taken, c)
		case strings.Contains(strings.ToLower(text), "maximum connections exceeded"):
			refused++
		default:
			t.Errorf("a client hears %q", text)
		}
	}
	// The node's own connection counts, and the one that was there before.
	if len(taken) != room-2 || refused != descriptors-len(taken) {
		t.Errorf("%d are taken and %d refused, want %d and %d", len(taken), refused, room-2, descriptors-room+2)
	}
	st, err := s.Stats()
	must(t, err)
	if st.Clients != room-1 || st.MaxClients != room-1 {
		t.Errorf("%d clients of %d, want %d of as many", st.Clients, st.MaxClients, room-1)
	}
	for i := range 20 {
		_, err := b.Put(t.Context(), fmt.Sprint(i), []byte("x"))
		must(t, err)
	}
	if n := strings.Count(log.String(), "clients are refused as they come"); n != 1 {
		t.Errorf("the log says it %d times:\n%s", n, log.String())
	}
	for _, c := range taken {
		must(t, c.Close())
	}
	eventually(t, func() error {
		c, err := bus.Connect(t.Context(), bus.ConnectConfig{URL: "nats://" + s.Addr().String(), Name: "after"})
		if err == nil {
			c.Close()
		}
		return err
	})
}

// heard is what a node says until it answers a ping or hangs up.
func heard(c net.Conn) string {
	var text []byte
	for piece := make([]byte, 512); !bytes.Contains(text, []byte("PONG")); {
		n, err := c.Read(piece)
		text = append(text, piece[:n]...)
		if err != nil {
			break
		}
	}
	return string(text)
}
