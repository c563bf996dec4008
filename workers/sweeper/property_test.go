package sweeper

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"pgregory.net/rapid"

	"klive/infra/check"
	"klive/infra/media"
	"klive/storage/playlist"
	"klive/storage/timeline"
	tt "klive/storage/timeline/timelinetest"
)

// world is an entry whose owners come and go, die half way, and write late, while a sweeper
// looks at the store.
type world struct {
	*rig
	choices  []byte // what is still to be decided by chance
	here     bool   // an owner is there
	late     []lateMedia
	ids      int
	sweeping bool            // calls come from the sweeper
	put      map[string]bool // what rests in the store as far as owners know
	sweeps   int
	swept    int
}

// lateMedia is an item that is adopted and not settled.
type lateMedia struct {
	seq   uint64
	media []timeline.Media
	id    string
}

// pick decides among n; 0 when everything has been decided.
func (w *world) pick(n int) int {
	if len(w.choices) == 0 {
		return 0
	}
	c := int(w.choices[0])
	w.choices = w.choices[1:]
	return c % n
}

func (w *world) act() {
	actions := []func(){w.adopt, w.adopt, w.adopt, w.settle, w.settle, w.save, w.expire, w.die, w.dieInSave, w.finish, w.orphan, w.orphan, w.wait, w.wait}
	actions[w.pick(len(actions))]()
}

// arrive makes sure of an owner and a broadcast.
func (w *world) arrive() {
	if !w.here {
		w.own()
		w.here, w.late = true, nil
		w.takeOver()
	}
	if b := w.writer.State().Current(); b == nil || b.Ended {
		w.ids++
		id := "broadcast-" + string(rune('a'+w.ids%26)) + string(rune('a'+w.ids/26%26)) + string(rune('a'+w.ids/676))
		w.script.At = max(w.script.At, media.At(time.Now()))
		dvr := time.Duration(w.pick(4)) * time.Hour
		w.begin(id, dvr)
		w.put[playlist.InitKey(tt.Video, id, 1)], w.put[playlist.InitKey(tt.Audio, id, 1)] = true, true
	}
}

// takeOver settles what an owner before this one left open: by what is in the store.
func (w *world) takeOver() {
	b := w.writer.State().Current()
	if b == nil || b.Ended {
		return
	}
	for _, it := range b.Items {
		rec := &timeline.Stored{Seq: it.Seq}
		for _, m := range it.Media {
			if m.Settled() {
				continue
			}
			body, _, err := w.store.Get(context.Background(), playlist.MediaKey(m.Rendition, b.ID, m.Name), nil)
			m.Held, m.Stored, m.Gap, m.Size = false, err == nil, err != nil, 1
			if err == nil {
				body.Close()
			}
			rec.Media = append(rec.Media, m)
		}
		if len(rec.Media) > 0 {
			w.append(rec)
		}
	}
}

func (w *world) adopt() {
	w.arrive()
	w.script.At = max(w.script.At, media.At(time.Now()).Add(-4*sec))
	for range w.pick(20) + 1 {
		a := w.script.Adopt(4*sec, false)
		st, err := w.writer.Append(context.Background(), a)
		if err != nil {
			w.t.Fatal(err)
		}
		b := st.Current()
		it := b.Items[len(b.Items)-1]
		w.late = append(w.late, lateMedia{it.Seq, it.Media, b.ID})
		if w.pick(2) == 0 {
			w.settle()
		}
	}
}

// settle ends the wait of one item: stored, held and then stored, or a gap, whose object may
// arrive all the same.
func (w *world) settle() {
	if !w.here || len(w.late) == 0 {
		return
	}
	l := w.late[0]
	rec := &timeline.Stored{Seq: l.seq}
	how := []string{"stored", "stored", "stored", "held", "gap", "gap but there", "put and not said"}[w.pick(7)]
	for i := range l.media {
		m := &l.media[i]
		if how != "gap" && how != "held" {
			w.store1(playlist.MediaKey(m.Rendition, l.id, m.Name))
		}
		n := *m
		n.Size = 1
		n.Held, n.Gap, n.Stored = how == "held", how == "gap" || how == "gap but there", how == "stored"
		if n.Gap {
			n.Size = 0
		}
		rec.Media = append(rec.Media, n)
	}
	if how != "held" {
		w.late = w.late[1:]
	}
	if how != "put and not said" {
		w.append(rec)
	}
}

func (w *world) store1(key string) {
	if !w.put[key] {
		w.rig.put(key)
		w.put[key] = true
	}
}

func (w *world) save() {
	if w.here {
		w.rig.save()
	}
}

func (w *world) expire() {
	if !w.here {
		return
	}
	back := time.Duration(w.pick(200)) * time.Minute
	dropped, err := w.writer.Expire(context.Background(), media.At(time.Now()).Add(-back))
	if err != nil {
		w.t.Fatal(err)
	}
	for _, d := range dropped {
		if w.pick(2) == 0 {
			if err := w.store.Delete(context.Background(), playlist.DroppedKeys(&d)...); err != nil {
				w.t.Fatal(err)
			}
		}
	}
}

func (w *world) die() { w.here = false }

// dieInSave ends an owner when it has written a chapter and not said so.
func (w *world) dieInSave() {
	if !w.here {
		return
	}
	w.log.Before = func(context.Context, string, []byte) error { return errors.New("the bus is away") }
	if err := w.writer.Save(context.Background()); err != nil {
		w.here = false
	}
	w.log.Before = nil
}

