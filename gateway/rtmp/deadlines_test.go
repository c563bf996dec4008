package rtmp

import (
	"errors"
	"io"
	"net"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

var testDeadlines = Deadlines{Handshake: 10 * time.Second, Publish: 11 * time.Second, Idle: 30 * time.Second, Write: 12 * time.Second}

func withDeadlines(c *Config) { c.Deadlines = testDeadlines }

// hangsUp measures when the server closes the connection.
func hangsUp(t *testing.T, conn net.Conn, want time.Duration) {
	t.Helper()
	begin := time.Now()
	_, _ = io.Copy(io.Discard, conn)
	conn.Close()
	within(t, time.Since(begin), want)
}

// within allows for the time in which the server lingers.
func within(t *testing.T, got, want time.Duration) {
	t.Helper()
	if got < want || got > want+lingerTime {
		t.Errorf("closed after %v, want %v", got, want)
	}
}

func TestHandshakeDeadline(t *testing.T) {
	t.Run("silence", func(t *testing.T) {
		inBubble(t, withDeadlines, func(r *rig) { hangsUp(t, r.dial(), testDeadlines.Handshake) })
	})
	t.Run("byte by byte", func(t *testing.T) {
		inBubble(t, withDeadlines, func(r *rig) {
			conn := r.dial()
			go func() {
				for b := []byte{3}; ; time.Sleep(time.Second) {
					if _, err := conn.Write(b); err != nil {
						return
					}
				}
			}()
			hangsUp(t, conn, testDeadlines.Handshake)
			time.Sleep(2 * time.Second)
		})
	})
}

func TestPublishDeadline(t *testing.T) {
	t.Run("no connect", func(t *testing.T) {
		inBubble(t, withDeadlines, func(r *rig) {
			begin := time.Now()
			<-r.client().read
			within(t, time.Since(begin), testDeadlines.Publish)
		})
	})
	t.Run("no publish", func(t *testing.T) {
		inBubble(t, withDeadlines, func(r *rig) {
			c := r.client()
			time.Sleep(5 * time.Second)
			c.command(0, "connect", 1, &object{props: []property{{"app", testApp}}})
			begin := time.Now()
			go func() {
				// What is no publish keeps nothing alive.
				for {
					time.Sleep(time.Second)
					if _, err := c.conn.Write(appendChunks(nil, 2, controlMessage(typeAck, 1), 128)); err != nil {
						return
					}
				}
			}()
			<-c.read
			within(t, time.Since(begin), testDeadlines.Publish)
			c.conn.Close()
			time.Sleep(2 * time.Second)
		})
	})
	t.Run("no second publish", func(t *testing.T) {
		inBubble(t, withDeadlines, func(r *rig) {
			c := r.client()
			c.publishing()
			time.Sleep(20 * time.Second)
			c.command(1, "closeStream", 0, nil)
			begin := time.Now()
			<-c.read
			within(t, time.Since(begin), testDeadlines.Publish)
		})
	})
}

func TestIdleDeadline(t *testing.T) {
	inBubble(t, withDeadlines, func(r *rig) {
		c := r.client()
		c.publishing()
		time.Sleep(25 * time.Second)
		c.send(keyframe(0, 10))
		begin := time.Now()
		<-c.read
		within(t, time.Since(begin), testDeadlines.Idle)
		if n, cause := r.gw.pub(t, 0).state(); n != 1 || !errors.Is(cause, errTimeout) {
			t.Errorf("closed %d times with %v", n, cause)
		}
	})
}

// TestSlowPublisher sends a message in single bytes, each just within the idle deadline.
func TestSlowPublisher(t *testing.T) {
	inBubble(t, withDeadlines, func(r *rig) {
		c := r.client()
		c.publishing()
		synctest.Wait()
		for _, b := range appendChunks(nil, 4, keyframe(0, 60), c.size) {
			time.Sleep(20 * time.Second)
			c.write([]byte{b})
		}
		synctest.Wait()
		if n := r.gw.pub(t, 0).count(); n != 1 {
			t.Errorf("%d units", n)
		}
	})
}

// TestPeerStopsReading leaves the server's answer unread.
func TestPeerStopsReading(t *testing.T) {
	inBubble(t, withDeadlines, func(r *rig) {
		c := &testClient{t: t, conn: r.dial(), size: 128}
		c.write(append([]byte{3}, make([]byte, 1536)...))
		if _, err := io.ReadFull(c.conn, make([]byte, 3073)); err != nil {
			t.Fatal(err)
		}
		c.write(make([]byte, 1536))
		c.command(0, "connect", 1, &object{props: []property{{"app", testApp}}})
		begin := time.Now()
		// The server waits for this side to read, and this write for the server.
		if _, err := c.conn.Write(make([]byte, 1<<20)); err == nil {
			t.Fatal("a server that is stuck took a megabyte")
		}
		within(t, time.Since(begin), testDeadlines.Write)
		if !strings.Contains(r.log.String(), "does not read") {
			t.Errorf("log:\n%s", r.log)
		}
	})
}
