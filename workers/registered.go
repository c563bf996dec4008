package workers

import (
	"context"
	"errors"
	"time"

	"klive/infra/bus"
	"klive/infra/live"
)

// noteTimeout bounds a look at, and a change of, what is written down of an entry's registration.
const noteTimeout = 3 * time.Second

// registered returns under which indexes owners before this one may have registered the entry.
// After an error that is not known.
func (o *owner) registered(ctx context.Context) (live.RegistrationRecord, error) {
	ctx, cancel := context.WithTimeout(ctx, noteTimeout)
	defer cancel()
	kv, err := o.p.registrations.Get(ctx, o.entry)
	if errors.Is(err, bus.ErrNotFound) {
		return live.RegistrationRecord{}, nil
	}
	if err != nil {
		return live.RegistrationRecord{}, err
	}
	r, err := live.UnmarshalRegistrationRecord(kv.Value)
	if err != nil { // asking again would not make it readable
		o.log.Warn("what is written down of the entry's registration can't be read; it is taken for none", "error", err)
		return live.RegistrationRecord{}, nil
	}
	return r, nil
}

// inherited asks until it is known what the owners before this one left registered. ok is false
// when this one is to end, or to leave, before that.
func (o *owner) inherited(ctx context.Context) (left live.RegistrationRecord, ok bool) {
	for {
		left, err := o.registered(ctx)
		if err == nil {
			return left, true
		}
		o.log.Warn("it is not known whether the entry is registered, asking again", "error", err)
		if !o.pause(ctx, o.p.LeaseRetry) || o.going() {
			return left, false
		}
	}
}

// note returns what writes down, under a tenure, what is registered.
func (o *owner) note(t *tenure) func(context.Context, int, []int) error {
	return func(ctx context.Context, partner int, indexes []int) error {
		ctx, cancel := context.WithTimeout(ctx, noteTimeout)
		defer cancel()
		if err := t.guard.check(ctx); err != nil {
			return err
		}
		if len(indexes) == 0 {
			return o.p.registrations.Delete(ctx, o.entry, 0)
		}
		b, err := live.RegistrationRecord{PartnerID: partner, Indexes: indexes}.Marshal()
		if err == nil {
			_, err = o.p.registrations.Put(ctx, o.entry, b)
		}
		return err
	}
}

// registration takes a change of what is registered. What was left so by an owner that ended
// needs another one, which takes it back.
func (p *Pool) registration(hard context.Context, c bus.Change) {
	if c.Deleted {
		return
	}
	r, err := live.UnmarshalRegistrationRecord(c.Value)
	if err != nil {
		p.Log.Warn("a registration record can't be read", "entry", c.Key, "error", err)
		return
	}
	if len(r.Indexes) == 0 {
		return
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.start(hard, c.Key)
}
