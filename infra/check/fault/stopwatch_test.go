package fault

import (
	"os"
	"strings"
	"testing"
	"time"
)

// A stopwatch tells what went by, and takes what waiting for a processor may explain from it alone.
func TestStopwatch(t *testing.T) {
	s := NewStopwatch(os.Getppid())
	s.Add(1 << 30) // nobody
	time.Sleep(20 * time.Millisecond)
	took, waited := s.Took()
	if took < 20*time.Millisecond || waited < 0 {
		t.Errorf("20 ms took %v, of them without a processor %v", took, waited)
	}
	if err := s.Beyond(time.Hour); err != nil {
		t.Error(err)
	}
	s.before = s.sum() + time.Hour // as if nobody had waited
	if err := s.Beyond(10 * time.Millisecond); err == nil || !strings.Contains(err.Error(), "want 10ms (0s went by") {
		t.Errorf("20 ms are not beyond 10: %v", err)
	}
	s.before = -time.Hour
	if err := s.Beyond(10 * time.Millisecond); err != nil {
		t.Errorf("a machine without a processor for an hour: %v", err)
	}
}
