package check

import (
	"path/filepath"
	"strings"
	"testing"

	"github.com/rogpeppe/go-internal/txtar"
)

// Each archive in testdata/playlists holds the versions of some playlists in the order in
// which they were seen, and the one rule that the last of them breaks.
func TestPlaylistRules(t *testing.T) {
	files, err := filepath.Glob("testdata/playlists/*.txtar")
	if err != nil || len(files) == 0 {
		t.Fatalf("no archives: %v", err)
	}
	seen := map[string]bool{}
	for _, file := range files {
		t.Run(strings.TrimSuffix(filepath.Base(file), ".txtar"), func(t *testing.T) {
			a, err := txtar.ParseFile(file)
			if err != nil {
				t.Fatal(err)
			}
			want := strings.TrimSpace(strings.TrimPrefix(string(a.Comment), "expect:"))
			seen[want] = true
			p := NewPlaylist(PlaylistConfig{Size: func(path string) (int64, bool) {
				if strings.Contains(path, "_a1/") {
					return 64_000, true // 128 kbit/s in segments of 4 s
				}
				return 2_500_000, true // 5 Mbit/s
			}})
			for i, f := range a.Files {
				findings := p.Add(f.Name, string(f.Data))
				if i < len(a.Files)-1 && len(findings) > 0 {
					t.Errorf("version %d is good, but: %v", i, findings)
				}
				if i == len(a.Files)-1 {
					expectRule(t, want, findings)
				}
			}
			if (p.Err() == nil) != (want == "nothing") {
				t.Errorf("Err = %v", p.Err())
			}
		})
	}
	for _, rule := range []string{
		RuleSyntax, RuleVersion, RuleTarget, RuleSequence, RuleImmutable, RuleDiscontinuity, RulePDT, RuleWindow, RuleEndlist,
		RuleAligned, RuleMap, RuleName, RuleIndependent, RuleMultivariant, RuleCodecs, RuleBandwidth, RuleAudioGroup, RuleCaptions,
	} {
		if !seen[rule] {
			t.Errorf("no archive breaks the rule %q", rule)
		}
	}
}

func expectRule(t *testing.T, want string, findings []Finding) {
	t.Helper()
	found := want == "nothing"
	for _, f := range findings {
		t.Log(f)
		found = found || f.Rule == want
	}
	if want == "nothing" && len(findings) > 0 {
		t.Error("a good playlist has findings")
	}
	if !found {
		t.Errorf("nothing was found to break the rule %q", want)
	}
}

func FuzzPlaylist(f *testing.F) {
	files, _ := filepath.Glob("testdata/playlists/*.txtar")
	for _, file := range files {
		a, err := txtar.ParseFile(file)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(string(a.Files[0].Data), string(a.Files[len(a.Files)-1].Data))
	}
	f.Fuzz(func(t *testing.T, a, b string) {
		p := NewPlaylist(PlaylistConfig{})
		p.Add("/a/v.m3u8", a)
		p.Add("/b/v.m3u8", b)
		p.Add("/a/v.m3u8", b)
	})
}
