package e2e

import (
	"errors"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"klive/infra/bus/bustest"
	"klive/infra/check"
	"klive/infra/publisher"
)

// TestErrorCodes holds every error code of Kaltura's API (contract §1.7, §3.1, §3.7) to reach the
// encoder in words that say what to do, and the log with entry, peer and reason. The token
// reaches neither.
func TestErrorCodes(t *testing.T) {
	bustest.Prepare(t)
	synctest.Test(t, func(t *testing.T) {
		s := startService(t, &check.Scenario{})
		for action, codes := range map[string]map[string]string{
			"authenticate": {
				"ENTRY_ID_NOT_FOUND": "check e=", "LIVE_STREAM_INVALID_TOKEN": "copy t=", "LIVE_STREAM_ALREADY_BROADCASTING": "stop that encoder",
				"LIVE_STREAM_EXCEEDED_MAX_PASSTHRU": "stop one", "LIVE_STREAM_EXCEEDED_MAX_TRANSCODED": "stop one",
				"LIVE_STREAM_EXCEEDED_MAX_CONCURRENT_BY_ADMIN_TAG": "stop one",
				"SERVICE_FORBIDDEN": "check p=", "SERVICE_FORBIDDEN_CONTENT_BLOCKED": "check p=",
				"INVALID_PARTNER_ID": "check p=", "UNKNOWN_PARTNER_ID": "check p=",
				"MEDIA_SERVER_NOT_FOUND": "register its host name", "SERVER_NODE_NOT_FOUND": "register its host name",
				"INVALID_KS": "check the partner and the secret", "MISSING_KS": "check the partner and the secret",
				"ACCESS_UNAUTHORIZED": "operator", "USER_BLOCKED": "operator", "ACTION_BLOCKED": "operator",
				"MISSING_MANDATORY_PARAMETER": "kaltura.url", "INVALID_ENUM_VALUE": "kaltura.url", "INVALID_PARAMETER_CHAR": "kaltura.url",
				"OBJECT_TYPE_ABSTRACT": "kaltura.url", "SERVICE_NOT_SPECIFIED": "kaltura.url", "SERVICE_DOES_NOT_EXISTS": "kaltura.url",
				"ACTION_NOT_SPECIFIED": "kaltura.url", "ACTION_DOES_NOT_EXISTS": "kaltura.url",
				"INTERNAL_SERVERL_ERROR": "try again", "INTERNAL_DATABASE_ERROR": "try again",
				"PROPERTY_VALIDATION_CANNOT_BE_NULL": "administrator", "A_CODE_OF_TOMORROW": "administrator",
			},
			"serve": {
				"INVALID_STREAM_NAME": "<entry id>_<index>", "INGEST_NOT_FOUND_IN_CONVERSION_PROFILE": "suffix 1", "ENTRY_ID_NOT_FOUND": "check e=",
				"SERVICE_FORBIDDEN": "check p=", "INTERNAL_SERVERL_ERROR": "try again",
			},
		} {
			for code, says := range codes {
				s.api.refuse(action, code)
				_, err := publisher.Dial(t.Context(), publisher.Config{
					URL: "rtmp://klive/kLive/?p=102&e=0_demolive&i=0&t=demo1234/0_demolive_1", DialContext: s.nodes[""].net.Dialer("rtmp.listen"),
					Timeout: time.Minute,
				})
				s.api.refuse(action, "")
				refused, ok := errors.AsType[*publisher.RefusedError](err)
				if !ok {
					t.Errorf("%s %s: %v", action, code, err)
					continue
				}
				if !strings.Contains(refused.Description, says) || strings.Contains(refused.Description, "demo1234") {
					t.Errorf("%s %s: the encoder is told %q", action, code, refused.Description)
				}
				if len(s.log.with("WARN", code, "entry=0_demolive", "peer=pipe", "reason=", "refused")) == 0 {
					t.Errorf("%s %s: no line of the log says so", action, code)
				}
			}
		}
		for line := range strings.Lines(s.log.String()) {
			if strings.Contains(line, "demo1234") {
				t.Errorf("the log holds the token: %s", line)
			}
		}
	})
}
