package publisher

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net"
	"sync"
	"testing"
	"time"

	"github.com/yutopp/go-rtmp"
	rtmpmsg "github.com/yutopp/go-rtmp/message"
	"go.uber.org/goleak"
	"klive/infra/media"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// recorder is a handler of a foreign RTMP server.
type recorder struct {
	rtmp.DefaultHandler
	refuse string // the command to refuse
	host   string // where it listens

	mu     sync.Mutex // guards the fields below
	app    string
	name   string
	meta   bool
	bodies [][]byte
	times  []uint32
	closed chan struct{}
}

func (r *recorder) OnConnect(_ uint32, cmd *rtmpmsg.NetConnectionConnect) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.app = cmd.Command.App
	if r.refuse == "connect" {
		return errors.New("no entry")
	}
	return nil
}

func (r *recorder) OnPublish(_ *rtmp.StreamContext, _ uint32, cmd *rtmpmsg.NetStreamPublish) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.name = cmd.PublishingName
	if r.refuse == "publish" {
		return errors.New("bad name")
	}
	return nil
}

func (r *recorder) OnSetDataFrame(uint32, *rtmpmsg.NetStreamSetDataFrame) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.meta = true
	return nil
}

func (r *recorder) media(timestamp uint32, payload io.Reader) error {
	b, err := io.ReadAll(payload)
	r.mu.Lock()
	defer r.mu.Unlock()
	r.bodies, r.times = append(r.bodies, b), append(r.times, timestamp)
	return err
}

func (r *recorder) OnAudio(timestamp uint32, payload io.Reader) error {
	return r.media(timestamp, payload)
}

func (r *recorder) OnVideo(timestamp uint32, payload io.Reader) error {
	return r.media(timestamp, payload)
}

func (r *recorder) OnClose() { close(r.closed) }

// serve runs a foreign RTMP server and returns a dialler to it.
func serve(t *testing.T, r *recorder) func(context.Context, string, string) (net.Conn, error) {
	t.Helper()
	r.closed = make(chan struct{})
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	r.host = l.Addr().String()
	srv := rtmp.NewServer(&rtmp.ServerConfig{OnConnect: func(c net.Conn) (io.ReadWriteCloser, *rtmp.ConnConfig) {
		return c, &rtmp.ConnConfig{Handler: r, ControlState: rtmp.StreamControlStateConfig{DefaultBandwidthWindowSize: 1 << 20}}
	}})
	var wg sync.WaitGroup
	wg.Go(func() { srv.Serve(l) })
	t.Cleanup(func() { srv.Close(); wg.Wait() })
	return func(ctx context.Context, network, _ string) (net.Conn, error) {
		return (&net.Dialer{}).DialContext(ctx, network, r.host)
	}
}

const testURL = "rtmp://klive.test/kLive/?p=102&e=0_demolive&i=0&t=demo1234/0_demolive_1"

func TestPublishToForeignServer(t *testing.T) {
	var r recorder
	dial := serve(t, &r)
	p, err := Dial(t.Context(), Config{URL: testURL, DialContext: dial})
	if err != nil {
		t.Fatal(err)
	}
	c := mustClip(t, Synthetic{Width: 1280, Height: 720, Bitrate: 4_000_000})
	var sent []Unit
	if err := p.Play(t.Context(), Play{Clip: c, Start: 1000, Limit: 5 * time.Second, Unpaced: true, Sent: func(u Unit) { sent = append(sent, u) }}); err != nil {
		t.Fatal(err)
	}
	if err := p.Close(); err != nil {
		t.Fatal(err)
	}
	<-r.closed
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.app != "kLive/?p=102&e=0_demolive&i=0&t=demo1234" || r.name != "0_demolive_1" || !r.meta {
		t.Errorf("app %q, name %q, metadata %v", r.app, r.name, r.meta)
	}
	if got, want := len(r.bodies), len(sent)+2; got != want {
		t.Fatalf("%d messages arrived, %d were sent", got, want)
	}
	for i, u := range sent {
		body, head := r.bodies[i+2], audioHeader
		if u.Kind == media.Video {
			head = videoHeader
		}
		if !bytes.Equal(body[head:], u.Payload()) {
			t.Fatalf("%v unit %d arrived changed", u.Kind, u.Number)
		}
		if want := uint32(1000 + Millis(u.DTS)); r.times[i+2] != want {
			t.Fatalf("%v unit %d has the timestamp %d, want %d", u.Kind, u.Number, r.times[i+2], want)
		}
	}
}

