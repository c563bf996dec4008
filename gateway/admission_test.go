package gateway

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"klive/infra/live"
)

func TestRefusals(t *testing.T) {
	down := errors.New("no route to host")
	api := func(code string) error { return &APIError{Code: code, Message: "no"} }
	for _, tt := range []struct {
		name         string
		auth, ladder error
		publish      string
		want         Reason
		text         string
	}{
		{"unknown entry", api("ENTRY_ID_NOT_FOUND"), nil, "", ReasonAuth, "no live entry 0_rkij47dr"},
		{"wrong token", api("LIVE_STREAM_INVALID_TOKEN"), nil, "", ReasonAuth, "token of entry 0_rkij47dr is wrong"},
		{"limit", api("LIVE_STREAM_EXCEEDED_MAX_PASSTHRU"), nil, "", ReasonLimit, "as many live streams as its account allows"},
		{"transcoded limit", api("LIVE_STREAM_EXCEEDED_MAX_TRANSCODED"), nil, "", ReasonLimit, "transcoded"},
		{"tag limit", api("LIVE_STREAM_EXCEEDED_MAX_CONCURRENT_BY_ADMIN_TAG"), nil, "", ReasonLimit, "BY_ADMIN_TAG"},
		{"elsewhere", api("LIVE_STREAM_ALREADY_BROADCASTING"), nil, "", ReasonBusy, "another server"},
		{"forbidden", api("SERVICE_FORBIDDEN"), nil, "", ReasonAuth, "may not broadcast"},
		{"blocked", api("SERVICE_FORBIDDEN_CONTENT_BLOCKED"), nil, "", ReasonAuth, "blocked"},
		{"session", api("INVALID_KS"), nil, "", ReasonAPI, "not accepted by Kaltura"},
		{"node", api("MEDIA_SERVER_NOT_FOUND"), nil, "", ReasonAPI, "host name"},
		{"missing session", api("MISSING_KS"), nil, "", ReasonAPI, "check the partner and the secret"},
		{"address of this server", api("ACCESS_UNAUTHORIZED"), nil, "", ReasonAPI, "operator"},
		{"user blocked", api("USER_BLOCKED"), nil, "", ReasonAPI, "operator"},
		{"action blocked", api("ACTION_BLOCKED"), nil, "", ReasonAPI, "operator"},
		{"unknown node", api("SERVER_NODE_NOT_FOUND"), nil, "", ReasonAPI, "register its host name"},
		{"partner id", api("INVALID_PARTNER_ID"), nil, "", ReasonAuth, "check p="},
		{"no such partner", api("UNKNOWN_PARTNER_ID"), nil, "", ReasonAuth, "no partner 102"},
		{"parameter that we lack", api("MISSING_MANDATORY_PARAMETER"), nil, "", ReasonAPI, "kaltura.url"},
		{"enumeration", api("INVALID_ENUM_VALUE"), nil, "", ReasonAPI, "does not understand this server"},
		{"character", api("INVALID_PARAMETER_CHAR"), nil, "", ReasonAPI, "does not understand this server"},
		{"abstract", api("OBJECT_TYPE_ABSTRACT"), nil, "", ReasonAPI, "does not understand this server"},
		{"no service", api("SERVICE_NOT_SPECIFIED"), nil, "", ReasonAPI, "does not understand this server"},
		{"another service", api("SERVICE_DOES_NOT_EXISTS"), nil, "", ReasonAPI, "does not understand this server"},
		{"no action", api("ACTION_NOT_SPECIFIED"), nil, "", ReasonAPI, "does not understand this server"},
		{"another action", api("ACTION_DOES_NOT_EXISTS"), nil, "", ReasonAPI, "does not understand this server"},
		{"database", api("INTERNAL_DATABASE_ERROR"), nil, "", ReasonAPI, "may try again"},
		{"another limit", api("LIVE_STREAM_EXCEEDED_SOMETHING"), nil, "", ReasonLimit, "EXCEEDED_SOMETHING"},
		{"new code", api("SOMETHING_NEW"), nil, "", ReasonAuth, "SOMETHING_NEW"},
		{"down", down, nil, "", ReasonAPI, "does not answer"},
		{"broken", api("INTERNAL_SERVERL_ERROR"), nil, "", ReasonAPI, "does not answer"},
		{"ladder down", nil, down, "_1", ReasonAPI, "does not answer"},
		{"no outputs", nil, ErrNoOutputs, "_1", ReasonMedia, "makes no outputs"},
		{"no template", nil, fmt.Errorf("%w: it is a web page", ErrNoTemplate), "_1", ReasonMedia, "no usable conversion template"},
		{"template of another entry", nil, api("ENTRY_ID_NOT_FOUND"), "_1", ReasonAuth, "no live entry"},
		{"name refused", nil, api("INVALID_STREAM_NAME"), "_1", ReasonParams, "<entry id>_<index>"},
		{"no stream", nil, ErrUnknownStream, "_7", ReasonParams, "no stream with suffix 7"},
		{"no stream by code", nil, api("INGEST_NOT_FOUND_IN_CONVERSION_PROFILE"), "_7", ReasonParams, "suffix 7"},
		{"name of another entry", nil, nil, "=0_aaaaaaaa_1", ReasonParams, "the connection is for entry 0_rkij47dr"},
		{"no name", nil, nil, "=camera", ReasonParams, "a stream name is"},
		{"parameters behind a wrong character", nil, nil, "=0_rkij47dr_1&p=102&t=secret-token", ReasonParams, "0_rkij47dr_1***"},
		{"suffix in letters", nil, nil, "_x", ReasonParams, "a stream name is"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			inWorld(t, func(w *world) {
				w.api.answer(tt.auth, tt.ladder)
				g := w.gateway()
				p, err := g.Connect(w.t.Context(), testConnect(live.Primary))
				if tt.auth == nil {
					if err != nil {
						t.Fatal(err)
					}
					pub := testPublish(tt.publish)
					if name, ok := strings.CutPrefix(tt.publish, "="); ok {
						pub.Name = name
					}
					_, err = g.Publish(w.t.Context(), p, pub)
				}
				if reason(err) != tt.want || !strings.Contains(errText(err), tt.text) || strings.Contains(errText(err), "secret-token") {
					t.Errorf("%s: %v; want %s with %q", reason(err), err, tt.want, tt.text)
				}
				if log := w.log.String(); !strings.Contains(log, "0_rkij47dr") || !strings.Contains(log, "192.0.2.7") || !strings.Contains(log, string(tt.want)) {
					t.Errorf("the log lacks entry, peer or reason: %s", log)
				}
			})
		})
	}
}

