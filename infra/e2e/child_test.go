package e2e

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"klive/infra/check/fault"
)

// childVariable names what this test program does instead of testing, "<name> <arguments>".
const childVariable = "KLIVE_E2E_CHILD"

// children are what the test program can be in a process of its own: what leaves goroutines
// behind, or is to be measured by itself.
var children = map[string]func(args []string) error{
	"srt-attack": attackSRT,
	"srt-sink":   sinkSRT,
	"whip-sink":  sinkWHIP,
}

// beChild does what a parent has asked of this process; false when it is no child.
func beChild() (code int, child bool) {
	words := strings.Fields(os.Getenv(childVariable))
	if len(words) == 0 {
		return 0, false
	}
	if err := children[words[0]](words[1:]); err != nil {
		fmt.Println(err)
		return 1, true
	}
	return 0, true
}

// child runs the test program as one of children until the test ends.
func child(t testing.TB, name string, args ...string) *fault.Process {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	return fault.Launch(t, fault.Spec{
		Name: name, Path: self, Log: filepath.Join(t.TempDir(), name+".log"),
		Env: append(environ(), childVariable+"="+strings.Join(append([]string{name}, args...), " ")),
	})
}
