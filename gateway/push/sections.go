package push

import (
	"bytes"
	"context"
	"errors"
	"slices"
	"sync"
	"time"

	"klive/gateway"
	"klive/infra/bus"
	"klive/infra/live"
)

const (
	// sectionsPatience bounds a read or write of a feed's sections on the bus.
	sectionsPatience = 2 * time.Second
	// sectionsAgain is how often the record of a feed that goes on is written anew, so that it
	// outlives the feed and not the other way round.
	sectionsAgain = time.Hour
	// sectionsGrace is how long a feed's own section is waited for when one is remembered.
	sectionsGrace = 500 * time.Millisecond
)

// sections is what a publication has on the bus of its initialization sections.
type sections struct {
	// mu guards the fields below, and is held while they are written to the bus.
	mu      sync.Mutex
	list    []live.Section // in the order in which they came first: it numbers the tracks
	written time.Time
}

func (f *feed) ownSections() *sections {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.sections
}

// keepSection puts an initialization section of the feed on the bus. One of the same stream goes:
// some packagers begin each segment with theirs.
func (f *feed) keepSection(path string, moov []byte) {
	s := f.ownSections()
	s.mu.Lock()
	defer s.mu.Unlock()
	at := slices.IndexFunc(s.list, func(o live.Section) bool { return streamKey(o.Path) == streamKey(path) })
	switch {
	case at < 0:
		s.list = append(s.list, live.Section{Path: path, Moov: moov})
	case bytes.Equal(s.list[at].Moov, moov) && time.Since(s.written) < sectionsAgain:
		return
	default:
		s.list[at] = live.Section{Path: path, Moov: moov}
	}
	f.writeSections(s)
}

// keepSections writes what is kept anew when that was long ago.
func (f *feed) keepSections() {
	s := f.ownSections()
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.list) > 0 && time.Since(s.written) >= sectionsAgain {
		f.writeSections(s)
	}
}

// writeSections writes the record. The caller holds s.mu.
func (f *feed) writeSections(s *sections) {
	if f.h.cfg.Sections == nil {
		return
	}
	s.written = time.Now() // also when it fails: the next try is not at the next segment
	ctx, cancel := context.WithTimeout(context.Background(), sectionsPatience)
	defer cancel()
	b, err := live.SectionsRecord{Sections: s.list}.Marshal()
	if err == nil {
		_, err = f.h.cfg.Sections.Put(ctx, f.id.String(), b)
	}
	if err != nil {
		f.h.cfg.Logger.Warn("the initialization sections of a feed could not be kept; its encoder has to begin anew if the feed moves to another gateway",
			"entry", f.id.Entry, "stream", f.id.StreamName(), "error", err)
	}
}

// forgetSections removes the record of a feed that has come to its end.
func (f *feed) forgetSections(s *sections) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if f.h.cfg.Sections == nil || len(s.list) == 0 {
		return
	}
	s.list = nil
	ctx, cancel := context.WithTimeout(context.Background(), sectionsPatience)
	defer cancel()
	if err := f.h.cfg.Sections.Delete(ctx, f.id.String(), 0); err != nil && !errors.Is(err, bus.ErrNotFound) {
		f.h.cfg.Logger.Debug("the initialization sections of a feed stay until they expire", "entry", f.id.Entry, "error", err)
	}
}

// remembered is what an earlier feed of this stream, here or at another gateway, had sent.
func (f *feed) remembered() []live.Section {
	if f.h.cfg.Sections == nil {
		return nil
	}
	ctx, cancel := context.WithTimeout(context.Background(), sectionsPatience)
	defer cancel()
	kv, err := f.h.cfg.Sections.Get(ctx, f.id.String())
	var r live.SectionsRecord
	if err == nil {
		r, err = live.UnmarshalSectionsRecord(kv.Value)
	}
	if err != nil && !errors.Is(err, bus.ErrNotFound) {
		f.h.cfg.Logger.Warn("the initialization sections of a feed can't be read; its encoder has to begin anew", "entry", f.id.Entry, "stream", f.id.StreamName(), "error", err)
	}
	return r.Sections
}

// recall finds the movie of a fragment whose initialization section has not come: it may still
// be on its way, or have been sent to another gateway, or before a restart. Nil when there is none.
func (f *feed) recall(merge *merger, path string) *movie {
	if m := f.lookup(path); m != nil {
		return m
	}
	old := f.remembered()
	patience := f.h.cfg.Turn
	if len(old) > 0 {
		patience = min(patience, sectionsGrace)
	}
	if m := f.await(path, patience); m != nil || len(old) == 0 {
		return m
	}
	for _, s := range old {
		if f.has(s.Path) {
			continue
		}
		if _, err := f.adopt(merge, s.Path, s.Moov); err != nil {
			f.h.cfg.Logger.Warn("a remembered initialization section is of no use", "entry", f.id.Entry, "path", gateway.Printable(s.Path, maxShown), "error", err)
			continue
		}
		f.keepSection(s.Path, s.Moov)
	}
	m := f.lookup(path)
	if m != nil {
		f.h.cfg.Logger.Info("the stream goes on with the initialization sections that it was begun with", "entry", f.id.Entry, "stream", f.id.StreamName(), "sections", len(old))
	}
	return m
}
