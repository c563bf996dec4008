package timeline

import (
	"math"
	"math/bits"
	"slices"
	"strings"
	"time"
)

func (s *State) adopt(r *Adopted) error {
	b, err := s.open()
	if err != nil {
		return err
	}
	it := r.Item
	it.Media = slices.Clone(it.Media)
	first := b.FirstSeq == 0
	if err := s.checkItem(b, &it); err != nil {
		return err
	}
	if first {
		if r.Target < 1 || r.Target > maxTarget {
			return bad("target duration %d: 1 to %d s are allowed", r.Target, maxTarget)
		}
		b.Target, b.FirstSeq = r.Target, s.NextSeq
	}
	if it.Dependent = !r.Independent; it.Dependent {
		b.Dependent = true
	}
	it.Seq = s.NextSeq
	s.NextSeq++
	it.DiscontinuitySeq = s.NextDiscontinuity - 1
	if first || it.Discontinuity {
		it.DiscontinuitySeq = s.NextDiscontinuity
		s.NextDiscontinuity++
		b.Runs = append(slices.Clip(b.Runs), Run{Seq: it.Seq, Start: it.Start})
		b.Runs = b.Runs[max(0, len(b.Runs)-maxRuns):]
	}
	it.Discontinuity = it.Discontinuity && !first
	b.Renditions = slices.Clone(b.Renditions)
	b.Items = append(slices.Clip(b.Items), it)
	for i := range it.Media {
		d := b.Rendition(it.Media[i].Rendition)
		if d.First == 0 {
			d.First = it.Seq
		}
		if it.Media[i].there() {
			b.measure(d, len(b.Items)-1)
		}
	}
	return nil
}

// checkItem says whether the item can follow the broadcast's last one.
func (s *State) checkItem(b *Broadcast, it *Item) error {
	if it.Seq != 0 && it.Seq != s.NextSeq {
		return bad("item %d, the next one is %d", it.Seq, s.NextSeq)
	}
	if it.Duration <= 0 || it.Duration > maxTarget*time.Second {
		return bad("item of %v", it.Duration)
	}
	if n := len(b.Items); n > 0 && it.Start <= b.Items[n-1].Start {
		return bad("item starts at %v, not after the one before it (%v)", it.Start.Std(), b.Items[n-1].Start.Std())
	}
	if len(it.Media) == 0 || len(it.Media) > maxRenditions {
		return bad("item with %d media", len(it.Media))
	}
	for i := range it.Media {
		m := &it.Media[i]
		d := b.Rendition(m.Rendition)
		if d == nil {
			return bad("rendition %.80q has not been described", m.Rendition)
		}
		if it.Of(m.Rendition) != m {
			return bad("rendition %s twice in an item", m.Rendition)
		}
		if err := m.check(d); err != nil {
			return err
		}
	}
	return nil
}

// check says whether media can stand in an item.
func (m *Media) check(d *Rendition) error {
	if !ValidName(m.Name) {
		return bad("media name %.80q is not <start>-<epoch>", m.Name)
	}
	if m.Duration <= 0 || m.Duration > maxTarget*time.Second {
		return bad("media %s of %v", m.Name, m.Duration)
	}
	if m.Gap && m.there() || m.Stored && m.Held {
		return bad("media %s is more than one of stored, held and a gap", m.Name)
	}
	// An owner that takes over while the store is away may not know how large held media are.
	if m.Size < 0 || m.Stored && m.Size == 0 || m.there() && (m.Init < 1 || m.Init > d.Inits) {
		return bad("stored media %s has %d bytes and init %d of %d", m.Name, m.Size, m.Init, d.Inits)
	}
	return nil
}

// ValidName reports whether s is "<start>-<epoch>" in decimal.
func ValidName(s string) bool {
	start, epoch, ok := strings.Cut(s, "-")
	return ok && isDecimal(start) && isDecimal(epoch)
}

func isDecimal(s string) bool {
	return s != "" && len(s) <= 20 && strings.Trim(s, "0123456789") == ""
}

func (s *State) store(r *Stored) error {
	if r.Seq >= s.NextSeq {
		return bad("item %d has not been adopted", r.Seq)
	}
	for i := len(s.Broadcasts) - 1; i >= 0; i-- {
		items := s.Broadcasts[i].Items
		at, found := slices.BinarySearchFunc(items, r.Seq, func(it Item, seq uint64) int { return int(it.Seq) - int(seq) })
		if found {
			return s.edit(i).store(at, r.Media)
		}
	}
	return nil // its chapter is closed or it has expired, so its media were settled
}

func (b *Broadcast) store(at int, stored []Media) error {
	b.Items = slices.Clone(b.Items)
	b.Renditions = slices.Clone(b.Renditions)
	it := &b.Items[at]
	it.Media = slices.Clone(it.Media)
	for _, m := range stored {
		old, d := it.Of(m.Rendition), b.Rendition(m.Rendition)
		if old == nil || old.Name != m.Name {
			return bad("item %d was adopted without %.80q of rendition %.80q", it.Seq, m.Name, m.Rendition)
		}
		if old.Settled() || old.Held && m.Held {
			continue
		}
		if !m.Settled() && !m.Held {
			return bad("media %s is neither stored nor held nor a gap", m.Name)
		}
		if err := m.check(d); err != nil {
			return err
		}
		counted := old.Held && old.Size > 0
		*old = m
		if m.there() && m.Size > 0 && !counted {
			b.measure(d, at)
		}
	}
	return nil
}

