package config

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

func TestNothingGivenIsDefault(t *testing.T) {
	got, warnings, err := Load("", nil)
	if err != nil || len(warnings) > 0 {
		t.Fatalf("%v, warnings %v", err, warnings)
	}
	if diff := cmp.Diff(Default(), got); diff != "" {
		t.Errorf("(-default +got):\n%s", diff)
	}
}

func TestFileThenEnvironment(t *testing.T) {
	path := filepath.Join(t.TempDir(), "klive.yaml")
	text := `
rtmp:
  listen: :1940
  maxMessage: 1MiB
kaltura:
  unregisterGrace: 7s
hls: {window: 6}
log:   # all of it commented out
http:
  listen: ""
`
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	got, warnings, err := Load(path, []string{
		"KLIVE_RTMP_LISTEN=127.0.0.1:0", "KLIVE_KALTURA_PARTNER_ID=102", "KLIVE_STORAGE_FSYNC=true",
		"KLIVE_BUS_RETENTION_AGE=2m", "KLIVE_LOG_FORMAT=json", "KLIVE_ADMIN_LISTEN=",
		"HOME=/root", "KLIVE_CONFIG=x.yaml",
	})
	if err != nil || len(warnings) > 0 {
		t.Fatalf("%v, warnings %v", err, warnings)
	}
	want := Default()
	want.RTMP.Listen, want.RTMP.MaxMessage = "127.0.0.1:0", MiB
	want.Kaltura.UnregisterGrace, want.Kaltura.PartnerID = 7*time.Second, 102
	want.HLS.Window, want.HTTP.Listen, want.Admin.Listen = 6, "", ""
	want.Storage.Fsync, want.Bus.Retention.Age, want.Log.Format = true, 2*time.Minute, "json"
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

func TestUnknownVariableWarns(t *testing.T) {
	_, warnings, err := Load("", []string{"KLIVE_RTMP_LISEN=:1", "KLIVE_SOMETHING_ELSE_ENTIRELY=1"})
	if err != nil {
		t.Fatal(err)
	}
	want := []string{
		"KLIVE_RTMP_LISEN: no such key; the variable is not used; did you mean KLIVE_RTMP_LISTEN?",
		"KLIVE_SOMETHING_ELSE_ENTIRELY: no such key; the variable is not used",
	}
	var got []string
	for _, w := range warnings {
		got = append(got, w.String())
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

func TestMistakesOfFileAndEnvironmentTogether(t *testing.T) {
	_, _, err := Parse("k.yaml", []byte("hls: {window: 1}\n"),
		[]string{"KLIVE_RTMP_MAX_CONNECTIONS=0", "KLIVE_ADMIN_LISTEN=:8081"})
	var mistakes *Error
	if !errors.As(err, &mistakes) {
		t.Fatalf("got %v", err)
	}
	want := strings.Join([]string{
		"k.yaml:1:15: hls.window: 1 is out of bounds; want one from 3 to 60",
		"KLIVE_RTMP_MAX_CONNECTIONS: rtmp.maxConnections: 0 is out of bounds; want one from 1 to 100000",
		"KLIVE_ADMIN_LISTEN: admin.token: is empty while admin.listen can be reached from other hosts; set a token, or listen on 127.0.0.1",
	}, "\n")
	if diff := cmp.Diff(want, err.Error()); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

// What can't be meant is refused soon, however much of it there is.
func TestHopelessFiles(t *testing.T) {
	for text, want := range map[string]string{
		"log:\n  level: " + strings.Repeat("[", 60_000): "k.yaml:2:1: no YAML: more than 64 brackets are open",
		strings.Repeat("x", 60_000):                     "k.yaml:1:1: want keys and values, such as:  log: {level: info}",
		strings.Repeat("data: x\n", 8_000):              "there may be more mistakes; these come first",
	} {
		begin := time.Now()
		_, _, err := Parse("k.yaml", []byte(text), nil)
		if err == nil || !strings.HasSuffix(err.Error(), want) {
			t.Errorf("%.20q…: %v", text, err)
		}
		if took := time.Since(begin); took > 10*time.Second {
			t.Errorf("%.20q… took %v", text, took)
		}
		var mistakes *Error
		if errors.As(err, &mistakes) && len(mistakes.Problems) > maxProblems+1 {
			t.Errorf("%.20q…: %d mistakes", text, len(mistakes.Problems))
		}
	}
}

func TestUnreadableFile(t *testing.T) {
	_, _, err := Load(filepath.Join(t.TempDir(), "none.yaml"), nil)
	if !errors.Is(err, os.ErrNotExist) {
		t.Errorf("got %v", err)
	}
	big := filepath.Join(t.TempDir(), "big.yaml")
	if err := os.WriteFile(big, make([]byte, maxFile+1), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, _, err := Load(big, nil); err == nil || !strings.Contains(err.Error(), "over 65536 bytes") {
		t.Errorf("got %v", err)
	}
}

func TestSecretFromFileIsHidden(t *testing.T) {
	path := filepath.Join(t.TempDir(), "secret")
	if err := os.WriteFile(path, []byte("0123456789abcdef-hunter2\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	c, _, err := Parse("k.yaml", []byte("admin: {token: 'file:"+path+"'}"), nil)
	if err != nil {
		t.Fatal(err)
	}
	if got := c.Admin.Token.Reveal(); got != "0123456789abcdef-hunter2" {
		t.Errorf("token %q", got)
	}
	for _, shown := range []string{
		fmt.Sprintf("%v %+v %#v %s", c, c, c, c.Admin.Token), fmt.Sprint(Diff(Default(), c)),
	} {
		if strings.Contains(shown, "hunter2") {
			t.Errorf("the secret shows: %s", shown)
		}
	}
	if err := os.WriteFile(path, []byte("\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, _, err := Parse("k.yaml", nil, []string{"KLIVE_ADMIN_TOKEN=file:" + path}); err == nil {
		t.Error("an empty secret file was accepted")
	}
}

func TestStorageURL(t *testing.T) {
	c := Default()
	c.Data = "/var/lib/klive"
	if got, err := c.StorageURL(); err != nil || got != "file:///var/lib/klive/store" {
		t.Errorf("got %q, %v", got, err)
	}
	c.Storage.URL = "file:///mnt/live"
	if got, err := c.StorageURL(); err != nil || got != "file:///mnt/live" {
		t.Errorf("got %q, %v", got, err)
	}
}
