package live

import (
	"errors"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

func TestRegistrationRecord(t *testing.T) {
	want := RegistrationRecord{Version: 1, PartnerID: 102, Indexes: []int{0, 1}}
	b, err := want.Marshal()
	if err != nil || string(b) != `{"v":1,"partnerId":102,"indexes":[0,1]}` {
		t.Fatalf("%s, %v", b, err)
	}
	got, err := UnmarshalRegistrationRecord(b)
	if d := cmp.Diff(want, got); err != nil || d != "" {
		t.Errorf("%v, %s", err, d)
	}
	for _, bad := range []string{`{"v":1,"indexes":[2]}`, `{"v":1,"indexes":[-1]}`, `{"v":1`, ``} {
		if _, err := UnmarshalRegistrationRecord([]byte(bad)); err == nil {
			t.Errorf("%s was taken", bad)
		}
	}
	if _, err := UnmarshalRegistrationRecord([]byte(`{"v":2}`)); !errors.Is(err, ErrVersion) {
		t.Errorf("another version: %v", err)
	}
}

func TestPinRecord(t *testing.T) {
	want := PinRecord{Version: 1, Index: Backup, At: time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)}
	b, err := want.Marshal()
	if err != nil || string(b) != `{"v":1,"index":1,"at":"2026-01-02T03:04:05Z"}` {
		t.Fatalf("%s, %v", b, err)
	}
	got, err := UnmarshalPinRecord(b)
	if d := cmp.Diff(want, got); err != nil || d != "" {
		t.Errorf("%v, %s", err, d)
	}
	for _, bad := range []string{`{"v":1,"index":2}`, `{"v":1,"index":-1}`, `{"v":1`, ``} {
		if _, err := UnmarshalPinRecord([]byte(bad)); err == nil {
			t.Errorf("%s was taken", bad)
		}
	}
	if _, err := UnmarshalPinRecord([]byte(`{"v":2}`)); !errors.Is(err, ErrVersion) {
		t.Errorf("another version: %v", err)
	}
}
