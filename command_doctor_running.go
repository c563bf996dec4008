package main

import (
	"context"
	"encoding/json"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"time"

	"klive/infra/admin"
	"klive/infra/config"
	"klive/infra/node"
)

// running is the klive that answers at a configuration's admin listener.
type running struct {
	// holds is nil when it does not say: a release before this one, a bus node, another token.
	holds *admin.Process
}

// findRunning asks the admin listener; nil when no klive answers there.
func findRunning(ctx context.Context, c *config.Config) *running {
	if !runs(ctx, c) {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, 2*time.Second)
	defer cancel()
	a := adminClient{base: "http://" + node.Dialable(c.Admin.Listen), token: c.Admin.Token.Reveal()}
	var answer struct {
		Process *admin.Process `json:"process"`
	}
	if status, text, err := a.call(ctx, http.MethodGet, "/v1/server", nil); err == nil && status == http.StatusOK {
		_ = json.Unmarshal(text, &answer) // what can't be read says nothing
	}
	return &running{holds: answer.Process}
}

// runningFinding asks the klive that runs here whether it takes work; what is wrong with the host, such as its clock,
// it knows already.
func runningFinding(ctx context.Context, c *config.Config) []finding {
	f := finding{Check: "klive", Detail: readiness(ctx, c)}
	switch {
	case f.Detail == "":
		return nil // that none runs is no fault
	case strings.HasPrefix(f.Detail, "not "):
		f.Advice = "it takes no new streams and no other work until this is mended; what it has goes on as long as it can"
	case strings.HasPrefix(f.Detail, node.Full):
		f.Advice = "what it has goes on; send further streams elsewhere, or give it more room (limits)"
	default:
		f.OK = true
	}
	return []finding{f}
}

// has reports whether a port that is in use is this klive's. One that does not say is believed.
func (r *running) has(key, address string) bool {
	if r == nil || r.holds == nil {
		return r != nil
	}
	_, want, _ := net.SplitHostPort(address)
	for one := range strings.SplitSeq(r.holds.Listeners[key], ",") {
		if _, port, err := net.SplitHostPort(one); err == nil && port == want {
			return true
		}
	}
	return false
}

// without reports whether this klive is one of a deployment's, and has a role that does not
// listen for the key.
func (r *running) without(key string, c *config.Config) bool {
	return r != nil && r.holds != nil && c.Bus.URL != "" && r.holds.Listeners[key] == ""
}

// lost reports whether this klive has a store in the folder, which is not there any more.
func (r *running) lost(c *config.Config, dir string) bool {
	address, err := c.StorageURL()
	if err != nil || r == nil || r.holds == nil || r.holds.Store != address {
		return false
	}
	_, err = os.Stat(filepath.Join(dir, "objects"))
	return err != nil
}

// transcodeFindings asks the klive that runs here which of the deployment's transcode workers take no jobs.
func transcodeFindings(ctx context.Context, c *config.Config) (out []finding) {
	if !runs(ctx, c) {
		return nil
	}
	a := adminClient{base: "http://" + node.Dialable(c.Admin.Listen), token: c.Admin.Token.Reveal()}
	var answer struct {
		Nodes []admin.NodeState `json:"nodes"`
	}
	if err := a.get(ctx, "/v1/nodes", &answer); err != nil {
		return nil // one that is starting, or of another token, says nothing; readiness is asked for elsewhere
	}
	for _, n := range answer.Nodes {
		if n.TranscodeAway != "" {
			out = append(out, finding{Check: "transcoding", Detail: n.Name + " takes no jobs: " + n.TranscodeAway,
				Advice: "see to it on that host, where klive doctor says more; rungs that no other worker makes are gaps meanwhile"})
		}
	}
	return out
}
