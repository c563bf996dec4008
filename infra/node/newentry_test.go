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

func TestNewEntrySecrets(t *testing.T) {
	for _, c := range []struct{ token, passphrase, says string }{
		{"pw~+=-._", "ab.cd_ef~gh-12", ""},
		{"", "ab/cd=ef+gh12", "SRT passphrase: want letters"},
		{"", "with a space", "SRT passphrase: want letters"},
		{"", "100%certain", "SRT passphrase: want letters"},
		{"", "short", "has 5 bytes"},
		{"a&b=c", "", "token: want"},
	} {
		e, err := NewEntry(admin.NewEntry{Name: "Town hall", Token: c.token, SRTPassphrase: c.passphrase})
		if c.says == "" && (err != nil || e.SRTPass != c.passphrase || e.StreamPassword != c.token) ||
			c.says != "" && (err == nil || !strings.Contains(err.Error(), c.says)) {
			t.Errorf("%+v: %v", c, err)
		}
	}
}
