package push

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"klive/gateway"
	"klive/infra/live"
)

// TestRefusalsAreToldOnce: what asks for the same wrong thing again and again is one warning, and not a log of them.
func TestRefusalsAreToldOnce(t *testing.T) {
	r := newRig(t, nil)
	for range 10 {
		if code, _ := r.send("POST", "/ingest/nonsense", strings.NewReader("x")); code != http.StatusBadRequest {
			t.Errorf("answered %d", code)
		}
	}
	if n := strings.Count(r.text(), `level=WARN msg="push request refused"`); n != 1 {
		t.Errorf("%d warnings of 10 requests", n)
	}
}

// dead is another gateway that holds all feeds and was killed.
type dead struct{ asked }

func (*dead) Away(*http.Request, live.FeedID) bool { return true }

func (*dead) Forward(w http.ResponseWriter, _ *http.Request, _ live.FeedID) {
	gateway.Problem(w, http.StatusBadGateway, "it does not answer")
}

// TestRefusalOfAnEndlessRequest: an encoder of few bits hears at once that it is refused, and its connection
// ends: it need not send 256 KiB first.
func TestRefusalOfAnEndlessRequest(t *testing.T) {
	for name, c := range map[string]struct {
		elsewhere Elsewhere
		code      int
	}{"a wrong token": {nil, http.StatusUnauthorized}, "a dead gateway": {&dead{}, http.StatusBadGateway}} {
		t.Run(name, func(t *testing.T) {
			r := newRig(t, func(cfg *Config) { cfg.Elsewhere = c.elsewhere })
			conn, err := net.Dial("tcp", r.server.Listener.Addr().String())
			if err != nil {
				t.Fatal(err)
			}
			defer conn.Close()
			fmt.Fprintf(conn, "POST %s?p=102&t=guess HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n", address)
			gone := make(chan struct{})
			go func() {
				defer close(gone)
				for err := error(nil); err == nil; time.Sleep(50 * time.Millisecond) {
					_, err = fmt.Fprint(conn, "10\r\n0123456789abcdef\r\n")
				}
			}()
			const patience = 10 * time.Second
			_ = conn.SetReadDeadline(time.Now().Add(patience))
			res, err := http.ReadResponse(bufio.NewReader(conn), nil)
			if err != nil {
				t.Fatal(err)
			}
			if _, err := io.Copy(io.Discard, res.Body); err != nil || res.StatusCode != c.code || !res.Close {
				t.Errorf("%s, the connection ends: %v; %v", res.Status, res.Close, err)
			}
			select {
			case <-gone:
			case <-time.After(patience):
				t.Error("the encoder can go on sending to nobody")
			}
		})
	}
}
