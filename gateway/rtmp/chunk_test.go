package rtmp

import (
	"bufio"
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"testing"
	"testing/iotest"

	"github.com/google/go-cmp/cmp"
)

func testLimits() Limits {
	return Limits{MaxMessageSize: 8 << 20, MaxChunkStreams: 64, MaxMemoryPerConnection: 16 << 20, MaxAMFDepth: 16}
}

// readAll reads messages as the session does: control messages act at once.
func readAll(t testing.TB, in io.Reader) ([]message, *chunkReader) {
	t.Helper()
	r := newChunkReader(bufio.NewReaderSize(in, 64), testLimits(), func() {})
	var list []message
	for {
		m, err := r.next()
		if err == io.EOF {
			return list, r
		}
		if err != nil {
			t.Fatalf("after %d messages: %v", len(list), err)
		}
		switch m.typ {
		case typeSetChunkSize:
			if err := r.setChunkSize(binary.BigEndian.Uint32(m.body)); err != nil {
				t.Fatal(err)
			}
		case typeAbort:
			r.abort(binary.BigEndian.Uint32(m.body))
		default:
			list = append(list, m)
		}
	}
}

func bodyOf(n int, seed byte) []byte {
	b := make([]byte, n)
	for i := range b {
		b[i] = byte(i)*7 + seed
	}
	return b
}

var messageOptions = cmp.AllowUnexported(message{})

// TestExtendedTimestamps sends what an encoder that runs for more than 4.66 hours sends,
// with full headers, in both habits: with the timestamp repeated in type 3 chunks, and not.
func TestExtendedTimestamps(t *testing.T) {
	for _, repeats := range []bool{true, false} {
		for _, time := range []uint32{0xfffffe, 0xffffff, 0x1000000, 17_000_000, 0xfffffff0} {
			t.Run(fmt.Sprintf("repeats %v, %d", repeats, time), func(t *testing.T) {
				var wire []byte
				var want []message
				for i := range 5 {
					m := message{typ: typeVideo, stream: 1, time: time + uint32(i)*40, body: bodyOf(700+i, byte(i))}
					want = append(want, m)
					if repeats {
						wire = append(wire, appendChunks(nil, 6, m, 128)...)
					} else {
						wire = append(wire, chunksWithoutRepeat(m)...)
					}
				}
				got, _ := readAll(t, iotest.HalfReader(bytes.NewReader(wire)))
				if diff := cmp.Diff(want, got, messageOptions); diff != "" {
					t.Errorf("(-want +got):\n%s", diff)
				}
			})
		}
	}
}

// chunksWithoutRepeat is appendChunks in the habit of encoders that leave the extended
// timestamp out of type 3 chunks.
func chunksWithoutRepeat(m message) []byte {
	whole := appendChunks(nil, 6, m, maxChunkSize)
	head := len(whole) - len(m.body)
	b := append([]byte(nil), whole[:head]...)
	for rest := m.body; ; {
		n := min(128, len(rest))
		b = append(b, rest[:n]...)
		if rest = rest[n:]; len(rest) == 0 {
			return b
		}
		b = append(b, 0xc6)
	}
}

