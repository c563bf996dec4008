package e2e

import (
	"errors"
	"strings"
	"testing"

	"klive/infra/publisher"
)

// TestRefusals holds each refusal to reach the encoder with words that say what is wrong,
// and the log with entry, peer and reason. Numbers are rows of the contract's table.
func TestRefusals(t *testing.T) {
	beside(t)
	p := start(t)
	const secret = "topsecret77"
	const good = "p=102&e=0_demolive&i=0&t=demo1234"
	for _, c := range []struct {
		row, app, key string
		says          []string // of the description, whatever their case
		code          string
	}{
		{"14 no partner", "kLive/?e=0_demolive&i=0&t=" + secret, "0_demolive_1", []string{"p="}, "NetConnection.Connect.Rejected"},
		{"14 no entry", "kLive/?p=102&i=0&t=" + secret, "0_demolive_1", []string{"e="}, "NetConnection.Connect.Rejected"},
		{"14 no index", "kLive/?p=102&e=0_demolive&t=" + secret, "0_demolive_1", []string{"i="}, "NetConnection.Connect.Rejected"},
		{"15 no token", "kLive/?p=102&e=0_demolive&i=0", "0_demolive_1", []string{"token"}, ""}, // the key may still bring it: publish decides
		{"16 partner is no number", "kLive/?p=x&e=0_demolive&i=0&t=" + secret, "0_demolive_1", []string{"p=", "number"}, "NetConnection.Connect.Rejected"},
		{"16 index is neither 0 nor 1", "kLive/?p=102&e=0_demolive&i=2&t=" + secret, "0_demolive_1", []string{"i=", "0", "1"}, "NetConnection.Connect.Rejected"},
		{"17 no query at all", "kLive", "0_demolive_1", []string{"p="}, ""},
		{"1 another application", "live/?" + good, "0_demolive_1", []string{"kLive"}, "NetConnection.Connect.Rejected"},
		{"24 malformed entry id", "kLive/?p=102&e=demolive&i=0&t=" + secret, "demolive_1", []string{"entry id"}, "NetConnection.Connect.Rejected"},
		{"26 name of another entry", "kLive/?" + good, "0_otherone_1", []string{"0_otherone", "0_demolive"}, "NetStream.Publish.BadName"},
		{"27 malformed stream name", "kLive/?" + good, "camera one", []string{"stream name"}, "NetStream.Publish.BadName"},
		{"28 suffix without an asset", "kLive/?" + good, "0_demolive_77", []string{"77"}, ""},
		{"34 wrong token", "kLive/?p=102&e=0_demolive&i=0&t=" + secret, "0_demolive_1", []string{"token"}, "NetConnection.Connect.Rejected"},
		{"34 token in another case", "kLive/?p=102&e=0_demolive&i=0&t=DEMO1234", "0_demolive_1", []string{"token"}, "NetConnection.Connect.Rejected"},
		{"35 unknown entry", "kLive/?p=102&e=0_nosuchen&i=0&t=" + secret, "0_nosuchen_1", []string{"0_nosuchen"}, "NetConnection.Connect.Rejected"},
		{"35 another partner", "kLive/?p=103&e=0_demolive&i=0&t=" + secret, "0_demolive_1", nil, "NetConnection.Connect.Rejected"},
	} {
		t.Run(c.row, func(t *testing.T) {
			refused := refusal(t, p, c.app, c.key)
			for _, word := range c.says {
				if !strings.Contains(strings.ToLower(refused.Description), strings.ToLower(word)) {
					t.Errorf("the encoder is told %q, which does not say %q", refused.Description, word)
				}
			}
			if c.code != "" && refused.Code != c.code {
				t.Errorf("the code is %s, want %s", refused.Code, c.code)
			}
			if len(refused.Description) < 10 {
				t.Errorf("the encoder is told %q only", refused.Description)
			}
			if strings.Contains(refused.Description, secret) || strings.Contains(refused.Description, "demo1234") {
				t.Errorf("the description %q holds the token", refused.Description)
			}
		})
	}
	t.Run("30 the stream is on the air", func(t *testing.T) {
		publish(t, p.demo(), demoClip(t, publisher.Synthetic{}), 0)
		refused := refusal(t, p, "kLive/?"+good, "0_demolive_1")
		if !strings.Contains(refused.Description, "0_demolive_1") {
			t.Errorf("the encoder is told %q", refused.Description)
		}
	})
	if log := p.log.String(); strings.Contains(log, secret) {
		t.Errorf("the log holds a token:\n%s", log)
	}
	for _, words := range [][]string{{"0_nosuchen", "127.0.0.1"}, {"0_otherone", "127.0.0.1"}, {"0_demolive", "127.0.0.1", "token"}} {
		if len(p.log.with(words...)) == 0 {
			t.Errorf("no line of the log holds %q:\n%s", words, p.log)
		}
	}
}

// refusal publishes and returns the server's no. Some refusals wait for a busy stream to
// fall silent before they are given.
func refusal(t *testing.T, p *process, app, key string) *publisher.RefusedError {
	t.Helper()
	pub, err := publisher.Dial(t.Context(), publisher.Config{URL: "rtmp://" + p.rtmp + "/" + app, Name: key})
	if err == nil {
		pub.Abort()
		t.Fatalf("%s with key %s was accepted\n%s", app, key, p.log)
	}
	refused, ok := errors.AsType[*publisher.RefusedError](err)
	if !ok {
		t.Fatalf("the connection ended without a reason: %v\n%s", err, p.log)
	}
	return refused
}
