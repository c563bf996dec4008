package sweeper

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/client_golang/prometheus"
	"go.uber.org/goleak"
	"pgregory.net/rapid"

	"klive/infra/bus"
	"klive/infra/media"
	"klive/storage"
	"klive/storage/playlist"
	"klive/storage/storagetest"
	"klive/storage/timeline"
	tt "klive/storage/timeline/timelinetest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const sec = time.Second

// rig is a store with one entry that an owner writes.
type rig struct {
	t      rapid.TB
	store  *storagetest.Memory
	log    *tt.Log
	script *tt.Script
	writer *timeline.Writer
	epoch  uint64
}

func newRig(t rapid.TB) *rig {
	r := &rig{t: t, store: storagetest.NewMemory(), log: tt.NewLog(), script: tt.NewScript()}
	r.script.At = media.At(time.Now())
	r.own()
	return r
}

// own makes a new owner.
func (r *rig) own() {
	r.t.Helper()
	r.epoch++
	for {
		w, err := timeline.OpenWriter(context.Background(), timeline.WriterConfig{
			Store: r.store, Log: r.log, Entry: tt.Entry, Epoch: r.epoch, Owner: fmt.Sprint("owner", r.epoch), Keep: 5,
		})
		if errors.Is(err, timeline.ErrFenced) {
			r.epoch++
			continue
		}
		if err != nil {
			r.t.Fatal(err)
		}
		r.writer = w
		return
	}
}

func (r *rig) append(records ...timeline.Record) {
	r.t.Helper()
	for _, rec := range records {
		if _, err := r.writer.Append(context.Background(), rec); err != nil {
			r.t.Fatalf("%T: %v", rec, err)
		}
	}
}

func (r *rig) put(keys ...string) {
	r.t.Helper()
	for _, key := range keys {
		if _, err := r.store.Put(context.Background(), key, [][]byte{[]byte("x")}, storage.PutOptions{}); err != nil {
			r.t.Fatal(err)
		}
	}
}

// begin starts a broadcast with its sections.
func (r *rig) begin(id string, dvr time.Duration) {
	r.t.Helper()
	r.put(playlist.InitKey(tt.Video, id, 1), playlist.InitKey(tt.Audio, id, 1))
	r.append(r.script.Open(id, dvr)...)
}

// segments adopts, stores and saves n items, each 4 s after the other.
func (r *rig) segments(n int) {
	r.t.Helper()
	for range n {
		time.Sleep(4 * sec)
		r.script.At = max(r.script.At, media.At(time.Now()).Add(-4*sec))
		a := r.script.Adopt(4*sec, false)
		r.append(a)
		for _, m := range a.Item.Media {
			r.put(playlist.MediaKey(m.Rendition, r.writer.State().Current().ID, m.Name))
		}
		r.append(r.script.Store())
		r.save()
	}
}

// save writes the head and the playlists.
func (r *rig) save() {
	r.t.Helper()
	if err := r.writer.Save(context.Background()); err != nil {
		r.t.Fatal(err)
	}
	for _, f := range playlist.Stored(r.writer.State(), 5) {
		r.put(f.Key)
	}
}

func (r *rig) end() {
	r.t.Helper()
	r.append(&timeline.Ended{End: r.script.At})
	r.save()
}

// sweeper is one whose entries are free, unless busy says otherwise.
func (r *rig) sweeper(store storage.Store, change ...func(*Config)) *Sweeper {
	cfg := Config{Name: "node", Store: store, Log: r.log, Registerer: prometheus.NewRegistry()}
	for _, f := range change {
		f(&cfg)
	}
	s := newSweeper(cfg)
	s.take = func(ctx context.Context, _ string) (right, error) { return certain(ctx), nil }
	return s
}

// certain is a right that nobody takes away.
func certain(ctx context.Context) right {
	return right{held: ctx, confirm: func(context.Context) error { return nil }, release: func() {}}
}

func (r *rig) sweep(s *Sweeper) *report {
	r.t.Helper()
	rep, err := s.sweep(context.Background())
	if err != nil {
		r.t.Fatal(err)
	}
	return rep
}

// keys lists the store.
func (r *rig) keys(prefix string) []string {
	r.t.Helper()
	list, err := r.store.List(context.Background(), prefix, "", 1<<20)
	if err != nil {
		r.t.Fatal(err)
	}
	keys := make([]string, len(list))
	for i := range list {
		keys[i] = list[i].Key
	}
	return keys
}

