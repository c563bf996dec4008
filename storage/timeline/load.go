package timeline

import (
	"context"
	"errors"
	"fmt"
	"time"

	"klive/storage"
)

// Load reads an entry's timeline as it stands now: the head, and what the log holds behind
// it. It changes nothing. The error wraps ErrNoTimeline when neither knows of the entry.
func Load(ctx context.Context, store storage.Store, log Log, entry string) (*State, error) {
	s, err := LoadHead(ctx, store, entry)
	if errors.Is(err, ErrNoTimeline) {
		return loadLog(ctx, log, entry, err)
	}
	if err != nil {
		return nil, err
	}
	return replay(ctx, log, s)
}

// headWait is how long a reader that has the log waits for the head.
const headWait = 3 * time.Second

// loadRead is Load for those who only read: while the store is away, it makes do with the
// log, which holds everything of an entry that has not been on the air for longer than the
// log reaches back.
func loadRead(ctx context.Context, store storage.Store, log Log, entry string) (*State, error) {
	try, cancel := context.WithTimeout(ctx, headWait)
	defer cancel()
	s, err := LoadHead(try, store, entry)
	if !away(ctx, err) {
		return s, err
	}
	return loadLog(ctx, log, entry, err)
}

// away reports whether an error of loading a head says that the store did not give an answer
// in the time that it had. ctx is the caller's.
func away(ctx context.Context, err error) bool {
	return err != nil && ctx.Err() == nil && !errors.Is(err, ErrNoTimeline) && !errors.Is(err, ErrDamaged) && !errors.Is(err, ErrVersion)
}

// loadLog makes an entry's state from the log alone. When the log does not reach back to the
// entry's first record, it returns noHead, which says why there is no head.
func loadLog(ctx context.Context, log Log, entry string, noHead error) (*State, error) {
	s, err := replay(ctx, log, New(entry))
	if err != nil {
		return nil, errors.Join(noHead, err)
	}
	if s.LogSeq == 0 {
		return nil, noHead
	}
	return s, nil
}

// replay folds in what stands in the log behind s, up to the log's present end.
func replay(ctx context.Context, log Log, s *State) (*State, error) {
	last, err := log.Last(ctx, Subject(s.Entry))
	if err != nil {
		return nil, fmt.Errorf("timeline log of %s: %w", s.Entry, err)
	}
	err = readLog(ctx, log, s.Entry, s.LogSeq, last, func(env Envelope, seq uint64) error {
		next, err := s.Apply(env, seq)
		if err == nil {
			s = next
		}
		return err
	})
	if err != nil {
		return nil, err
	}
	return s, nil
}

// readLog hands each record of an entry's log from behind the known one up to last, the log's
// end, to each, whose error ends it.
func readLog(ctx context.Context, log Log, entry string, known, last uint64, each func(Envelope, uint64) error) error {
	from := known + 1
	if last == known || last == 0 {
		return nil
	}
	if last < from {
		from = 1 // the log was made anew
	}
	f, err := log.Follow(ctx, Subject(entry), from)
	if err != nil {
		return fmt.Errorf("timeline log of %s: %w", entry, err)
	}
	defer f.Close()
	for seq := uint64(0); seq < last; {
		var data []byte
		if seq, data, err = f.Next(ctx); err != nil {
			return fmt.Errorf("timeline log of %s: %w", entry, err)
		}
		env, err := UnmarshalEnvelope(data)
		if err == nil {
			err = each(env, seq)
		}
		if err != nil {
			return fmt.Errorf("timeline log of %s at %d: %w", entry, seq, err)
		}
	}
	return nil
}
