package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"os/exec"
	"slices"
	"strings"
	"testing"
)

const module = "klive/"

// rooms is the import table of ARCHITECTURE.md: what each package may import of ours.
// "x/..." is x and all below it, "@infra" what every room may use.
var rooms = map[string][]string{
	"":                                {"gateway/...", "workers/...", "storage/...", "@infra", "infra/kaltura/controlplane", "infra/admin", "infra/node", "infra/publisher"},
	"gateway":                         {"@infra"},
	"gateway/rtmp":                    {"gateway", "@infra"},
	"gateway/srt":                     {"gateway", "@infra"},
	"gateway/whip":                    {"gateway", "@infra"},
	"gateway/push":                    {"gateway", "@infra"},
	"workers":                         {"workers/...", "storage/...", "@infra"},
	"workers/packager":                {"storage/...", "@infra"},
	"workers/registrar":               {"@infra"},
	"workers/sweeper":                 {"storage/...", "@infra"},
	"workers/recorder":                {"storage/...", "@infra"},
	"workers/transcode":               {"@infra"},
	"storage":                         {"@infra"},
	"storage/disk":                    {"storage", "@infra"},
	"storage/s3":                      {"storage", "@infra"},
	"storage/spool":                   {"storage", "@infra"},
	"storage/ledger":                  {"storage", "@infra"},
	"storage/storagetest":             {"storage", "@infra"},
	"storage/timeline":                {"storage", "infra/live", "infra/media"},
	"storage/timeline/buslog":         {"storage/timeline", "infra/bus"},
	"storage/timeline/timelinetest":   {"storage", "storage/timeline", "infra/live", "infra/media"},
	"storage/playlist":                {"storage/timeline", "infra/live", "infra/media"},
	"storage/origin":                  {"storage/...", "@infra"},
	"infra/media":                     {},
	"infra/media/flv":                 {"infra/media", "infra/media/nal"},
	"infra/media/mp4":                 {"infra/media", "infra/media/nal"},
	"infra/media/ts":                  {"infra/media", "infra/media/nal"},
	"infra/live":                      {"infra/media"},
	"infra/bus":                       {},
	"infra/bus/bustest":               {"infra/bus"},
	"infra/kaltura":                   {"@infra"},
	"infra/kaltura/controlplane":      {"@infra"},
	"infra/config":                    {},
	"infra/telemetry":                 {},
	"infra/admin":                     {"@infra"},
	"infra/publisher":                 {"@infra"},
	"infra/check":                     {"gateway/...", "workers/...", "storage/...", "infra/..."},
	"infra/check/fault":               {},
	"infra/node":                      {"gateway/...", "workers/...", "storage/...", "@infra", "infra/kaltura/controlplane", "infra/admin"},
	"infra/e2e":                       {"gateway/...", "workers/...", "storage/...", "infra/..."},
	"infra/images":                    {},
	"terraform":                       {},
	"terraform/tables":                {},
	"workers/transcode/transcodetest": {"@infra"},
	"infra/media/nal":                 {"infra/media"},
}

// forEveryRoom is what "@infra" stands for: not the rooms that put others together, and
// not those that are for tests.
var forEveryRoom = []string{
	"infra/media/...", "infra/live", "infra/bus", "infra/kaltura", "infra/config", "infra/telemetry",
}

// TestRooms holds every package's direct imports, tests aside, against the table.
func TestRooms(t *testing.T) {
	for _, p := range listPackages(t) {
		room := strings.TrimPrefix(strings.TrimPrefix(p.ImportPath, strings.TrimSuffix(module, "/")), "/")
		allowed, ok := rooms[room]
		if !ok {
			t.Errorf("%q is no room of the table; give it a line in rooms_test.go and in ARCHITECTURE.md", room)
			continue
		}
		for _, path := range p.Imports {
			target, ours := strings.CutPrefix(path, module)
			if ours && !mayImport(allowed, target) {
				t.Errorf("%s imports %s, which the table does not allow (it allows %v)", room, target, allowed)
			}
		}
	}
}

func mayImport(allowed []string, target string) bool {
	return slices.ContainsFunc(allowed, func(a string) bool {
		if a == "@infra" {
			return mayImport(forEveryRoom, target)
		}
		room, all := strings.CutSuffix(a, "/...")
		return target == room || all && strings.HasPrefix(target, room+"/")
	})
}

type goPackage struct {
	ImportPath string
	Dir        string
	Imports    []string
}

func listPackages(t *testing.T) []goPackage {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), "go", "list", "-json=ImportPath,Dir,Imports", "./...")
	var errs bytes.Buffer
	cmd.Stderr = &errs
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("go list: %v\n%s", err, errs.String())
	}
	var all []goPackage
	for dec := json.NewDecoder(bytes.NewReader(out)); ; {
		var p goPackage
		if err := dec.Decode(&p); errors.Is(err, io.EOF) {
			break
		} else if err != nil {
			t.Fatal(err)
		}
		all = append(all, p)
	}
	if len(all) < 10 {
		t.Fatalf("go list found %d packages only", len(all))
	}
	return all
}

func TestMayImport(t *testing.T) {
	for _, c := range []struct {
		room, target string
		want         bool
	}{
		{"gateway/rtmp", "gateway", true},
		{"gateway/rtmp", "infra/media/flv", true},
		{"gateway/rtmp", "gateway/srt", false},
		{"gateway", "storage", false},
		{"gateway", "infra/kaltura/controlplane", false},
		{"infra/media", "infra/live", false},
		{"storage/timeline", "storage/disk", false},
		{"workers", "storage/timeline/buslog", true},
		{"workers", "gateway", false},
		{"infra/e2e", "workers/packager", true},
	} {
		if got := mayImport(rooms[c.room], c.target); got != c.want {
			t.Errorf("%s importing %s: allowed is %v, want %v", c.room, c.target, got, c.want)
		}
	}
}
