package images

import (
	"encoding/json"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/goccy/go-yaml"
)

// TestAlertsAndDashboard wants rules that say what to do, and metrics that klive has.
func TestAlertsAndDashboard(t *testing.T) {
	text, err := os.ReadFile("alerts.yaml")
	if err != nil {
		t.Fatal(err)
	}
	var rules struct {
		Groups []struct {
			Rules []struct {
				Alert, Expr         string
				Labels, Annotations map[string]string
			}
		}
	}
	if err := yaml.Unmarshal(text, &rules); err != nil {
		t.Fatal(err)
	}
	var exprs []string
	for _, g := range rules.Groups {
		for _, r := range g.Rules {
			if r.Alert == "" || r.Labels["severity"] == "" || r.Annotations["summary"] == "" || r.Annotations["action"] == "" {
				t.Errorf("%q lacks a severity, a summary or what to do", r.Alert)
			}
			exprs = append(exprs, r.Expr)
		}
	}
	if len(exprs) < 5 {
		t.Errorf("%d rules only", len(exprs))
	}
	if text, err = os.ReadFile("dashboard.json"); err != nil {
		t.Fatal(err)
	}
	var dashboard struct {
		Panels []struct {
			Title   string
			Targets []struct{ Expr string }
		}
	}
	if err := json.Unmarshal(text, &dashboard); err != nil || len(dashboard.Panels) < 5 {
		t.Fatalf("%d panels, %v", len(dashboard.Panels), err)
	}
	for _, p := range dashboard.Panels {
		if len(p.Targets) == 0 || p.Title == "" {
			t.Errorf("panel %q shows nothing", p.Title)
			continue
		}
		exprs = append(exprs, p.Targets[0].Expr)
	}
	sources := programText(t)
	name := regexp.MustCompile(`klive_[a-z_]+`)
	for _, e := range exprs {
		for _, m := range name.FindAllString(e, -1) {
			if !slices.ContainsFunc([]string{`"` + m, `"` + strings.TrimPrefix(m, "klive_spool_") + `"`}, func(s string) bool { return strings.Contains(sources, s) }) {
				t.Errorf("%s: klive has no metric %s", e, m)
			}
		}
	}
}

// programText is the source of all rooms.
func programText(t *testing.T) string {
	t.Helper()
	var b strings.Builder
	for _, room := range []string{"gateway", "workers", "storage", "infra"} {
		err := filepath.WalkDir(filepath.Join("../..", room), func(path string, d os.DirEntry, err error) error {
			if err != nil || d.IsDir() || filepath.Ext(path) != ".go" {
				return err
			}
			text, err := os.ReadFile(path)
			b.Write(text)
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	return b.String()
}
