package transcode

import (
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus/testutil"

	"klive/infra/live"
)

// TestJobWithoutTimeIsGivenUp: a job that has waited for the most of its time and can't be made in
// what is left of it is taken once and not again, so that those behind it have more.
func TestJobWithoutTimeIsGivenUp(t *testing.T) {
	c := record(t, 2*time.Second, false, "-f", "lavfi", "-i", testVideo, "-t", "2", "-c:v", "libx264", "-preset", "ultrafast", "-g", "60")
	rungs := []live.VideoJob{video(33, 160, 90, 200e3, "main"), video(34, 160, 90, 300e3, "main")}
	g := newRig(t, c)
	w := g.work(nil)
	w.mu.Lock()
	w.pace.add(workOf(320*180, rungs, 60), time.Hour)
	w.mu.Unlock()
	j := c.job(0, rungs, nil)
	j.Put, j.Deadline = time.Now().Add(-2*time.Minute), time.Now().Add(time.Minute)
	g.put(j)
	for _, r := range rungs {
		if e := g.end(&j, r.Rendition); e.Cause != rungLate || !strings.Contains(e.Failure, "no time left") {
			t.Errorf("%s ends with %+v", r.Rendition, e)
		}
	}
	if d := g.deadJob(); !strings.Contains(d.Reason, "do not do for it") {
		t.Errorf("it is dead for %q", d.Reason)
	}
	if n := testutil.ToFloat64(w.metrics.jobs.WithLabelValues("failed")); n != 0 {
		t.Errorf("it was tried %v times more", n)
	}
	if n := testutil.ToFloat64(w.metrics.rungs.WithLabelValues(rungLate)); n != 2 {
		t.Errorf("%v rungs are counted", n)
	}
}