// wantGone says that just these keys have gone since before.
func (r *rig) wantGone(before []string, gone ...string) {
	r.t.Helper()
	now := r.keys("")
	want := slices.DeleteFunc(slices.Clone(before), func(k string) bool { return slices.Contains(gone, k) })
	now = slices.DeleteFunc(now, func(k string) bool { return k == clockKey })
	if d := cmp.Diff(want, now); d != "" {
		r.t.Errorf("removed another set of objects than it should: %s", d)
	}
}

// folder is where the rig's video lies, "kLive/<rendition>/<broadcast>/".
const folder = "kLive/" + tt.Video + "/" + tt.Broadcast + "/"

func TestRemovesWhatNoTimelineNames(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t)
		r.begin(tt.Broadcast, 24*time.Hour)
		r.segments(20)
		orphans := []string{
			folder + "1000-9.m4s", folder + "init-2.mp4",
			"kLive/" + tt.Audio + "/Zm9vYmFyYmF7/1000-9.m4s", "kLive/" + tt.Audio + "/Zm9vYmFyYmF7/init-1.mp4",
			"kLive/0_nobodyxx_32/abcdefgh12/1-1.m4s",
		}
		r.put(orphans...)
		r.put(
			"kLive/0_nobodyxx_32/v.m3u8", "kLive/smil:0_nobodyxx_all.smil/playlist.m3u8", "recordings/0_nobodyxx.a.0_1.mp4",
			"state/0_nobodyxx/ledger.json", "state/0_nobodyxx/abcdefgh12/chapter-1-2.json", "other/thing",
			folder+"notes.txt", folder+"init-02.mp4", "kLive/"+tt.Video+"/x/1-1.m4s", "kLive/strange", "kLive/"+tt.Video+"/"+tt.Broadcast+"/deeper/1-1.m4s",
		)
		s := r.sweeper(r.store)
		before := r.keys("")
		time.Sleep(50 * time.Minute)
		if rep := r.sweep(s); rep.removed != 0 {
			t.Errorf("removed %d young objects", rep.removed)
		}
		r.wantGone(before)
		time.Sleep(11 * time.Minute)
		r.segments(2)
		before = r.keys("")
		before = slices.DeleteFunc(before, func(k string) bool { return k == clockKey })
		if rep := r.sweep(s); rep.removed != len(orphans) || rep.foreign != 5 || len(rep.unreadable) != 0 {
			t.Errorf("report %+v", rep)
		}
		r.wantGone(before, orphans...)
	})
}

// A section stays as long as media beside it do, and media stay above the floor.
func TestFloor(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t)
		other := "kLive/" + tt.Video + "/Zm9vYmFyYmF7/"
		r.put(other+"1000000-9.m4s", other+"2000000-9.m4s", other+"init-1.mp4")
		before := r.keys("")
		time.Sleep(2 * time.Hour)
		f := &floor{at: media.Time(1500 * time.Millisecond), ok: true}
		s := r.sweeper(r.store, func(c *Config) { c.Floor = f })
		r.sweep(s)
		r.wantGone(before, other+"1000000-9.m4s")
		f.err = errors.New("the ledger can't be read")
		if rep := r.sweep(s); rep.removed != 0 || len(rep.unreadable) != 1 {
			t.Errorf("report %+v", rep)
		}
		f.err, f.ok = nil, false
		r.sweep(s)
		r.wantGone(before, other+"1000000-9.m4s", other+"2000000-9.m4s", other+"init-1.mp4")
	})
}

type floor struct {
	at  media.Time
	ok  bool
	err error
}

func (f *floor) Floor(context.Context, string) (media.Time, bool, error) { return f.at, f.ok, f.err }

