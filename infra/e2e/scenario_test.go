package e2e

import (
	"flag"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"

	"klive/infra/bus/bustest"
	"klive/infra/check"
)

var update = flag.Bool("update", false, "write the API logs of scenarios anew")

// TestScenarios plays each scenario against the whole service in virtual time. Every
// version of every playlist passes the rule checker.
func TestScenarios(t *testing.T) {
	files, err := filepath.Glob("testdata/scenarios/*.txt")
	if err != nil || len(files) == 0 {
		t.Fatalf("no scenarios: %v", err)
	}
	for _, file := range files {
		name := strings.TrimSuffix(filepath.Base(file), ".txt")
		t.Run(name, func(t *testing.T) {
			text, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			s, err := check.ParseScenario(string(text))
			if err != nil {
				t.Fatalf("%s: %v", file, err)
			}
			bustest.Prepare(t)
			synctest.Test(t, func(t *testing.T) { playScenario(t, s) })
		})
	}
}

func playScenario(t *testing.T, s *check.Scenario) {
	sys := startService(t, s).system()
	out, err := check.RunScenario(t.Context(), s, sys)
	if err != nil {
		t.Fatal(err)
	}
	t.Logf("%d playlist versions; audit:\n%v", len(out.Follower.Versions), out.Follower.Audit(out.Sent))
	for _, err := range out.Check(s.Expects, func(name string) (string, error) { return golden(t, name, out) }) {
		t.Error(err)
	}
	if t.Failed() {
		for _, r := range out.Refusals {
			t.Logf("an encoder was told: %v", r)
		}
		showLast(t, out.Follower)
	}
}

// golden reads a list of API calls, or writes it when the test is asked to.
func golden(t *testing.T, name string, out *check.Outcome) (string, error) {
	file := filepath.Join("testdata", "api", name+".txt")
	if *update {
		list := "# The calls of the scenario: when, what, with which parameters.\n" + check.FormatCalls(out.Calls, out.Begin)
		return list, os.WriteFile(file, []byte(list), 0o644)
	}
	b, err := os.ReadFile(file)
	return string(b), err
}

// showLast logs the newest version of each playlist.
func showLast(t *testing.T, f *check.Follower) {
	last := map[string]string{}
	for _, v := range f.Versions {
		last[v.Path] = v.Text
	}
	for path, text := range last {
		t.Logf("%s:\n%s", path, text)
	}
}
