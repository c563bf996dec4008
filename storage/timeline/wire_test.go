package timeline_test

import (
	"encoding/json"
	"errors"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"klive/storage/timeline"
	tt "klive/storage/timeline/timelinetest"
)

func TestWire(t *testing.T) {
	sc := tt.NewScript()
	records := append(sc.Open(tt.Broadcast, 2*60*sec),
		&timeline.Claimed{Epoch: 4, Owner: "host"}, sc.Adopt(4*sec, true), sc.Store(), sc.Gap(), sc.Hold(),
		&timeline.Closed{Broadcast: tt.Broadcast, Chapter: timeline.Chapter{Key: "k", FirstSeq: 1, LastSeq: 2}},
		&timeline.Ended{End: sc.At}, &timeline.Expired{Broadcast: tt.Broadcast, Before: 9})
	for _, r := range records {
		want := timeline.Envelope{Epoch: 4, Prev: 17, ID: "x-1", Record: r}
		b, err := want.Marshal()
		if err != nil {
			t.Fatal(err)
		}
		got, err := timeline.UnmarshalEnvelope(b)
		if err != nil {
			t.Fatalf("%s: %v", b, err)
		}
		if d := cmp.Diff(want, got); d != "" {
			t.Error(d)
		}
	}
}

// The form is what releases share: this text must stay readable.
func TestWireGolden(t *testing.T) {
	const text = `{"v":1,"epoch":3,"prev":7,"id":"a","type":"ended","rec":{"end":5,"new":true},"more":1}`
	got, err := timeline.UnmarshalEnvelope([]byte(text))
	want := timeline.Envelope{Epoch: 3, Prev: 7, ID: "a", Record: &timeline.Ended{End: 5}}
	if err != nil || !cmp.Equal(want, got) {
		t.Errorf("%v\n%s", err, cmp.Diff(want, got))
	}
}

func TestWireRefuses(t *testing.T) {
	for text, want := range map[string]error{
		``:                          timeline.ErrRecord,
		`{`:                         timeline.ErrRecord,
		`{"v":2,"type":"ended"}`:    timeline.ErrVersion,
		`{"v":1,"type":"exploded"}`: timeline.ErrVersion,
		`{"v":1,"type":"ended"}`:    timeline.ErrRecord,
		`{"v":1,"type":"ended","rec":{"end":"x"}}`:                                              timeline.ErrRecord,
		`{"v":1,"type":"ended","rec":{},"x":"` + strings.Repeat("x", timeline.MaxRecord) + `"}`: timeline.ErrRecord,
	} {
		if _, err := timeline.UnmarshalEnvelope([]byte(text)); !errors.Is(err, want) {
			t.Errorf("%.40s: %v, want %v", text, err, want)
		}
	}
	big := &timeline.Claimed{Owner: strings.Repeat("x", timeline.MaxRecord)}
	if _, err := (timeline.Envelope{Record: big}).Marshal(); !errors.Is(err, timeline.ErrRecord) {
		t.Errorf("a record beyond the bound: %v", err)
	}
}

// A release that does not know held media reads a record of them as one that says nothing.
func TestWireHeldStandApart(t *testing.T) {
	sc := tt.NewScript()
	sc.Adopt(4*sec, true)
	r := sc.Hold(tt.Video)
	r.Media = append(r.Media, sc.Store(tt.Audio).Media...)
	b, err := timeline.Envelope{Epoch: 4, Record: r}.Marshal()
	if err != nil {
		t.Fatal(err)
	}
	var old struct {
		Record struct {
			Media []struct {
				Rendition string `json:"r"`
				Stored    bool   `json:"stored"`
			} `json:"media"`
		} `json:"rec"`
	}
	if err := json.Unmarshal(b, &old); err != nil {
		t.Fatal(err)
	}
	if m := old.Record.Media; len(m) != 1 || m[0].Rendition != tt.Audio || !m[0].Stored {
		t.Errorf("%s", b)
	}
}

func FuzzEnvelope(f *testing.F) {
	sc := tt.NewScript()
	for _, r := range append(sc.Open(tt.Broadcast, 0), sc.Adopt(4*sec, true), sc.Store(), sc.Hold()) {
		b, err := timeline.Envelope{Epoch: 1, Record: r}.Marshal()
		if err != nil {
			f.Fatal(err)
		}
		f.Add(b)
	}
	state, err := tt.Fold(sc.Open(tt.Broadcast, 0)...)
	if err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		env, err := timeline.UnmarshalEnvelope(b)
		if err != nil {
			return
		}
		env.Prev = state.LogSeq
		if next, err := state.Apply(env, state.LogSeq+1); err == nil && next.LogSeq != state.LogSeq+1 {
			t.Errorf("folded in, but the state stands at %d", next.LogSeq)
		}
	})
}
