package node

import (
	"context"
	"net/http"
	"time"

	"klive/infra/admin"
	"klive/infra/live"
)

// pins passes on which encoder operators want viewers to see: by a record on the bus, which the
// entry's owner follows.
type pins struct{ n *Node }

// Pin implements [admin.Pins].
func (p pins) Pin(ctx context.Context, entry, index string) error {
	if !p.n.assembled.Load() {
		return errStarting
	}
	if !live.ValidEntryID(entry) {
		return &admin.Refusal{Status: http.StatusBadRequest, Reason: "want an entry's id, such as 0_rkij47dr"}
	}
	if index == "" {
		return p.n.pins.Delete(ctx, entry, 0)
	}
	on, err := p.onAir(ctx, entry)
	if err != nil {
		return err
	}
	if !on {
		return &admin.Refusal{Status: http.StatusNotFound, Reason: "no stream of entry " + entry + " is on the air; klive feed list shows those that are"}
	}
	r := live.PinRecord{Index: live.Primary, At: time.Now()}
	if index == live.Backup.String() {
		r.Index = live.Backup
	}
	value, err := r.Marshal()
	if err != nil {
		return err
	}
	_, err = p.n.pins.Put(ctx, entry, value)
	return err
}

// onAir reports whether a feed of the entry is there, or may come back.
func (p pins) onAir(ctx context.Context, entry string) (bool, error) {
	kvs, err := p.n.feeds.List(ctx, entry+".*.*")
	if err != nil {
		return false, err
	}
	now := time.Now()
	for _, kv := range kvs {
		if r, err := live.UnmarshalFeedRecord(kv.Value); err == nil && r.Recent(now, p.n.settings.Broadcast.Resume) {
			return true, nil
		}
	}
	return false, nil
}

// pinned lists operators' choices by entry: "primary" or "backup".
func (n *Node) pinned(ctx context.Context) (map[string]string, error) {
	kvs, err := n.pins.List(ctx, "")
	if err != nil {
		return nil, err
	}
	out := map[string]string{}
	for _, kv := range kvs {
		if r, err := live.UnmarshalPinRecord(kv.Value); err == nil {
			out[kv.Key] = r.Index.String()
		}
	}
	return out, nil
}
