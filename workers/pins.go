package workers

import (
	"context"
	"time"

	"klive/infra/bus"
	"klive/infra/live"
)

// pinTimeout bounds the taking back of a pin.
const pinTimeout = 3 * time.Second

// pin takes a change of an operator's choice between an entry's encoders.
func (p *Pool) pin(c bus.Change) {
	var index *live.Index
	if !c.Deleted {
		r, err := live.UnmarshalPinRecord(c.Value)
		if err != nil {
			p.Log.Warn("an operator's choice between encoders can't be read and does not count", "entry", c.Key, "error", err)
			return
		}
		index = &r.Index
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if index == nil {
		delete(p.pinned, c.Key)
	} else {
		p.pinned[c.Key] = *index
	}
	if o := p.owners[c.Key]; o != nil {
		o.pin(index)
	}
}

// forgetPins forgets the choices that were on a bus which has lost them.
func (p *Pool) forgetPins() {
	p.mu.Lock()
	defer p.mu.Unlock()
	for entry := range p.pinned {
		if o := p.owners[entry]; o != nil {
			o.pin(nil)
		}
	}
	clear(p.pinned)
}

// pin passes an operator's choice to the packager. It does not block.
func (o *owner) pin(index *live.Index) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.pinned = index
	if o.packager != nil {
		o.packager.Pin(index)
	}
}

// unpin takes the operator's choice back: the broadcast for which it was made is over.
func (o *owner) unpin(ctx context.Context) {
	o.mu.Lock()
	pinned := o.pinned != nil
	o.mu.Unlock()
	if !pinned {
		return
	}
	ctx, cancel := context.WithTimeout(ctx, pinTimeout)
	defer cancel()
	if err := o.p.pins.Delete(ctx, o.entry, 0); err != nil {
		o.log.Warn("the choice between the encoders could not be taken back; it holds for the next broadcast too", "error", err)
		return
	}
	o.log.Info("the broadcast is over, and with it the operator's choice between its encoders")
}
