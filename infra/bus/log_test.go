package bus_test

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"time"

	"klive/infra/bus"
	"klive/infra/check"
)

// addTo appends to a log whatever its last record is.
func addTo(ctx context.Context, l *bus.Log, subject, id string, data []byte) (uint64, error) {
	last, err := l.LastSeq(ctx, subject)
	if err != nil {
		return 0, err
	}
	return l.Append(ctx, subject, id, data, last)
}

func openLog(t *testing.T, c *bus.Control, config bus.LogConfig) *bus.Log {
	t.Helper()
	l, err := c.Log(t.Context(), config)
	if err != nil {
		t.Fatal(err)
	}
	return l
}

// records reads what is there for a pattern.
func records(t *testing.T, l *bus.Log, pattern string, from uint64) (all []bus.Record) {
	t.Helper()
	f, err := l.Follow(t.Context(), pattern, from)
	must(t, err)
	defer f.Close()
	ctx, cancel := context.WithTimeout(t.Context(), time.Second)
	defer cancel()
	for {
		r, err := f.Next(ctx)
		if errors.Is(err, context.DeadlineExceeded) {
			return all
		}
		must(t, err)
		all = append(all, r)
	}
}

func TestLogConditions(t *testing.T) {
	bubble(t, func(t *testing.T, n *bus.Node) {
		ctx := t.Context()
		l := openLog(t, n.Control(), bus.LogConfig{Name: "timeline"})
		seq, err := l.LastSeq(ctx, "0_abc")
		must(t, err)
		if seq != 0 {
			t.Errorf("an empty subject's last record is %d", seq)
		}
		first, err := l.Append(ctx, "0_abc", "1", []byte("a"), 0)
		must(t, err)
		_, err = addTo(ctx, l, "0_other", "1", []byte("another subject, the same id"))
		must(t, err)
		_, err = l.Append(ctx, "0_abc", "2", []byte("b"), 0)
		wantErr(t, err, bus.ErrConflict)
		second, err := l.Append(ctx, "0_abc", "2", []byte("b"), first)
		must(t, err)
		again, err := l.Append(ctx, "0_abc", "2", []byte("b"), first)
		must(t, err)
		if again != second {
			t.Errorf("a repeated record got number %d, the first one had %d", again, second)
		}
		if seq, err = l.LastSeq(ctx, "0_abc"); err != nil || seq != second {
			t.Errorf("last record %d, %v; want %d", seq, err, second)
		}
		got := records(t, l, "0_abc", 0)
		if len(got) != 2 || got[0].Seq != first || got[1].Seq != second || got[1].ID != "2" ||
			string(got[1].Data) != "b" || got[1].Subject != "0_abc" {
			t.Errorf("records: %+v", got)
		}
		if got := records(t, l, "", 0); len(got) != 3 {
			t.Errorf("%d records in all, want 3", len(got))
		}
	})
}

func TestLogFollow(t *testing.T) {
	bubble(t, func(t *testing.T, n *bus.Node) {
		ctx := t.Context()
		l := openLog(t, n.Control(), bus.LogConfig{Name: "timeline"})
		early, err := l.Follow(ctx, "0_abc", 0)
		must(t, err)
		defer early.Close()
		var seqs []uint64
		count := check.Length(1000, 300) // several of a follower's batches
		for i := range count {
			seq, err := addTo(ctx, l, "0_abc", fmt.Sprint(i), fmt.Append(nil, i))
			must(t, err)
			seqs = append(seqs, seq)
			_, err = addTo(ctx, l, "0_other", fmt.Sprint(i), nil)
			must(t, err)
		}
		for i, seq := range seqs {
			r, err := early.Next(ctx)
			must(t, err)
			if r.Seq != seq || string(r.Data) != fmt.Sprint(i) {
				t.Fatalf("record %d: number %d holds %s", i, r.Seq, r.Data)
			}
		}
		if got := records(t, l, "0_abc", seqs[count-10]); len(got) != 10 || got[0].Seq != seqs[count-10] {
			t.Errorf("%d records from the last but nine, want 10", len(got))
		}
		time.AfterFunc(time.Hour, early.Close)
		_, err = early.Next(ctx)
		wantErr(t, err, bus.ErrClosed)
	})
}

func TestLogBounds(t *testing.T) {
	bubble(t, func(t *testing.T, n *bus.Node) {
		ctx := t.Context()
		aging := openLog(t, n.Control(), bus.LogConfig{Name: "aging", MaxAge: time.Minute})
		few := openLog(t, n.Control(), bus.LogConfig{Name: "few", MaxPerSubject: 3})
		small := openLog(t, n.Control(), bus.LogConfig{Name: "small", MaxBytes: 20_000})
		for i := range 50 {
			for _, l := range []*bus.Log{aging, few, small} {
				_, err := addTo(ctx, l, fmt.Sprint("entry", i%2), fmt.Sprint(i), make([]byte, 1000))
				must(t, err)
			}
			time.Sleep(10 * time.Second)
		}
		if got := records(t, few, "", 0); len(got) != 6 || got[5].ID != "49" {
			t.Errorf("%d records where each of two subjects may have 3", len(got))
		}
		if got := records(t, small, "", 0); len(got) < 10 || len(got) > 20 || got[len(got)-1].ID != "49" {
			t.Errorf("%d records of 1000 bytes in 20000 bytes", len(got))
		}
		if got := records(t, aging, "", 0); len(got) < 3 || len(got) > 7 || got[len(got)-1].ID != "49" {
			t.Errorf("%d records of the last minute, one each 10 s", len(got))
		}
		for _, id := range []string{"", "two\nlines", string(make([]byte, 300))} {
			_, err := addTo(ctx, few, "a", id, nil)
			wantErr(t, err, bus.ErrInvalid)
		}
		_, err := addTo(ctx, few, "a", "large", make([]byte, bus.MaxValueBytes+1))
		wantErr(t, err, bus.ErrTooLarge)
		_, err = addTo(ctx, few, "a", "largest", make([]byte, bus.MaxValueBytes))
		must(t, err)
		_, err = addTo(ctx, few, "a..b", "1", nil)
		wantErr(t, err, bus.ErrInvalid)
	})
}
