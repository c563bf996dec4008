package main

import (
	"encoding/json"
	"net/http"
	"strings"
	"testing"

	"klive/infra/admin"
)

// TestFeedListTellsOfAnAbsentChoice: the list has no line for an encoder that was never there, or is gone for long; that
// somebody chose it is told all the same, once for each entry.
func TestFeedListTellsOfAnAbsentChoice(t *testing.T) {
	primary := admin.Stream{Entry: "0_demolive", Feed: "0_demolive.0.1", Index: "primary", State: admin.StateLive, Preferred: "backup"}
	second := primary
	second.Feed = "0_demolive.0.2"
	backup := admin.Stream{Entry: "0_demolive", Feed: "0_demolive.1.1", Index: "backup", State: admin.StateStandby, Preferred: "backup", Pinned: true}
	gone := backup
	gone.State = admin.StateGone
	for name, c := range map[string]struct {
		list  []admin.Stream
		notes int
	}{
		"never there": {[]admin.Stream{primary, second}, 1},
		"gone":        {[]admin.Stream{primary, gone}, 1},
		"there":       {[]admin.Stream{primary, backup}, 0},
		"no choice":   {[]admin.Stream{{Entry: "0_demolive", Index: "primary", State: admin.StateLive}}, 0},
	} {
		notes := feedNotes(c.list)
		if len(notes) != c.notes || c.notes > 0 && !strings.Contains(notes[0], "0_demolive: pinned to the backup, which sends nothing") {
			t.Errorf("%s: %q", name, notes)
		}
	}
	primary.Preferred, primary.Problem = "", "gaps"
	if notes := feedNotes([]admin.Stream{primary}); len(notes) != 1 || notes[0] != "0_demolive.0.1: gaps" {
		t.Errorf("a problem: %q", notes)
	}
}

// TestFeedListTellsOfRungs: gaps of a rung don't lower a stream's health, and the list says that viewers of it have them.
func TestFeedListTellsOfRungs(t *testing.T) {
	s := admin.Stream{Entry: "0_demolive", Feed: "0_demolive.0.1", State: admin.StateLive, Rungs: []admin.Rung{
		{Rendition: "0_demolive_33", Segments: 11, Gaps: 6, Reason: "no transcode worker is heard"}, {Rendition: "0_demolive_34", Segments: 11},
	}}
	const want = "0_demolive.0.1: of the newest segments gaps are in 0_demolive_33 (6 of 11): no transcode worker is heard"
	if notes := feedNotes([]admin.Stream{s}); len(notes) != 1 || notes[0] != want {
		t.Errorf("%q, want %q", notes, want)
	}
	s.Rungs[0].Gaps = 0
	if notes := feedNotes([]admin.Stream{s}); len(notes) != 0 {
		t.Errorf("without gaps: %q", notes)
	}
}

// TestFeedPinSaysWhatFollows: an encoder that sends nothing can be chosen, and nothing changes by it; what "auto" means
// depends on failover.return.
func TestFeedPinSaysWhatFollows(t *testing.T) {
	answering(t, func(w http.ResponseWriter, r *http.Request) {
		var answer struct {
			Streams []admin.Stream `json:"streams"`
		}
		if r.URL.Path == "/v1/streams/0_demolive" {
			answer.Streams = []admin.Stream{{Entry: "0_demolive", Index: "primary", State: admin.StateLive}}
		}
		_ = json.NewEncoder(w).Encode(answer)
	})
	for _, c := range []struct{ index, back, want string }{
		{"primary", "auto", "0_demolive: the primary while it sends"},
		{"backup", "auto", "0_demolive: the backup as soon as it sends; now it sends nothing"},
		{"auto", "auto", "0_demolive: the primary while it is healthy"},
		{"auto", "manual", "0_demolive: the encoder that viewers see now"},
	} {
		t.Setenv("KLIVE_FAILOVER_RETURN", c.back)
		g := &global{}
		client, err := g.adminClient()
		if err != nil {
			t.Fatal(err)
		}
		p := feedPinCmd{Entry: "0_demolive", Index: c.index}
		text, err := p.outcome(t.Context(), g, client, "0_demolive")
		if err != nil || !strings.HasPrefix(text, c.want) {
			t.Errorf("%+v: %q, %v", c, text, err)
		}
	}
}
