package fault

import (
	"context"
	"fmt"
	"net/http"
	"os"
	"os/signal"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"go.uber.org/goleak"
)

// asServer names the variable that makes the test program a small HTTP server: the process
// that the tests start.
const asServer = "KLIVE_FAULT_SERVER"

func TestMain(m *testing.M) {
	if addr := os.Getenv(asServer); addr != "" {
		os.Exit(serve(addr))
	}
	code := m.Run()
	if code == 0 {
		if err := goleak.Find(); err != nil {
			fmt.Println(err)
			code = 1
		}
	}
	os.Exit(code)
}

func serve(addr string) int {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM)
	defer stop()
	s := &http.Server{Addr: addr, Handler: http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { fmt.Fprintln(w, "here") })}
	context.AfterFunc(ctx, func() { s.Close() })
	fmt.Println("serving on", addr)
	if err := s.ListenAndServe(); err != http.ErrServerClosed {
		fmt.Println(err)
		return 1
	}
	return 0
}

// server is the specification of the test's server.
func server(t *testing.T, addr string) Spec {
	return Spec{
		Name: "server", Path: os.Args[0], Env: append(os.Environ(), asServer+"="+addr),
		Log:   filepath.Join(t.TempDir(), "log"),
		Ready: func(ctx context.Context) error { return ask(addr, time.Second) },
	}
}

// ask asks a server for anything within the time.
func ask(addr string, within time.Duration) error {
	c := &http.Client{Timeout: within, Transport: &http.Transport{DisableKeepAlives: true}}
	resp, err := c.Get("http://" + addr + "/")
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return fmt.Errorf("status %d", resp.StatusCode)
	}
	return nil
}
