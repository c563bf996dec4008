package workers

import (
	"log/slog"
	"testing"
	"time"

	"klive/infra/bus"
	"klive/infra/bus/bustest"
	"klive/infra/live"
)

// While it can't be learned whether an entry is registered, it may be: a failed look is no "no".
func TestUnknownRegistration(t *testing.T) {
	open := func(c *bus.Control, name string) *bus.Bucket {
		b, err := c.Bucket(t.Context(), bus.BucketConfig{Name: name})
		if err != nil {
			t.Fatal(err)
		}
		return b
	}
	here, gone := bustest.Start(t), bustest.Start(t)
	known, unknown := open(here, live.RegistrationsBucket), open(gone, live.RegistrationsBucket)
	gone.Close()
	p := &Pool{Config: Config{Broadcasts: open(here, live.BroadcastsBucket), Log: slog.New(slog.DiscardHandler), LeaseRetry: 10 * time.Millisecond}, registrations: known}
	o := newOwner(p, "0_demolive")
	if o.needed(t.Context()) {
		t.Error("an entry that is neither on the air nor registered needs an owner")
	}
	if left, ok := o.inherited(t.Context()); !ok || len(left.Indexes) > 0 {
		t.Errorf("what is inherited of nobody: %+v, %v", left, ok)
	}
	p.registrations = unknown
	if !o.needed(t.Context()) {
		t.Error("an entry that may be registered needs no owner")
	}
	time.AfterFunc(100*time.Millisecond, func() { o.retire(true, "") })
	if left, ok := o.inherited(t.Context()); ok {
		t.Errorf("without an answer %+v is inherited", left)
	}
	// What can't be read stays so: asking again would not help.
	p.registrations = known
	if _, err := known.Put(t.Context(), "0_demolive", []byte("{")); err != nil {
		t.Fatal(err)
	}
	if o.needed(t.Context()) {
		t.Error("an entry with a record that can't be read needs an owner for it")
	}
}
