package recorder

import (
	"context"
	"errors"

	"klive/infra/media"
	"klive/storage"
	"klive/storage/ledger"
	"klive/storage/timeline"
)

// Floors tells which media recordings still need. It is what keeps the owner of an entry and
// the sweeper from removing them.
type Floors struct {
	Store     storage.Store
	Timelines Timelines
}

// Floor implements the sweeper's port: media of the entry that begin after the instant are
// needed; ok is false when none are. After an error all must stay.
func (f Floors) Floor(ctx context.Context, entry string) (at media.Time, ok bool, err error) {
	l, err := ledger.Load(ctx, f.Store, entry)
	if errors.Is(err, ledger.ErrNone) {
		return 0, false, nil
	}
	if err != nil {
		return 0, false, err
	}
	s, err := f.Timelines.State(ctx, entry)
	if errors.Is(err, timeline.ErrNoTimeline) {
		s, err = timeline.New(entry), nil
	}
	if err != nil {
		return 0, false, err
	}
	at, ok = l.Floor(starts(s))
	return at - 1, ok, nil
}

// Keep tells the entry's owner, which has the timeline in hand, from which instant on media are
// needed. recorded says that the
// present broadcast is to be recorded: until a recorder has begun, all of it is needed.
func (f Floors) Keep(ctx context.Context, s *timeline.State, recorded bool) (at media.Time, ok bool, err error) {
	l, err := ledger.Load(ctx, f.Store, s.Entry)
	if errors.Is(err, ledger.ErrNone) {
		l, err = &ledger.Ledger{Entry: s.Entry}, nil
	}
	if err != nil {
		return 0, false, err
	}
	at, ok = l.Floor(starts(s))
	if b := s.Current(); recorded && b != nil && !b.Ended && l.Session(b.ID) == nil && (!ok || b.Start < at) {
		at, ok = b.Start, true
	}
	return at, ok, nil
}

// starts tells where an item of a timeline begins, or no later than where: closed chapters are
// not read for it.
func starts(s *timeline.State) func(broadcast string, seq uint64) (media.Time, bool) {
	return func(broadcast string, seq uint64) (media.Time, bool) {
		for _, b := range s.Broadcasts {
			if b.ID == broadcast {
				return startOf(b, seq), true
			}
		}
		return 0, false // the timeline has nothing of it that could be kept
	}
}

func startOf(b *timeline.Broadcast, seq uint64) media.Time {
	at := b.Start
	for _, c := range b.Chapters {
		if c.FirstSeq <= seq {
			at = c.Start
		}
	}
	for i := range b.Items {
		if it := &b.Items[i]; it.Seq <= seq {
			at = it.Start
		} else if i == len(b.Items)-1 && seq > it.Seq {
			at = it.End()
		}
	}
	return at
}