// Of an entry whose timeline can't be read, nothing goes.
func TestUnreadableTimelines(t *testing.T) {
	chapter := func(r *rig) string { return r.writer.State().Current().Chapters[0].Key }
	for name, damage := range map[string]func(r *rig){
		"damaged head":    func(r *rig) { r.put(timeline.HeadKey(tt.Entry)) },
		"newer head":      func(r *rig) { r.write(timeline.HeadKey(tt.Entry), `{"v":99}`) },
		"damaged chapter": func(r *rig) { r.put(chapter(r)) },
		"newer chapter":   func(r *rig) { r.write(chapter(r), `{"v":99}`) },
		"lost chapter": func(r *rig) {
			if err := r.store.Delete(context.Background(), chapter(r)); err != nil {
				r.t.Fatal(err)
			}
		},
		"log with a hole": func(r *rig) {
			r.append(r.script.Adopt(4*sec, false), r.script.Store(), r.script.Adopt(4*sec, false))
			r.log.Trim(r.writer.State().LogSeq - 1)
		},
		"store error": func(r *rig) {
			r.store.Before = func(_ context.Context, op, key string) error {
				if op == "get" && key == timeline.HeadKey(tt.Entry) {
					return errors.New("503")
				}
				return nil
			}
		},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				r := newRig(t)
				r.begin(tt.Broadcast, 24*time.Hour)
				r.segments(40)
				other := "kLive/0_nobodyxx_32/abcdefgh12/1-1.m4s"
				r.put(folder+"1000-9.m4s", folder+"init-2.mp4", "state/"+tt.Entry+"/abcdefgh12/chapter-1-2.json", other)
				time.Sleep(2 * time.Hour)
				damage(r)
				before := r.keys("")
				if rep := r.sweep(r.sweeper(r.store)); rep.removed > 2 || len(rep.unreadable) != 1 {
					t.Errorf("report %+v", rep)
				}
				gone := []string{other}
				if strings.Contains(name, "chapter") {
					// The head can be read, so it is known which chapters it does not name.
					gone = append(gone, "state/"+tt.Entry+"/abcdefgh12/chapter-1-2.json")
				}
				r.wantGone(before, gone...)
			})
		})
	}
}

func (r *rig) write(key, text string) {
	r.t.Helper()
	if _, err := r.store.Put(context.Background(), key, [][]byte{[]byte(text)}, storage.PutOptions{}); err != nil {
		r.t.Fatal(err)
	}
}

// A broadcast that is over stays for its DVR window, an hour at least; then all of it goes,
// and the entry's numbers stay.
func TestEndedBroadcastsExpire(t *testing.T) {
	for _, times := range [][2]time.Duration{{0, time.Hour}, {30 * time.Minute, time.Hour}, {5 * time.Hour, time.Hour}, {30 * time.Minute, 90 * time.Minute}} {
		dvr, keep := times[0], times[1]
		t.Run(dvr.String()+" "+keep.String(), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				r := newRig(t)
				r.begin(tt.Broadcast, dvr)
				r.segments(200)
				s := r.sweeper(r.store)
				s.cfg.Keep = keep
				r.sweep(s)
				r.end()
				next := r.writer.State().NextSeq
				before := slices.DeleteFunc(r.keys(""), func(k string) bool { return k == clockKey })
				stay := max(dvr, keep)
				time.Sleep(stay - time.Minute)
				r.sweep(s)
				r.wantGone(before)
				busy := s.take
				s.take = func(context.Context, string) (right, error) { return right{}, errBusy }
				time.Sleep(2 * time.Minute)
				r.sweep(s)
				r.wantGone(before) // somebody owns the entry
				s.take = func(ctx context.Context, _ string) (right, error) {
					lost := certain(ctx)
					lost.confirm = func(context.Context) error { return bus.ErrLeaseLost }
					return lost, nil
				}
				r.sweep(s)
				r.wantGone(before) // somebody took the entry meanwhile
				s.take = busy
				if rep := r.sweep(s); rep.expired != 1 || rep.removed != 2*(200+1) {
					t.Errorf("report %+v", rep)
				}
				if left := r.keys(""); !slices.Equal(left, []string{timeline.HeadKey(tt.Entry), clockKey}) {
					t.Errorf("left: %v", left)
				}
				head, err := timeline.LoadHead(t.Context(), r.store, tt.Entry)
				if err != nil || len(head.Broadcasts) != 0 || head.NextSeq != next {
					t.Errorf("head %+v, %v", head, err)
				}
				// From then on the head is not read any more.
				reads := 0
				r.store.Before = func(_ context.Context, op, key string) error {
					if op == "get" && key != clockKey {
						reads++
					}
					return nil
				}
				r.sweep(s)
				reads = 0
				r.sweep(s)
				if reads != 0 {
					t.Errorf("%d reads for an entry that is long gone", reads)
				}
				r.store.Before = nil
				// The next owner goes on behind it.
				r.own()
				r.begin("Zm9vYmFyYmF7", dvr)
				r.segments(3)
				if b := r.writer.State().Current(); b.FirstSeq != next {
					t.Errorf("the next broadcast begins at %d, want %d", b.FirstSeq, next)
				}
				before = r.keys("")
				time.Sleep(2 * time.Hour)
				r.sweep(s)
				if d := cmp.Diff(before, r.keys("")); d != "" {
					t.Errorf("a broadcast on the air lost something: %s", d)
				}
			})
		})
	}
}

