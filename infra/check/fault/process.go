package fault

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

// Spec is a process to run. It stays the same over restarts.
type Spec struct {
	// Name is what reports and failures call it.
	Name string
	// Path and Args are the program, Env its whole environment.
	Path string
	Args []string
	Env  []string
	// Log is the file that takes both outputs; it grows over restarts.
	Log string
	// Ready is polled until it returns nil; nil is a process that is ready at once.
	Ready func(context.Context) error
	// Patience bounds the wait for Ready; 0 means 30 s.
	Patience time.Duration
	// In is the network namespace to run in; nil is the host's.
	In *Namespace
}

// readyPoll is the distance of two looks at a process that starts.
const readyPoll = 20 * time.Millisecond

// Process is a process under test. Its methods may be called by several goroutines.
type Process struct {
	Spec
	t testing.TB

	mu  sync.Mutex // guards the fields below
	run *running
}

// running is one life of a process.
type running struct {
	cmd     *exec.Cmd
	started chan error    // once
	done    chan struct{} // closed when it has ended
	err     error         // why; set before done is closed
}

// ErrEnded is returned when a process has ended that should run.
var ErrEnded = errors.New("fault: the process has ended")

// Launch prepares a process and starts it without waiting for it to be ready. It ends with
// the test; what it said last is shown when the test has failed.
func Launch(t testing.TB, s Spec) *Process {
	t.Helper()
	p := &Process{Spec: s, t: t}
	t.Cleanup(p.end)
	if err := p.launch(); err != nil {
		t.Fatalf("start %s: %v", s.Name, err)
	}
	return p
}

// Start starts a process and waits until it is ready.
func Start(t testing.TB, s Spec) *Process {
	t.Helper()
	p := Launch(t, s)
	p.WaitReady()
	return p
}

func (p *Process) launch() error {
	p.mu.Lock()
	defer p.mu.Unlock()
	log, err := os.OpenFile(p.Log, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o644)
	if err != nil {
		return err
	}
	defer log.Close()
	path, args := p.Path, p.Args
	if p.In != nil {
		path, args = p.In.command(path, args)
	}
	cmd := exec.Command(path, args...)
	cmd.Env, cmd.Stdout, cmd.Stderr = p.Env, log, log
	cmd.SysProcAttr = dieWithParent()
	r := &running{cmd: cmd, started: make(chan error, 1), done: make(chan struct{})}
	go r.hold()
	if err := <-r.started; err != nil {
		return err
	}
	p.run = r
	return nil
}

// hold starts the process and waits for its end on one thread: the kernel ties the life of
// the child to the thread that made it.
func (r *running) hold() {
	runtime.LockOSThread()
	defer close(r.done)
	err := r.cmd.Start()
	r.started <- err
	if err == nil {
		err = r.cmd.Wait()
	}
	r.err = err
}

func (p *Process) current() *running {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.run
}

// WaitReady waits until the process is ready and returns how long that took; it fails the test when it ends or takes too long.
func (p *Process) WaitReady() time.Duration {
	p.t.Helper()
	begin := time.Now()
	if err := p.ready(); err != nil {
		p.t.Fatalf("%s is not ready after %v: %v\n%s", p.Name, time.Since(begin).Round(time.Millisecond), err, p.Tail(40))
	}
	return time.Since(begin)
}

func (p *Process) ready() error {
	if p.Ready == nil {
		return nil
	}
	patience := p.Patience
	if patience == 0 {
		patience = 30 * time.Second
	}
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	for {
		err := p.Ready(ctx)
		if err == nil {
			return nil
		}
		select {
		case <-p.Done():
			return fmt.Errorf("%w: %v", ErrEnded, p.current().err)
		case <-ctx.Done():
			return err
		case <-time.After(readyPoll):
		}
	}
}

// Done is closed when the present life of the process has ended.
func (p *Process) Done() <-chan struct{} { return p.current().done }

// Running reports whether the process lives; a stopped one does.
func (p *Process) Running() bool {
	select {
	case <-p.Done():
		return false
	default:
		return true
	}
}

// PID is the id of the present life.
func (p *Process) PID() int { return p.current().cmd.Process.Pid }

// Kill ends the process at once, as the kernel does when memory is short (SIGKILL).
func (p *Process) Kill() {
	r := p.current()
	r.cmd.Process.Kill()
	<-r.done
}

// Stop freezes the process (SIGSTOP); its connections stay open.
func (p *Process) Stop() { p.signal(syscall.SIGSTOP) }

// Continue lets a frozen process go on.
func (p *Process) Continue() { p.signal(syscall.SIGCONT) }

func (p *Process) signal(s os.Signal) {
	p.t.Helper()
	if err := p.current().cmd.Process.Signal(s); err != nil {
		p.t.Errorf("%v to %s: %v", s, p.Name, err)
	}
}

// Terminate asks the process to end (SIGTERM) and returns how long it took. An end that is
// not in order, or none within the patience, is an error; then it is killed.
func (p *Process) Terminate(patience time.Duration) (time.Duration, error) {
	r, begin := p.current(), time.Now()
	if err := r.cmd.Process.Signal(syscall.SIGTERM); err != nil {
		return 0, fmt.Errorf("%s: %w", p.Name, err)
	}
	select {
	case <-r.done:
	case <-time.After(patience):
		r.cmd.Process.Kill()
		<-r.done
		return time.Since(begin), fmt.Errorf("%s did not end within %v of SIGTERM", p.Name, patience)
	}
	if r.err != nil {
		return time.Since(begin), fmt.Errorf("%s did not end in order: %w", p.Name, r.err)
	}
	return time.Since(begin), nil
}

// Restart starts an ended process again with the same settings and waits until it is ready.
func (p *Process) Restart() {
	p.t.Helper()
	p.Relaunch()
	p.WaitReady()
}

// Relaunch is [Process.Restart] without the wait.
func (p *Process) Relaunch() {
	p.t.Helper()
	if p.Running() {
		p.t.Fatalf("%s still runs", p.Name)
	}
	if err := p.launch(); err != nil {
		p.t.Fatalf("start %s again: %v", p.Name, err)
	}
}

// end kills what is left of the process at the end of the test.
func (p *Process) end() {
	if p.current() == nil {
		return
	}
	p.Kill()
	if p.t.Failed() {
		p.t.Logf("%s said last:\n%s", p.Name, p.Tail(25))
	}
}

// Output is all that the process has said, over all its lives.
func (p *Process) Output() string {
	b, err := os.ReadFile(p.Log)
	if err != nil {
		return err.Error()
	}
	return string(b)
}

// Tail is the last lines of the output.
func (p *Process) Tail(n int) string {
	lines := strings.SplitAfter(p.Output(), "\n")
	return strings.Join(lines[max(0, len(lines)-n-1):], "")
}

// Said returns the lines that hold all of the words.
func (p *Process) Said(words ...string) []string {
	var out []string
next:
	for line := range strings.Lines(p.Output()) {
		for _, w := range words {
			if !strings.Contains(line, w) {
				continue next
			}
		}
		out = append(out, line)
	}
	return out
}
