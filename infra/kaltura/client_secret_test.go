package kaltura_test

import (
	"bytes"
	"log/slog"
	"net/http"
	"strings"
	"testing"

	"klive/infra/kaltura"
)

// A session that Kaltura refuses right after it was signed points at the settings; one that
// merely ended does not.
func TestClientNamesAWrongSecret(t *testing.T) {
	var log bytes.Buffer
	refuse := 0 // calls
	c, err := kaltura.NewClient(kaltura.ClientConfig{
		URL: "http://kaltura.test", AdminSecret: "hunter2x", Hostname: "test",
		Logger: slog.New(slog.NewTextHandler(&log, nil)),
		Transport: roundTrip(func(*http.Request) (*http.Response, error) {
			if refuse > 0 {
				refuse--
				return reply(200, "application/json", `{"code":"INVALID_KS","message":"Invalid KS","objectType":"KalturaAPIException","args":{}}`), nil
			}
			return reply(200, "application/json", `{"id":"0_rkij47dr"}`), nil
		}),
	})
	if err != nil {
		t.Fatal(err)
	}
	const anew, wrong = "it is signed anew", "kaltura.partnerId or kaltura.secret is wrong"
	for _, step := range []struct {
		refused       int
		fails         bool
		anews, wrongs int
	}{
		{0, false, 0, 0},
		{1, false, 1, 0}, // it had ended
		{2, true, 1, 1},
		{2, true, 0, 1}, // said already
		{0, false, 0, 0},
		{1, false, 1, 0},
	} {
		log.Reset()
		refuse = step.refused
		_, err := c.LiveStreamGet(t.Context(), 102, "0_rkij47dr")
		text := log.String()
		if kaltura.IsCode(err, kaltura.CodeInvalidKS) != step.fails || strings.Count(text, anew) != step.anews || strings.Count(text, wrong) != step.wrongs {
			t.Errorf("refused %d times: %v, the log says\n%s", step.refused, err, text)
		}
		if strings.Contains(text, "hunter2x") {
			t.Error("the secret shows")
		}
	}
}