func TestMissingToken(t *testing.T) {
	inWorld(t, func(w *world) {
		w.api.answer(&APIError{Code: "MISSING_MANDATORY_PARAMETER"}, nil)
		c := testConnect(live.Primary)
		c.Params.Token = nil
		_, err := w.gateway().Connect(w.t.Context(), c)
		if reason(err) != ReasonParams || !strings.Contains(err.Error(), "lacks t=") {
			t.Errorf("%v", err)
		}
	})
}

func TestLadderWithoutRungs(t *testing.T) {
	inWorld(t, func(w *world) {
		w.api.empty = true
		g := w.gateway()
		p, err := g.Connect(w.t.Context(), testConnect(live.Primary))
		if err != nil {
			t.Fatal(err)
		}
		if _, err = g.Publish(w.t.Context(), p, testPublish("_1")); reason(err) != ReasonMedia {
			t.Errorf("%v", err)
		}
		if got := strings.Join(w.api.calls, ", "); got != "authenticate 0_rkij47dr primary, ladder 0_rkij47dr_1" {
			t.Errorf("calls: %s", got)
		}
	})
}

func TestStoredGrant(t *testing.T) {
	down := errors.New("no route to host")
	busyThere := &APIError{Code: "LIVE_STREAM_ALREADY_BROADCASTING"}
	for _, tt := range []struct {
		name   string
		auth   error
		token  string
		after  time.Duration
		suffix string
		ok     bool
	}{
		{"no answer", down, "secret-token", time.Minute, "_1", true},
		{"already broadcasting", busyThere, "secret-token", time.Minute, "_1", true},
		{"another token", down, "secret-token2", time.Minute, "_1", false},
		{"beyond resume", down, "secret-token", 4 * time.Minute, "_1", false},
		{"a clear no", &APIError{Code: "LIVE_STREAM_INVALID_TOKEN"}, "secret-token", time.Minute, "_1", false},
		{"a stream never granted", down, "secret-token", time.Minute, "_2", false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			inWorld(t, func(w *world) {
				g := w.gateway()
				s := w.publish(g, live.Primary, "_1")
				s.Close(nil)
				time.Sleep(tt.after)
				w.api.answer(tt.auth, tt.auth)
				c := testConnect(live.Primary)
				c.Params.Token = &tt.token
				p, err := g.Connect(w.t.Context(), c)
				if err == nil {
					var pub Publication
					if pub, err = g.Publish(w.t.Context(), p, testPublish(tt.suffix)); err == nil {
						pub.Close(nil)
					}
				}
				if (err == nil) != tt.ok {
					t.Errorf("error %v", err)
				}
				if tt.ok && len(w.record(testID).Grant.Ladder.Rungs) != 1 {
					t.Error("the ladder got lost")
				}
			})
		})
	}
}
