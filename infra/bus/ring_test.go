package bus_test

import (
	"testing"

	"klive/infra/bus"
	"klive/infra/bus/bustest"
)

func TestRingConforms(t *testing.T) {
	bustest.RunMedia(t, bustest.MediaEngine{
		Shares: true,
		Open: func(t *testing.T, r bustest.Retention) bus.Media {
			ring := bus.NewRing(bus.RingConfig{MaxAge: r.MaxAge, MaxBytes: r.MaxBytes})
			t.Cleanup(ring.Close)
			return ring
		},
	})
}
