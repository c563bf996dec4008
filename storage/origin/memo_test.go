package origin

import (
	"context"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// TestMemoOutlivesPanic holds that a key can be asked for again when its making panicked, which
// ends one request and not the process.
func TestMemoOutlivesPanic(t *testing.T) {
	m := newMemo(1, 100, time.Minute, prometheus.NewCounterVec(prometheus.CounterOpts{Name: "made"}, []string{"result"}))
	func() {
		defer func() {
			if recover() == nil {
				t.Error("the panic is swallowed")
			}
		}()
		m.get(t.Context(), "a", func(context.Context) (*made, error) { panic("broken media") })
	}()
	ctx, cancel := context.WithTimeout(t.Context(), time.Second)
	defer cancel()
	want := &made{data: []byte("x")}
	if got, err := m.get(ctx, "a", func(context.Context) (*made, error) { return want, nil }); got != want || err != nil {
		t.Errorf("asked again: %v, %v", got, err)
	}
}
