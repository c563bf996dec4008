package ledger

import (
	"slices"
	"time"
)

// Kept is a run of confirmed files of a series that the ledger does not name one by one any more. Their MP4s rest in the
// store until their time is over.
type Kept struct {
	Asset string `json:"asset"`
	Index int    `json:"index,omitempty"`
	// From and To are the first and the last number.
	From int `json:"from"`
	To   int `json:"to"`
	// Changed is when the last of them was confirmed.
	Changed time.Time `json:"changed"`
}

const (
	// keptRun bounds a run: it goes as a whole, so it is about a day of files of 15 minutes.
	keptRun = 100
	maxKept = 100_000
)

// Keys are where the run's MP4s rest in the store of recordings.
func (k *Kept) Keys(entry string) []string {
	keys := make([]string, 0, k.To-k.From+1)
	for n := k.From; n <= k.To; n++ {
		f := File{Asset: k.Asset, Index: k.Index, N: n}
		keys = append(keys, f.Key(entry))
	}
	return keys
}

// Keep lets confirmed files go from the ledger's list and remembers them in runs.
func (l *Ledger) Keep(ids ...string) {
	which := set(ids)
	l.Files = slices.DeleteFunc(l.Files, func(f File) bool {
		if f.State != Confirmed || !which[f.ID()] {
			return false
		}
		l.keep(&f)
		return true
	})
}

func (l *Ledger) keep(f *File) {
	for i := len(l.Kept) - 1; i >= 0; i-- {
		k := &l.Kept[i]
		if k.Asset != f.Asset || k.Index != f.Index {
			continue
		}
		if k.To+1 == f.N && f.N-k.From < keptRun {
			if k.To = f.N; f.Changed.After(k.Changed) {
				k.Changed = f.Changed
			}
			return
		}
		break
	}
	l.Kept = append(l.Kept, Kept{Asset: f.Asset, Index: f.Index, From: f.N, To: f.N, Changed: f.Changed})
}

func set(ids []string) map[string]bool {
	m := make(map[string]bool, len(ids))
	for _, id := range ids {
		m[id] = true
	}
	return m
}
