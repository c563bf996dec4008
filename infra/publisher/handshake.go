package publisher

import (
	"crypto/rand"
	"fmt"
	"io"
	"net"
)

const (
	rtmpVersion   = 3
	handshakeSize = 1536
)

// handshake runs the client's side of RTMP 1.0 §5.2. The client's packets go out beside
// the reading, so that a server that writes first can't block it. The connection is closed
// when it fails.
func handshake(conn net.Conn) (err error) {
	c1 := make([]byte, 1+handshakeSize)
	c1[0] = rtmpVersion
	rand.Read(c1[9:])
	answer := make([]byte, 1+2*handshakeSize)
	if err := exchange(conn, c1, answer[:1+handshakeSize]); err != nil {
		return err
	}
	if answer[0] != rtmpVersion {
		conn.Close()
		return fmt.Errorf("the server speaks RTMP version %d, not %d", answer[0], rtmpVersion)
	}
	return exchange(conn, answer[1:1+handshakeSize], answer[1+handshakeSize:])
}

// exchange writes out and fills in at the same time.
func exchange(conn net.Conn, out, in []byte) error {
	sent := make(chan error, 1)
	go func() {
		_, err := conn.Write(out)
		sent <- err
	}()
	_, err := io.ReadFull(conn, in)
	if err != nil {
		conn.Close()
		<-sent
		return err
	}
	return <-sent
}
