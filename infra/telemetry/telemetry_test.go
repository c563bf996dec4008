package telemetry

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net/url"
	"strings"
	"testing"
)

func TestRedact(t *testing.T) {
	for in, want := range map[string]string{
		"rtmp://h/kLive/?p=102&e=0_demolive&i=0&t=demo1234": "rtmp://h/kLive/?p=102&e=0_demolive&i=0&t=[hidden]",
		"rtmp://h/kLive/?t=a/b+c==&p=102":                   "rtmp://h/kLive/?t=[hidden]&p=102",
		"give t=demo1234, or put it on the key (t=a.b).":    "give t=[hidden], or put it on the key (t=[hidden]).",
		"the address lacks t=, or e=":                       "the address lacks t=, or e=",
		"rtmp://h/kLive/?e=<entry>&i=0&t=<token>":           "rtmp://h/kLive/?e=<entry>&i=0&t=<token>",
		"rtmp://h/kLive/?t=<token>/0_x_1, or t=<real":       "rtmp://h/kLive/?t=<token>/0_x_1, or t=[hidden]",
		"kLive?p=1&t%3Ddemo%2F1":                            "kLive?p=1&t%3D[hidden]",
		"0_x_1?ks=abc~d&x=1":                                "0_x_1?ks=[hidden]&x=1",
		`{"ks":"a\"b","token": "c"}`:                        `{"ks":"[hidden]","token": "[hidden]"}`,
		"{Partner:102 Token:abc Entry:0_x}":                 "{Partner:102 Token:[hidden] Entry:0_x}",
		"Authorization: Bearer abc.def":                     "Authorization:[hidden]",
		"got Bearer abc.def":                                "got Bearer [hidden]",
		"nats://me:pw@bus:4222":                             "nats://[hidden]@bus:4222",
		"start=5 at=4 offset=3":                             "start=5 at=4 offset=3",
		"stop at 12:30, ratio 4:3":                          "stop at 12:30, ratio 4:3",
		"tokens left: 5":                                    "tokens left: 5",
		"/ingest/0_x_1/t/secret/seg1.m4s":                   "/ingest/0_x_1/t/[hidden]/seg1.m4s",
		"plain":                                             "plain",
	} {
		got := Redact(in)
		if strings.HasPrefix(in, "Authorization") {
			if strings.Contains(got, "abc.def") {
				t.Errorf("%q: got %q", in, got)
			}
			continue
		}
		if got != want {
			t.Errorf("%q:\n got %q\nwant %q", in, got, want)
		}
	}
}

type named struct{ Entry, Token string }

type valuer struct{ token string }

func (v valuer) LogValue() slog.Value {
	return slog.GroupValue(slog.String("entry", "0_x"), slog.String("token", v.token))
}

// However a secret is handed to the logger, in either format, it does not come out.
func TestSecretsNeverReachTheLog(t *testing.T) {
	const secret = "hunter2x"
	address, err := url.Parse("rtmp://h/kLive/?p=1&t=" + secret)
	if err != nil {
		t.Fatal(err)
	}
	for _, format := range []string{"text", "json"} {
		t.Run(format, func(t *testing.T) {
			var out bytes.Buffer
			log, err := NewLogger(&out, LogConfig{Format: format})
			if err != nil {
				t.Fatal(err)
			}
			log = log.With("ks", secret, "entry", "0_rkij47dr").WithGroup("g").With("password", secret)
			log.Info("connect ?t="+secret, "token", secret, "adminSecret", []byte(secret), "url", address,
				"err", fmt.Errorf("refused: %w", errors.New("ks="+secret)), "who", named{"0_x", secret},
				"whom", &named{"0_x", secret}, "list", []string{"t=" + secret}, "map", map[string]string{"token": secret},
				"v", valuer{secret}, slog.Group("secret", "value", secret), "body", []byte(secret))
			text := out.String()
			if strings.Contains(text, secret) {
				t.Errorf("the secret shows: %s", text)
			}
			for _, want := range []string{"0_rkij47dr", "refused", hidden, "p=1"} {
				if !strings.Contains(text, want) {
					t.Errorf("%q is lost: %s", want, text)
				}
			}
			if format == "json" && !json.Valid(out.Bytes()) {
				t.Errorf("no JSON: %s", text)
			}
		})
	}
}

func TestLevelChangesWhileInUse(t *testing.T) {
	var out bytes.Buffer
	var level slog.LevelVar
	log, err := NewLogger(&out, LogConfig{Format: "text", Level: &level})
	if err != nil {
		t.Fatal(err)
	}
	log.Debug("one")
	l, err := ParseLevel("debug")
	if err != nil {
		t.Fatal(err)
	}
	level.Set(l)
	log.Debug("two")
	if s := out.String(); strings.Contains(s, "one") || !strings.Contains(s, "two") {
		t.Errorf("got %q", s)
	}
	if _, err := ParseLevel("loud"); err == nil {
		t.Error("the level loud was accepted")
	}
	if _, err := NewLogger(&out, LogConfig{Format: "xml"}); err == nil {
		t.Error("the format xml was accepted")
	}
}

func TestRegistry(t *testing.T) {
	r := NewRegistry("v1.2.3")
	families, err := r.Gather()
	if err != nil {
		t.Fatal(err)
	}
	names := map[string]bool{}
	for _, f := range families {
		names[f.GetName()] = true
	}
	for _, want := range []string{"go_goroutines", "process_cpu_seconds_total", "klive_build_info"} {
		if !names[want] {
			t.Errorf("%s is missing", want)
		}
	}
}
