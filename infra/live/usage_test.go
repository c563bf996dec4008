package live

import (
	"errors"
	"testing"
	"time"
)

func TestUsageRecord(t *testing.T) {
	want := UsageRecord{Version: 1, IngestSeconds: 90.5, RungSeconds: 12, BytesStored: 1 << 40}
	b, err := want.Marshal()
	if err != nil || string(b) != `{"v":1,"ingestSeconds":90.5,"rungSeconds":12,"bytesStored":1099511627776}` {
		t.Fatalf("%s, %v", b, err)
	}
	got, err := UnmarshalUsageRecord(b)
	if err != nil || got != want {
		t.Errorf("%+v, %v", got, err)
	}
	got.Add(UsageRecord{IngestSeconds: 1, RungSeconds: 2, BytesStored: 3})
	if got.IngestSeconds != 91.5 || got.RungSeconds != 14 || got.BytesStored != 1<<40+3 {
		t.Errorf("the sum is %+v", got)
	}
	if _, err := UnmarshalUsageRecord([]byte(`{"v":2}`)); !errors.Is(err, ErrVersion) {
		t.Errorf("another version: %v", err)
	}
	key := UsageKey(102, time.Date(2026, 11, 30, 23, 59, 0, 0, time.FixedZone("", -3600)))
	if key != "102.2026-12" {
		t.Errorf("the key is %s", key)
	}
	if partner, month, err := ParseUsageKey(key); partner != 102 || month != "2026-12" || err != nil {
		t.Errorf("%d, %s, %v", partner, month, err)
	}
	for _, bad := range []string{"", "102", "x.2026-12", "102.december", "102.2026-13"} {
		if _, _, err := ParseUsageKey(bad); err == nil {
			t.Errorf("%q was taken", bad)
		}
	}
}