// Chapters that were merged go; those that an owner may still take for its own stay.
func TestStaleChapters(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t)
		r.begin(tt.Broadcast, 24*time.Hour)
		r.segments(15*33 + 10)
		st := r.writer.State().Current()
		if len(st.Chapters) > 10 || len(r.keys("state/"+tt.Entry+"/"+tt.Broadcast)) < 33 {
			t.Fatalf("%d chapters; they should have been merged", len(st.Chapters))
		}
		var named []string
		for _, c := range st.Chapters {
			named = append(named, c.Key)
		}
		// A dead owner's: the next chapter to be, and the next merge to be.
		first, last := st.Items[0].Seq, st.Chapters[len(st.Chapters)-1]
		kept := []string{
			timeline.ChapterKey(tt.Entry, tt.Broadcast, first, first+14),
			timeline.ChapterKey(tt.Entry, tt.Broadcast, st.Chapters[0].FirstSeq, last.LastSeq),
		}
		r.put(kept...)
		time.Sleep(2 * time.Hour)
		r.sweep(r.sweeper(r.store))
		want := slices.Sorted(slices.Values(append(named, kept...)))
		if d := cmp.Diff(want, r.keys("state/"+tt.Entry+"/"+tt.Broadcast)); d != "" {
			t.Error(d)
		}
	})
}

// skewed is a store whose clock is off.
type skewed struct {
	storage.Store
	by time.Duration
}

func (s skewed) Get(ctx context.Context, key string, rng *storage.Range) (io.ReadCloser, storage.Info, error) {
	body, info, err := s.Store.Get(ctx, key, rng)
	info.Modified = info.Modified.Add(s.by)
	return body, info, err
}

func (s skewed) List(ctx context.Context, prefix, after string, limit int) ([]storage.Info, error) {
	list, err := s.Store.List(ctx, prefix, after, limit)
	for i := range list {
		list[i].Modified = list[i].Modified.Add(s.by)
	}
	return list, err
}

// Ages are the store's affair: a host whose clock is wrong removes nothing too early.
func TestClockSkew(t *testing.T) {
	for _, by := range []time.Duration{-5 * time.Hour, 5 * time.Hour} {
		t.Run(by.String(), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				r := newRig(t)
				r.put(folder + "1000-9.m4s")
				s := r.sweeper(skewed{r.store, by})
				time.Sleep(50 * time.Minute)
				if rep := r.sweep(s); rep.removed != 0 {
					t.Errorf("removed %d after 50 min", rep.removed)
				}
				time.Sleep(11 * time.Minute)
				if rep := r.sweep(s); rep.removed != 1 {
					t.Errorf("removed %d after 61 min", rep.removed)
				}
			})
		})
	}
}

// Thousands of objects are listed and removed in pieces.
func TestPages(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t)
		for i := range 2500 {
			r.put(fmt.Sprintf("kLive/0_nobody%02d_32/abcdefgh12/%d-1.m4s", i%20, i))
		}
		time.Sleep(2 * time.Hour)
		c := &bounds{Store: r.store}
		if rep := r.sweep(r.sweeper(c)); rep.removed != 2500 || c.list > 1000 || c.remove > deleteBatch {
			t.Errorf("report %+v, lists of %d, deletes of %d", rep, c.list, c.remove)
		}
		if left := r.keys("kLive/"); len(left) != 0 {
			t.Errorf("left: %d", len(left))
		}
	})
}

// bounds notes the largest calls.
type bounds struct {
	storage.Store
	list, remove int
}

func (b *bounds) List(ctx context.Context, prefix, after string, limit int) ([]storage.Info, error) {
	b.list = max(b.list, limit)
	return b.Store.List(ctx, prefix, after, limit)
}

func (b *bounds) Delete(ctx context.Context, keys ...string) error {
	b.remove = max(b.remove, len(keys))
	return b.Store.Delete(ctx, keys...)
}
