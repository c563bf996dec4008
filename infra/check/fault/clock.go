package fault

import (
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
)

// ClockFile is the environment variable by which a program that was built with [ClockOverlay]
// finds the file with its clock's offset in whole seconds, "-5".
const ClockFile = "KLIVE_TEST_CLOCK"

// clockSource goes into package time of a test build: it reads the offset twice a second.
const clockSource = `package time

import (
	"sync/atomic"
	"syscall"
)

var testOffset atomic.Int64

func init() {
	path, ok := syscall.Getenv("` + ClockFile + `")
	if !ok {
		return
	}
	go func() {
		for {
			testOffset.Store(readTestOffset(path))
			Sleep(500 * Millisecond)
		}
	}()
}

func readTestOffset(path string) (offset int64) {
	fd, err := syscall.Open(path, syscall.O_RDONLY, 0)
	if err != nil {
		return 0
	}
	defer syscall.Close(fd)
	var buf [16]byte
	n, _ := syscall.Read(fd, buf[:])
	sign := int64(1)
	for _, c := range buf[:max(n, 0)] {
		switch {
		case c == '-':
			sign = -1
		case c >= '0' && c <= '9':
			offset = offset*10 + int64(c-'0')
		}
	}
	return sign * offset
}
`

// ClockOverlay writes what "go build -overlay" needs to build a program whose wall clock can be
// stepped while it runs: package time with an offset. Monotonic time goes on as it is. The program
// itself has no hook for it.
func ClockOverlay(t testing.TB) (overlay string) {
	t.Helper()
	out, err := exec.Command("go", "env", "GOROOT").Output()
	if err != nil {
		t.Skipf("SKIP: no go tool: %v", err)
	}
	root, dir := filepath.Join(strings.TrimSpace(string(out)), "src", "time"), t.TempDir()
	text, err := os.ReadFile(filepath.Join(root, "time.go"))
	if err != nil {
		t.Fatal(err)
	}
	const reads = "	sec, nsec, mono := runtimeNow()\n" // in time.Now, as of Go 1.26
	if strings.Count(string(text), reads) != 1 {
		t.Fatalf("%s reads the clock otherwise than the overlay expects: want one line %q", root, strings.TrimSpace(reads))
	}
	stepped := strings.Replace(string(text), reads, reads+"	sec += testOffset.Load()\n", 1)
	replace := map[string]string{}
	for name, content := range map[string]string{"time.go": stepped, "zz_testclock.go": clockSource} {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte(content), 0o644); err != nil {
			t.Fatal(err)
		}
		replace[filepath.Join(root, name)] = path
	}
	b, err := json.Marshal(map[string]any{"Replace": replace})
	if err != nil {
		t.Fatal(err)
	}
	overlay = filepath.Join(dir, "overlay.json")
	if err := os.WriteFile(overlay, b, 0o644); err != nil {
		t.Fatal(err)
	}
	return overlay
}

// StepClock moves the clock of programs that read the file by so many seconds against the host's.
func StepClock(t testing.TB, file string, seconds int) {
	t.Helper()
	temp := file + ".new"
	if err := os.WriteFile(temp, []byte(strconv.Itoa(seconds)), 0o644); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(temp, file); err != nil {
		t.Fatal(err)
	}
}
