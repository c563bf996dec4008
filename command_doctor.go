package main

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"text/tabwriter"
	"time"

	"klive/infra/bus"
	"klive/infra/config"
	"klive/infra/kaltura"
	"klive/infra/node"
	"klive/infra/telemetry"
	"klive/workers/transcode"
)

type doctorCmd struct{}

// finding is one line of the doctor's report.
type finding struct {
	Check  string `json:"check"`
	OK     bool   `json:"ok"`
	Detail string `json:"detail"`
	// Advice says what to do; empty when all is well.
	Advice string `json:"advice,omitempty"`
}

// minFree is the free space in bytes below which the data folder is reported: an hour of
// one 5 Mbit/s stream.
const minFree = 2 << 30

// Run checks what klive needs and prints what to do. It fails when something is missing
// that the service can't start without.
func (doctorCmd) Run(ctx context.Context, g *global) error {
	c, warnings, err := g.settings()
	findings := []finding{configFinding(g, warnings, err)}
	switch {
	case err == nil && busNode(c):
		findings = append(findings, portFindings(ctx, c)...)
		findings = append(findings, folderFinding(c), busNodeFinding(ctx, c))
	case err == nil:
		findings = append(findings, portFindings(ctx, c)...)
		findings = append(findings, runningFinding(ctx, c)...)
		findings = append(findings, folderFinding(c), tlsFinding(c))
		findings = append(findings, datagramFindings(c)...)
		findings = append(findings, sharedFindings(ctx, c)...)
		findings = append(findings, kalturaFinding(ctx, c))
		findings = append(findings, transcodeFindings(ctx, c)...)
	}
	if err != nil {
		c = config.Default()
	}
	if err != nil || !busNode(c) {
		findings = append(findings, ffmpegFindings(ctx, c)...)
	}
	if err := printFindings(g, findings); err != nil {
		return err
	}
	for _, f := range findings {
		if !f.OK {
			return errors.New("not everything is in order; see above")
		}
	}
	return nil
}

func printFindings(g *global, findings []finding) error {
	if g.JSON {
		return printJSON(os.Stdout, findings)
	}
	w := tabwriter.NewWriter(os.Stdout, 0, 0, 2, ' ', 0)
	for _, f := range findings {
		mark := "ok"
		if !f.OK {
			mark = "FAIL"
		}
		fmt.Fprintf(w, "%s\t%s\t%s\n", mark, f.Check, strings.ReplaceAll(f.Detail, "\n", "; "))
		if f.Advice != "" {
			fmt.Fprintf(w, "\t\t→ %s\n", f.Advice)
		}
	}
	return w.Flush()
}

func configFinding(g *global, warnings []config.Warning, err error) finding {
	f := finding{Check: "configuration", OK: err == nil, Detail: "defaults and environment"}
	if name := g.file(); name != "" {
		f.Detail = name
	}
	if err != nil {
		f.Detail, f.Advice = err.Error(), "correct the places named; klive.example.yaml documents each key"
	} else if len(warnings) > 0 {
		warn(warnings)
	}
	return f
}

// portFindings tries each listener. While klive runs under this configuration its ports
// are in use, as they should be.
func portFindings(ctx context.Context, c *config.Config) []finding {
	ports := []port{
		{"tcp", "rtmp.listen", c.RTMP.Listen}, {"tcp", "rtmps.listen", c.RTMPS.Listen}, {"tcp", "http.listen", c.HTTP.Listen},
		{"tcp", "https.listen", c.HTTPS.Listen}, {"tcp", "admin.listen", c.Admin.Listen}, {"tcp", "internal.listen", internalListen(c)},
		{"tcp", "bus.listen", busListen(c)}, {"tcp", "bus.cluster.listen", c.Bus.Cluster.Listen},
	}
	for _, address := range c.SRT.Addresses() {
		ports = append(ports, port{"udp", "srt.listen", address})
	}
	if c.WHIP.Enabled {
		ports = append(ports, port{"udp", "webrtc.listen", c.WebRTC.Listen}, port{"tcp", "webrtc.listen", c.WebRTC.Listen})
	}
	var out []finding
	klive := findRunning(ctx, c)
	for _, p := range ports {
		if p.address != "" && (!busNode(c) || strings.HasPrefix(p.key, "bus.") || p.key == "admin.listen") {
			out = append(out, p.finding(ctx, c, klive))
		}
	}
	return out
}

