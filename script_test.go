package main

import (
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/testscript"

	"klive/infra/check/fault"
	"klive/infra/config"
)

func TestMain(m *testing.M) {
	testscript.Main(m, map[string]func(){"klive": main})
}

// scriptSecret is the admin secret of the scripts' control planes: no command may show it.
const scriptSecret = "scripts-secret-nobody-may-see"

// raceOptions keep a program with the race detector from waiting a second at its end.
const raceOptions = "atexit_sleep_ms=0"

// TestScripts runs the commands as an operator does, each in a process of its own. Every
// script has a data folder and ports for itself, named by the environment.
func TestScripts(t *testing.T) {
	ports := newPortPool()
	testscript.Run(t, testscript.Params{
		Dir: "testdata/script",
		Setup: func(env *testscript.Env) error {
			env.Setenv("KLIVE_DATA", filepath.Join(env.WorkDir, "data"))
			env.Setenv("KLIVE_CONTROL_SECRET", scriptSecret)
			env.Setenv("SECRET", scriptSecret)
			env.Setenv("GORACE", raceOptions)
			program, err := exec.LookPath("klive") // which the test binary has put there
			if err != nil {
				return err
			}
			env.Setenv("PROGRAM", program)
			for _, name := range []string{"RTMP", "SRT", "WEBRTC", "HTTP", "ADMIN", "RTMPS", "HTTPS", "BUS", "INTERNAL", "P1", "P2", "P3", "P4", "P5"} {
				address, err := ports.next()
				if err != nil {
					return err
				}
				env.Setenv(name, address)
				_, port, _ := net.SplitHostPort(address)
				env.Setenv(name+"_PORT", port)
				if name == "RTMP" || name == "SRT" || name == "WEBRTC" || name == "HTTP" || name == "ADMIN" || name == "INTERNAL" {
					env.Setenv("KLIVE_"+name+"_LISTEN", address)
				}
			}
			env.Values[servicesKey{}] = services{}
			return nil
		},
		Condition: func(cond string) (bool, error) {
			program, ok := strings.CutPrefix(cond, "have:")
			if !ok {
				return false, fmt.Errorf("unknown condition %q", cond)
			}
			_, err := exec.LookPath(program)
			return err == nil, nil
		},
		Cmds: map[string]func(*testscript.TestScript, bool, []string){
			"serve": cmdServe, "run": cmdRun, "signal": cmdSignal, "ends": cmdEnds, "logs": cmdLogs, "fetch": cmdFetch, "replace": cmdReplace, "occupy": cmdOccupy,
		},
	})
}

// portPool gives out loopback ports below the range that the system draws from.
type portPool struct {
	mu   sync.Mutex // guards the field below
	port int
}

func newPortPool() *portPool { return &portPool{port: 10_000 + rand.IntN(15_000)} }

func (p *portPool) next() (string, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for range 1000 {
		p.port++
		address := fmt.Sprintf("127.0.0.1:%d", p.port)
		if l, err := net.Listen("tcp", address); err == nil {
			return address, l.Close()
		}
	}
	return "", fmt.Errorf("no free port up to %d", p.port)
}

// servicesKey finds a script's running services, by name.
type servicesKey struct{}

type services map[string]*service

// service is a klive that runs beside a script.
type service struct {
	cmd *exec.Cmd
	// out is the file with what it prints and logs.
	out  string
	done chan struct{}
}

const (
	// startLimit is how soon a service has to take work, the time aside in which others have the processors.
	startLimit = 2 * time.Second
	// patience is how long a script waits for what has to come: far longer than it takes, for on a
	// machine with too much to do everything takes long.
	patience = time.Minute
)

// cmdServe runs "serve NAME [flag…]": it starts klive serve and waits until it is ready.
func cmdServe(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 1 {
		ts.Fatalf("usage: serve name [flag...]")
	}
	watch := fault.NewStopwatch()
	s := launch(ts, args[0], append([]string{"serve"}, args[1:]...))
	watch.Add(s.cmd.Process.Pid)
	address := ts.Getenv("KLIVE_HTTP_LISTEN")
	for !answers("http://" + address + "/readyz") {
		select {
		case <-s.done:
			ts.Fatalf("klive serve ended:\n%s", ts.ReadFile(s.out))
		case <-time.After(5 * time.Millisecond):
		}
		if took, _ := watch.Took(); took > patience {
			ts.Fatalf("klive serve is not ready after %v:\n%s", patience, ts.ReadFile(s.out))
		}
	}
	took, _ := watch.Took()
	ts.Logf("ready after %v", took.Round(time.Millisecond))
	if err := watch.Beyond(startLimit); err != nil {
		ts.Fatalf("klive serve is ready, but %v:\n%s", err, ts.ReadFile(s.out))
	}
}

// cmdRun runs "run NAME COMMAND [flag…]": it starts a klive command beside the script.
func cmdRun(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 2 {
		ts.Fatalf("usage: run name command [flag...]")
	}
	launch(ts, args[0], args[1:])
}

