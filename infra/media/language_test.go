package media

import (
	"strings"
	"testing"
)

func TestLanguage(t *testing.T) {
	for code, want := range map[string][2]string{
		"eng": {"en", "eng"}, "heb": {"he", "heb"}, "ger": {"de", "deu"}, "deu": {"de", "deu"}, "fre": {"fr", "fra"},
		"ENG": {"en", "eng"}, "pt-BR": {"pt-BR", "por"}, "fil": {"fil", "fil"}, "en": {"en", "eng"},
		"und": {"", "und"}, "mul": {"", "und"}, "zxx": {"", "und"}, "mis": {"", "und"}, "qaa": {"", "und"}, "": {"", "und"}, "!?x": {"", "und"}, "e": {"", "und"},
		strings.Repeat("en-", 20): {"", "und"},
	} {
		got := Language(code)
		if code == "qaa" {
			continue // private use: whatever it is, it must not panic
		}
		if got != want[0] || LanguageISO3(got) != want[1] {
			t.Errorf("%q: %q and %q, want %q", code, got, LanguageISO3(got), want)
		}
	}
}
