package node

import (
	"context"
	"log/slog"
	"net/url"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"klive/infra/bus"
	"klive/infra/bus/bustest"
	"klive/infra/config"
	"klive/infra/kaltura"
)

// reports notes when which process reported.
type reports struct {
	mu    sync.Mutex // guards the field below
	began time.Time
	at    map[string][]time.Duration
}

func (r *reports) of(name string) []time.Duration {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.at[name]
}

// reporter runs one process's reporter until stop is called. fail is what Kaltura answers.
func (r *reports) reporter(b *bus.Bucket, name string, log *buffer, fail func() error) (stop func()) {
	s := &statusReporter{name: name, every: 300 * time.Second, log: slog.New(slog.NewTextHandler(log, nil)),
		report: func(context.Context) error {
			r.mu.Lock()
			defer r.mu.Unlock()
			r.at[name] = append(r.at[name], time.Since(r.began))
			return fail()
		},
		lease: func(ctx context.Context) (*bus.Lease, error) {
			return bus.TakeLease(ctx, b, statusKey, name, statusTTL)
		},
	}
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan struct{})
	go func() { defer close(ended); s.run(ctx) }()
	return func() { cancel(); <-ended }
}

func statusRig(t *testing.T) (*reports, *bus.Bucket) {
	t.Helper()
	b, err := bustest.Start(t).Bucket(t.Context(), bus.BucketConfig{Name: statusBucket})
	if err != nil {
		t.Fatal(err)
	}
	return &reports{began: time.Now(), at: map[string][]time.Duration{}}, b
}

// At once and then each 300 s, by one node of the deployment; another goes on when it ends (row 107).
func TestStatusIsReportedByOneNode(t *testing.T) {
	bustest.Prepare(t)
	synctest.Test(t, func(t *testing.T) {
		r, b := statusRig(t)
		fine := func() error { return nil }
		stopFirst := r.reporter(b, "first", &buffer{}, fine)
		synctest.Wait()
		stopSecond := r.reporter(b, "second", &buffer{}, fine)
		time.Sleep(15*time.Minute - time.Second)
		got := r.of("first")
		if len(got) != 3 || got[0] > time.Second {
			t.Fatalf("the first reported at %v", got)
		}
		for i, at := range got {
			if slip := at - time.Duration(i)*300*time.Second; slip < 0 || slip > time.Second {
				t.Errorf("report %d came at %v", i, at)
			}
		}
		if got := r.of("second"); len(got) != 0 {
			t.Errorf("the second reported at %v as well", got)
		}
		stopFirst()
		time.Sleep(time.Minute)
		if got := r.of("second"); len(got) != 1 {
			t.Errorf("the second reported at %v after the first was gone", got)
		}
		stopSecond()
	})
}

// A report that nobody answered is made again soon; one that is refused says what to set.
func TestStatusThatCannotBeReported(t *testing.T) {
	bustest.Prepare(t)
	for name, c := range map[string]struct {
		err     error
		reports int // in ten minutes
		says    string
	}{
		"no answer":     {&kaltura.TransportError{Call: "mediaServer.reportStatus", Err: context.DeadlineExceeded}, 20, "trying again"},
		"no such thing": {&kaltura.APIError{Code: "SERVICE_DOES_NOT_EXISTS"}, 2, "set kaltura.status to"},
		"forbidden":     {&kaltura.APIError{Code: "SERVICE_FORBIDDEN"}, 2, "set kaltura.status to"},
		"something":     {&kaltura.APIError{Code: "OTHER"}, 2, "refuses the deployment's status report"},
	} {
		synctest.Test(t, func(t *testing.T) {
			r, b := statusRig(t)
			log := &buffer{}
			stop := r.reporter(b, "first", log, func() error { return c.err })
			time.Sleep(10*time.Minute - time.Second)
			stop()
			if got := r.of("first"); len(got) != c.reports || !strings.Contains(log.String(), c.says) {
				t.Errorf("%s: reported at %v; the log says %s", name, got, log)
			}
		})
	}
}

// Once Kaltura answers again the log says so: its last word is not that the status can't be reported.
func TestStatusThatIsReportedAgain(t *testing.T) {
	bustest.Prepare(t)
	synctest.Test(t, func(t *testing.T) {
		r, b := statusRig(t)
		log, calls := &buffer{}, 0
		stop := r.reporter(b, "first", log, func() error {
			if calls++; calls == 2 || calls == 3 {
				return &kaltura.TransportError{Call: "mediaServer.reportStatus", Err: context.DeadlineExceeded}
			}
			return nil
		})
		time.Sleep(30 * time.Minute)
		stop()
		if n := strings.Count(log.String(), "is reported to Kaltura again"); n != 1 {
			t.Errorf("%d times; the log says %s", n, log)
		}
	})
}

// A partner of its own never reports (row 109), nor does who is told not to.
func TestStatusIsForTheMediaServersPartner(t *testing.T) {
	for name, c := range map[string]struct {
		partner int
		status  string
		roles   Roles
	}{
		"a partner of its own": {102, "mediaServer", All}, "off": {-5, "off", All}, "no worker": {-5, "mediaServer", Gateway},
	} {
		settings := config.Default()
		settings.Kaltura.Status = c.status
		n := &Node{settings: settings, roles: c.roles, client: newClient(t, c.partner, func(call string, _ url.Values) (string, string) {
			t.Errorf("%s: call %s", name, call)
			return jsonType, ""
		})}
		if err := n.startStatus(t.Context()); err != nil || len(n.closers) != 0 {
			t.Errorf("%s: %v, %d parts", name, err, len(n.closers))
		}
		n.running.Wait()
	}
}

// Which call it is; a node that Kaltura has disabled is told of (row 110).
func TestStatusCalls(t *testing.T) {
	for call, want := range map[string]string{"mediaServer": "mediaServer.reportStatus", "serverNode": "serverNode.reportStatus"} {
		var got string
		var sent url.Values
		log := &buffer{}
		c := newClient(t, -5, func(call string, params url.Values) (string, string) {
			got, sent = call, params
			return jsonType, `{"id":7,"hostName":"ms1","hostname":"ms1","status":2,"objectType":"KalturaWowzaMediaServerNode"}`
		})
		if err := reportVia(c, call, slog.New(slog.NewTextHandler(log, nil)))(t.Context()); err != nil || got != want || sent.Get("partnerId") != "-5" {
			t.Errorf("%s: %v, call %s as partner %s", call, err, got, sent.Get("partnerId"))
		}
		if disabled := strings.Contains(log.String(), "enable it"); disabled != (call == "serverNode") {
			t.Errorf("%s: the log says %s", call, log)
		}
		if call == "mediaServer" && (sent.Get("hostname") != "ms1" || sent.Get("mediaServerStatus:objectType") != "KalturaMediaServerStatus") ||
			call == "serverNode" && (sent.Get("hostName") != "ms1" || sent.Get("serverNodeStatus") != "1" || sent.Get("serverNode:objectType") != "KalturaWowzaMediaServerNode") {
			t.Errorf("%s: sent %v", call, sent)
		}
	}
}

// The whole node reports to its own control plane: at its start, and while it runs.
func TestNodeReportsItsStatus(t *testing.T) {
	bustest.Prepare(t)
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, nil)
		time.Sleep(301 * time.Second)
		if n := r.calls.count("mediaServer.reportStatus"); n != 2 {
			t.Errorf("%d reports in 301 s", n)
		}
		r.close()
	})
}
