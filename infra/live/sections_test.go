package live

import (
	"bytes"
	"errors"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestSectionsRecord(t *testing.T) {
	want := SectionsRecord{Version: 1, Sections: []Section{{Path: "init-stream0.m4s", Moov: []byte{1, 2}}, {Path: "", Moov: []byte{3}}}}
	b, err := want.Marshal()
	if err != nil || string(b) != `{"v":1,"sections":[{"path":"init-stream0.m4s","moov":"AQI="},{"path":"","moov":"Aw=="}]}` {
		t.Fatalf("%s, %v", b, err)
	}
	got, err := UnmarshalSectionsRecord(b)
	if d := cmp.Diff(want, got); err != nil || d != "" {
		t.Errorf("%v, %s", err, d)
	}
	for _, bad := range []string{`{"v":1,"sections":[{"moov":"?"}]}`, `{"v":1`, ``} {
		if _, err := UnmarshalSectionsRecord([]byte(bad)); err == nil {
			t.Errorf("%s was taken", bad)
		}
	}
	if _, err := UnmarshalSectionsRecord([]byte(`{"v":2}`)); !errors.Is(err, ErrVersion) {
		t.Errorf("another version: %v", err)
	}
	if _, err := (SectionsRecord{Sections: []Section{{Moov: bytes.Repeat([]byte{1}, MaxSections+1)}}}).Marshal(); err == nil {
		t.Error("a record of any size is written")
	}
}
