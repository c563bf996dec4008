package e2e

import (
	"fmt"
	"os"
	"os/exec"
	"testing"
	"time"

	"go.uber.org/goleak"

	"klive/infra/check"
)

func TestMain(m *testing.M) {
	if code, child := beChild(); child {
		os.Exit(code)
	}
	code := m.Run()
	if err := tellPromises(); err != nil {
		println(err.Error())
		code = 1
	}
	theProgram.remove()
	previousProgram.remove()
	if code == 0 {
		if err := goleak.Find(); err != nil {
			println(err.Error())
			code = 1
		}
	}
	os.Exit(code)
}

// proving reports whether tests run at their stated lengths.
func proving() bool { return check.Proving() }

// length picks a test's length: the stated one when proving, else the short one.
func length(stated, short time.Duration) time.Duration {
	return check.Length(stated, short)
}

// shortSegments are settings for a process whose test waits for segments: where it is not held to its stated length they are short,
// in a window that lasts as long as the usual one. Tests that look for each stall, or for each segment of a ladder, do without: long
// segments are what a busy machine has to spare.
var shortSegments = []string{"KLIVE_SEGMENT_DURATION=" + length(4*time.Second, 2*time.Second).String(), fmt.Sprintf("KLIVE_HLS_WINDOW=%d", length(5, 10))}

// tool finds a program or skips the test by the program's name.
func tool(t testing.TB, name, hint string) string {
	t.Helper()
	path, err := exec.LookPath(name)
	if err != nil {
		t.Skipf("SKIP: no %s; %s", name, hint)
	}
	return path
}

func ffmpeg(t testing.TB) string  { return tool(t, "ffmpeg", "apt-get install ffmpeg") }
func ffprobe(t testing.TB) string { return tool(t, "ffprobe", "apt-get install ffmpeg") }
