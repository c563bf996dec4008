package live

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

func sampleBeat() Beat {
	at := time.Date(2026, 11, 23, 4, 5, 6, 789e6, time.UTC)
	return Beat{
		Version: 1, Name: "worker-3-k7f2m9qa", Roles: []string{"gateway", "worker"}, Release: "v1.4.0", Internal: "10.0.3.7:8082", Time: at,
		Ready: true, Draining: true, Feeds: 2, Worker: &WorkerBeat{Owned: 3, Load: 24_000_000}, Spool: &SpoolBeat{Bytes: 4 << 20, Oldest: at.Add(-time.Minute)},
		Transcode: &TranscodeBeat{Away: "ffmpeg is not there"},
	}
}

// TestBeatGolden holds the wire form still: releases N and N-1 share a bus.
func TestBeatGolden(t *testing.T) {
	file := filepath.Join("testdata", "beat.json")
	want, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	got, err := sampleBeat().Marshal()
	if err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff(strings.TrimSpace(string(want)), string(got)); d != "" {
		t.Errorf("the wire form has changed (-want +got):\n%s", d)
	}
	b, err := UnmarshalBeat(want)
	if err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff(sampleBeat(), b); d != "" {
		t.Errorf("(-want +got):\n%s", d)
	}
}

func TestBeatOfAnotherRelease(t *testing.T) {
	b, err := UnmarshalBeat([]byte(`{"v":1,"name":"a","time":"2026-11-23T04:05:06Z","ready":true,"later":{"x":[1]}}`))
	if err != nil || b.Name != "a" || !b.Ready || b.Worker != nil {
		t.Errorf("an unknown field: %+v, %v", b, err)
	}
	if _, err := UnmarshalBeat([]byte(`{"v":2,"name":["other","type"]}`)); !errors.Is(err, ErrVersion) {
		t.Errorf("a newer version: %v", err)
	}
}

// What a store says of itself may be long; the beat goes out all the same.
func TestBeatWithALongReason(t *testing.T) {
	long := strings.Repeat("x", 511) + "ü" + strings.Repeat("y", 1000)
	sent := Beat{Name: "a", Why: long, Spool: &SpoolBeat{Away: long}, Transcode: &TranscodeBeat{Away: long}}
	wire, err := sent.Marshal()
	if err != nil {
		t.Fatal(err)
	}
	b, err := UnmarshalBeat(wire)
	if err != nil || b.Why != long[:511] || b.Spool.Away != long[:511] || b.Transcode.Away != long[:511] || len(sent.Spool.Away) < 1000 || len(sent.Transcode.Away) < 1000 {
		t.Errorf("%+v, %+v, %v", b.Spool, b.Transcode, err)
	}
	// A file system's name for something may be no text.
	if wire, err = (Beat{Name: "a", Why: strings.Repeat("\xff", 300) + "full"}).Marshal(); err != nil {
		t.Fatal(err)
	}
	if b, err = UnmarshalBeat(wire); err != nil || b.Why != "full" {
		t.Errorf("%q, %v", b.Why, err)
	}
}

func TestBadBeats(t *testing.T) {
	for name, wire := range map[string]string{
		"empty": "", "no name": `{"v":1}`, "no version": `{"name":"a"}`, "text": `hello`,
		"long name": `{"v":1,"name":"` + strings.Repeat("x", 300) + `"}`,
		"roles":     `{"v":1,"name":"a","roles":[` + strings.Repeat(`"x",`, 20) + `"x"]}`,
		"reason":    `{"v":1,"name":"a","spool":{"bytes":1,"away":"` + strings.Repeat("x", 600) + `"}}`,
		"no jobs":   `{"v":1,"name":"a","transcode":{"away":"` + strings.Repeat("x", 600) + `"}}`,
		"negative":  `{"v":1,"name":"a","worker":{"owned":-1,"load":0}}`,
	} {
		if b, err := UnmarshalBeat([]byte(wire)); err == nil {
			t.Errorf("%s: %+v", name, b)
		}
	}
}

func TestWeight(t *testing.T) {
	few, many := WorkerBeat{Owned: 2, Load: 2_000_000}, WorkerBeat{Owned: 1, Load: 50_000_000}
	if few.Weight() >= many.Weight() {
		t.Errorf("two small entries weigh %v, a large one %v", few.Weight(), many.Weight())
	}
}
