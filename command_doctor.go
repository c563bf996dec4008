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

	"klive/infra/config"
	"klive/infra/kaltura"
	"klive/infra/node"
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
		findings = append(findings, folderFinding(c), tlsFinding(c))
		findings = append(findings, sharedFindings(ctx, c)...)
		findings = append(findings, kalturaFinding(ctx, c))
	}
	if err != nil || !busNode(c) {
		findings = append(findings, ffmpegFinding(ctx))
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
	if g.Config != "" {
		f.Detail = g.Config
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
	var out []finding
	running := runs(ctx, c)
	for _, l := range []struct{ key, address string }{
		{"rtmp.listen", c.RTMP.Listen}, {"rtmps.listen", c.RTMPS.Listen}, {"http.listen", c.HTTP.Listen},
		{"https.listen", c.HTTPS.Listen}, {"admin.listen", c.Admin.Listen}, {"internal.listen", internalListen(c)},
		{"bus.listen", busListen(c)}, {"bus.cluster.listen", c.Bus.Cluster.Listen},
	} {
		if l.address == "" || busNode(c) && !strings.HasPrefix(l.key, "bus.") && l.key != "admin.listen" {
			continue
		}
		f := finding{Check: l.key, OK: true, Detail: l.address + " is free"}
		ln, err := (&net.ListenConfig{}).Listen(ctx, "tcp", l.address)
		if running && errors.Is(err, syscall.EADDRINUSE) {
			f.Detail = l.address + " is in use, by the klive that runs"
		} else if err != nil {
			f.OK, f.Detail = false, err.Error()
			f.Advice = "stop what holds the port (a klive that runs already?), or set " + l.key + " to another address"
		} else {
			ln.Close()
		}
		out = append(out, f)
	}
	return out
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

// readiness is what a klive answers about itself at this configuration's admin listener: "ready…"
// or "not ready: …"; empty when none answers.
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
	if err != nil || !strings.HasPrefix(strings.TrimPrefix(text, "not "), "ready") {
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
	case strings.HasPrefix(text, "not "):
		f.Detail, f.Advice = text, "start the nodes that it misses, and see that they reach each other under the addresses in bus.cluster.routes"
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
	detail, full, err := probeFolder(c.Data)
	switch {
	case err != nil:
		f.Detail, f.Advice = err.Error(), "choose a folder that this user can write (key data)"
	case full:
		f.Detail, f.Advice = detail, "make room: one 5 Mbit/s stream with a DVR window of two hours takes 4.5 GB"
	default:
		f.OK, f.Detail = true, detail
	}
	return f
}

// probeFolder writes into a folder, or where it will be made, and says how much room there
// is, and whether that is little.
func probeFolder(name string) (detail string, full bool, err error) {
	dir := existing(name)
	probe, err := os.CreateTemp(dir, ".doctor-")
	if err != nil {
		return "", false, err
	}
	probe.Close()
	os.Remove(probe.Name())
	detail, err = filepath.Abs(name)
	if err != nil {
		return "", false, err
	}
	if dir != name {
		detail += " (the first start makes it)"
	}
	var disk syscall.Statfs_t
	if syscall.Statfs(dir, &disk) != nil {
		return detail, false, nil
	}
	free := int64(disk.Bavail) * disk.Bsize
	return fmt.Sprintf("%s, %.1f GiB free", detail, float64(free)/(1<<30)), free < minFree, nil
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
	detail, full, err := probeFolder(dir)
	if _, none := os.Stat(filepath.Join(dir, "objects")); err == nil && none == nil {
		err = node.CheckFolder(ctx, dir)
	}
	switch {
	case err != nil:
		f.Detail, f.Advice = err.Error(), "mount the folder, or choose one that this user can write (key storage.url)"
	case full:
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

// sharedFindings look at what the nodes of a deployment share: the bus and the bucket.
func sharedFindings(ctx context.Context, c *config.Config) (out []finding) {
	if c.Bus.URL != "" {
		found, err := node.CheckBus(ctx, c)
		out = append(out, sharedFinding("bus", found, err, "correct bus.url and what belongs to it; README.md tells how"))
	}
	if !strings.HasPrefix(c.Storage.URL, "s3:") {
		return append(out, storeFinding(ctx, c))
	}
	found, err := node.CheckBucket(ctx, c)
	return append(out, sharedFinding("bucket", found, err, "correct storage.url, or the rights of its credentials"))
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

func ffmpegFinding(ctx context.Context) finding {
	f := finding{Check: "ffmpeg", Advice: `install it ("apt-get install ffmpeg"); klive publish needs it`}
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	out, err := exec.CommandContext(ctx, "ffmpeg", "-hide_banner", "-version").Output()
	if err != nil {
		f.Detail = err.Error()
		return f
	}
	line, _, _ := strings.Cut(string(out), "\n")
	encoders, err := exec.CommandContext(ctx, "ffmpeg", "-hide_banner", "-encoders").Output()
	if err != nil || !strings.Contains(string(encoders), "libx264") {
		f.Detail, f.Advice = line, "this build has no libx264; install one that has"
		return f
	}
	return finding{Check: "ffmpeg", OK: true, Detail: line}
}
