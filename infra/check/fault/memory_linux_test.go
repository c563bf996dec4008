package fault

import (
	"os"
	"os/exec"
	"strings"
	"testing"
)

// TestMemoryGroup: a program in the group that takes more than it may is killed, one that does not is not.
func TestMemoryGroup(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("SKIP: control groups are made as root")
	}
	g := NewMemoryGroup(t, 64<<20)
	say := func(script string) (string, error) {
		path, args := g.Command("/bin/sh", "-c", script)
		out, err := exec.Command(path, args...).CombinedOutput()
		return strings.TrimSpace(string(out)), err
	}
	if out, err := say("echo hello"); err != nil || out != "hello" || g.Kills() != 0 {
		t.Errorf("%q, %v, %d killed", out, err, g.Kills())
	}
	out, err := say("exec dd if=/dev/zero of=/dev/null bs=256M count=1") // it reads all of that into one buffer
	if err == nil && g.Kills() == 0 {
		t.Skip("SKIP: this kernel lets groups have limits and does not hold them to these")
	}
	if err == nil || g.Kills() != 1 {
		t.Errorf("256 MiB in 64: %q, %v, %d killed", out, err, g.Kills())
	}
	if p := g.Peak(); p < 32<<20 || p > 65<<20 {
		t.Errorf("the peak was %d MiB", p>>20)
	}
}
