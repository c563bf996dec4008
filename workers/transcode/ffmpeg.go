package transcode

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os/exec"
	"regexp"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"klive/infra/config"
)

// ErrFFmpeg wraps why ffmpeg did not make what it was asked for.
var ErrFFmpeg = errors.New("transcode: ffmpeg failed")

// ErrStart is why [Worker.Run] ends by itself: ffmpeg does not start here, and jobs are for others.
var ErrStart = errors.New("it does not start")

var errStalled = errors.New("it did not advance")

// Bounds of one ffmpeg.
const (
	maxOutput = 256 << 20 // bytes
	maxStderr = 4 << 10   // bytes kept, the last ones
	killWait  = 2 * time.Second
)

// process is one run of ffmpeg.
type process struct {
	path   string
	args   []string
	memory int64         // address space in bytes; 0 means no bound
	stall  time.Duration // without progress for so long it is killed

	moved atomic.Int64  // bytes that went in and came out
	cpu   time.Duration // that it took, once it has ended
}

// run writes the input and returns what came out.
func (p *process) run(ctx context.Context, input [][]byte) ([]byte, error) {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	cmd := exec.CommandContext(ctx, p.path, p.args...)
	cmd.Env = config.ChildEnviron()
	cmd.WaitDelay = killWait
	stdin, err := cmd.StdinPipe()
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrFFmpeg, err)
	}
	var said tail
	out := output{p: p, most: maxOutput}
	cmd.Stdout, cmd.Stderr = &out, &said
	if err := cmd.Start(); err != nil {
		return nil, fmt.Errorf("%w: %w: %w; install ffmpeg 5.1 or newer, or set transcode.ffmpeg to its path", ErrFFmpeg, ErrStart, err)
	}
	limitMemory(cmd.Process.Pid, p.memory)
	var wg sync.WaitGroup
	done := make(chan struct{})
	wg.Go(func() { p.watch(done, cancel) })
	wg.Go(func() { p.feed(stdin, input) })
	err = cmd.Wait()
	close(done)
	wg.Wait()
	p.cpu = cmd.ProcessState.UserTime() + cmd.ProcessState.SystemTime()
	if cause := context.Cause(ctx); cause != nil {
		err = cause
	} else if out.full {
		err = fmt.Errorf("more than %d bytes came out", maxOutput)
	}
	if err != nil {
		if text := lastWords(said.data); text != "" {
			err = fmt.Errorf("%w: %s", err, text)
		}
		return nil, fmt.Errorf("%w: %w", ErrFFmpeg, err)
	}
	return out.data.Bytes(), nil
}

// feed writes the input in pieces; it ends early when ffmpeg does.
func (p *process) feed(w io.WriteCloser, input [][]byte) {
	defer w.Close()
	for _, b := range input {
		for len(b) > 0 {
			n, err := w.Write(b[:min(len(b), 32<<10)])
			p.moved.Add(int64(n))
			if err != nil {
				return
			}
			b = b[n:]
		}
	}
}

// watch ends the process when it does not advance.
func (p *process) watch(done <-chan struct{}, kill context.CancelCauseFunc) {
	tick := time.NewTicker(time.Second)
	defer tick.Stop()
	seen, since := int64(0), time.Now()
	for {
		select {
		case <-done:
			return
		case <-tick.C:
		}
		if n := p.moved.Load(); n != seen {
			seen, since = n, time.Now()
		}
		if time.Since(since) >= p.stall {
			kill(fmt.Errorf("%w for %v and was ended", errStalled, p.stall))
			return
		}
	}
}

// output gathers what comes out, up to a bound.
type output struct {
	p    *process
	data bytes.Buffer
	most int
	full bool
}

func (o *output) Write(b []byte) (int, error) {
	if o.data.Len()+len(b) > o.most {
		o.full = true
		return 0, io.ErrShortWrite
	}
	o.p.moved.Add(int64(len(b)))
	return o.data.Write(b)
}

// tail keeps the end of what was written.
type tail struct{ data []byte }

func (t *tail) Write(b []byte) (int, error) {
	t.data = append(t.data, b...)
	if n := len(t.data) - maxStderr; n > 0 {
		t.data = append(t.data[:0], t.data[n:]...)
	}
	return len(b), nil
}

// maxWords is how many of ffmpeg's last lines make a reason: the last one alone often says only
// what followed from the one before.
const maxWords = 3

// component is where in ffmpeg a line comes from, with an address that differs in each run.
var component = regexp.MustCompile(`\[([\w/:#.]+) @ 0x[0-9a-f]+\] `)

// lastWords are the last lines that say something new, without control characters.
func lastWords(b []byte) string {
	var words []string
	lines := strings.Split(string(b), "\n")
	if len(b) == maxStderr {
		lines = lines[1:] // the first one is cut
	}
	for i := len(lines) - 1; i >= 0 && len(words) < maxWords; i-- {
		line := strings.Map(func(r rune) rune {
			if r < ' ' || r == 0x7f {
				return -1
			}
			return r
		}, strings.ToValidUTF8(lines[i], ""))
		line = component.ReplaceAllString(strings.TrimSpace(line), "$1: ")
		if line = line[:min(len(line), 200)]; line != "" && !slices.Contains(words, line) {
			words = append(words, line)
		}
	}
	slices.Reverse(words)
	return strings.Join(words, "; ")
}
