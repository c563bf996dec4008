package bus_test

import (
	"fmt"
	"log/slog"
	"strings"
	"testing"

	"klive/infra/bus"
	"klive/infra/check/fault"
)

// Whoever comes with another password is named in one and the same line, which says what to
// do about it.
func TestOtherPasswordInTheLog(t *testing.T) {
	var log lockedBuffer
	address := fault.Ports(t, 1)[0]
	startServer(t, bus.ServerConfig{Listen: address, User: "klive", Password: "secret", Logger: slog.New(slog.NewTextHandler(&log, nil))})
	for range 3 {
		_, err := bus.Connect(t.Context(), bus.ConnectConfig{URL: "nats://" + address, Name: "other", User: "klive", Password: "hunter2x"})
		wantWords(t, err, bus.ErrDenied, "bus.user", "bus.password")
	}
	const line = `level=ERROR msg="nats: a process with other bus.user and bus.password than this node's was refused`
	eventually(t, func() error {
		if text := log.String(); strings.Count(text, line) != 3 || strings.Count(text, " peer=127.0.0.1:") < 3 {
			return fmt.Errorf("the log has not three lines %s:\n%s", line, text)
		}
		return nil
	})
	if text := log.String(); strings.Contains(text, "hunter2x") {
		t.Errorf("the password shows: %s", text)
	}
}

// While the connection is made again, the cause is that, not a buffer or an address.
func TestCauseWhileReconnecting(t *testing.T) {
	address := fault.Ports(t, 1)[0]
	s := startServer(t, bus.ServerConfig{Listen: address, Dir: t.TempDir()})
	c, err := bus.Connect(t.Context(), bus.ConnectConfig{URL: "nats://" + address})
	must(t, err)
	defer c.Close()
	b := openBucket(t, c, bus.BucketConfig{Name: "feeds"})
	s.Close()
	eventually(t, func() error {
		_, err := b.Put(t.Context(), "a", nil)
		if err == nil || !strings.Contains(err.Error(), "connection to the bus is lost") {
			return fmt.Errorf("the cause is %w", err)
		}
		wantErr(t, err, bus.ErrUnavailable)
		if strings.Contains(err.Error(), "buffer") {
			t.Errorf("misleads: %v", err)
		}
		return nil
	})
}
