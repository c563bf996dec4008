package timelinetest_test

import (
	"testing"

	"klive/storage/timeline"
	"klive/storage/timeline/timelinetest"
)

func TestLog(t *testing.T) {
	timelinetest.RunLog(t, func(*testing.T) timeline.Log { return timelinetest.NewLog() })
}
