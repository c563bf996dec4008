package config

import (
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

func TestKeysAreUniqueAndBounded(t *testing.T) {
	seen := map[string]string{}
	for _, k := range Keys() {
		if other, ok := seen[k.Env]; ok {
			t.Errorf("%s and %s are both %s", k.Path, other, k.Env)
		}
		seen[k.Env] = k.Path
		v := k.field(Default())
		if !v.CanInt() {
			continue
		}
		if lo, hi := limits(v, k); lo >= hi || v.Int() < lo || v.Int() > hi {
			t.Errorf("%s: default %v, min %v, max %v", k.Path, v.Interface(), lo, hi)
		}
	}
}

func TestEnvName(t *testing.T) {
	for path, want := range map[string]string{
		"data":                    "KLIVE_DATA",
		"rtmp.listen":             "KLIVE_RTMP_LISTEN",
		"kaltura.unregisterGrace": "KLIVE_KALTURA_UNREGISTER_GRACE",
		"bus.retention.age":       "KLIVE_BUS_RETENTION_AGE",
		"http.publicUrl":          "KLIVE_HTTP_PUBLIC_URL",
		"rtmp.maxAMFDepth":        "KLIVE_RTMP_MAX_AMF_DEPTH",
	} {
		if got := EnvName(path); got != want {
			t.Errorf("%s: got %s, want %s", path, got, want)
		}
	}
}

func TestSizes(t *testing.T) {
	for text, want := range map[string]Size{
		"0B": 0, "1B": 1, "512KiB": 512 * KiB, "8MiB": 8 * MiB, "8 MiB": 8 * MiB, "1024MiB": GiB,
	} {
		if got, err := ParseSize(text); err != nil || got != want {
			t.Errorf("%q: got %v, %v", text, got, err)
		}
	}
	for _, text := range []string{"", "8", "8MB", "-1B", "1.5MiB", "99999999999GiB", "MiB"} {
		if got, err := ParseSize(text); err == nil {
			t.Errorf("%q: got %v, want an error", text, got)
		}
	}
	for _, n := range []Size{0, 1, 1000, KiB, 1500 * KiB, 8 * MiB, GiB} {
		if got, err := ParseSize(n.String()); err != nil || got != n {
			t.Errorf("%d: written %s, read %d, %v", n, n, got, err)
		}
	}
}

func TestNearest(t *testing.T) {
	names := []string{"listen", "app", "maxConnections", "maxMessage", "idleTimeout"}
	for text, want := range map[string]string{
		"lisen": "listen", "Listen": "listen", "litsen": "listen", "maxconections": "maxConnections",
		"ap": "app", "idle": "", "xyz": "", strings.Repeat("listen", 20): "",
	} {
		if got := nearest(text, names); got != want {
			t.Errorf("%q: got %q, want %q", text, got, want)
		}
	}
}

func TestDiff(t *testing.T) {
	old, changed := Default(), Default()
	changed.Log.Level = "debug"
	changed.RTMP.IdleTimeout = time.Minute
	changed.Kaltura.Secret = "hunter2hunter2hunter2"
	changed.Bus.URL = "nats://me:hunter2@bus:4222"
	want := []Change{
		{Key: "log.level", Old: "info", New: "debug", Reloadable: true},
		{Key: "bus.url", Old: "", New: "nats://[secret]@bus:4222"},
		{Key: "rtmp.idleTimeout", Old: "30s", New: "1m0s"},
		{Key: "kaltura.secret", Old: "", New: "[secret]"},
	}
	if diff := cmp.Diff(want, Diff(old, changed)); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	if same := Diff(old, Default()); len(same) > 0 {
		t.Errorf("no change, yet %v", same)
	}
}