// port is what a key listens on.
type port struct{ network, key, address string }

func (p port) finding(ctx context.Context, c *config.Config, klive *running) finding {
	shown := p.address
	if p.network == "udp" {
		shown += " (UDP)"
	}
	f := finding{Check: p.key, OK: true, Detail: shown + " is free"}
	err := p.try(ctx)
	switch {
	case err == nil:
	case errors.Is(err, syscall.EADDRINUSE) && klive.has(p.key, p.address):
		f.Detail = shown + " is in use, by the klive that runs"
	case errors.Is(err, syscall.EADDRINUSE) && klive.without(p.key, c):
		f.Detail = shown + " is in use by another program; the klive that runs does not listen there"
	default:
		f.OK, f.Detail = false, err.Error()
		f.Advice = "stop what holds the port (a klive that runs already?), or set " + p.key + " to another address"
		if klive != nil && klive.holds != nil {
			f.Advice = "another program holds the port, not the klive that runs under this configuration: stop it, or set " + p.key + " to another address"
		}
	}
	return f
}

// try opens the port for a moment.
func (p port) try(ctx context.Context) error {
	if p.network == "udp" {
		l, err := (&net.ListenConfig{}).ListenPacket(ctx, p.network, p.address)
		if err != nil {
			return err
		}
		return l.Close()
	}
	l, err := (&net.ListenConfig{}).Listen(ctx, p.network, p.address)
	if err != nil {
		return err
	}
	return l.Close()
}

// internalListen is internal.listen where it is opened: a klive with a bus of its own does
// without.
func internalListen(c *config.Config) string {
	if c.Bus.URL == "" {
		return ""
	}
	return c.Internal.Listen
}

// busNode reports whether a configuration is that of a bus node that has others. That of one
// alone can't be told from another process's.
func busNode(c *config.Config) bool { return c.Bus.URL == "" && c.Bus.Cluster.Listen != "" }

// busListen is bus.listen in the configuration of a bus node that has others.
func busListen(c *config.Config) string {
	if c.Bus.Cluster.Listen == "" {
		return ""
	}
	return c.Bus.Listen
}

// runs reports whether a klive answers at this configuration's admin listener.
func runs(ctx context.Context, c *config.Config) bool { return readiness(ctx, c) != "" }

// readiness is what a klive answers about itself at this configuration's admin listener: "ready…",
// "full: …" or "not ready: …"; empty when none answers.
func readiness(ctx context.Context, c *config.Config) string {
	if c.Admin.Listen == "" {
		return ""
	}
	ctx, cancel := context.WithTimeout(ctx, 2*time.Second)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+node.Dialable(c.Admin.Listen)+"/readyz", nil)
	if err != nil {
		return ""
	}
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		return ""
	}
	defer res.Body.Close()
	body, err := io.ReadAll(io.LimitReader(res.Body, 4096))
	text := strings.TrimSpace(string(body))
	if err != nil || !strings.HasPrefix(strings.TrimPrefix(text, "not "), "ready") && !strings.HasPrefix(text, node.Full) {
		return ""
	}
	return text
}

// busNodeFinding asks the bus node that runs under this configuration how it is.
func busNodeFinding(ctx context.Context, c *config.Config) finding {
	f := finding{Check: "bus node"}
	switch text := readiness(ctx, c); {
	case text == "":
		f.OK, f.Detail = true, "does not run (none answers at admin.listen); start it with klive bus, and ask again"
	case strings.Contains(text, bus.ErrFull.Error()), strings.Contains(text, "disk of the data folder"):
		f.Detail, f.Advice = text, "make room on the disk of its data folder; the other nodes go on meanwhile"
	case strings.HasPrefix(text, "not "):
		f.Detail, f.Advice = text, "start the nodes that it misses, and see that they reach each other under the addresses in bus.cluster.routes"
	case strings.HasPrefix(text, node.Full):
		f.Detail, f.Advice = text, "let it have more file descriptors (ulimit -n, LimitNOFILE), and look who connects"
	default:
		f.OK, f.Detail = true, text
	}
	return f
}

