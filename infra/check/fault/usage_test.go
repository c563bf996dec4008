package fault

import (
	"os"
	"runtime"
	"testing"
)

// verdict notes how a test would have ended.
type verdict struct {
	testing.TB
	is string
}

func (v *verdict) Helper()               {}
func (v *verdict) Fatalf(string, ...any) { v.is = "failed"; runtime.Goexit() }
func (v *verdict) Skipf(string, ...any)  { v.is = "skipped"; runtime.Goexit() }

// TestUsageOfAnEndedProcess: a process that has ended by itself fails the test that measures it, which
// must not pass for one that can't run here.
func TestUsageOfAnEndedProcess(t *testing.T) {
	if _, err := os.Stat("/proc/self/stat"); err != nil {
		t.Skipf("SKIP: no /proc: %v", err)
	}
	p := Start(t, server(t, Ports(t, 1)[0]))
	p.Kill()
	v := &verdict{TB: t}
	p.t = v
	done := make(chan struct{})
	go func() {
		defer close(done)
		p.Usage()
	}()
	<-done
	if p.t = t; v.is != "failed" {
		t.Errorf("the test %s", v.is)
	}
}
