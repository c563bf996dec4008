package node

import (
	"log/slog"
	"strings"
	"testing"

	"klive/infra/config"
	"klive/infra/live"
)

func TestCheckSettings(t *testing.T) {
	whole := func() *config.Config {
		c := config.Default()
		c.Bus.URL, c.Storage.URL = "nats://bus-1:4222", "s3://live?region=eu-west-1"
		c.Kaltura.URL, c.Control.Secret = "http://control-host:8081", "0123456789abcdef"
		return c
	}
	for _, tt := range []struct {
		name  string
		roles Roles
		spoil func(*config.Config)
		says  []string // nothing: all is well
	}{
		{"everything in one process", All, func(c *config.Config) { *c = *config.Default() }, nil},
		{"copies of one bus", All, func(c *config.Config) { *c = *config.Default(); c.Bus.Replicas = 3 }, []string{"bus.replicas is 3", "bus.url"}},
		{"a gateway", Gateway, func(*config.Config) {}, nil},
		{"a control plane", Control, func(c *config.Config) { c.Kaltura.URL = "" }, nil},
		{"an origin", Origin, func(c *config.Config) { c.Kaltura.URL = "" }, nil},
		{"no bus", Gateway, func(c *config.Config) { c.Bus.URL = "" }, []string{"bus.url", "the gateway role", "klive bus"}},
		{"nothing at all", LiveWorker, func(c *config.Config) { *c = *config.Default() }, []string{"bus.url", "storage.url", "kaltura.url", "control-host:8081", "kaltura.secret"}},
		{"no store", Origin, func(c *config.Config) { c.Storage.URL = "" }, []string{"storage.url", "s3://", "file:///"}},
		{"no secret", Control, func(c *config.Config) { c.Control.Secret = "" }, []string{"control.secret", "kaltura.secret"}},
		{"a control plane that is off", Control, func(c *config.Config) { c.Control.Enabled = false }, []string{"control.enabled"}},
	} {
		c := whole()
		tt.spoil(c)
		err := checkSettings(tt.roles, c)
		if (err == nil) != (tt.says == nil) {
			t.Errorf("%s: %v", tt.name, err)
			continue
		}
		for _, word := range tt.says {
			if !strings.Contains(err.Error(), word) {
				t.Errorf("%s: %q does not say %q", tt.name, err, word)
			}
		}
	}
}

func TestFoldersOfTheirOwn(t *testing.T) {
	peers := func(names ...string) (out []peer) {
		for _, name := range append(names, "here-1") {
			out = append(out, peer{Beat: live.Beat{Name: name}})
		}
		return out
	}
	for _, tt := range []struct {
		url   string
		peers []peer
		warns bool
	}{
		{"", peers(), false},
		{"", peers("here-2"), true},
		{"file:///store", peers("here-2"), false},
		{"file:///store", peers("there-1"), true},
		{"s3://live", peers("there-1"), false},
	} {
		n := &Node{settings: config.Default(), process: "here-1", log: slog.New(slog.DiscardHandler)}
		n.settings.Storage.URL = tt.url
		if got := n.warnOfFolder(tt.peers); got != tt.warns {
			t.Errorf("storage.url %q, %d nodes: warned %v", tt.url, len(tt.peers), got)
		}
	}
}

func TestRoleNames(t *testing.T) {
	if got := All.String(); got != "gateway, worker, origin, control, transcode" {
		t.Errorf("all roles are %q", got)
	}
	if r := Gateway | Origin; !r.Has(Origin) || r.Has(Control) || r.String() != "gateway, origin" {
		t.Errorf("got %v", r)
	}
}
