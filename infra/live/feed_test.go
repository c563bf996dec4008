package live

import (
	"errors"
	"testing"
)

func TestParseStreamName(t *testing.T) {
	for _, tt := range []struct {
		name   string
		entry  string
		suffix int
	}{
		{"0_rkij47dr_1", "0_rkij47dr", 1},
		{"0_rkij47dr", "0_rkij47dr", 1},
		{"1_demo_ive_1019", "1_demo_ive", 1019},
		{"0_demolive_12", "0_demolive", 12},
	} {
		entry, suffix, err := ParseStreamName(tt.name)
		if err != nil || entry != tt.entry || suffix != tt.suffix {
			t.Errorf("ParseStreamName(%q) = %q, %d, %v", tt.name, entry, suffix, err)
		}
	}
	for _, name := range []string{"", "stream", "0_rkij47d", "0_rkij47dr_", "0_rkij47dr_0", "0_rkij47dr_x", "0_rkij47dr_1_all", "x_rkij47dr_1", "0_rkij47dr_12345", "0_rkij47dr_1\n"} {
		if _, _, err := ParseStreamName(name); !errors.Is(err, ErrStreamName) {
			t.Errorf("ParseStreamName(%q): %v, want ErrStreamName", name, err)
		}
	}
}

func TestFeedID(t *testing.T) {
	f := FeedID{Entry: "0_rkij47dr", Index: Backup, Suffix: 3}
	got, err := ParseFeedID(f.String())
	if err != nil || got != f {
		t.Errorf("ParseFeedID(%q) = %v, %v", f, got, err)
	}
	if feed := (Feed{FeedID: f, Epoch: 7}); f.StreamName() != "0_rkij47dr_3" || feed.Subject() != "m.0_rkij47dr.1.3.7" {
		t.Errorf("names of %v: %q, %q", f, f.StreamName(), feed.Subject())
	}
	for _, s := range []string{"", "0_rkij47dr", "0_rkij47dr.2.1", "0_rkij47dr.0.0", "0_rkij47dr.0.x", "bad.0.1", "0_rkij47dr.0.1.1", "0_rkij47dr.0.10000"} {
		if _, err := ParseFeedID(s); err == nil {
			t.Errorf("ParseFeedID(%q) was accepted", s)
		}
	}
}

func TestGrantAcceptsItsTokenOnly(t *testing.T) {
	g := Grant{Entry: "0_rkij47dr", TokenHash: HashToken("0_rkij47dr", "dj94kfit")}
	if !g.Accepts("0_rkij47dr", "dj94kfit") {
		t.Error("the token that was granted is refused")
	}
	if g.Accepts("0_rkij47dr", "dj94kfiT") || g.Accepts("0_rkij47ds", "dj94kfit") || g.Accepts("0_rkij47dr", "") {
		t.Error("another token or entry is accepted")
	}
	if (&Grant{Entry: "0_rkij47dr"}).Accepts("0_rkij47dr", "") {
		t.Error("a grant without a token accepts an empty one")
	}
}

func TestLadderGroups(t *testing.T) {
	l := Ladder{
		Rungs: []Rung{
			{ParamsID: 32, Name: "Source", Tags: []string{"source", "web"}},
			{ParamsID: 33, Name: "Small", Tags: []string{"mbr"}},
		},
		Groups: []Group{{Name: "mobile", Members: []string{"Small"}}},
	}
	for _, tt := range []struct {
		group string
		want  [2]bool
	}{
		{"all", [2]bool{true, true}},
		{"mobile", [2]bool{false, true}},
		{"web", [2]bool{true, false}},
		{"tv", [2]bool{false, false}},
	} {
		for i := range l.Rungs {
			if got := l.InGroup(&l.Rungs[i], tt.group); got != tt.want[i] {
				t.Errorf("InGroup(%s, %s) = %v, want %v", l.Rungs[i].Name, tt.group, got, tt.want[i])
			}
		}
	}
	if got := l.Rungs[0].Rendition("0_rkij47dr"); got != "0_rkij47dr_32" {
		t.Errorf("Rendition = %q", got)
	}
}
