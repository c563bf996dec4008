package s3_test

import (
	"errors"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/credentials"

	"klive/storage/s3"
	"klive/storage/storagetest"
)

func TestCheck(t *testing.T) {
	g := storagetest.StartGateway(t, "live")
	s := open(t, g, "live/prefix", nil)
	if err := s.Check(t.Context()); err != nil {
		t.Errorf("Check = %v", err)
	}
	if list, err := s.List(t.Context(), "", "", 10); err != nil || len(list) != 0 {
		t.Errorf("Check left %+v, %v", list, err)
	}

	tests := map[string]struct {
		bucket string
		change func(*s3.Config)
		says   []string
	}{
		"no bucket": {"lives", nil, []string{"no bucket lives", "make it", "storage.url"}},
		"wrong region": {"live", func(c *s3.Config) { c.URL = strings.Replace(c.URL, "us-east-1", "eu-west-1", 1) },
			[]string{"in the region us-east-1, not in eu-west-1", "region=us-east-1"}},
		"wrong secret": {"live", func(c *s3.Config) {
			c.Credentials = credentials.NewStaticCredentialsProvider(storagetest.GatewayKey, "hush", "")
		}, []string{"AWS_SECRET_ACCESS_KEY"}},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			err := open(t, g, tt.bucket, tt.change).Check(t.Context())
			if err == nil {
				t.Fatal("Check found nothing wrong")
			}
			for _, word := range tt.says {
				if !strings.Contains(err.Error(), word) {
					t.Errorf("%q does not say %q", err, word)
				}
			}
		})
	}
	t.Run("read-only", func(t *testing.T) {
		g.Stop()
		g.Flags = []string{"--readonly"}
		g.Start()
		if err := s.Check(t.Context()); err == nil || !strings.Contains(err.Error(), "s3:PutObject") || !strings.Contains(err.Error(), "read-only") {
			t.Errorf("Check = %v", err)
		}
	})
}

// A store that ignores conditions is refused: two owners could both win.
func TestCheckWantsConditions(t *testing.T) {
	for _, header := range []string{"If-None-Match", "If-Match"} {
		g := storagetest.StartGateway(t, "live")
		s := through(t, g, "live", &wire{on: func(_ string, _ int, r *http.Request) fate {
			return fate{response: func(resp *http.Response) {
				if r.Header.Get(header) != "" && resp.StatusCode == 412 {
					resp.Body.Close()
					resp.StatusCode, resp.Body = 200, http.NoBody
					resp.Header.Set("ETag", `"new"`)
				}
			}}
		}}, nil)
		if err := s.Check(t.Context()); !errors.Is(err, s3.ErrUnconditional) || !strings.Contains(err.Error(), "does not honour "+header) {
			t.Errorf("Check of a store without %s = %v", header, err)
		}
	}
}

func TestOpenRefuses(t *testing.T) {
	t.Setenv("AWS_REGION", "")
	t.Setenv("AWS_CONFIG_FILE", filepath.Join(t.TempDir(), "none"))
	if err := os.Unsetenv("AWS_DEFAULT_REGION"); err != nil {
		t.Fatal(err)
	}
	for says, cfg := range map[string]s3.Config{
		"region=":                   {URL: "s3://live"},
		"storage.url":               {URL: "file:///x"},
		"none, AES256 or aws:kms":   {URL: "s3://live?region=r", Encryption: "rot13"},
		"encryption is not aws:kms": {URL: "s3://live?region=r", KMSKey: "k"},
	} {
		if _, err := s3.Open(t.Context(), cfg); err == nil || !strings.Contains(err.Error(), says) {
			t.Errorf("Open(%+v) = %v, want one that says %q", cfg, err, says)
		}
	}
}

// Without credentials the error says where they are looked for.
func TestNoCredentials(t *testing.T) {
	for _, name := range []string{"AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_PROFILE", "AWS_WEB_IDENTITY_TOKEN_FILE",
		"AWS_CONTAINER_CREDENTIALS_RELATIVE_URI", "AWS_CONTAINER_CREDENTIALS_FULL_URI"} {
		t.Setenv(name, "")
	}
	t.Setenv("AWS_EC2_METADATA_DISABLED", "true")
	t.Setenv("AWS_CONFIG_FILE", filepath.Join(t.TempDir(), "none"))
	t.Setenv("AWS_SHARED_CREDENTIALS_FILE", filepath.Join(t.TempDir(), "none"))
	s, w := alone(t, busy, func(c *s3.Config) { c.Credentials = nil })
	if err := s.Check(t.Context()); err == nil || !strings.Contains(err.Error(), "no AWS credentials") || len(w.count) != 0 {
		t.Errorf("Check = %v after %v", err, w.count)
	}
}
