package node

import (
	"context"
	"errors"
	"testing"
	"time"

	"klive/infra/admin"
	"klive/storage"
	"klive/storage/storagetest"
	"klive/storage/timeline"
	tt "klive/storage/timeline/timelinetest"
)

// A timeline that can't be read at this moment is not damaged.
func TestHealthOfUnreadable(t *testing.T) {
	for name, c := range map[string]struct {
		head string
		away bool
		want admin.Health
	}{
		"no head": {want: admin.HealthStarting},
		"cut":     {head: `{"v":`, want: admin.HealthDamaged},
		"newer":   {head: `{"v":99}`, want: admin.HealthDamaged},
		"away":    {away: true, want: admin.HealthUnknown},
	} {
		t.Run(name, func(t *testing.T) {
			store := storagetest.NewMemory()
			if c.head != "" {
				if _, err := store.Put(t.Context(), timeline.HeadKey(tt.Entry), [][]byte{[]byte(c.head)}, storage.PutOptions{}); err != nil {
					t.Fatal(err)
				}
			}
			if c.away {
				store.Before = func(context.Context, string, string) error { return errors.New("503") }
			}
			view := timeline.NewView(timeline.ViewConfig{Store: store, Log: tt.NewLog()})
			defer view.Close()
			h, why := overview{&Node{view: view}}.judge(t.Context(), &admin.LiveEntry{ID: tt.Entry}, time.Now())
			if h != c.want || why == "" {
				t.Errorf("%s (%s), want %s", h, why, c.want)
			}
		})
	}
}