// TestHeaderTypes checks the times of messages with each type of header, and new messages
// that begin with a type 3 chunk.
func TestHeaderTypes(t *testing.T) {
	var wire []byte
	put := func(b ...byte) { wire = append(wire, b...) }
	put(4, 0, 0, 100, 0, 0, 1, typeAudio, 1, 0, 0, 0, 'a') // at 100
	put(0xc4, 'b')                                         // no delta yet: at 100
	put(0x44, 0, 0, 20, 0, 0, 2, typeVideo, 'c', 'd')      // 120
	put(0x84, 0, 0, 30, 'e', 'f')                          // 150
	put(0xc4, 'g', 'h')                                    // 180
	put(0x84, 0xff, 0xff, 0xff, 1, 0, 0, 0, 'i', 'j')      // extended delta of 2^24
	put(0xc4, 1, 0, 0, 0, 'k', 'l')                        // the same, repeated
	put(4, 0xff, 0xff, 0xff, 0, 0, 1, typeAudio, 1, 0, 0, 0, 2, 0, 0, 0, 'm')
	put(0x00, 6, 0, 0, 1, 0, 0, 1, typeDataAMF0, 9, 0, 0, 0, 'n') // another chunk stream
	got, _ := readAll(t, iotest.OneByteReader(bytes.NewReader(wire)))
	want := []message{
		{typeAudio, 1, 100, []byte("a")}, {typeAudio, 1, 100, []byte("b")}, {typeVideo, 1, 120, []byte("cd")},
		{typeVideo, 1, 150, []byte("ef")}, {typeVideo, 1, 180, []byte("gh")}, {typeVideo, 1, 180 + 1<<24, []byte("ij")},
		{typeVideo, 1, 180 + 2<<24, []byte("kl")}, {typeAudio, 1, 2 << 24, []byte("m")}, {typeDataAMF0, 9, 1, []byte("n")},
	}
	if diff := cmp.Diff(want, got, messageOptions); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

// TestChunkStreamIDs interleaves messages of chunk streams with ids of one, two and three
// bytes that would be the same in their low bits.
func TestChunkStreamIDs(t *testing.T) {
	ids := [][]byte{{3}, {63}, {0, 0}, {0, 3}, {0, 255}, {1, 3, 1}, {1, 0, 1}, {1, 255, 255}}
	var wire []byte
	var want []message
	const size = 300
	for part := 0; part < size; part += 128 {
		for i, id := range ids {
			head := append([]byte(nil), id...)
			if part == 0 {
				head = append(head, 0, 0, byte(i), 0, size>>8, size&0xff, typeVideo, byte(i), 0, 0, 0)
			} else {
				head[0] |= 0xc0
			}
			wire = append(wire, head...)
			wire = append(wire, bodyOf(size, byte(i))[part:min(part+128, size)]...)
		}
	}
	for i := range ids {
		want = append(want, message{typeVideo, uint32(i), uint32(i), bodyOf(size, byte(i))})
	}
	got, r := readAll(t, bytes.NewReader(wire))
	if diff := cmp.Diff(want, got, messageOptions); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	if r.held != 0 || len(r.streams) != len(ids) || r.read != uint64(len(wire)) {
		t.Errorf("%d bytes held, %d streams, %d of %d bytes counted", r.held, len(r.streams), r.read, len(wire))
	}
}

// TestAbort breaks a message off in both ways.
func TestAbort(t *testing.T) {
	big := appendChunks(nil, 4, message{typ: typeVideo, stream: 1, body: bodyOf(400, 1)}, 128)
	small := message{typ: typeVideo, stream: 1, time: 9, body: []byte("x")}
	wire := append([]byte(nil), big[:12+128+1+128]...)
	wire = append(wire, appendChunks(nil, 2, controlMessage(typeAbort, 4), 128)...)
	wire = append(wire, appendChunks(nil, 4, small, 128)...)
	wire = append(wire, big[:12+128]...)
	wire = append(wire, appendChunks(nil, 4, small, 128)...)
	got, r := readAll(t, bytes.NewReader(wire))
	if diff := cmp.Diff([]message{small, small}, got, messageOptions); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	if r.held != 0 {
		t.Errorf("%d bytes held", r.held)
	}
}

func TestChunkSizes(t *testing.T) {
	for _, size := range []uint32{1, 2, 127, 4096, 65536, 0xffffff, 0x7fffffff} {
		m := message{typ: typeVideo, stream: 1, time: 5, body: bodyOf(10_000, 3)}
		wire := appendChunks(nil, 2, controlMessage(typeSetChunkSize, size), 128)
		wire = append(wire, appendChunks(nil, 4, m, int(size))...)
		got, _ := readAll(t, bytes.NewReader(wire))
		if diff := cmp.Diff([]message{m}, got, messageOptions); diff != "" {
			t.Errorf("chunk size %d (-want +got):\n%s", size, diff)
		}
	}
}

// TestClaimsCostNothing begins large messages on many chunk streams: memory follows what
// has been sent, and ends at the limit.
func TestClaimsCostNothing(t *testing.T) {
	limits := testLimits()
	limits.MaxMemoryPerConnection = 16 * trust
	var wire []byte
	for id := range 15 {
		wire = append(wire, byte(3+id), 0, 0, 0, 0x7f, 0xff, 0xff, typeVideo, 1, 0, 0, 0)
		wire = append(wire, make([]byte, 128)...)
	}
	r := newChunkReader(bufio.NewReader(bytes.NewReader(wire)), limits, func() {})
	if _, err := r.next(); err != io.EOF {
		t.Fatal(err)
	}
	if r.held > 15*trust {
		t.Errorf("%d bytes held for %d received", r.held, len(wire))
	}
	wire = append(wire, 30, 0, 0, 0, 0x7f, 0xff, 0xff, typeVideo, 1, 0, 0, 0)
	wire = append(wire, make([]byte, 128)...)
	wire = append(wire, 31, 0, 0, 0, 0x7f, 0xff, 0xff, typeVideo, 1, 0, 0, 0)
	r = newChunkReader(bufio.NewReader(bytes.NewReader(wire)), limits, func() {})
	if _, err := r.next(); !errors.Is(err, errLimit) {
		t.Fatalf("%v with %d bytes held", err, r.held)
	}
}

// publisherBytes is a second of 5 Mbit/s video in chunks of 4096, each frame with a header
// of its own.
func publisherBytes() []byte {
	b := appendChunks(nil, 2, controlMessage(typeSetChunkSize, 4096), 128)
	for i := range 30 {
		n := 18_000
		if i == 0 {
			n = 120_000
		}
		m := keyframe(uint32(i*33), n)
		b = append(b, appendChunks(nil, 6, m, 4096)...)
	}
	return b
}

// TestOneAllocation holds the memory layer to one allocation per message.
func TestOneAllocation(t *testing.T) {
	wire := publisherBytes()
	in := bytes.NewReader(wire)
	buf := bufio.NewReaderSize(in, readBuffer)
	r := newChunkReader(buf, testLimits(), func() {})
	round := func() {
		in.Reset(wire)
		for {
			m, err := r.next()
			if err == io.EOF {
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			if m.typ == typeSetChunkSize {
				r.chunkSize = 4096
			}
		}
	}
	round()
	// 30 frames and the control message.
	if n := testing.AllocsPerRun(20, round); n > 31 {
		t.Errorf("%v allocations for 31 messages", n)
	}
}

func BenchmarkChunkReader(b *testing.B) {
	wire := publisherBytes()
	in := bytes.NewReader(wire)
	r := newChunkReader(bufio.NewReaderSize(in, readBuffer), testLimits(), func() {})
	b.SetBytes(int64(len(wire)))
	b.ReportAllocs()
	for b.Loop() {
		in.Reset(wire)
		for {
			m, err := r.next()
			if err == io.EOF {
				break
			}
			if err != nil {
				b.Fatal(err)
			}
			if m.typ == typeSetChunkSize {
				r.chunkSize = 4096
			}
		}
	}
}
