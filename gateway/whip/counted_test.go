package whip

import (
	"bytes"
	"errors"
	"log/slog"
	"net"
	"strings"
	"syscall"
	"testing"
)

// failing is a listener whose first connections can't be accepted.
type failing struct {
	net.Listener
	times int
}

func (f *failing) Accept() (net.Conn, error) {
	if f.times--; f.times >= 0 {
		return nil, syscall.EMFILE
	}
	return f.Listener.Accept()
}

// TestAcceptFails goes on after errors, says so once, and ends when the listener is closed.
func TestAcceptFails(t *testing.T) {
	real, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var log bytes.Buffer
	l := limitListener(&failing{real, 2}, 1, slog.New(slog.NewTextHandler(&log, nil)))
	peer, err := net.Dial("tcp", real.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer peer.Close()
	c, err := l.Accept()
	if err != nil {
		t.Fatal(err)
	}
	c.Close()
	if n := strings.Count(log.String(), "level=WARN"); n != 1 || !strings.Contains(log.String(), syscall.EMFILE.Error()) {
		t.Errorf("the log has %d lines:\n%s", n, log.String())
	}
	l.Close()
	if _, err := l.Accept(); !errors.Is(err, net.ErrClosed) {
		t.Errorf("of a closed listener: %v", err)
	}
}
