package publisher

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net/url"
	"os/exec"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"

	"klive/infra/config"
)

// Pattern is a moving test pattern with a clock burned in and a tone, encoded and published
// by ffmpeg.
type Pattern struct {
	// URL is the whole address, stream name included.
	URL string
	// Width and Height are in pixels (1280×720), FPS in frames per second (30), Bitrate in
	// bit/s (2500000), GOP between keyframes (2 s). Zero values take the default in brackets.
	Width, Height int
	FPS           int
	Bitrate       int
	GOP           time.Duration
	// Duration ends the pattern; 0 goes on until the context ends.
	Duration time.Duration
	// FFmpeg is the program; empty means "ffmpeg" from the PATH.
	FFmpeg string
}

// ErrNoFFmpeg is returned when ffmpeg can't be found.
var ErrNoFFmpeg = errors.New("ffmpeg was not found: install it (apt-get install ffmpeg) or name it with --ffmpeg")

// stopWait is how long ffmpeg may take to say goodbye to the server.
const stopWait = 5 * time.Second

// Run publishes until the context ends, which is no error, or ffmpeg does.
func (p Pattern) Run(ctx context.Context) error {
	p.defaults()
	program, err := exec.LookPath(p.FFmpeg)
	if err != nil {
		return fmt.Errorf("%w (%s)", ErrNoFFmpeg, p.FFmpeg)
	}
	if err := p.checkURL(); err != nil {
		return err
	}
	cmd := exec.CommandContext(ctx, program, p.args(hasDrawtext(ctx, program))...)
	cmd.Env = config.ChildEnviron()
	cmd.Cancel = func() error { return cmd.Process.Signal(syscall.SIGINT) }
	cmd.WaitDelay = stopWait
	complaints := &tail{limit: 2048}
	cmd.Stderr = complaints
	switch {
	case isWHIP(p.URL):
		err = runWHIP(ctx, cmd, p.URL)
	case isHTTP(p.URL):
		err = runPush(ctx, cmd, p.URL)
	default:
		err = cmd.Run()
	}
	var refused *StatusError
	if errors.As(err, &refused) || errors.Is(err, ErrEnded) {
		return err
	}
	if ctx.Err() != nil {
		return nil
	}
	if err != nil {
		return fmt.Errorf("ffmpeg stopped: %w\n%s", err, hideToken(complaints.String(), p.URL))
	}
	return nil
}

func (p *Pattern) defaults() {
	if p.Width == 0 || p.Height == 0 {
		p.Width, p.Height = 1280, 720
	}
	if p.FPS == 0 {
		p.FPS = 30
	}
	if p.Bitrate == 0 {
		p.Bitrate = 2_500_000
	}
	if p.GOP == 0 {
		p.GOP = 2 * time.Second
	}
	if p.FFmpeg == "" {
		p.FFmpeg = "ffmpeg"
	}
}

// args is ffmpeg's command line. It passes through no shell.
func (p *Pattern) args(clock bool) []string {
	picture := fmt.Sprintf("testsrc2=size=%dx%d:rate=%d", p.Width, p.Height, p.FPS)
	if clock {
		picture += fmt.Sprintf(`,drawtext=text='%%{localtime\:%%T}  %%{pts\:hms}':x=(w-tw)/2:y=h-2*th:fontsize=%d:fontcolor=white:box=1:boxcolor=black@0.6:boxborderw=8`, max(p.Height/18, 12))
	}
	gop := max(1, int(p.GOP.Seconds()*float64(p.FPS)+0.5))
	rate := strconv.Itoa(p.Bitrate)
	sound := []string{"-c:a", "aac", "-b:a", "128k", "-ac", "2"}
	if isWHIP(p.URL) {
		sound = []string{"-c:a", "libopus", "-b:a", "128k", "-ac", "2"}
	}
	args := []string{
		"-hide_banner", "-loglevel", "error", "-nostdin",
		"-re", "-f", "lavfi", "-i", picture,
		"-re", "-f", "lavfi", "-i", "sine=frequency=440:sample_rate=48000",
		"-c:v", "libx264", "-preset", "veryfast", "-tune", "zerolatency", "-pix_fmt", "yuv420p",
		"-g", strconv.Itoa(gop), "-keyint_min", strconv.Itoa(gop), "-sc_threshold", "0",
		"-b:v", rate, "-maxrate", rate, "-bufsize", rate,
	}
	args = append(args, sound...)
	if p.Duration > 0 {
		args = append(args, "-t", strconv.FormatFloat(p.Duration.Seconds(), 'f', 3, 64))
	}
	switch {
	case strings.HasPrefix(p.URL, "srt://"):
		return append(args, "-f", "mpegts", p.URL)
	case isHTTP(p.URL): // WHIP too
		return append(args, "-f", "mpegts", "-muxdelay", "0", "-muxpreload", "0", "-flush_packets", "1", "pipe:1")
	}
	return append(args, "-f", "flv", p.URL)
}

