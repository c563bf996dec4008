package check

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"sync"
	"time"

	"klive/infra/media"
)

// viewerPoll is how often a viewer looks; viewerPatience is how long it waits for an answer.
const (
	viewerPoll     = 100 * time.Millisecond
	viewerPatience = 5 * time.Second
)

// Viewer is a player at the live edge of one origin, through all that may happen to it: it
// polls the playlists each 100 ms and, beside that, fetches each segment once. Its methods
// may be called by several goroutines.
type Viewer struct {
	// Name is what reports call it.
	Name string

	client *http.Client
	cancel context.CancelFunc
	wg     sync.WaitGroup

	listed edge // polls without waiting for segments, so that it sees when an item is listed
	read   edge // reads the segments
}

// edge is a follower in use by a goroutine.
type edge struct {
	mu       sync.Mutex // guards the fields below
	follower *Follower
	initial  map[string]uint64 // by playlist: the newest item that was listed before the viewer came
	failures []Failure
}

// Failure is a poll that went wrong.
type Failure struct {
	At  time.Time
	Err error
}

// Watch starts a viewer of the multivariant playlist at address; it ends with Stop.
func Watch(name, address string) (*Viewer, error) {
	client := &http.Client{Timeout: viewerPatience, Transport: &http.Transport{}}
	v := &Viewer{Name: name, client: client}
	for _, e := range []*edge{&v.listed, &v.read} {
		f, err := Follow(client, address)
		if err != nil {
			return nil, err
		}
		e.follower, e.initial = f, map[string]uint64{}
	}
	v.listed.follower.ListOnly = true
	ctx, cancel := context.WithCancel(context.Background())
	v.cancel = cancel
	v.wg.Go(func() { v.listed.watch(ctx) })
	v.wg.Go(func() { v.read.watch(ctx) })
	return v, nil
}

// Stop ends the viewer.
func (v *Viewer) Stop() {
	v.cancel()
	v.wg.Wait()
	v.client.CloseIdleConnections()
}

func (e *edge) watch(ctx context.Context) {
	tick := time.NewTicker(viewerPoll)
	defer tick.Stop()
	for {
		e.poll(ctx)
		select {
		case <-tick.C:
		case <-ctx.Done():
			return
		}
	}
}

func (e *edge) poll(ctx context.Context) {
	e.mu.Lock()
	defer e.mu.Unlock()
	began := len(e.follower.Renditions) > 0
	err := e.follower.Poll(ctx)
	for path, r := range e.follower.Renditions {
		if _, known := e.initial[path]; !known && len(r.Items) > 0 {
			e.initial[path] = r.Items[len(r.Items)-1].Seq
		}
	}
	if err != nil && (began || !errors.Is(err, ErrNoPlaylist)) && ctx.Err() == nil {
		e.failures = append(e.failures, Failure{time.Now(), err})
	}
}

// Items are the main rendition's items that were read so far. Those that were there already
// when the viewer came are left out: nobody saw when they were first listed.
func (v *Viewer) Items() []Item {
	v.read.mu.Lock()
	defer v.read.mu.Unlock()
	v.listed.mu.Lock()
	defer v.listed.mu.Unlock()
	path, m := v.read.follower.main()
	if m == nil {
		return nil
	}
	first := map[uint64]time.Time{}
	if r := v.listed.follower.Renditions[path]; r != nil {
		for _, it := range r.Items {
			first[it.Seq] = it.FirstListed
		}
	}
	var out []Item
	for _, it := range m.Items {
		if at, ok := first[it.Seq]; ok && it.Seq > v.listed.initial[path] {
			it.FirstListed = at
			out = append(out, it)
		}
	}
	return out
}

// SlowestFetch is the longest time that a segment took to come.
func (v *Viewer) SlowestFetch() time.Duration {
	v.read.mu.Lock()
	defer v.read.mu.Unlock()
	return v.read.follower.SlowestFetch
}

// Last is the newest item that was read: its media sequence number; 0 before the first.
// Ended says that the playlist has ended.
func (v *Viewer) Last() (seq uint64, ended bool) {
	v.read.mu.Lock()
	defer v.read.mu.Unlock()
	m := v.read.follower.Main()
	if m == nil || len(m.Items) == 0 {
		return 0, false
	}
	return m.Items[len(m.Items)-1].Seq, m.Ended
}

