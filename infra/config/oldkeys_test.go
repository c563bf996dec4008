package config

import (
	"os"
	"slices"
	"strings"
	"testing"
)

// A setting of the media server that klive replaces is refused with klive's key, wherever it
// stands (rows 132 and 133).
func TestOldKeysAreRefusedWithAHint(t *testing.T) {
	for _, k := range OldKeys() {
		for where, parse := range map[string]func() error{
			"at the top": func() error { _, _, err := Parse("klive.yaml", []byte(k.Name+": 60\n"), nil); return err },
			"in a section": func() error {
				_, _, err := Parse("klive.yaml", []byte("kaltura:\n  "+k.Name+": 60\n"), nil)
				return err
			},
			"in the environment": func() error { _, _, err := Parse("", nil, []string{k.Name + "=60"}); return err },
			"with klive's prefix": func() error {
				_, _, err := Parse("", nil, []string{"KLIVE_" + strings.ToUpper(k.Name) + "=60"})
				return err
			},
		} {
			err := parse()
			if err == nil || !strings.Contains(err.Error(), k.Name) || !strings.Contains(err.Error(), k.Key) || !strings.Contains(err.Error(), k.Why) {
				t.Errorf("%s %s: %v", k.Name, where, err)
			}
		}
	}
	// KLIVE_KALTURA_TIMEOUT is klive's own, and what others put into the environment is theirs.
	if _, warnings, err := Parse("", nil, []string{"KLIVE_KALTURA_TIMEOUT=60s", "KALTURA_HOME=/opt", "HOME=/root"}); err != nil || len(warnings) > 0 {
		t.Errorf("%v, %v", err, warnings)
	}
}

// The table of the README for people who migrate names each old setting and klive's key.
func TestOldKeysInTheREADME(t *testing.T) {
	text, err := os.ReadFile("../../README.md")
	if err != nil {
		t.Fatal(err)
	}
	keys := Keys()
	for _, k := range OldKeys() {
		if k.Key == "" && k.Why == "" {
			t.Errorf("%s has neither a key nor a reason", k.Name)
		}
		if k.Key != "" && !slices.ContainsFunc(keys, func(own Key) bool { return own.Path == k.Key }) {
			t.Errorf("%s leads to %s, which is no key", k.Name, k.Key)
		}
		row := slices.IndexFunc(strings.Split(string(text), "\n"), func(line string) bool {
			return strings.HasPrefix(line, "| ") && strings.Contains(line, "`"+k.Name+"`") && (k.Key == "" || strings.Contains(line, "`"+k.Key+"`"))
		})
		if row < 0 {
			t.Errorf("the README has no row with %s and %q", k.Name, k.Key)
		}
	}
}