// checkURL holds the address against the protocols that there are.
func (p *Pattern) checkURL() error {
	if strings.HasPrefix(p.URL, "srt://") {
		if u, err := url.Parse(p.URL); err != nil || u.Port() == "" || !u.Query().Has("streamid") {
			return fmt.Errorf("%q: an SRT address looks like srt://host:8890?streamid=%s", hideQuery(p.URL), url.QueryEscape("#!::r=0_rkij47dr_1,m=publish,u=102,i=0,s=token"))
		}
		return nil
	}
	if isWHIP(p.URL) {
		return nil
	}
	if isHTTP(p.URL) {
		if u, err := url.Parse(p.URL); err != nil || u.Host == "" || !strings.HasPrefix(u.Path, "/ingest/") {
			return fmt.Errorf("%q: an HTTP address looks like http://host:8080/ingest/0_rkij47dr_1?p=102&t=token, a WHIP one has /whip/ in that place", hideQuery(p.URL))
		}
		return nil
	}
	_, err := parseAddress(p.URL, "")
	return err
}

func isHTTP(address string) bool {
	return strings.HasPrefix(address, "http://") || strings.HasPrefix(address, "https://")
}

// isWHIP reports whether an address is that of a WHIP server.
func isWHIP(address string) bool {
	u, err := url.Parse(address)
	return isHTTP(address) && err == nil && u.Host != "" && strings.HasPrefix(u.Path, "/whip/")
}

// hasDrawtext reports whether ffmpeg can write the clock: builds without FreeType can't.
func hasDrawtext(ctx context.Context, program string) bool {
	probe := exec.CommandContext(ctx, program, "-hide_banner", "-loglevel", "quiet", "-nostdin",
		"-f", "lavfi", "-i", "color=size=64x64,drawtext=text=0", "-frames:v", "1", "-f", "null", "-")
	probe.Env, probe.WaitDelay = config.ChildEnviron(), stopWait
	return probe.Run() == nil
}

// hideToken cuts the query out of the address wherever it stands in the text, and the token
// that an HTTP address has in its path.
func hideToken(text, address string) string {
	if _, behind, ok := strings.Cut(address, "/t/"); ok && isHTTP(address) {
		token, _, _ := strings.Cut(behind, "/")
		if token != "" {
			text = strings.ReplaceAll(text, token, "…")
		}
	}
	_, query, ok := strings.Cut(address, "?")
	if !ok {
		return strings.TrimSpace(text)
	}
	bare, _, _ := strings.Cut(query, "/")
	for _, secret := range []string{query, bare} {
		if secret != "" {
			text = strings.ReplaceAll(text, secret, "…")
		}
	}
	return strings.TrimSpace(text)
}

// tail keeps the last bytes that were written to it.
type tail struct {
	limit int

	mu  sync.Mutex // guards the field below
	buf bytes.Buffer
}

func (t *tail) Write(b []byte) (int, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.buf.Write(b)
	if over := t.buf.Len() - t.limit; over > 0 {
		t.buf.Next(over)
	}
	return len(b), nil
}

func (t *tail) String() string {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.buf.String()
}