// WaitFor waits until the viewer has seen the item with a media sequence number.
func (v *Viewer) WaitFor(ctx context.Context, seq uint64) error {
	for {
		if last, _ := v.Last(); last >= seq {
			return nil
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("%s waited in vain for segment %d", v.Name, seq)
		case <-time.After(viewerPoll):
		}
	}
}

// Failures are the polls and fetches that went wrong, in the order of time.
func (v *Viewer) Failures() []Failure {
	var out []Failure
	for _, e := range []*edge{&v.listed, &v.read} {
		e.mu.Lock()
		out = append(out, e.failures...)
		e.mu.Unlock()
	}
	slices.SortFunc(out, func(a, b Failure) int { return a.At.Compare(b.At) })
	return out
}

// FailuresOutside are those that lie in none of the faults: from a fault's beginning until
// the given time after its end.
func (v *Viewer) FailuresOutside(faults []Fault, after time.Duration) []Failure {
	return slices.DeleteFunc(v.Failures(), func(f Failure) bool {
		return slices.ContainsFunc(faults, func(x Fault) bool {
			return !f.At.Before(x.At) && !f.At.After(x.end().Add(after))
		})
	})
}

// Err is what is wrong with what the viewer saw: broken rules, and items that are missing,
// doubled or gaps in any rendition.
func (v *Viewer) Err() error {
	errs := []error{v.Rules()}
	v.read.mu.Lock()
	defer v.read.mu.Unlock()
	for path, r := range v.read.follower.Renditions {
		if err := Continuous(r.Items); err != nil {
			errs = append(errs, fmt.Errorf("%s: %s: %w", v.Name, path, err))
		}
	}
	return errors.Join(errs...)
}

// Rules are the broken rules alone.
func (v *Viewer) Rules() error {
	var errs []error
	for _, e := range []*edge{&v.listed, &v.read} {
		e.mu.Lock()
		if err := e.follower.Err(); err != nil {
			errs = append(errs, fmt.Errorf("%s: %w", v.Name, err))
		}
		e.mu.Unlock()
	}
	return errors.Join(errs...)
}

// Audit holds what the viewer read against what was sent.
func (v *Viewer) Audit(sent []Sent) Audit {
	v.read.mu.Lock()
	defer v.read.mu.Unlock()
	return v.read.follower.Audit(sent)
}

// Both joins what viewers of several origins saw, as a player sees it that changes to another
// origin when its own fails: each item as the first of them listed it. The error says where
// two origins do not agree about an item.
func Both(viewers ...*Viewer) ([]Item, error) {
	var errs []error
	bySeq := map[uint64]Item{}
	for _, v := range viewers {
		for _, it := range v.Items() {
			old, seen := bySeq[it.Seq]
			if seen && (old.URI != it.URI || old.Gap != it.Gap || old.Duration != it.Duration || old.Discontinuity != it.Discontinuity) {
				errs = append(errs, fmt.Errorf("segment %d is %s (%v) with one origin and %s (%v) with another", it.Seq, old.URI, old.Duration, it.URI, it.Duration))
			}
			if !seen || it.FirstListed.Before(old.FirstListed) {
				bySeq[it.Seq] = it
			}
		}
	}
	out := make([]Item, 0, len(bySeq))
	for _, it := range bySeq {
		out = append(out, it)
	}
	slices.SortFunc(out, func(a, b Item) int { return int(a.Seq) - int(b.Seq) })
	return out, errors.Join(errs...)
}

// Continuous says which items are missing, doubled or gaps.
func Continuous(items []Item) error {
	var errs []error
	for i, it := range items {
		if it.Gap {
			errs = append(errs, fmt.Errorf("segment %d is a gap", it.Seq))
		}
		if i > 0 && it.Seq != items[i-1].Seq+1 {
			errs = append(errs, fmt.Errorf("segment %d follows %d", it.Seq, items[i-1].Seq))
		}
	}
	return errors.Join(errs...)
}

// Archive reads all that a playlist lists, once: the DVR window, or what lies in a bucket.
func Archive(ctx context.Context, client *http.Client, address string) (*Follower, error) {
	f, err := Follow(client, address)
	if err != nil {
		return nil, err
	}
	if err := f.Poll(ctx); err != nil {
		return nil, err
	}
	if f.Kind(media.Video) == nil && f.Kind(media.Audio) == nil {
		return nil, fmt.Errorf("%s: %w", address, ErrNoPlaylist)
	}
	return f, f.Err()
}
