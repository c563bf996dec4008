package e2e

import (
	"bytes"
	"context"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"klive/infra/check/fault"
)

// program builds klive once for all tests.
type program struct {
	tags string
	once sync.Once
	path string
	err  error
}

var theProgram program

// previousProgram writes and knows the wire and stored forms of the release before this one.
var previousProgram = program{tags: "previous"}

func (p *program) build(t testing.TB) string {
	t.Helper()
	p.once.Do(func() {
		dir, err := os.MkdirTemp("", "klive-e2e-")
		if err != nil {
			p.err = err
			return
		}
		p.path = filepath.Join(dir, "klive")
		if out, err := exec.Command("go", "build", "-tags", p.tags, "-o", p.path, "klive").CombinedOutput(); err != nil {
			p.err = fmt.Errorf("go build: %w\n%s", err, out)
		}
	})
	if p.err != nil {
		t.Fatal(p.err)
	}
	return p.path
}

func (p *program) remove() {
	if p.path != "" {
		os.RemoveAll(filepath.Dir(p.path))
	}
}

// controlSecret is the admin secret of partner 102 in tests.
const controlSecret = "e2e-secret-of-partner-102"

// process is a running klive.
type process struct {
	cmd               *exec.Cmd
	rtmp, http, admin string // host:port
	srt               string // the same, over UDP
	webrtc            string // the same, over UDP and TCP
	dir               string
	log               *lines
	client            *http.Client
	done              chan struct{}
	err               error // set before done is closed
}

// start runs "klive serve" on free ports with an empty data folder, and ends it with the
// test. env are further settings, KEY=value.
func start(t testing.TB, env ...string) *process {
	t.Helper()
	return startIn(t, func(path string, args ...string) (string, []string) { return path, args }, env...)
}

// startIn is start with something that the program is run by, such as a control group.
func startIn(t testing.TB, by func(path string, args ...string) (string, []string), env ...string) *process {
	t.Helper()
	p := &process{dir: t.TempDir(), log: &lines{}, done: make(chan struct{}), client: &http.Client{Transport: &http.Transport{}}}
	ports := fault.Ports(t, 5)
	p.rtmp, p.http, p.admin, p.srt, p.webrtc = ports[0], ports[1], ports[2], ports[3], ports[4]
	path, args := by(theProgram.build(t), "serve")
	p.cmd = exec.Command(path, args...)
	p.cmd.Env = append(environ(),
		"KLIVE_DATA="+filepath.Join(p.dir, "data"), "KLIVE_RTMP_LISTEN="+p.rtmp, "KLIVE_SRT_LISTEN="+p.srt, "KLIVE_WEBRTC_LISTEN="+p.webrtc, "KLIVE_HTTP_LISTEN="+p.http,
		"KLIVE_ADMIN_LISTEN="+p.admin, "KLIVE_RTMPS_LISTEN=", "KLIVE_HTTPS_LISTEN=",
		"KLIVE_CONTROL_SECRET="+controlSecret)
	p.cmd.Env = append(p.cmd.Env, env...)
	p.cmd.Stdout, p.cmd.Stderr = p.log, p.log
	begin := time.Now()
	if err := p.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	go func() {
		defer close(p.done)
		p.err = p.cmd.Wait()
	}()
	t.Cleanup(func() { p.stop(t) })
	p.waitReady(t)
	t.Logf("klive was ready after %v", time.Since(begin).Round(10*time.Millisecond))
	return p
}

// environ is the environment without klive's own variables: those steer the tests.
func environ() []string {
	return slices.DeleteFunc(os.Environ(), func(v string) bool { return strings.HasPrefix(v, "KLIVE_") })
}

func (p *process) waitReady(t testing.TB) {
	t.Helper()
	p.wait(t, 20*time.Second, "klive to be ready", func() bool {
		resp, err := p.client.Get("http://" + p.http + "/readyz")
		if err != nil {
			return false
		}
		resp.Body.Close()
		return resp.StatusCode == http.StatusOK
	})
}

// wait polls until ok; it fails when time runs out or klive ends.
func (p *process) wait(t testing.TB, patience time.Duration, what string, ok func() bool) {
	t.Helper()
	for end := time.Now().Add(patience); ; {
		if ok() {
			return
		}
		select {
		case <-p.done:
			t.Fatalf("klive ended while the test waited for %s: %v\n%s", what, p.err, p.log)
		case <-time.After(50 * time.Millisecond):
		}
		if time.Now().After(end) {
			t.Fatalf("the test waited in vain for %s\n%s", what, p.log)
		}
	}
}

// stop ends klive as an operator does and holds it to an orderly end.
func (p *process) stop(t testing.TB) {
	p.client.CloseIdleConnections()
	p.cmd.Process.Signal(syscall.SIGTERM)
	select {
	case <-p.done:
		if p.err != nil {
			t.Errorf("klive did not end in order: %v\n%s", p.err, p.log)
		}
	case <-time.After(30 * time.Second):
		p.cmd.Process.Kill()
		<-p.done
		t.Errorf("klive did not end within 30 s of SIGTERM\n%s", p.log)
	}
}

// running reports whether the process lives.
func (p *process) running() bool {
	select {
	case <-p.done:
		return false
	default:
		return true
	}
}

// broadcast is an entry with its token on the process's RTMP port.
func (p *process) broadcast(entry, token string) string {
	return fmt.Sprintf("rtmp://%s/kLive/?p=102&e=%s&i=0&t=%s/%s_1", p.rtmp, entry, token, entry)
}

func (p *process) demo() string { return p.broadcast("0_demolive", "demo1234") }

// playlist is the address of an entry's multivariant playlist.
func (p *process) playlist(entry string) string {
	return "http://" + p.http + "/kLive/smil:" + entry + "_all.smil/playlist.m3u8"
}

// get fetches a text; it is empty while there is none.
func (p *process) get(ctx context.Context, url string) string {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return ""
	}
	resp, err := p.client.Do(req)
	if err != nil {
		return ""
	}
	defer resp.Body.Close()
	var b bytes.Buffer
	if _, err := b.ReadFrom(resp.Body); err != nil || resp.StatusCode != http.StatusOK {
		return ""
	}
	return b.String()
}

// lines keeps what a process prints.
type lines struct {
	mu  sync.Mutex // guards the field below
	buf bytes.Buffer
}

func (l *lines) Write(b []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.buf.Write(b)
}

func (l *lines) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.buf.String()
}

// with returns the lines that hold all of the words.
func (l *lines) with(words ...string) []string {
	var out []string
next:
	for line := range strings.Lines(l.String()) {
		for _, w := range words {
			if !strings.Contains(line, w) {
				continue next
			}
		}
		out = append(out, line)
	}
	return out
}
