package packager

import (
	"context"
	"io"
	"syscall"
	"testing"
	"time"

	"klive/infra/live"
	"klive/infra/media"
	"klive/storage"
)

// nullStore takes media without keeping it; the rest goes to the memory.
type nullStore struct{ storage.Store }

func (s nullStore) Put(ctx context.Context, key string, data [][]byte, opt storage.PutOptions) (storage.Info, error) {
	if opt.IfAbsent && opt.CacheControl == cacheForever {
		for _, d := range data {
			_, _ = io.Discard.Write(d)
		}
		return storage.Info{Key: key}, nil
	}
	return s.Store.Put(ctx, key, data, opt)
}

// BenchmarkPackage sends a 5 Mbit/s feed with 4 s segments through ring, packager and
// timeline as fast as they go, without the cost of keeping the media.
func BenchmarkPackage(b *testing.B) {
	g := newRig(b)
	g.store.Store = nullStore{g.store.Store}
	stored := make(chan int, 1)
	g.stored = func(n int) { stored <- n }
	_, end := g.start()
	defer end()
	p := publish{feed: feedOf(live.Primary, 1, 1), rate: 30, video: small(b), audio: aac(b), segment: 4 * time.Second, target: 4 * time.Second,
		start: media.At(time.Now()), duration: 4 * time.Second}
	frames := p.frames()
	payload := make([]byte, 5_000_000/8*1001/30000)
	size := 0
	for i := range frames {
		if frames[i].Track == media.VideoTrack {
			frames[i].Payload = payload
		}
		size += len(frames[i].Payload)
	}
	parts := p.parts(frames)
	span := parts[len(parts)-1].End.Sub(p.start)
	g.feed(live.FeedRecord{Feed: p.feed, Opened: time.Now(), Beat: time.Now().Add(time.Hour), Grant: live.Grant{Entry: entry, Ladder: pass(32)}})
	var before, after syscall.Rusage
	_ = syscall.Getrusage(syscall.RUSAGE_SELF, &before)
	b.SetBytes(int64(size))
	b.ReportAllocs()
	seq := uint64(0)
	for n := 0; b.Loop(); n++ {
		shift := time.Duration(n) * span
		for _, part := range parts {
			q := *part
			seq++
			q.Seq, q.Segment.Number, q.Segment.Start, q.End = seq, uint64(n+1), q.Segment.Start.Add(shift), q.End.Add(shift)
			q.Segment.Discontinuity, q.Final = n == 0, false
			q.Frames = append([]media.Frame(nil), q.Frames...)
			for i := range q.Frames {
				q.Frames[i].DTS, q.Frames[i].PTS = q.Frames[i].DTS.Add(shift), q.Frames[i].PTS.Add(shift)
			}
			if _, err := g.ring.Publish(b.Context(), p.feed.Subject(), q.ID(), &q); err != nil {
				b.Fatal(err)
			}
		}
		<-stored
	}
	_ = syscall.Getrusage(syscall.RUSAGE_SELF, &after)
	cpu := time.Duration(after.Utime.Nano() + after.Stime.Nano() - before.Utime.Nano() - before.Stime.Nano())
	b.ReportMetric(cpu.Seconds()/(float64(b.N)*float64(size)/1e9), "cpu-s/GB")
}
