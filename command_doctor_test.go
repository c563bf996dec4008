package main

import (
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"klive/infra/bus"
	"klive/infra/config"
	"klive/infra/telemetry"
)

// TestDoctorNamesTheFile: the file that KLIVE_CONFIG names is the one that is read, and the flag's comes first.
func TestDoctorNamesTheFile(t *testing.T) {
	t.Setenv(config.FileEnv, "")
	if f := configFinding(&global{}, nil, nil); f.Detail != "defaults and environment" {
		t.Errorf("without a file: %+v", f)
	}
	t.Setenv(config.FileEnv, "/etc/klive/klive.yaml")
	if f := configFinding(&global{}, nil, nil); f.Detail != "/etc/klive/klive.yaml" {
		t.Errorf("KLIVE_CONFIG: %+v", f)
	}
	if f := configFinding(&global{Config: "klive.yaml"}, nil, nil); f.Detail != "klive.yaml" {
		t.Errorf("--config: %+v", f)
	}
}

// TestDoctorLooksAtLimitsDisk: a disk with less room than limits.disk asks for is told before klive takes no streams.
func TestDoctorLooksAtLimitsDisk(t *testing.T) {
	c := config.Default()
	c.Data = filepath.Join(t.TempDir(), "data")
	free, err := telemetry.DiskFree(filepath.Dir(c.Data))
	if err != nil {
		t.Skipf("SKIP: %v", err)
	}
	c.Limits.Disk = config.Size(free + 10<<30)
	f := folderFinding(c)
	if f.OK || !strings.Contains(f.Detail, "less than limits.disk") || !strings.Contains(f.Advice, "no new streams") {
		t.Errorf("%+v", f)
	}
	if _, err := os.Stat(c.Data); err == nil {
		t.Error("the doctor makes the folder")
	}
	c.Limits.Disk = 0
	if f := folderFinding(c); strings.Contains(f.Detail, "limits.disk") {
		t.Errorf("without a limit: %+v", f)
	}
}

// TestDoctorTriesBothPortsOfWebRTC: ICE takes TCP where UDP does not pass, on the port of the same number.
func TestDoctorTriesBothPortsOfWebRTC(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	c := config.Default()
	c.RTMP.Listen, c.SRT.Listen, c.HTTP.Listen, c.Admin.Listen = "", "", "", ""
	c.WebRTC.Listen = l.Addr().String()
	list := portFindings(t.Context(), c)
	taken := 0
	for _, f := range list {
		if f.Check == "webrtc.listen" && !f.OK && !strings.Contains(f.Detail, "UDP") {
			taken++
		}
	}
	if len(list) != 2 || taken != 1 {
		t.Errorf("%+v, want one finding for UDP and one for TCP, which is taken", list)
	}
}

// answered is a configuration whose admin listener answers with h.
func answered(t *testing.T, h http.HandlerFunc) *config.Config {
	t.Helper()
	s := httptest.NewServer(h)
	t.Cleanup(s.Close)
	c := config.Default()
	c.Admin.Listen = s.Listener.Addr().String()
	return c
}

// TestDoctorAsksForTranscodeWorkers: each worker of the deployment that takes no jobs is a finding, in its own words.
func TestDoctorAsksForTranscodeWorkers(t *testing.T) {
	nodes := ""
	c := answered(t, func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/v1/nodes" {
			fmt.Fprintf(w, `{"nodes":[%s]}`, nodes)
			return
		}
		fmt.Fprintln(w, "ready")
	})
	nodes = `{"name":"worker-1","roles":["transcode"]},{"name":"gateway-1","roles":["gateway"]}`
	if list := transcodeFindings(t.Context(), c); len(list) != 0 {
		t.Errorf("all take jobs: %+v", list)
	}
	nodes += `,{"name":"worker-2","roles":["transcode"],"transcodeAway":"ffmpeg is not there"}`
	if list := transcodeFindings(t.Context(), c); len(list) != 1 || list[0].OK || list[0].Detail != "worker-2 takes no jobs: ffmpeg is not there" || list[0].Advice == "" {
		t.Errorf("one takes none: %+v", list)
	}
	c.Admin.Listen = ""
	if list := transcodeFindings(t.Context(), c); len(list) != 0 {
		t.Errorf("nothing runs: %+v", list)
	}
}

// TestDoctorAsksTheKliveThatRuns: one that takes no work, or no streams, is a finding in its own words; none is none.
func TestDoctorAsksTheKliveThatRuns(t *testing.T) {
	text := ""
	c := answered(t, func(w http.ResponseWriter, _ *http.Request) { fmt.Fprintln(w, text) })
	for _, text = range []string{"not ready: this host's clock is 5s ahead", "full: 1 stream (limits.streams is 1)", "ready"} {
		list := runningFinding(t.Context(), c)
		if len(list) != 1 || list[0].Detail != text || list[0].OK != (text == "ready") || list[0].OK != (list[0].Advice == "") {
			t.Errorf("%q: %+v", text, list)
		}
	}
	c.Admin.Listen = ""
	if list := runningFinding(t.Context(), c); len(list) != 0 {
		t.Errorf("nothing runs: %+v", list)
	}
}

// TestDoctorTellsAwayFromWrong: where the bus does not answer its nodes are looked at first, not the configuration.
func TestDoctorTellsAwayFromWrong(t *testing.T) {
	if a := busAdvice(fmt.Errorf("%w: connect", bus.ErrUnavailable)); !strings.HasPrefix(a, "see that the bus nodes run") {
		t.Errorf("away: %s", a)
	}
	if a := busAdvice(bus.ErrDenied); !strings.HasPrefix(a, "correct bus.url") {
		t.Errorf("denied: %s", a)
	}
}

// TestDoctorOfAFullBusNode: one whose disk is full is not sent to look for other nodes.
func TestDoctorOfAFullBusNode(t *testing.T) {
	text := ""
	c := answered(t, func(w http.ResponseWriter, _ *http.Request) { fmt.Fprintln(w, text) })
	for _, x := range []struct{ says, advice string }{
		{"not ready: " + bus.ErrFull.Error() + ": the bus could not write to its folder", "make room"},
		{"not ready: the disk of the data folder /x is full: 3 MiB are left; free some space", "make room"},
		{"not ready: bus: not available: not connected: bus-3:6222", "start the nodes that it misses"},
		{"full: 299 connections of the 299 that its file descriptors allow", "let it have more file descriptors"},
		{"ready, but not connected: bus-3:6222", ""},
	} {
		text = x.says
		if f := busNodeFinding(t.Context(), c); f.OK != (x.advice == "") || !strings.HasPrefix(f.Advice, x.advice) || f.Detail != x.says {
			t.Errorf("%+v: %+v", x, f)
		}
	}
}