// existing is the folder itself, or the nearest one above it that is there: the first
// start makes the rest.
func existing(dir string) string {
	for {
		if _, err := os.Stat(dir); !errors.Is(err, fs.ErrNotExist) || dir == filepath.Dir(dir) {
			return dir
		}
		dir = filepath.Dir(dir)
	}
}

func folderFinding(c *config.Config) finding {
	f := finding{Check: "data folder", Detail: c.Data}
	detail, free, err := probeFolder(c.Data)
	switch {
	case err != nil:
		f.Detail, f.Advice = err.Error(), "choose a folder that this user can write (key data)"
	case free >= 0 && free < int64(c.Limits.Disk) && !busNode(c):
		f.Detail = fmt.Sprintf("%s, less than limits.disk (%d MiB)", detail, c.Limits.Disk>>20)
		f.Advice = "make room, or lower limits.disk: a klive that keeps media here takes no new streams with so little"
	case isLittle(free) && busNode(c):
		f.Detail, f.Advice = detail, fmt.Sprintf("make room: what a bus node stores may grow to bus.maxStore (%v GiB), and without room it stops", int64(c.Bus.MaxStore)>>30)
	case isLittle(free):
		f.Detail, f.Advice = detail, "make room: one 5 Mbit/s stream with a DVR window of two hours takes 4.5 GB"
	default:
		f.OK, f.Detail = true, detail
	}
	return f
}

// isLittle reports whether so much free space is little; a negative figure is not known.
func isLittle(free int64) bool { return free >= 0 && free < minFree }

// probeFolder writes into a folder, or where it will be made, and says how much room there
// is, in words and in bytes; these are negative when that is not known.
func probeFolder(name string) (detail string, free int64, err error) {
	dir := existing(name)
	probe, err := os.CreateTemp(dir, ".doctor-")
	if err != nil {
		return "", -1, err
	}
	probe.Close()
	os.Remove(probe.Name())
	detail, err = filepath.Abs(name)
	if err != nil {
		return "", -1, err
	}
	if dir != name {
		detail += " (the first start makes it)"
	}
	if free, err = telemetry.DiskFree(dir); err != nil {
		return detail, -1, nil
	}
	return fmt.Sprintf("%s, %.1f GiB free", detail, float64(free)/(1<<30)), free, nil
}

// storeFinding looks at the folder of storage.url.
func storeFinding(ctx context.Context, c *config.Config) finding {
	f := finding{Check: "store"}
	address, err := c.StorageURL()
	u, bad := url.Parse(address)
	if err := errors.Join(err, bad); err != nil {
		f.Detail, f.Advice = err.Error(), "correct storage.url"
		return f
	}
	dir := filepath.FromSlash(u.Path)
	if findRunning(ctx, c).lost(c, dir) {
		f.Detail = dir + " is not there any more, while klive runs"
		f.Advice = "mount or restore it: media wait in the spool meanwhile; or restart klive to begin with an empty one"
		return f
	}
	detail, free, err := probeFolder(dir)
	if _, none := os.Stat(filepath.Join(dir, "objects")); err == nil && none == nil {
		err = node.CheckFolder(ctx, dir)
	}
	switch {
	case err != nil:
		f.Detail, f.Advice = err.Error(), "mount the folder, or choose one that this user can write (key storage.url)"
	case isLittle(free):
		f.Detail, f.Advice = detail, "make room on the disk of storage.url: an hour of a 5 Mbit/s stream takes 2.3 GB"
	default:
		f.OK, f.Detail = true, "folder "+detail
	}
	return f
}

func tlsFinding(c *config.Config) finding {
	f := finding{Check: "TLS", OK: true, Detail: "off (tls.cert and tls.key are empty)"}
	switch {
	case c.TLS.SelfSigned:
		f.Detail = "a certificate of klive's own (tls.selfSigned), for trials"
		return f
	case c.TLS.Cert == "":
		return f
	}
	pair, err := tls.LoadX509KeyPair(c.TLS.Cert, c.TLS.Key)
	if err != nil {
		f.OK, f.Detail, f.Advice = false, err.Error(), "set tls.cert and tls.key to a PEM certificate chain and its key"
		return f
	}
	f.Detail = fmt.Sprintf("%s, until %s", c.TLS.Cert, pair.Leaf.NotAfter.UTC().Format(time.DateOnly))
	if time.Now().After(pair.Leaf.NotAfter) {
		f.OK, f.Advice = false, "the certificate has run out: put a new one in its place, klive reads it by itself"
	}
	return f
}

