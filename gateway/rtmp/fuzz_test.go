package rtmp

import (
	"bufio"
	"bytes"
	"errors"
	"io"
	"log/slog"
	"net"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"klive/gateway"
)

// FuzzAMF0 decodes anything; what can be decoded survives being encoded again.
func FuzzAMF0(f *testing.F) {
	for _, raw := range oddConnects() {
		f.Add(raw)
	}
	f.Add([]byte{amfStrictArray, 0x7f, 0xff, 0xff, 0xff})
	f.Add([]byte{amfECMAArray, 0, 0, 0, 9, 0, 1, 'a', amfNull})
	f.Fuzz(func(t *testing.T, b []byte) {
		values, err := decodeAMF(b, 16)
		if err != nil {
			if !errors.Is(err, errAMF) && !errors.Is(err, errAMFLimit) {
				t.Fatal(err)
			}
			return
		}
		again, err := decodeAMF(appendAMF(nil, values...), 16)
		if err != nil {
			t.Fatalf("what was encoded can't be decoded: %v", err)
		}
		if diff := cmp.Diff(values, again, amfOptions, cmpopts.EquateNaNs()); diff != "" {
			t.Fatalf("changed by being encoded:\n%s", diff)
		}
	})
}

// FuzzMessages sends anything after a handshake to a whole connection: message layer,
// commands, go-rtmp and FLV parser. Nothing may panic, hang or hold memory beyond the limit.
func FuzzMessages(f *testing.F) {
	for _, seed := range sessionSeeds(f) {
		f.Add(seed)
	}
	e := newEngines()
	f.Cleanup(e.close)
	cfg := Config{Listener: newPipeListener(), Gateway: &fakeGateway{}, Limits: Limits{MaxMemoryPerConnection: 1 << 20, MaxMessageSize: 1 << 20}}
	if err := cfg.complete(); err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, session []byte) {
		gw := &fakeGateway{}
		own := cfg
		own.Gateway = gw
		log := &lockedBuffer{}
		own.Logger = slog.New(slog.NewTextHandler(log, nil))
		s := &Server{cfg: own, metrics: newMetrics(nil), engines: e, ctx: t.Context(), draining: &atomic.Bool{}}
		wire := &script{in: bytes.NewReader(slices.Concat([]byte{versionRTMP}, make([]byte, 2*1536), session))}
		c := s.newConn(wire, "rtmp")
		held := 0
		wire.reads = func() {
			if c.reader != nil {
				held = max(held, c.reader.held)
			}
		}
		c.serve()
		if held > own.Limits.MaxMemoryPerConnection || c.reader != nil || c.engine.engine != nil {
			t.Fatalf("memory held: %d bytes, and at the end %v, %v", held, c.reader, c.engine)
		}
		for _, p := range gw.pubs {
			if n, _ := p.state(); n != 1 {
				t.Fatalf("a publication was closed %d times", n)
			}
		}
		if bytes.Contains([]byte(log.String()), []byte("fault")) {
			t.Fatal(log)
		}
		// What we wrote must be RTMP.
		out := wire.out.Bytes()[handshakeSize:]
		r := newChunkReader(bufio.NewReader(bytes.NewReader(out)), testLimits(), func() {})
		for {
			m, err := r.next()
			if err == io.EOF {
				break
			}
			if err != nil {
				t.Fatalf("our answer is no RTMP: %v", err)
			}
			if m.typ == typeSetChunkSize {
				r.chunkSize = outChunkSize
			}
		}
	})
}

// script is a net.Conn whose peer has said everything already.
type script struct {
	net.Conn
	in *bytes.Reader
	// reads is called before each read.
	reads func()
	// mu guards the field below.
	mu  sync.Mutex
	out bytes.Buffer
}

func (s *script) Read(p []byte) (int, error) {
	s.reads()
	return s.in.Read(p)
}

func (s *script) Write(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.out.Write(p)
}
func (s *script) Close() error                     { return nil }
func (s *script) RemoteAddr() net.Addr             { return &net.UnixAddr{Name: "script"} }
func (s *script) SetReadDeadline(time.Time) error  { return nil }
func (s *script) SetWriteDeadline(time.Time) error { return nil }

// sessionSeeds are sessions of encoders, and some that are out to harm.
func sessionSeeds(t testing.TB) [][]byte {
	join := func(size int, messages ...message) []byte {
		var b []byte
		for _, m := range messages {
			b = appendChunks(b, 3+m.typ%3, m, size)
		}
		return b
	}
	connect := commandMessage(0, "connect", 1, &object{props: []property{{"app", testApp}, {"capsEx", 1.0}}})
	create := commandMessage(0, "createStream", 2, nil)
	publish := commandMessage(1, "publish", 3, nil, testName, "live")
	header := message{typ: typeVideo, stream: 1, body: sequenceHeader(t)}
	live := []message{connect, create, publish, header, keyframe(40, 300), {typ: typeAudio, stream: 1, body: []byte{0xaf, 0, 0x12, 0x10}}}
	stop := []message{commandMessage(0, "FCUnpublish", 4, nil, testName), commandMessage(0, "deleteStream", 5, nil, 1.0), create, publish, keyframe(0, 9)}
	odd := []message{
		{typ: typeVideo, stream: 1}, {typ: typeAggregate, stream: 1, body: append([]byte{9, 0, 0, 5, 0, 0, 0, 0, 0, 0, 0}, 0x17, 2, 0, 0, 0, 0, 0, 0, 16)},
		{typ: typeCommandAMF3, body: append([]byte{0}, create.body...)}, {typ: typeUserControl, body: []byte{0, 6, 0, 0, 0, 1}},
		controlMessage(typeWindowAck, 1), controlMessage(typeAbort, 6), commandMessage(1, "play", 1, nil, "x"),
	}
	return [][]byte{
		join(128, live...),
		slices.Concat(join(128, live...), join(128, stop...)),
		slices.Concat(join(128, live...), join(128, odd...)),
		slices.Concat(join(128, controlMessage(typeSetChunkSize, 4096)), join(4096, live...), join(4096, keyframe(17_000_000, 9000))),
		join(128, commandMessage(0, "connect", 1, &object{props: []property{{"app", "kLive"}}}), create, commandMessage(1, "publish", 1, nil, testName+"?"+testQuery)),
		join(128, message{typ: typeCommandAMF0, body: append(appendAMF(nil, "connect", 1.0), amfStrictArray, 0x7f, 0xff, 0xff, 0xff)}),
	}
}

var _ gateway.Publication = (*fakePublication)(nil)