// launch starts klive under the script's configuration.
func launch(ts *testscript.TestScript, name string, args []string) *service {
	s := &service{out: ts.MkAbs(name + ".log"), done: make(chan struct{})}
	out, err := os.Create(s.out)
	ts.Check(err)
	self, err := os.Executable()
	ts.Check(err)
	s.cmd = &exec.Cmd{Path: self, Args: append([]string{"klive"}, args...), Dir: ts.MkAbs("."), Stdout: out, Stderr: out}
	s.cmd.Env = []string{"GORACE=" + raceOptions, "PATH=" + ts.Getenv("PATH")}
	for _, k := range config.Keys() {
		if v := ts.Getenv(k.Env); v != "" {
			s.cmd.Env = append(s.cmd.Env, k.Env+"="+v)
		}
	}
	ts.Check(s.cmd.Start())
	go func() {
		defer close(s.done)
		s.cmd.Wait() // the state is in cmd.ProcessState
		out.Close()
	}()
	ts.Value(servicesKey{}).(services)[name] = s
	ts.Defer(func() {
		s.cmd.Process.Kill()
		<-s.done
	})
	return s
}

func answers(url string) bool {
	res, err := http.Get(url)
	if err != nil {
		return false
	}
	res.Body.Close()
	return res.StatusCode == http.StatusOK
}

func serviceOf(ts *testscript.TestScript, name string) *service {
	s := ts.Value(servicesKey{}).(services)[name]
	if s == nil {
		ts.Fatalf("no service %s runs", name)
	}
	return s
}

// cmdSignal runs "signal NAME TERM|HUP|INT|KILL".
func cmdSignal(ts *testscript.TestScript, neg bool, args []string) {
	signals := map[string]syscall.Signal{"TERM": syscall.SIGTERM, "HUP": syscall.SIGHUP, "INT": syscall.SIGINT, "KILL": syscall.SIGKILL}
	if neg || len(args) != 2 || signals[args[1]] == 0 {
		ts.Fatalf("usage: signal name TERM|HUP|INT|KILL")
	}
	ts.Check(serviceOf(ts, args[0]).cmd.Process.Signal(signals[args[1]]))
}

// cmdEnds runs "ends NAME CODE": the service ends by itself with this exit code.
func cmdEnds(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 2 {
		ts.Fatalf("usage: ends name code")
	}
	s := serviceOf(ts, args[0])
	select {
	case <-s.done:
	case <-time.After(patience):
		ts.Fatalf("klive serve goes on:\n%s", ts.ReadFile(s.out))
	}
	if code := fmt.Sprint(s.cmd.ProcessState.ExitCode()); code != args[1] {
		ts.Fatalf("klive serve ended with %v, want exit code %s:\n%s", s.cmd.ProcessState, args[1], ts.ReadFile(s.out))
	}
}

// cmdLogs runs "[!] logs NAME REGEXP": the service prints a line like that in the end,
// or has printed none so far.
func cmdLogs(ts *testscript.TestScript, neg bool, args []string) {
	if len(args) != 2 {
		ts.Fatalf("usage: logs name regexp")
	}
	s := serviceOf(ts, args[0])
	line := regexp.MustCompile(`(?m)` + args[1])
	for end := time.Now().Add(patience); ; time.Sleep(5 * time.Millisecond) {
		text := ts.ReadFile(s.out)
		found := line.MatchString(text)
		switch {
		case neg && found:
			ts.Fatalf("a line like %q was printed:\n%s", args[1], text)
		case neg, found:
			return
		case time.Now().After(end):
			ts.Fatalf("no line like %q:\n%s", args[1], text)
		}
	}
}

// cmdFetch runs "fetch URL STATUS [REGEXP]": in the end the answer has that status, and a
// text like that. The text becomes the output.
func cmdFetch(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 2 || len(args) > 3 {
		ts.Fatalf("usage: fetch url status [regexp]")
	}
	want := regexp.MustCompile(strings.Join(args[2:], ""))
	for end := time.Now().Add(patience); ; time.Sleep(20 * time.Millisecond) {
		status, text, err := fetch(args[0])
		if err == nil && status == args[1] && want.Match(text) {
			_, err := ts.Stdout().Write(text)
			ts.Check(err)
			return
		}
		if time.Now().After(end) {
			ts.Fatalf("%s answers %s %v: %s", args[0], status, err, text)
		}
	}
}

func fetch(url string) (status string, text []byte, err error) {
	res, err := http.Get(url)
	if err != nil {
		return "", nil, err
	}
	defer res.Body.Close()
	text, err = io.ReadAll(io.LimitReader(res.Body, 1<<20))
	return fmt.Sprint(res.StatusCode), text, err
}

// cmdOccupy runs "occupy ADDRESS": another program holds the address until the script ends.
func cmdOccupy(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 1 {
		ts.Fatalf("usage: occupy address")
	}
	l, err := net.Listen("tcp", args[0])
	ts.Check(err)
	ts.Defer(func() { l.Close() })
}

// cmdReplace runs "replace FILE OLD NEW".
func cmdReplace(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 3 {
		ts.Fatalf("usage: replace file old new")
	}
	text := ts.ReadFile(args[0])
	if !strings.Contains(text, args[1]) {
		ts.Fatalf("%s does not hold %q", args[0], args[1])
	}
	ts.Check(os.WriteFile(ts.MkAbs(args[0]), []byte(strings.ReplaceAll(text, args[1], args[2])), 0o600))
}
