package node

import (
	"net/url"
	"strings"
	"testing"
)

func TestCheckKaltura(t *testing.T) {
	for answer, says := range map[string]string{
		apiError("ENTRY_ID_NOT_FOUND"):                "", // it knows the session
		apiError("SERVICE_FORBIDDEN"):                 "",
		`{"id":"0_00000000"}`:                         "",
		apiError("INVALID_KS"):                        "kaltura.secret",
		apiError("SERVICE_FORBIDDEN_CONTENT_BLOCKED"): "kaltura.partnerId",
		apiError("INTERNAL_SERVERL_ERROR"):            "kaltura.url",
		"<html>Welcome</html>":                        "kaltura.url",
		"":                                            "kaltura.url",
	} {
		client := newClient(t, 102, func(call string, params url.Values) (string, string) {
			if call != "liveStream.get" || params.Get("partnerId") != "102" {
				t.Errorf("call %s with %v", call, params)
			}
			return jsonType, answer
		})
		err := CheckKaltura(t.Context(), client)
		if (err == nil) != (says == "") || err != nil && !strings.Contains(err.Error(), says) {
			t.Errorf("%q: got %v, want %q", answer, err, says)
		}
	}
}
