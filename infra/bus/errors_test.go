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

// TestFullDiskNeedsNoRestart: NATS switches JetStream off when its disk is full. Where that is the cause the node begins anew
// by itself once there is room, and does not send anybody to restart it.
func TestFullDiskNeedsNoRestart(t *testing.T) {
	s, err := StartServer(t.Context(), ServerConfig{Name: "node", Dir: t.TempDir(), Listen: "127.0.0.1:0"})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	if err := s.server.DisableJetStream(); err != nil {
		t.Fatal(err)
	}
	if err := s.Healthy(); !errors.Is(err, ErrFull) || !strings.Contains(err.Error(), "then restart") {
		t.Errorf("for another cause: %v", err)
	}
	s.said.Errorf("Filestore [%s] Critical write error: %v", "KV_feeds", "write 1.blk: no space left on device")
	if err := s.Healthy(); !errors.Is(err, ErrFull) || !strings.Contains(err.Error(), "begins anew by itself") {
		t.Errorf("a full disk: %v", err)
	}
}
