package node

import (
	"strings"
	"testing"

	"klive/infra/config"
)

// What the console plays is signed where viewers need a token, and stays the same for a while.
func TestSigner(t *testing.T) {
	const path = "/kLive/smil:0_demolive_all.smil/playlist.m3u8"
	n := &Node{}
	n.viewer.Store(&config.Default().Viewer)
	if got := n.sign("0_demolive", path); got != path {
		t.Errorf("without viewer.keys the path becomes %q", got)
	}
	c, _, err := config.Load("", []string{config.EnvName("viewer.keys") + "=k1:first-secret-of-viewers"})
	if err != nil {
		t.Fatal(err)
	}
	n.Reload(c)
	got := n.sign("0_demolive", path)
	if !strings.HasPrefix(got, "/t/k1") || !strings.HasSuffix(got, path) || strings.Contains(got, "first-secret") || got != n.sign("0_demolive", path) {
		t.Errorf("signed: %q", got)
	}
}
