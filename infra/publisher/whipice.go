package publisher

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"

	"github.com/pion/webrtc/v4"
)

// fragmentType is the type of SDP fragments (RFC 8840 §9).
const fragmentType = "application/trickle-ice-sdpfrag"

// Patch sends an SDP fragment to the session and returns the answer. An empty match sends no
// If-Match.
func (w *WHIP) Patch(ctx context.Context, match, fragment string) (status int, answer string, err error) {
	address, _ := w.Session()
	res, text, err := w.do(ctx, http.MethodPatch, address, fragmentType, match, fragment)
	if err != nil {
		return 0, "", err
	}
	if tag := res.Header.Get("ETag"); tag != "" {
		w.mu.Lock()
		w.tag = tag
		w.mu.Unlock()
	}
	return res.StatusCode, text, nil
}

// RestartICE finds a new way to the server, as an encoder does whose network has changed
// (RFC 9725 §4.3.3).
func (w *WHIP) RestartICE(ctx context.Context) error {
	o, err := w.pc.CreateOffer(&webrtc.OfferOptions{ICERestart: true})
	if err != nil {
		return err
	}
	gathered := webrtc.GatheringCompletePromise(w.pc)
	if err := w.pc.SetLocalDescription(o); err != nil {
		return err
	}
	select {
	case <-gathered:
	case <-ctx.Done():
		return ctx.Err()
	}
	before := w.pc.CurrentRemoteDescription()
	if before == nil {
		return errors.New("there is no connection to restart")
	}
	status, text, err := w.Patch(ctx, "*", w.hide(iceLines(w.pc.LocalDescription().SDP)))
	switch {
	case err != nil:
		return err
	case status != http.StatusOK:
		return &StatusError{status, detail(text)}
	}
	return w.pc.SetRemoteDescription(webrtc.SessionDescription{Type: webrtc.SDPTypeAnswer, SDP: withICE(before.SDP, w.via(text))})
}

// Move restarts ICE with another address that stands for all of the server's ([WHIPConfig.Via]):
// from then on nothing goes the old way.
func (w *WHIP) Move(ctx context.Context, via string) error {
	w.cfg.Via = via
	return w.RestartICE(ctx)
}

// Fragment is a fragment with the connection's credentials and candidates.
func (w *WHIP) Fragment() string { return w.hide(iceLines(w.pc.LocalDescription().SDP)) }

// iceLines makes a fragment of a description: what its first section says of ICE.
func iceLines(description string) string {
	var credentials, section strings.Builder
	sections := 0
	for line := range strings.Lines(description) {
		line = strings.TrimSpace(line)
		if strings.HasPrefix(line, "m=") {
			sections++
			if sections == 1 {
				fmt.Fprintf(&section, "%s\r\n", line)
			}
		}
		if sections > 1 {
			break
		}
		switch {
		case strings.HasPrefix(line, "a=ice-ufrag:"), strings.HasPrefix(line, "a=ice-pwd:"):
			fmt.Fprintf(&credentials, "%s\r\n", line)
		case strings.HasPrefix(line, "a=mid:"), strings.HasPrefix(line, "a=candidate:"), line == "a=end-of-candidates":
			fmt.Fprintf(&section, "%s\r\n", line)
		}
	}
	return credentials.String() + section.String()
}

// withICE puts what a fragment says of ICE into a description.
func withICE(description, fragment string) string {
	keep := func(line string) bool {
		return strings.HasPrefix(line, "a=ice-ufrag:") || strings.HasPrefix(line, "a=ice-pwd:") || isCandidate(line)
	}
	if !strings.Contains(fragment, "a=ice-ufrag:") {
		keep = isCandidate // the credentials stay
	}
	return replaced(description, keep, fragment)
}

// withCandidates puts candidates in the place of those in a description or a fragment.
func withCandidates(description, candidates string) string {
	return replaced(description, isCandidate, candidates)
}

func isCandidate(line string) bool {
	return strings.HasPrefix(line, "a=candidate:") || line == "a=end-of-candidates"
}

// replaced takes lines out of a description, and puts those of another text that are of the
// same kind into each section.
func replaced(description string, kind func(line string) bool, by string) string {
	var in []string
	for line := range strings.Lines(by) {
		if line = strings.TrimSpace(line); kind(line) {
			in = append(in, line)
		}
	}
	var out strings.Builder
	for line := range strings.Lines(description) {
		if line = strings.TrimSpace(line); kind(line) {
			continue
		}
		fmt.Fprintf(&out, "%s\r\n", line)
		if strings.HasPrefix(line, "a=mid:") {
			for _, l := range in {
				fmt.Fprintf(&out, "%s\r\n", l)
			}
		}
	}
	return out.String()
}
