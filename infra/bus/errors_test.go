package bus

import (
	"errors"
	"strings"
	"testing"

	"github.com/nats-io/nats.go/jetstream"
)

// TestNoLeaderHasTwoCauses: a server that has no leader to ask does not know whether one is being elected or most of the
// nodes are away, and who reads it should look for both.
func TestNoLeaderHasTwoCauses(t *testing.T) {
	for code, want := range map[jetstream.ErrorCode]bool{codeTemporary: true, codeInProcess: false} {
		err := busError("connect", &jetstream.APIError{Code: 503, ErrorCode: code})
		if !errors.Is(err, ErrUnavailable) || strings.Contains(err.Error(), ErrElecting.Error()) != want {
			t.Errorf("%d: %v", code, err)
		}
	}
}
