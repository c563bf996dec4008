package node

import (
	"strings"
	"testing"

	"klive/infra/admin"
	"klive/infra/kaltura"
)

func TestNewEntryRecording(t *testing.T) {
	for how, want := range map[string]int{"none": kaltura.RecordDisabled, "append": kaltura.RecordAppended, "session": kaltura.RecordPerSession} {
		e, err := NewEntry(admin.NewEntry{Name: "Town hall", Record: how})
		if err != nil || e.RecordStatus == nil || *e.RecordStatus != want {
			t.Errorf("%s: %v, %v; want %d", how, e.RecordStatus, err, want)
		}
	}
	if e, err := NewEntry(admin.NewEntry{Name: "Town hall"}); err != nil || e.RecordStatus != nil {
		t.Errorf("left to the API: %v, %v", e.RecordStatus, err)
	}
	if _, err := NewEntry(admin.NewEntry{Name: "Town hall", Record: "always"}); err == nil || !strings.Contains(err.Error(), "none, append") {
		t.Errorf("always: %v", err)
	}
}
