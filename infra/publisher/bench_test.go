package publisher

import (
	"io"
	"net"
	"sync"
	"testing"
	"time"
)

// BenchmarkSend sends units of a 5 Mbit/s clip to a server that throws them away: the cost
// of one unit, server's side included.
func BenchmarkSend(b *testing.B) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		b.Fatal(err)
	}
	defer l.Close()
	var wg sync.WaitGroup
	wg.Go(func() {
		if c, err := l.Accept(); err == nil {
			io.Copy(io.Discard, c)
			c.Close()
		}
	})
	conn, err := net.Dial("tcp", l.Addr().String())
	if err != nil {
		b.Fatal(err)
	}
	p := &Publisher{conn: conn, timeout: time.Second}
	p.out = chunkWriter{conn: conn, chunkSize: 4096, vector: true}
	cursor, err := mustClip(b, Synthetic{Width: 1280, Height: 720, Bitrate: 5_000_000}).Cursor()
	if err != nil {
		b.Fatal(err)
	}
	s := NewSender(p)
	b.ReportAllocs()
	for b.Loop() {
		u := cursor.Next()
		b.SetBytes(int64(len(u.sample.Payload)))
		if err := s.Send(u, 0); err != nil {
			b.Fatal(err)
		}
	}
	conn.Close()
	wg.Wait()
}
