package node

import (
	"cmp"
	"context"
	"errors"
	"log/slog"
	"maps"
	"slices"
	"strconv"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"klive/infra/admin"
	"klive/infra/bus"
	"klive/infra/live"
)

const (
	// usageEvery is how often a process adds its share to the bus: so much is lost when it is
	// killed.
	usageEvery = 10 * time.Second
	// usageTries bounds the attempts to add to a record that others add to as well.
	usageTries = 8
	// maxUsagePartners bounds the metrics' series; what further partners use is counted under "other".
	maxUsagePartners = 1000
)

// usage counts what partners use through this process, as metrics and on the bus.
type usage struct {
	bucket                *bus.Bucket
	log                   *slog.Logger
	ingest, rungs, stored *prometheus.CounterVec

	// mu guards the fields below.
	mu     sync.Mutex
	unsent map[int]live.UsageRecord
	shown  map[int]bool // partners with series of their own
}

func newUsage(b *bus.Bucket, log *slog.Logger, r prometheus.Registerer) *usage {
	counter := func(name, help string) *prometheus.CounterVec {
		return prometheus.NewCounterVec(prometheus.CounterOpts{Namespace: "klive", Subsystem: "usage", Name: name, Help: help}, []string{"partner"})
	}
	u := &usage{
		bucket: b, log: log, unsent: map[int]live.UsageRecord{}, shown: map[int]bool{},
		ingest: counter("ingest_minutes_total", "Minutes of media that came in through this process, by partner."),
		rungs:  counter("rung_minutes_total", "Minutes of renditions that were made of entries owned here, by partner."),
		stored: counter("stored_bytes_total", "Bytes of media that entries owned here put into the store, by partner."),
	}
	r.MustRegister(u.ingest, u.rungs, u.stored)
	return u
}

// add counts what a partner has used.
func (u *usage) add(partner int, r live.UsageRecord) {
	if partner == 0 {
		return
	}
	u.mu.Lock()
	sum := u.unsent[partner]
	sum.Add(r)
	u.unsent[partner] = sum
	label := "other"
	if u.shown[partner] || len(u.shown) < maxUsagePartners {
		u.shown[partner], label = true, strconv.Itoa(partner)
	}
	u.mu.Unlock()
	u.ingest.WithLabelValues(label).Add(r.IngestSeconds / 60)
	u.rungs.WithLabelValues(label).Add(r.RungSeconds / 60)
	u.stored.WithLabelValues(label).Add(float64(r.BytesStored))
}

// run adds this process's share to the bus until the context ends.
func (u *usage) run(ctx context.Context) {
	tick := time.NewTicker(usageEvery)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
			u.send(ctx, time.Now())
		}
	}
}

// send adds what is not on the bus yet. What the bus does not take is added the next time.
func (u *usage) send(ctx context.Context, now time.Time) {
	u.mu.Lock()
	unsent := u.unsent
	u.unsent = map[int]live.UsageRecord{}
	u.mu.Unlock()
	for partner, r := range unsent {
		if r == (live.UsageRecord{}) {
			continue
		}
		if err := u.put(ctx, live.UsageKey(partner, now), r); err != nil {
			u.log.Warn("what a partner has used could not be noted on the bus; trying again", "partner", partner, "error", err)
			u.mu.Lock()
			sum := u.unsent[partner]
			sum.Add(r)
			u.unsent[partner] = sum
			u.mu.Unlock()
		}
	}
}

// put adds to a record that other processes add to as well.
func (u *usage) put(ctx context.Context, key string, r live.UsageRecord) error {
	ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	for try := 1; ; try++ {
		err := u.putOnce(ctx, key, r)
		if !errors.Is(err, bus.ErrConflict) || try == usageTries {
			return err
		}
	}
}

func (u *usage) putOnce(ctx context.Context, key string, r live.UsageRecord) error {
	kv, err := u.bucket.Get(ctx, key)
	if err != nil && !errors.Is(err, bus.ErrNotFound) {
		return err
	}
	sum := r
	if err == nil {
		there, err := live.UnmarshalUsageRecord(kv.Value)
		if err != nil {
			return err
		}
		sum.Add(there)
	}
	value, merr := sum.Marshal()
	if merr != nil {
		return merr
	}
	if err != nil {
		_, err = u.bucket.Create(ctx, key, value, 0)
	} else {
		_, err = u.bucket.Update(ctx, key, value, kv.Revision)
	}
	return err
}

// startUsage begins to count, before the parts that use it. What they count last is added when
// they have ended.
func (n *Node) startUsage(ctx context.Context) error {
	if n.server != nil || !n.roles.Has(Gateway) && !n.roles.Has(LiveWorker) {
		return nil
	}
	n.usage = newUsage(n.usages, n.log, n.cfg.Registry)
	_, end := n.part(ctx, "usage", func(ctx context.Context) error { n.usage.run(ctx); return nil })
	n.onClose(func(ctx context.Context) {
		end() // what it could not send is unsent again
		n.usage.send(ctx, time.Now())
	})
	return nil
}

// Usage implements [admin.Usage].
func (s streams) Usage(ctx context.Context, month string) ([]admin.PartnerUsage, error) {
	if !s.n.assembled.Load() {
		return nil, errStarting
	}
	kvs, err := s.n.usages.List(ctx, "")
	if err != nil {
		return nil, err
	}
	by := map[int]admin.PartnerUsage{}
	for _, kv := range kvs {
		partner, of, err := live.ParseUsageKey(kv.Key)
		if err != nil || of != month {
			continue
		}
		r, err := live.UnmarshalUsageRecord(kv.Value)
		if err != nil {
			s.n.log.Warn("what a partner has used can't be read and is missing from the list", "key", kv.Key, "error", err)
			continue
		}
		by[partner] = admin.PartnerUsage{
			Partner: partner, IngestMinutes: r.IngestSeconds / 60, RungMinutes: r.RungSeconds / 60, BytesStored: r.BytesStored,
		}
	}
	return slices.SortedFunc(maps.Values(by), func(a, b admin.PartnerUsage) int { return cmp.Compare(a.Partner, b.Partner) }), nil
}
