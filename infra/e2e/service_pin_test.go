package e2e

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"strings"
)

// pin chooses an encoder of the demo entry as an operator does: over the admin listener.
func (s *service) pin(ctx context.Context, index string) error {
	method, body := http.MethodPut, `{"index":"`+index+`"}`
	if index == "auto" {
		method, body = http.MethodDelete, ""
	}
	r, err := http.NewRequestWithContext(ctx, method, "http://127.0.0.1/v1/entries/0_demolive/pin", strings.NewReader(body))
	if err != nil {
		return err
	}
	transport := &http.Transport{DialContext: s.plane.Dialer("admin.listen"), DisableKeepAlives: true}
	defer transport.CloseIdleConnections()
	res, err := transport.RoundTrip(r)
	if err != nil {
		return err
	}
	defer res.Body.Close()
	if text, _ := io.ReadAll(res.Body); res.StatusCode != http.StatusOK {
		return fmt.Errorf("pin %s: %s: %s", index, res.Status, text)
	}
	return nil
}
