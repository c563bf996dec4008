package controlplane

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"klive/infra/bus"
)

// What is not found yet is looked for again for a while; other errors end it.
func TestWritten(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		asked := 0
		err := written(t.Context(), func(context.Context) error {
			if asked++; asked < 4 {
				return bus.ErrNotFound
			}
			return nil
		})
		if err != nil || asked != 4 {
			t.Errorf("asked %d times: %v", asked, err)
		}
		if err := written(t.Context(), func(context.Context) error { return bus.ErrDenied }); !errors.Is(err, bus.ErrDenied) {
			t.Errorf("another error: %v", err)
		}
		begin := time.Now()
		if err := written(t.Context(), func(context.Context) error { return bus.ErrNotFound }); !errors.Is(err, bus.ErrNotFound) || time.Since(begin) < writtenMost {
			t.Errorf("after %v: %v", time.Since(begin), err)
		}
	})
}
