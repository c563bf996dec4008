package e2e

import (
	"context"
	"strings"
	"testing"
	"time"

	"klive/infra/check"
	"klive/infra/check/fault"
	"klive/infra/media"
)

// TestEncoderReconnects cuts the encoder's connection: the broadcast goes on in the same
// playlist, and nothing is lost but what the encoder had sent to the dead connection.
func TestEncoderReconnects(t *testing.T) {
	beside(t)
	p := start(t, "KLIVE_SEGMENT_DURATION=1s")
	relay := fault.NewRelay(t, p.rtmp)
	e := lightEncoder(t, strings.Replace(p.demo(), p.rtmp, relay.Addr(), 1))
	v, err := check.Watch("serve", p.playlist("0_demolive"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(v.Stop)
	ctx, cancel := context.WithTimeout(t.Context(), 60*time.Second)
	defer cancel()
	if err := v.WaitFor(ctx, 4); err != nil {
		t.Fatalf("%v\n%s", err, p.log)
	}
	faults := []check.Fault{{Name: "a cut connection", At: time.Now()}}
	relay.Cut()
	before, _ := v.Last()
	if err := v.WaitFor(ctx, before+4); err != nil {
		t.Fatalf("%v\n%s", err, p.log)
	}
	e.Stop()
	sent, connects := e.Sent(), e.Connects()
	var a check.Audit
	eventually(t, 20*time.Second, "the newest frames", func() error {
		a = v.Audit(sent)
		if a.Video.Tail+a.Audio.Tail > 0 {
			return check.ErrNoPlaylist
		}
		return nil
	})
	v.Stop()
	table := check.Table{Title: "an encoder that was cut off"}
	table.AddStalls("viewer", check.MeasureStalls(v.Items(), faults), "")
	table.AddAudit("viewer", a)
	t.Log(&table)
	if len(connects) != 2 || connects[0].Err == nil {
		t.Errorf("the encoder connected %d times: %+v", len(connects), connects)
	}
	for _, k := range []struct {
		kind media.Kind
		check.TrackAudit
	}{{media.Video, a.Video}, {media.Audio, a.Audio}} {
		if _, others := check.Unsent(sent, k.kind, k.Lost, connects); k.Sent == 0 || len(others)+len(k.Doubled)+len(k.Disordered)+k.Unknown > 0 {
			t.Errorf("%v: %d lost without reason:\n%v", k.kind, len(others), a)
		}
	}
	if err := v.Err(); err != nil {
		t.Error(err)
	}
	if failures := v.Failures(); len(failures) > 0 {
		t.Errorf("the viewer met %v", failures)
	}
}
