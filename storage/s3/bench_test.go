package s3_test

import (
	"fmt"
	"syscall"
	"testing"
	"time"

	"klive/storage"
	"klive/storage/s3"
	"klive/storage/storagetest"
)

// BenchmarkPut tells what a put of a segment costs this process, the server's work aside.
func BenchmarkPut(b *testing.B) {
	g := storagetest.StartGateway(b, "live")
	s := open(b, g, "live", func(c *s3.Config) { c.Logger = nil })
	var data [][]byte
	for range 300 {
		data = append(data, make([]byte, 8<<10))
	}
	b.SetBytes(300 * 8 << 10)
	begin := cpu()
	for i := 0; b.Loop(); i++ {
		if _, err := s.Put(b.Context(), fmt.Sprintf("k/%d", i%16), data, storage.PutOptions{}); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportMetric(float64((cpu()-begin).Microseconds())/float64(b.N), "cpu-µs/op")
}

// cpu is the processor time that this process has used.
func cpu() time.Duration {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		return 0
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}
