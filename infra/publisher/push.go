package publisher

import (
	"context"
	"io"
	"net/http"
	"os/exec"
	"time"
)

// maxRefusal bounds what is read of a server's answer.
const maxRefusal = 64 << 10

// runPush sends what ffmpeg writes in one endless request. ffmpeg itself would not show why it is refused: that stands in the
// answer's body. The error is a *StatusError when the server says no.
func runPush(ctx context.Context, cmd *exec.Cmd, address string) error {
	out, err := cmd.StdoutPipe()
	if err != nil {
		return err
	}
	if err := cmd.Start(); err != nil {
		return err
	}
	// ffmpeg ends with ctx, and the body with that; a server that takes no end is left.
	sending, stop := context.WithCancel(context.WithoutCancel(ctx))
	defer stop()
	unhook := context.AfterFunc(ctx, func() { time.AfterFunc(2*stopWait, stop) })
	defer unhook()
	err = post(sending, address, out)
	if err != nil {
		_ = cmd.Process.Kill()
	}
	if ended := cmd.Wait(); err == nil {
		err = ended
	}
	return err
}

// post sends a transport stream to its end and waits for the answer.
func post(ctx context.Context, address string, body io.Reader) error {
	r, err := http.NewRequestWithContext(ctx, http.MethodPost, address, body)
	if err != nil {
		return err
	}
	r.Header.Set("Content-Type", "video/mp2t")
	r.Header.Set("User-Agent", "klive publish")
	// A server that refuses says so before the body is on its way.
	r.Header.Set("Expect", "100-continue")
	client := &http.Client{Transport: &http.Transport{Proxy: http.ProxyFromEnvironment, ExpectContinueTimeout: 2 * stopWait, ResponseHeaderTimeout: 2 * stopWait, ForceAttemptHTTP2: true}}
	defer client.CloseIdleConnections()
	res, err := client.Do(r)
	if err != nil {
		return withoutQuery(err)
	}
	defer res.Body.Close()
	text, err := io.ReadAll(io.LimitReader(res.Body, maxRefusal))
	if res.StatusCode/100 != 2 {
		return &StatusError{res.StatusCode, detail(string(text))}
	}
	return err
}