func (w *world) finish() {
	if !w.here {
		return
	}
	if b := w.writer.State().Current(); b == nil || b.Ended || len(b.Items) == 0 {
		return
	}
	for len(w.late) > 0 {
		w.settle()
	}
	w.script.At = w.writer.State().Current().Items[len(w.writer.State().Current().Items)-1].End()
	w.end()
	w.here = w.pick(2) == 0
}

func (w *world) orphan() {
	keys := []string{folder + "1000-99.m4s", "kLive/" + tt.Audio + "/broadcast-x/init-1.mp4"}
	if b := w.rig.writer.State().Current(); b != nil {
		keys = append(keys, playlist.MediaKey(tt.Video, b.ID, "7-99"), playlist.InitKey(tt.Video, b.ID, 9))
	}
	w.rig.put(keys[w.pick(len(keys))])
}

func (w *world) wait() {
	time.Sleep([]time.Duration{sec, time.Minute, 20 * time.Minute, 70 * time.Minute, 4 * time.Hour}[w.pick(5)])
}

// between lets owners act between the sweeper's calls.
func (w *world) between(context.Context, string, string) error {
	if !w.sweeping || w.pick(10) > 0 {
		return nil
	}
	w.sweeping = false
	w.act()
	w.sweeping = true
	return nil
}

func (w *world) sweepOnce(s *Sweeper) {
	w.sweeping = true
	rep, err := s.sweep(context.Background())
	w.sweeping = false
	if err != nil || len(rep.unreadable) > 0 {
		w.t.Fatalf("sweep: %+v, %v", rep, err)
	}
	w.sweeps++
	w.swept += rep.removed
	w.check()
}

// check holds the store against the timeline: what it names as stored is there, and what
// owners have put for items that are still open.
func (w *world) check() {
	state, err := timeline.Load(context.Background(), w.store, w.log, tt.Entry)
	if err != nil {
		w.t.Fatal(err)
	}
	there := map[string]bool{}
	for _, key := range w.keys("") {
		there[key] = true
	}
	want := func(key string) {
		if !there[key] {
			w.t.Fatalf("%s is named and was removed", key)
		}
	}
	for _, b := range state.Broadcasts {
		items := b.Items
		for _, c := range b.Chapters {
			want(c.Key)
			list, err := timeline.LoadChapter(context.Background(), w.store, b.ID, c)
			if err != nil {
				w.t.Fatal(err)
			}
			items = append(list[:len(list):len(list)], items...)
		}
		for _, it := range items {
			for _, m := range it.Media {
				if key := playlist.MediaKey(m.Rendition, b.ID, m.Name); it.Seq >= b.FirstSeq && (m.Stored || !m.Gap && w.put[key]) {
					want(key)
				}
			}
		}
		for _, r := range b.Renditions {
			for n := 1; n <= r.Inits; n++ {
				want(playlist.InitKey(r.Name, b.ID, n))
			}
		}
	}
}

// failing is a test's face inside a bubble, of which a failure must not escape.
type failing struct{ rapid.TB }

type failure string

func (failing) Helper()                      {}
func (failing) Fatal(args ...any)            { panic(failure(fmt.Sprint(args...))) }
func (failing) Fatalf(form string, a ...any) { panic(failure(fmt.Sprintf(form, a...))) }
func (failing) Errorf(form string, a ...any) { panic(failure(fmt.Sprintf(form, a...))) }

// run lets the world go on until everything is decided, and then quiet down.
func (w *world) run(skew time.Duration) (wrong string) {
	defer func() {
		switch f := recover().(type) {
		case nil:
		case failure:
			wrong = string(f)
		default:
			panic(f)
		}
	}()
	w.rig = newRig(failing{})
	w.here = true
	w.store.Before = w.between
	s := w.sweeper(skewed{w.store, skew})
	s.take = func(ctx context.Context, _ string) (right, error) {
		if w.here {
			return right{}, errBusy
		}
		return certain(ctx), nil
	}
	for len(w.choices) > 0 {
		if w.pick(5) == 0 {
			w.sweepOnce(s)
		} else {
			w.act()
		}
	}
	w.store.Before = nil
	w.arrive()
	w.adopt()
	w.finish()
	w.here = false
	for range 3 {
		time.Sleep(6 * time.Hour)
		w.sweepOnce(s)
	}
	for _, key := range w.keys("kLive/") {
		if _, ok := parseMediaKey(key); ok {
			w.t.Fatalf("%s is left although nothing names it", key)
		}
	}
	return ""
}

// Whatever owners do, and whenever: nothing that a timeline names is removed. And when all
// is quiet, nothing is left that no timeline names.
func TestNeverRemovesWhatIsNamed(t *testing.T) {
	check.Checks(t, 30, 300)
	sweeps, swept := 0, 0
	rapid.Check(t, func(rt *rapid.T) {
		w := &world{put: map[string]bool{}, choices: rapid.SliceOfN(rapid.Byte(), 20, 400).Draw(rt, "choices")}
		skew := time.Duration(rapid.IntRange(-300, 300).Draw(rt, "skew")) * time.Minute
		var wrong string
		synctest.Test(t, func(*testing.T) { wrong = w.run(skew) })
		if wrong != "" {
			rt.Fatal(wrong)
		}
		sweeps, swept = sweeps+w.sweeps, swept+w.swept
	})
	t.Logf("%d sweeps removed %d objects", sweeps, swept)
}
