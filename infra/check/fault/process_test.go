package fault

import (
	"runtime"
	"testing"
	"time"
)

func TestProcessLives(t *testing.T) {
	addr := Ports(t, 1)[0]
	p := Start(t, server(t, addr))
	first := p.PID()
	if u := p.Usage(); u.Resident <= 0 {
		t.Errorf("a running process uses %+v", u)
	}

	p.Stop()
	stopped := false
	for i := 0; i < 20 && !stopped; i++ { // a signal takes its time on a busy machine
		stopped = ask(addr, 200*time.Millisecond) != nil
	}
	if !stopped {
		t.Error("a stopped process answers")
	}
	if !p.Running() {
		t.Error("a stopped process counts as ended")
	}
	p.Continue()
	if err := ask(addr, 5*time.Second); err != nil {
		t.Errorf("after it was continued: %v", err)
	}

	p.Kill()
	if p.Running() || ask(addr, time.Second) == nil {
		t.Error("a killed process lives")
	}
	p.Restart()
	if p.PID() == first {
		t.Error("it was not started again")
	}
	if took, err := p.Terminate(10 * time.Second); err != nil || took <= 0 {
		t.Errorf("SIGTERM: %v, %v", took, err)
	}
	if said := p.Said("serving", addr); len(said) != 2 {
		t.Errorf("two lives left the log\n%s", p.Output())
	}
}

func TestTerminateSaysWhatWentWrong(t *testing.T) {
	addr := Ports(t, 1)[0]
	p := Start(t, server(t, addr))
	p.Stop() // so that it can't end
	if _, err := p.Terminate(100 * time.Millisecond); err == nil {
		t.Error("a process that did not end in time passes for one that did")
	}
	if p.Running() {
		t.Error("it was not killed")
	}
}

// Namespaces that are there at once, of one process or of several, have networks of their own.
func TestNamespacesAtOnce(t *testing.T) {
	if runtime.GOOS != "linux" {
		t.Skip("SKIP: network namespaces are Linux's")
	}
	given := map[string]bool{}
	for range 2 {
		_, cables := NewNamespace(t, 2)
		for _, c := range cables {
			if given[c.Here] || given[c.There] || c.Here == c.There {
				t.Errorf("%s and %s are given twice", c.Here, c.There)
			}
			given[c.Here], given[c.There] = true, true
		}
	}
}

func TestNamespacePartsProcesses(t *testing.T) {
	if runtime.GOOS != "linux" {
		t.Skip("SKIP: network namespaces are Linux's")
	}
	ns, cables := NewNamespace(t, 2)
	s := server(t, "0.0.0.0:8080")
	s.In = ns
	s.Ready = nil
	p := Start(t, s)
	one, two := cables[0].There+":8080", cables[1].There+":8080"
	for end := time.Now().Add(10 * time.Second); ask(one, time.Second) != nil && time.Now().Before(end); {
		time.Sleep(readyPoll)
	}
	if err := ask(one, time.Second); err != nil {
		t.Fatalf("%v\n%s", err, p.Output())
	}
	cables[0].Down()
	if ask(one, 300*time.Millisecond) == nil {
		t.Error("the pulled cable carries")
	}
	if err := ask(two, time.Second); err != nil {
		t.Errorf("the other cable: %v", err)
	}
	cables[0].Up()
	for end := time.Now().Add(10 * time.Second); ask(one, time.Second) != nil; {
		if time.Now().After(end) {
			t.Fatal("the cable stays dead")
		}
	}
}
