package buslog_test

import (
	"testing"

	"klive/infra/bus/bustest"
	"klive/storage/timeline"
	"klive/storage/timeline/buslog"
	"klive/storage/timeline/timelinetest"
)

func TestLog(t *testing.T) {
	timelinetest.RunLog(t, func(t *testing.T) timeline.Log {
		l, err := buslog.Open(t.Context(), bustest.Start(t))
		if err != nil {
			t.Fatal(err)
		}
		return l
	})
}
