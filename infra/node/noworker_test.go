package node

import (
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"klive/infra/admin"
	"klive/infra/bus/bustest"
)

// A gateway whose streams no worker takes says so, again each minute, and no list calls them live.
func TestNoWorker(t *testing.T) {
	bustest.Prepare(t)
	synctest.Test(t, func(t *testing.T) {
		d := newDeployment(t)
		d.start("control", Control)
		d.start("gateway", Gateway)
		worker := d.start("worker", LiveWorker)
		e, err := d.publish("gateway")
		if err != nil {
			t.Fatal(err)
		}
		playing := make(chan error, 1)
		go func() { playing <- e.play(time.Hour) }()
		time.Sleep(20 * time.Second)
		state := func() admin.State {
			t.Helper()
			var list struct{ Streams []admin.Stream }
			d.get("control", "/v1/streams", &list)
			if len(list.Streams) != 1 {
				t.Fatalf("streams %+v", list)
			}
			return list.Streams[0].State
		}
		said := func() int { return strings.Count(d.log.String(), "no worker takes them") }
		workers := func(want string) {
			t.Helper()
			if _, text := d.ask("gateway", "admin.listen", http.MethodGet, "/metrics", ""); !strings.Contains(text, "klive_node_workers "+want+"\n") {
				t.Errorf("klive_node_workers is not %s", want)
			}
		}
		if s := state(); s != admin.StateLive || said() != 0 {
			t.Errorf("with a worker: %s, said %d times", s, said())
		}
		workers("1")
		worker.Close(t.Context())
		time.Sleep(30 * time.Second)
		if s := state(); s != admin.StateStalled || said() != 1 {
			t.Errorf("without a worker: %s, said %d times", s, said())
		}
		workers("0")
		time.Sleep(time.Minute)
		if said() != 2 {
			t.Errorf("said %d times in 90 s", said())
		}
		d.start("worker2", LiveWorker)
		time.Sleep(20 * time.Second)
		if s := state(); s != admin.StateLive || !strings.Contains(d.log.String(), "a worker is there again") {
			t.Errorf("with another worker: %s", s)
		}
		e.Abort()
		<-playing
	})
}
