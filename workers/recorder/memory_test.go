package recorder_test

import (
	"bytes"
	"context"
	"encoding/binary"
	"fmt"
	"io"
	"os"
	"runtime"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"klive/infra/check"
	"klive/infra/live"
	"klive/infra/media"
	"klive/infra/media/mp4"
	"klive/storage"
	"klive/storage/storagetest"
	"klive/storage/timeline"
	"klive/workers/recorder"
)

// vastStore holds media that nobody could keep: each segment is a true header, and zeroes for
// payload. What is uploaded is counted, with its first bytes.
type vastStore struct {
	*storagetest.Memory
	header []byte
	size   int64 // of a segment

	head  []byte
	bytes atomic.Int64
}

const partSize = 8 << 20 // as uploads to a bucket hold three of

func (v *vastStore) Get(ctx context.Context, key string, r *storage.Range) (io.ReadCloser, storage.Info, error) {
	if !strings.HasSuffix(key, ".m4s") {
		return v.Memory.Get(ctx, key, r)
	}
	length := v.size - r.Offset
	if r.Length >= 0 {
		length = min(length, r.Length)
	}
	return io.NopCloser(io.LimitReader(&zeroes{header: v.header, at: r.Offset}, length)), storage.Info{Key: key, Size: v.size}, nil
}

type zeroes struct {
	header []byte
	at     int64
}

func (z *zeroes) Read(p []byte) (int, error) {
	clear(p)
	if z.at < int64(len(z.header)) {
		copy(p, z.header[z.at:])
	}
	z.at += int64(len(p))
	return len(p), nil
}

func (v *vastStore) Upload(context.Context, string, storage.PutOptions) (storage.Upload, error) {
	return &vastUpload{store: v, parts: [3][]byte{make([]byte, partSize), make([]byte, partSize), make([]byte, partSize)}}, nil
}

// vastUpload holds as much memory as an upload to a bucket does.
type vastUpload struct {
	store *vastStore
	parts [3][]byte
	at    int64
}

func (u *vastUpload) Write(p []byte) (int, error) {
	const kept = 4 << 20
	if n := int64(kept) - u.at; n > 0 {
		u.store.head = append(u.store.head, p[:min(int64(len(p)), n)]...)
	}
	copy(u.parts[u.at/partSize%3][u.at%partSize:], p)
	u.at += int64(len(p))
	u.store.bytes.Store(u.at)
	return len(p), nil
}

func (u *vastUpload) Commit(context.Context) (storage.Info, error) {
	return storage.Info{Size: u.at}, nil
}
func (u *vastUpload) Abort() {}

// TestMemoryOfAVastFile writes a file of 4 GiB, fifteen minutes of it, and measures what the
// recorder holds meanwhile.
func TestMemoryOfAVastFile(t *testing.T) {
	check.Calculation(t)
	const items, perItem, size = 225, 240, 4 << 30 / 225 / 240 // 60 pictures a second
	s := newStream(1, false)
	v := newVastStore(t, s, perItem, size)
	s.noData = true
	for range items {
		s.add(100)
	}
	s.mu.Lock()
	for i := range s.b.Items {
		s.b.Items[i].Media[0].Size = v.size
	}
	s.mu.Unlock()
	s.end()
	runtime.GC()
	idle := footprint()
	var peak atomic.Uint64
	stop := make(chan struct{})
	measured := make(chan struct{})
	go func() {
		defer close(measured)
		for {
			select {
			case <-stop:
				return
			case <-time.After(5 * time.Millisecond):
				peak.Store(max(peak.Load(), footprint()))
			}
		}
	}()
	began := time.Now()
	var on atomic.Bool
	on.Store(true)
	r, err := recorder.New(t.Context(), recorder.Config{
		Entry: entry, Owner: "worker", Store: v, Recordings: v, Timelines: onAir{s, &on}, API: &kalturaAPI{fault: func(string) int { return faultUnsent }},
		Guard: func(context.Context) error { return nil }, Log: testLog(t), Options: options(time.Hour),
		Live: func() []live.FeedRecord {
			return []live.FeedRecord{{Grant: live.Grant{Entry: entry, PartnerID: 102, Record: 1}}}
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- r.Run(ctx) }()
	for v.bytes.Load() < size*perItem*items && len(done) == 0 {
		time.Sleep(10 * time.Millisecond)
		if len(loadLedger(t, s.store).Sessions) > 0 {
			on.Store(false)
		}
	}
	took := time.Since(began)
	cancel()
	<-done
	close(stop)
	<-measured
	above := int64(peak.Load()) - int64(idle)
	t.Logf("%.2f GiB in %v; memory is %.1f MiB above idle at most", float64(v.bytes.Load())/(1<<30), took.Round(time.Millisecond), float64(above)/(1<<20))
	if v.bytes.Load() < 4<<30-(1<<20) {
		t.Errorf("%d bytes were written", v.bytes.Load())
	}
	if above > 64<<20 {
		t.Errorf("the recorder takes %d MiB above idle, want at most 64", above>>20)
	}
	v.checkOffsets(t, items, perItem*size)
}

func newVastStore(t *testing.T, s *stream, frames, size int) *vastStore {
	t.Helper()
	list := make([]*media.Frame, frames)
	payload := make([]byte, size)
	for i := range list {
		at := origin.Add(time.Duration(i) * time.Second / 60)
		list[i] = &media.Frame{DTS: at, PTS: at, Duration: time.Second / 60, Key: i == 0, Payload: payload}
	}
	pieces, err := mp4.Segment(videoParams(false), list, 1)
	if err != nil {
		t.Fatal(err)
	}
	v := &vastStore{Memory: s.store, header: bytes.Clone(pieces[0])}
	v.size = int64(len(v.header) + frames*size)
	return v
}

// checkOffsets looks at the moov in front, whose last chunk lies beyond 2^32.
func (v *vastStore) checkOffsets(t *testing.T, items, bytesEach int) {
	t.Helper()
	moov, mdat := bytes.Index(v.head, []byte("moov")), bytes.Index(v.head, []byte("mdat"))
	co64 := bytes.Index(v.head, []byte("co64"))
	if moov < 0 || mdat < moov || co64 < 0 {
		t.Fatalf("moov %d, mdat %d, co64 %d", moov, mdat, co64)
	}
	n := int(binary.BigEndian.Uint32(v.head[co64+8:]))
	last := binary.BigEndian.Uint64(v.head[co64+12+8*(n-1):])
	if want := uint64(mdat+12) + uint64(items-1)*uint64(bytesEach); n != items || last != want {
		t.Errorf("the last of %d chunks is at %d, want %d", n, last, want)
	}
}

// onAir makes a broadcast seem to go on until the recorder has begun.
type onAir struct {
	*stream
	on *atomic.Bool
}

func (o onAir) State(ctx context.Context, e string) (*timeline.State, error) {
	st, err := o.stream.State(ctx, e)
	if err == nil && o.on.Load() {
		b := *st.Broadcasts[0]
		b.Ended = false
		st.Broadcasts = []*timeline.Broadcast{&b}
	}
	return st, err
}

// footprint is the memory of the process: what Go has from the system and has not given back.
func footprint() uint64 {
	b, err := os.ReadFile("/proc/self/statm")
	if err == nil {
		var total, resident uint64
		if _, err := fmt.Sscan(string(b), &total, &resident); err == nil {
			return resident * uint64(os.Getpagesize())
		}
	}
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return m.Sys - m.HeapReleased
}