// measure counts the media of item at in, which has just come to be there. The peak is taken
// over every run of such segments with this one in it that lasts half to one and a half targets.
func (b *Broadcast) measure(d *Rendition, at int) {
	m := b.Items[at].Of(d.Name)
	d.Bytes += m.Size
	d.Duration += m.Duration
	target := time.Duration(b.Target) * time.Second
	first, length := at, m.Duration
	for first > 0 {
		o := b.Items[first-1].Of(d.Name)
		if o == nil || !o.there() || length+o.Duration > target*3/2 {
			break
		}
		first--
		length += o.Duration
	}
	for from := first; from <= at; from++ {
		var bytes int64
		var length time.Duration
		for i := from; i < len(b.Items); i++ {
			o := b.Items[i].Of(d.Name)
			if o == nil || !o.there() {
				break
			}
			bytes += o.Size
			length += o.Duration
			if i > from && length > target*3/2 {
				break
			}
			if i >= at && length >= target/2 {
				d.Peak = max(d.Peak, BitRate(bytes, length))
			}
		}
	}
}

// BitRate is in bit/s, rounded up; 0 when nothing has a length.
func BitRate(bytes int64, length time.Duration) int64 {
	if length <= 0 || bytes <= 0 {
		return 0
	}
	hi, lo := bits.Mul64(uint64(bytes), 8*uint64(time.Second))
	lo, carry := bits.Add64(lo, uint64(length)-1, 0)
	if hi+carry >= uint64(length) {
		return math.MaxInt64 // nothing weighs so much
	}
	rate, _ := bits.Div64(hi+carry, lo, uint64(length))
	return int64(min(rate, math.MaxInt64))
}

func (s *State) closeChapter(r *Closed) error {
	i := s.index(r.Broadcast)
	if i < 0 {
		return bad("no broadcast %.80q", r.Broadcast)
	}
	c := r.Chapter
	if c.Key == "" || len(c.Key) > 256 || c.LastSeq < c.FirstSeq || c.Duration <= 0 {
		return bad("chapter %d to %d", c.FirstSeq, c.LastSeq)
	}
	b := s.edit(i)
	if len(b.Items) > 0 && b.Items[0].Seq == c.FirstSeq {
		return b.closeItems(c)
	}
	return b.mergeChapters(c)
}

func (b *Broadcast) closeItems(c Chapter) error {
	n := 0
	for n < len(b.Items) && b.Items[n].Seq <= c.LastSeq {
		if !b.Items[n].Settled() {
			return bad("chapter %d to %d: item %d is not settled", c.FirstSeq, c.LastSeq, b.Items[n].Seq)
		}
		n++
	}
	if b.Items[n-1].Seq != c.LastSeq || n == len(b.Items) {
		return bad("chapter %d to %d: at least one item must stay open", c.FirstSeq, c.LastSeq)
	}
	b.Items = slices.Clone(b.Items[n:])
	b.Chapters = append(slices.Clip(b.Chapters), c)
	return nil
}

func (b *Broadcast) mergeChapters(c Chapter) error {
	from := slices.IndexFunc(b.Chapters, func(o Chapter) bool { return o.FirstSeq == c.FirstSeq })
	to := slices.IndexFunc(b.Chapters, func(o Chapter) bool { return o.LastSeq == c.LastSeq })
	if from < 0 || to < from {
		return bad("chapter %d to %d: there are no such items", c.FirstSeq, c.LastSeq)
	}
	b.Chapters = slices.Replace(slices.Clone(b.Chapters), from, to+1, c)
	return nil
}

func (s *State) expire(r *Expired) error {
	i := s.index(r.Broadcast)
	if i < 0 {
		return nil // forgotten already
	}
	b := s.edit(i)
	if !b.Ended && (len(b.Items) == 0 || r.Before > b.Items[len(b.Items)-1].Seq) {
		return bad("expiring all of broadcast %s, which has not ended", b.ID)
	}
	b.FirstSeq = max(b.FirstSeq, r.Before)
	b.Chapters = slices.Clone(slices.DeleteFunc(slices.Clone(b.Chapters), func(c Chapter) bool { return c.LastSeq < b.FirstSeq }))
	b.Items = slices.DeleteFunc(slices.Clone(b.Items), func(it Item) bool { return it.Seq < b.FirstSeq })
	for len(b.Runs) > 1 && b.Runs[1].Seq <= b.FirstSeq {
		b.Runs = b.Runs[1:]
	}
	if b.Ended && len(b.Chapters) == 0 && len(b.Items) == 0 {
		s.Broadcasts = slices.Delete(s.Broadcasts, i, i+1)
	}
	return nil
}
