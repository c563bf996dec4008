package whip

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"
)

// TestReorder puts packets in order, asks for those that are missing, and gives them up.
func TestReorder(t *testing.T) {
	var got []string
	o := reorder{latency: 100 * time.Millisecond, deliver: func(p *packet, lost bool) {
		mark := ""
		if lost {
			mark = "!"
		}
		got = append(got, fmt.Sprintf("%s%d", mark, p.seq))
	}}
	now := time.Unix(1000, 0)
	push := func(seqs ...int64) {
		for _, s := range seqs {
			o.push(packet{seq: s, payload: []byte{byte(s)}}, now)
		}
	}
	expect := func(what, want string) {
		t.Helper()
		if is := strings.Join(got, " "); is != want {
			t.Errorf("%s: %s; want %s", what, is, want)
		}
		got = nil
	}
	push(10, 11, 13, 14, 14)
	expect("a hole", "10 11")
	if list := o.ask(now, 0, nil); len(list) != 0 {
		t.Errorf("asked at once for %v", list)
	}
	now = now.Add(patience)
	if list := o.ask(now, 0, nil); !slices.Equal(list, []uint16{12}) {
		t.Errorf("asked for %v", list)
	}
	if list := o.ask(now.Add(firstAsk/2), 0, nil); len(list) != 0 {
		t.Errorf("asked again too soon for %v", list)
	}
	push(12, 12, 9)
	expect("the repeat", "12 13 14")
	if o.stats.recovered != 1 || o.stats.belated != 3 {
		t.Errorf("%+v", o.stats)
	}
	push(17, 18, 20)
	expect("two holes", "")
	now = now.Add(100 * time.Millisecond)
	push(21)
	o.expire(now)
	expect("given up", "!17 18 !20 21")
	if o.stats.lost != 3 || !o.wake().IsZero() {
		t.Errorf("%+v, %v", o.stats, o.wake())
	}
	push(22, 24, 22+2*window)
	expect("far ahead", fmt.Sprintf("22 !24 !%d", 22+2*window))
	push(23 + 2*window)
	expect("after that", fmt.Sprint(23+2*window))
}

// TestReorderProperty holds what comes out against what went in: each packet at most once, in
// order, and marked where one is missing.
func TestReorderProperty(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		last, started := int64(-1), false
		o := reorder{latency: 50 * time.Millisecond, deliver: func(p *packet, lost bool) {
			if started && p.seq <= last {
				t.Fatalf("%d follows %d", p.seq, last)
			}
			if started && lost != (p.seq != last+1) {
				t.Fatalf("%d follows %d, lost: %t", p.seq, last, lost)
			}
			if len(p.payload) != 1 || p.payload[0] != byte(p.seq) {
				t.Fatalf("packet %d has payload %x", p.seq, p.payload)
			}
			last, started = p.seq, true
		}}
		now := time.Unix(1000, 0)
		at := int64(100)
		for range rapid.IntRange(1, 200).Draw(t, "packets") {
			seq := at + int64(rapid.IntRange(-8, 8).Draw(t, "step"))
			at++
			if rapid.IntRange(0, 60).Draw(t, "leap") == 0 {
				at += window * 3 / 2
			}
			o.push(packet{seq: seq, payload: []byte{byte(seq)}}, now)
			now = now.Add(time.Duration(rapid.IntRange(0, 20).Draw(t, "ms")) * time.Millisecond)
			o.expire(now)
			o.ask(now, 0, nil)
			if o.held > window || len(o.missing) > window {
				t.Fatalf("%d held, %d missing", o.held, len(o.missing))
			}
		}
	})
}