func TestRefusals(t *testing.T) {
	for _, command := range []string{"connect", "publish"} {
		t.Run(command, func(t *testing.T) {
			dial := serve(t, &recorder{refuse: command})
			_, err := Dial(t.Context(), Config{URL: testURL, DialContext: dial})
			refused, ok := errors.AsType[*RefusedError](err)
			if !ok || refused.Command != command || refused.Code == "" || refused.Description == "" {
				t.Errorf("the refusal reads %#v (%v)", refused, err)
			}
		})
	}
}

func TestDialGivesUp(t *testing.T) {
	near, far := net.Pipe()
	defer far.Close()
	dial := func(context.Context, string, string) (net.Conn, error) { return near, nil }
	_, err := Dial(t.Context(), Config{URL: testURL, DialContext: dial, Timeout: 20 * time.Millisecond})
	if !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("a silent server gives %v, want a deadline", err)
	}
}

func TestServerEndsStream(t *testing.T) {
	near, far := net.Pipe()
	p := &Publisher{conn: near, timeout: time.Second, replies: make(chan reply, 1), done: make(chan struct{})}
	p.out.conn, p.out.chunkSize = near, 4096
	p.wg.Go(p.read)
	server := chunkWriter{conn: far, chunkSize: 128}
	status := []Property{{"level", "error"}, {"code", "NetStream.Publish.Rejected"}, {"description", "kicked by the operator of this server"}}
	if err := server.write(csidCommand, msgCommandAMF0, 1, 0, appendAMF(nil, "onStatus", 0, nil, status)); err != nil {
		t.Fatal(err)
	}
	<-p.Done()
	far.Close()
	err := p.WriteAudio(0, []byte{flvAAC})
	if refused, ok := errors.AsType[*RefusedError](err); !ok || refused.Description != "kicked by the operator of this server" {
		t.Errorf("a write after the end gives %v", err)
	}
	p.Abort()
}

func TestExtendedTimestampRepeatsInEachChunk(t *testing.T) {
	near, far := net.Pipe()
	w := chunkWriter{conn: near, chunkSize: 128}
	body := bytes.Repeat([]byte{7}, 300)
	var wg sync.WaitGroup
	wg.Go(func() {
		defer near.Close()
		if err := w.write(csidVideo, msgVideo, 1, 0x01020304, body[:100], body[100:]); err != nil {
			t.Error(err)
		}
	})
	m, err := newChunkReader(far).read()
	wg.Wait()
	if err != nil || m.typeID != msgVideo || len(m.payload) != 300 {
		t.Fatalf("read %d bytes of type %d: %v", len(m.payload), m.typeID, err)
	}
	// A reader that knows the extended timestamp's chunks finds nothing of them in the payload.
	if !bytes.Equal(m.payload, body) {
		t.Error("the payload arrived changed")
	}
}

func TestAddresses(t *testing.T) {
	for _, c := range []struct{ url, key, host, app, name string }{
		{testURL, "", "klive.test:1935", "kLive/?p=102&e=0_demolive&i=0&t=demo1234", "0_demolive_1"},
		{"rtmp://h:99/kLive?p=1&t=x", "0_demolive_1", "h:99", "kLive?p=1&t=x", "0_demolive_1"},
		{"rtmps://[::1]/kLive", "0_demolive_1?p=1", "[::1]:443", "kLive", "0_demolive_1?p=1"},
	} {
		a, err := parseAddress(c.url, c.key)
		if err != nil || a.host != c.host || a.app != c.app || a.name != c.name {
			t.Errorf("%s with key %q: %+v, %v", c.url, c.key, a, err)
		}
	}
	for _, url := range []string{"http://h/a/b", "rtmp://h/kLive", "rtmp:///a/b", "rtmp://h/a/"} {
		if _, err := parseAddress(url, ""); !errors.Is(err, ErrAddress) {
			t.Errorf("%s gives %v", url, err)
		}
	}
}

func FuzzServerAnswers(f *testing.F) {
	f.Add(appendAMF(nil, "_result", 1, nil, []Property{{"code", "x"}}))
	f.Add([]byte{2, 0, 0, 0, 0, 0, 4, 1, 0, 0, 0, 0, 0, 0, 0, 0})
	f.Fuzz(func(t *testing.T, b []byte) {
		readAMF(b)
		r := newChunkReader(bytes.NewReader(b))
		for {
			if _, err := r.read(); err != nil {
				return
			}
		}
	})
}
