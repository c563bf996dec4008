package recorder

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"klive/infra/bus"
	"klive/infra/live"
)

// OrdersBucket is the control-plane bucket of what operators ask for, keyed by
// "<entry>.<random>". Orders wait there until the entry's recorder has obeyed.
const OrdersBucket = "recording-orders"

// orderLife is how long an order waits for a recorder.
const orderLife = 24 * time.Hour

const orderVersion = 1

// orderRecord is an order's wire form.
type orderRecord struct {
	Version int       `json:"v"`
	Kind    string    `json:"kind"`
	File    string    `json:"file,omitempty"`
	At      time.Time `json:"at"`
}

// ErrOrder is returned for orders that can't be.
var ErrOrder = errors.New("recorder: bad order")

// Send leaves an order for the recorder of an entry, wherever it runs: a split at the given
// moment, or the retry or skip of a file.
func Send(ctx context.Context, orders *bus.Bucket, entry, kind, file string, at time.Time) error {
	switch {
	case !live.ValidEntryID(entry):
		return fmt.Errorf("%w: %.40q is no entry; want an id such as 0_rkij47dr", ErrOrder, entry)
	case kind != OrderSplit && kind != OrderRetry && kind != OrderSkip:
		return fmt.Errorf("%w: %.20q is none of split, retry and skip", ErrOrder, kind)
	case kind != OrderSplit && (file == "" || len(file) > 100):
		return fmt.Errorf("%w: no file is named; klive recording list shows them", ErrOrder)
	}
	b, err := json.Marshal(orderRecord{orderVersion, kind, file, at})
	if err != nil {
		return err
	}
	_, err = orders.PutTTL(ctx, entry+"."+rand.Text(), b, orderLife)
	return err
}

func parseOrder(b []byte) (orderRecord, error) {
	var o orderRecord
	if err := json.Unmarshal(b, &o); err != nil {
		return o, fmt.Errorf("%w: %w", ErrOrder, err)
	}
	if o.Version != orderVersion {
		return o, fmt.Errorf("%w: version %d is another release's", ErrOrder, o.Version)
	}
	return o, nil
}
