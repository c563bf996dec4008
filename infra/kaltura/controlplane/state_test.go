package controlplane

import (
	"context"
	"errors"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"klive/infra/bus"
)

// The bus's bucket is the state that klive runs with.
var _ State = (*bus.Bucket)(nil)

// memory is a State in a map. It behaves as a bucket does, also inside a synctest bubble.
type memory struct {
	// mu guards the fields below.
	mu       sync.Mutex
	values   map[string]bus.KeyValue
	revision uint64
	counters map[string]uint64
	// fail, when set, is returned by every call.
	fail error
}

func newMemory() *memory {
	return &memory{values: map[string]bus.KeyValue{}, counters: map[string]uint64{}}
}

func (m *memory) Get(_ context.Context, key string) (bus.KeyValue, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	v, ok := m.values[key]
	if m.fail != nil {
		return v, m.fail
	}
	if !ok {
		return v, bus.ErrNotFound
	}
	return v, nil
}

func (m *memory) put(key string, value []byte) uint64 {
	m.revision++
	m.values[key] = bus.KeyValue{Key: key, Value: slices.Clone(value), Revision: m.revision, At: time.Now()}
	return m.revision
}

func (m *memory) Create(_ context.Context, key string, value []byte, _ time.Duration) (uint64, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if _, ok := m.values[key]; ok {
		return 0, bus.ErrConflict
	}
	return m.put(key, value), m.fail
}

func (m *memory) Update(_ context.Context, key string, value []byte, revision uint64) (uint64, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.values[key].Revision != revision {
		return 0, bus.ErrConflict
	}
	return m.put(key, value), m.fail
}

func (m *memory) Delete(_ context.Context, key string, revision uint64) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if revision != 0 && m.values[key].Revision != revision {
		return bus.ErrConflict
	}
	delete(m.values, key)
	return m.fail
}

func (m *memory) List(_ context.Context, pattern string) ([]bus.KeyValue, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	var out []bus.KeyValue
	for key, v := range m.values {
		if strings.HasPrefix(key, strings.TrimSuffix(pattern, "*")) {
			out = append(out, v)
		}
	}
	slices.SortFunc(out, func(a, b bus.KeyValue) int { return strings.Compare(a.Key, b.Key) })
	return out, m.fail
}

func (m *memory) Next(_ context.Context, key string) (uint64, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.counters[key]++
	return m.counters[key], m.fail
}

func TestChangeRetriesAfterAnotherWriter(t *testing.T) {
	ctx, m := t.Context(), newMemory()
	if err := create(ctx, m, "entry.x", entryDoc{Sessions: 1}); err != nil {
		t.Fatal(err)
	}
	tries := 0
	doc, err := change(ctx, m, "entry.x", func(d *entryDoc) error {
		if tries++; tries == 1 {
			// Another writer comes between.
			if _, err := change(ctx, m, "entry.x", func(d *entryDoc) error { d.Sessions += 10; return nil }); err != nil {
				t.Error(err)
			}
		}
		d.Sessions++
		return nil
	})
	if err != nil || doc.Sessions != 12 || tries != 2 {
		t.Errorf("sessions %d after %d tries, %v; want 12 after 2", doc.Sessions, tries, err)
	}
}

func TestStateRefusesNewerAndBroken(t *testing.T) {
	ctx, m := t.Context(), newMemory()
	for key, raw := range map[string]string{"entry.new": `{"v":99,"data":{}}`, "entry.bad": `{`, "entry.type": `{"v":1,"data":[]}`} {
		if _, err := m.Create(ctx, key, []byte(raw), 0); err != nil {
			t.Fatal(err)
		}
		if _, err := load[entryDoc](ctx, m, key); err == nil || !strings.Contains(err.Error(), key) {
			t.Errorf("%s: error %v does not name the key", key, err)
		}
	}
	if _, err := load[entryDoc](ctx, m, "entry.none"); !errors.Is(err, bus.ErrNotFound) {
		t.Errorf("missing document: %v", err)
	}
}