// datagramFindings look at the host's receive buffers. Small ones are no reason not to start.
func datagramFindings(c *config.Config) []finding {
	found, advice := node.CheckDatagrams(c)
	switch {
	case advice != "":
		return []finding{{Check: "UDP", OK: true, Detail: "receive buffers are smaller than they are to be", Advice: advice}}
	case found != "":
		return []finding{{Check: "UDP", OK: true, Detail: found}}
	}
	return nil
}

// sharedFindings look at what the nodes of a deployment share: the bus and the bucket.
func sharedFindings(ctx context.Context, c *config.Config) (out []finding) {
	if c.Bus.URL != "" {
		found, err := node.CheckBus(ctx, c)
		out = append(out, sharedFinding("bus", found, err, busAdvice(err)))
	}
	if !strings.HasPrefix(c.Storage.URL, "s3:") {
		return append(out, storeFinding(ctx, c))
	}
	found, err := node.CheckBucket(ctx, c)
	return append(out, sharedFinding("bucket", found, err, "correct storage.url, or the rights of its credentials"))
}

// busAdvice tells a bus that does not answer, whose nodes may be away, from one that the configuration does not fit.
func busAdvice(err error) string {
	if errors.Is(err, bus.ErrUnavailable) {
		return "see that the bus nodes run, most of them when it is a cluster (/readyz of one names those that it misses), and that bus.url leads there"
	}
	return "correct bus.url and what belongs to it; README.md tells how"
}

func sharedFinding(check, found string, err error, advice string) finding {
	if err != nil {
		return finding{Check: check, Detail: err.Error(), Advice: advice}
	}
	return finding{Check: check, OK: true, Detail: found}
}

// kalturaFinding asks the API that says who may publish.
func kalturaFinding(ctx context.Context, c *config.Config) finding {
	f := finding{Check: "Kaltura", OK: true, Detail: "the control plane inside klive"}
	if c.Kaltura.URL == "" {
		return f
	}
	f.Detail = fmt.Sprintf("%s answers partner %d", c.Kaltura.URL, c.Kaltura.PartnerID)
	client, err := kaltura.NewClient(kaltura.ClientConfig{
		URL: c.Kaltura.URL, PartnerID: c.Kaltura.PartnerID, AdminSecret: c.Kaltura.Secret.Reveal(),
		Hostname: c.Kaltura.Hostname, Timeout: min(c.Kaltura.Timeout, 10*time.Second),
	})
	if err == nil {
		defer client.Close()
		err = node.CheckKaltura(ctx, client)
	}
	if err != nil {
		f.OK, f.Detail, f.Advice = false, err.Error(), "correct kaltura.url, kaltura.partnerId and kaltura.secret; README.md tells how"
	}
	return f
}

// ffmpegFindings look at the program that transcodes, and at each of its encoders. Those of
// hardware that is not there are no fault unless the configuration names them.
func ffmpegFindings(ctx context.Context, c *config.Config) []finding {
	f := finding{Check: "ffmpeg", Advice: `install it ("apt-get install ffmpeg"), or set transcode.ffmpeg to its path; klive publish and rungs that need encoding use it`}
	try, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	version := exec.CommandContext(try, c.Transcode.FFmpeg, "-hide_banner", "-version")
	version.Env = config.ChildEnviron()
	out, err := version.Output()
	if err != nil {
		f.Detail = err.Error()
		return []finding{f}
	}
	line, _, _ := strings.Cut(string(out), "\n")
	list := []finding{{Check: "ffmpeg", OK: true, Detail: line}}
	for _, p := range transcode.Probe(ctx, c.Transcode.FFmpeg) {
		wanted := c.Transcode.Encoder == p.Name
		f := finding{Check: "encoder " + p.Name, OK: p.Err == nil || !wanted, Detail: "works"}
		if !p.Tested {
			f.Detail += "; klive's tests do not cover it"
		}
		if p.Err != nil {
			f.Detail = "does not work here: " + p.Err.Error()
		}
		if !f.OK {
			f.Advice = "install a build of ffmpeg that has it, and its drivers, or choose another with transcode.encoder"
		}
		list = append(list, f)
	}
	return list
}
