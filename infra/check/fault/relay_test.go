package fault

import (
	"bytes"
	"io"
	"net"
	"testing"
	"time"
)

// echo answers each connection with what it sends.
func echo(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			go func() {
				defer c.Close()
				io.Copy(c, c)
			}()
		}
	}()
	return l.Addr().String()
}

func dial(t *testing.T, addr string) net.Conn {
	t.Helper()
	c, err := net.Dial("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	return c
}

// say sends a text and waits for it to come back.
func say(t *testing.T, c net.Conn, text string, within time.Duration) error {
	t.Helper()
	if _, err := io.WriteString(c, text); err != nil {
		return err
	}
	c.SetReadDeadline(time.Now().Add(within))
	b := make([]byte, len(text))
	if _, err := io.ReadFull(c, b); err != nil {
		return err
	}
	if !bytes.Equal(b, []byte(text)) {
		t.Errorf("%q came back as %q", text, b)
	}
	return nil
}

func TestRelay(t *testing.T) {
	r := NewRelay(t, echo(t))
	c := dial(t, r.Addr())
	if err := say(t, c, "hello", 5*time.Second); err != nil {
		t.Fatal(err)
	}

	r.Set(Flow{Delay: 300 * time.Millisecond}, Flow{})
	begin := time.Now()
	if err := say(t, c, "late", 5*time.Second); err != nil || time.Since(begin) < 300*time.Millisecond {
		t.Errorf("a delay of 300 ms took %v: %v", time.Since(begin), err)
	}

	r.Hang()
	if err := say(t, c, "held ", 200*time.Millisecond); err == nil {
		t.Error("a relay that hangs answers")
	}
	dial(t, r.Addr()) // is taken
	if err := r.Pass(); err != nil {
		t.Fatal(err)
	}
	c.SetReadDeadline(time.Now().Add(5 * time.Second))
	held := make([]byte, 5)
	if _, err := io.ReadFull(c, held); err != nil || string(held) != "held " {
		t.Errorf("what was held back came as %q: %v", held, err)
	}

	r.Cut()
	if err := say(t, c, "x", 5*time.Second); err == nil {
		t.Error("a cut connection answers")
	}
	c = dial(t, r.Addr())
	r.Refuse()
	if err := say(t, c, "x", 5*time.Second); err == nil {
		t.Error("a connection outlives refusal")
	}
	if c, err := net.Dial("tcp", r.Addr()); err == nil {
		c.Close()
		t.Error("a relay that refuses takes connections")
	}
	if err := r.Pass(); err != nil {
		t.Fatal(err)
	}
	if err := say(t, dial(t, r.Addr()), "again", 5*time.Second); err != nil {
		t.Error(err)
	}
}
