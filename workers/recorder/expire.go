package recorder

import (
	"context"
	"slices"
	"time"

	"klive/storage/ledger"
)

// expireEvery is how often files are looked at whose time is over, keepFiles how many the ledger names of those that
// stay for ever, nameFiles how many of those that stay for recording.keep: of older ones it keeps the numbers.
const (
	expireEvery = 10 * time.Second
	keepFiles   = 1000
	nameFiles   = 5000
)

// expire removes the MP4s of confirmed files whose time is over, and forgets them. Only what
// is confirmed is ever removed.
func (r *Recorder) expire(ctx context.Context) error {
	if time.Since(r.expired) < expireEvery {
		return nil
	}
	r.expired = time.Now()
	l := r.book.Ledger()
	var gone, unnamed []string
	for i, f := range l.Files {
		over := r.Options.Keep > 0 && f.State == ledger.Confirmed && time.Since(f.Changed) >= r.Options.Keep
		stays := r.Options.Keep == 0 || f.State == ledger.Skipped
		switch {
		case over || f.Settled() && stays && i < len(l.Files)-keepFiles:
			gone = append(gone, f.ID())
		case f.State == ledger.Confirmed && i < len(l.Files)-nameFiles:
			unnamed = append(unnamed, f.ID())
		}
		if over {
			if err := r.Recordings.Delete(ctx, f.Key(r.Entry)); err != nil {
				return err
			}
			r.Log.Info("a confirmed recording's file is removed, its time is over", describeFile(&f)...)
		}
	}
	late := func(k ledger.Kept) bool { return r.Options.Keep > 0 && time.Since(k.Changed) >= r.Options.Keep }
	runs := 0
	for _, k := range l.Kept {
		if !late(k) {
			continue
		}
		if err := r.Recordings.Delete(ctx, k.Keys(r.Entry)...); err != nil {
			return err
		}
		runs++
		r.Log.Info("confirmed recordings' files are removed, their time is over", "series", ledger.Series(k.Asset, k.Index), "from", k.From, "to", k.To)
	}
	if len(gone)+len(unnamed)+runs == 0 {
		return nil
	}
	return r.book.Change(ctx, func(l *ledger.Ledger) error {
		l.Kept = slices.DeleteFunc(l.Kept, late)
		l.Forget(gone...)
		l.Keep(unnamed...)
		return nil
	})
}

// forgetUnwritten removes the MP4s of files that were skipped before the ledger had them as written: a recorder may have died,
// or lost its lease, between the two. Nothing refers to such an MP4: Kaltura is told of a file, and an operator may have one
// handed over again, only once the ledger has its size.
func (r *Recorder) forgetUnwritten(ctx context.Context) error {
	var keys []string
	for _, f := range r.book.Ledger().Files {
		if f.State == ledger.Skipped && f.Size == 0 {
			keys = append(keys, f.Key(r.Entry))
		}
	}
	if len(keys) == 0 {
		return nil
	}
	return r.Recordings.Delete(ctx, keys...)
}
