package origin_test

import (
	"bytes"
	"context"
	"encoding/hex"
	"errors"

	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"klive/infra/bus"
	"klive/infra/live"
	"klive/infra/media"
	muxer "klive/infra/media/mp4"
	"klive/storage"
	"klive/storage/origin"
	"klive/storage/playlist"
	"klive/storage/spool"
	"klive/storage/storagetest"
	"klive/storage/timeline"
	tt "klive/storage/timeline/timelinetest"
)

// relay is an entry whose media exist as parts on the bus, made up from real frames.
type relay struct {
	*station
	memory *storagetest.Memory
	ring   *bus.Ring
	feed   live.Feed
	tracks []media.Track
	seq    uint64
	number uint64
	data   map[string][]byte // by key: what the owner would store
}

func unhex(t *testing.T, s string) []byte {
	t.Helper()
	b, err := hex.DecodeString(s)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func newRelay(t *testing.T) *relay {
	t.Helper()
	video, err := media.NewH264([][]byte{unhex(t, "674d401eeca05017fcb808800001f480007530078b16cb")}, [][]byte{unhex(t, "68ebec4480")})
	if err != nil {
		t.Fatal(err)
	}
	audio, err := media.NewAAC([]byte{0x11, 0x90})
	if err != nil {
		t.Fatal(err)
	}
	memory := storagetest.NewMemory()
	r := &relay{
		station: newStation(t, memory, 0), memory: memory, ring: bus.NewRing(bus.RingConfig{MaxAge: time.Hour}),
		feed:   live.Feed{FeedID: live.FeedID{Entry: tt.Entry, Suffix: 1}, Epoch: 7},
		tracks: []media.Track{{ID: media.VideoTrack, Params: video}, {ID: media.FirstAudioTrack, Params: audio}},
		data:   map[string][]byte{},
	}
	t.Cleanup(r.ring.Close)
	r.origin = r.another(memory)
	return r
}

// another is one more origin.
func (r *relay) another(store storage.Store) *origin.Origin {
	return origin.New(origin.Config{Timelines: r.view, Store: store, Media: r.ring})
}

// publish puts a segment of four parts on the bus and adopts it, held or not; it returns
// the keys of its video and audio.
func (r *relay) publish(held bool) (keys [2]string) {
	r.t.Helper()
	r.number++
	adopted := r.script.Adopt(4*sec, false)
	seg := live.Segment{Start: adopted.Item.Start, Number: r.number, Tracks: r.tracks, Independent: true, Target: 4 * sec}
	var frames [2][]*media.Frame
	first := r.seq + 1
	for n := range 4 {
		r.seq++
		p := &live.Part{Feed: r.feed, Seq: r.seq, Segment: seg, Number: n, Last: n == 3, End: seg.Start.Add(4 * sec)}
		for i := range 50 {
			at := seg.Start.Add(time.Duration(50*n+i) * 20 * time.Millisecond)
			p.Frames = append(p.Frames,
				media.Frame{Track: 0, DTS: at, PTS: at, Duration: 20 * time.Millisecond, Key: n == 0 && i == 0, Payload: bytes.Repeat([]byte{byte(n), byte(i)}, 100)},
				media.Frame{Track: 1, DTS: at, PTS: at, Duration: 20 * time.Millisecond, Key: true, Payload: []byte{byte(i), byte(n)}})
		}
		for i := range p.Frames {
			frames[p.Frames[i].Track] = append(frames[p.Frames[i].Track], &p.Frames[i])
		}
		if _, err := r.ring.Publish(r.t.Context(), r.feed.Subject(), p.ID(), p); err != nil {
			r.t.Fatal(err)
		}
	}
	rec := &timeline.Stored{Seq: adopted.Item.Seq}
	for i := range adopted.Item.Media {
		m := &adopted.Item.Media[i]
		m.Feed, m.FirstPart, m.LastPart = r.feed, first, r.seq
		pieces, err := muxer.Segment(r.tracks[i].Params, frames[i], uint32(r.number))
		if err != nil {
			r.t.Fatal(err)
		}
		keys[i] = playlist.MediaKey(m.Rendition, tt.Broadcast, m.Name)
		r.data[keys[i]] = bytes.Join(pieces, nil)
		n := *m
		n.Held, n.Size = true, int64(len(r.data[keys[i]]))
		rec.Media = append(rec.Media, n)
	}
	r.append(adopted)
	if held {
		r.append(rec)
	}
	return keys
}

// want says that the origin gives an object as its owner would have stored it.
func (r *relay) want(key string) {
	r.t.Helper()
	resp := r.do("GET", "/"+key)
	if text := body(r.t, resp); resp.StatusCode != 200 || text != string(r.data[key]) || resp.Header.Get("Cache-Control") != immutableMedia {
		r.t.Errorf("%s: %d, %d bytes of %d, %v", key, resp.StatusCode, len(text), len(r.data[key]), resp.Header)
	}
}

const immutableMedia = "public, max-age=31536000, immutable"

func hangGets(ctx context.Context, op, _ string) error {
	if op != "get" {
		return nil
	}
	<-ctx.Done()
	return ctx.Err()
}

// Media that are held elsewhere are made from the bus: whole, in ranges, for HEAD; sections too.
func TestMadeFromTheBus(t *testing.T) {
	for name, fault := range map[string]func(context.Context, string, string) error{
		"not stored yet": nil,
		"store fails":    func(context.Context, string, string) error { return errors.New("503") },
		"store hangs":    hangGets,
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				r := newRelay(t)
				defer r.view.Close()
				keys := r.publish(true)
				r.want(keys[0]) // follows the entry from here on
				r.memory.Before = fault
				keys = r.publish(true)
				synctest.Wait()
				began := time.Now()
				for _, key := range keys {
					r.want(key)
				}
				if took := time.Since(began); took > 600*time.Millisecond {
					t.Errorf("took %v", took)
				}
				key := keys[0]
				r.checkConditional(t, "/"+key, r.do("GET", "/"+key), string(r.data[key]), nil)
				if resp := r.do("GET", "/"+key, "Range", "bytes=10-19"); resp.StatusCode != 206 || body(t, resp) != string(r.data[key][10:20]) {
					t.Errorf("range: %d", resp.StatusCode)
				}
				for i, rendition := range []string{tt.Video, tt.Audio} {
					init, err := muxer.Init(r.tracks[i])
					if err != nil {
						t.Fatal(err)
					}
					key := playlist.InitKey(rendition, tt.Broadcast, 1)
					r.data[key] = init
					r.want(key)
				}
				if resp := r.do("GET", "/"+playlist.LiveKey(tt.Video)); resp.StatusCode != 200 || !strings.Contains(body(t, resp), keys[0][strings.LastIndex(keys[0], "/")+1:]) {
					t.Errorf("the playlist does not name what is held: %d", resp.StatusCode)
				}
				// Another origin, asked for the first time, makes the same.
				other := r.another(r.memory)
				r.origin, other = other, r.origin
				r.want(key)
				a, b := r.do("HEAD", "/"+key).Header.Get("ETag"), ""
				r.origin = other
				if b = r.do("HEAD", "/"+key).Header.Get("ETag"); a == "" || a != b {
					t.Errorf("two origins, two ETags: %s and %s", a, b)
				}
			})
		})
	}
}

// What can't be given is said to be unknown only when that is certain.
func TestNotToBeMade(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRelay(t)
		defer r.view.Close()
		held := r.publish(true)
		adopted := r.publish(false)
		r.want(adopted[0])
		gone := r.publish(true)
		stored := r.publish(true)
		it := r.writer.State().Current().Items[3]
		rec := &timeline.Stored{Seq: it.Seq}
		for _, m := range it.Media {
			m.Held, m.Stored = false, true
			rec.Media = append(rec.Media, m)
		}
		r.append(rec)
		r.append(r.script.Adopt(4*sec, false), r.script.Gap())
		gap := playlist.MediaKey(tt.Video, tt.Broadcast, r.writer.State().Current().Items[4].Media[0].Name)
		r.ring.Release(r.feed.Subject(), r.seq)
		synctest.Wait()
		unknown := "kLive/" + tt.Video + "/" + tt.Broadcast + "/1-1.m4s"
		ask := func(key string, code int, retry bool) {
			t.Helper()
			resp := r.do("GET", "/"+key)
			if resp.StatusCode != code || (resp.Header.Get("Retry-After") != "") != retry || resp.Header.Get("Cache-Control") != "max-age=1" {
				t.Errorf("%s: %d %v\n%s", key, resp.StatusCode, resp.Header, body(t, resp))
			}
		}
		ask(unknown, 404, false)
		ask(gap, 404, false)
		ask(stored[0], 404, false) // the store says that it is gone
		ask(gone[0], 503, true)    // another node's spool has it
		ask(held[1], 503, true)
		ask("kLive/0_aaaaaaaa_32/"+tt.Broadcast+"/1-1.m4s", 404, false)
		r.memory.Before = func(context.Context, string, string) error { return errors.New("503") }
		ask(unknown, 503, true) // the store may have it
		ask(stored[0], 503, true)
		ask(gone[0], 503, true)
		ask("kLive/0_bbbbbbbb_32/"+tt.Broadcast+"/1-1.m4s", 503, true)
		r.want(adopted[0]) // made before
	})
}

// counting counts who follows.
type counting struct {
	*bus.Ring
	follows atomic.Int32
	open    atomic.Int32
	most    atomic.Int32
}

func (c *counting) Follow(ctx context.Context, subject string, from uint64) (bus.Follower, error) {
	c.follows.Add(1)
	c.most.Store(max(c.most.Load(), c.open.Add(1)))
	time.Sleep(100 * time.Millisecond)
	f, err := c.Ring.Follow(ctx, subject, from)
	c.open.Add(-1)
	return f, err
}

// However many ask, each object is made once, and few at a time.
func TestMadeOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRelay(t)
		defer r.view.Close()
		c := &counting{Ring: r.ring}
		r.origin = origin.New(origin.Config{Timelines: r.view, Store: r.memory, Media: c})
		var keys []string
		for range 10 {
			k := r.publish(true)
			keys = append(keys, k[:]...)
		}
		r.do("GET", "/"+playlist.LiveKey(tt.Video))
		synctest.Wait()
		var viewers sync.WaitGroup
		for range 20 {
			for _, key := range keys {
				viewers.Go(func() { r.want(key) })
			}
		}
		viewers.Wait()
		if n := c.follows.Load(); n != int32(len(keys)) {
			t.Errorf("%d objects were made %d times", len(keys), n)
		}
		if n := c.most.Load(); n > 8 {
			t.Errorf("%d at a time", n)
		}
	})
}

// The spool of the same process is asked before the bus.
func TestSpoolBeforeBus(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRelay(t)
		defer r.view.Close()
		s, err := spool.Open(spool.Config{Store: r.memory, Dir: t.TempDir(), MaxBytes: 1 << 20})
		if err != nil {
			t.Fatal(err)
		}
		defer s.Close()
		r.memory.Before = func(context.Context, string, string) error { return errors.New("503") }
		keys := r.publish(true)
		for _, key := range keys {
			if held, err := s.PutMedia(t.Context(), key, [][]byte{r.data[key]}, storage.PutOptions{IfAbsent: true}, nil); !held || err != nil {
				t.Fatal(held, err)
			}
		}
		r.ring.Release(r.feed.Subject(), r.seq)
		r.origin = r.another(s)
		for _, key := range keys {
			r.want(key)
			if resp := r.do("GET", "/"+key, "Range", "bytes=-5"); resp.StatusCode != 206 || body(t, resp) != string(r.data[key][len(r.data[key])-5:]) {
				t.Errorf("range: %d", resp.StatusCode)
			}
		}
	})
}

// Playlists of entries that are followed, or that began within the log, need no store.
func TestPlaylistsWhileAway(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRelay(t)
		defer r.view.Close()
		r.publish(true)
		r.memory.Before = hangGets
		if resp := r.do("GET", multi); resp.StatusCode != 200 {
			t.Errorf("asked for first while away: %d\n%s", resp.StatusCode, body(t, resp))
		}
		for n := range 15 {
			key := r.publish(true)[0]
			synctest.Wait()
			text := body(t, r.do("GET", "/"+playlist.LiveKey(tt.Video)))
			if name := key[strings.LastIndex(key, "/")+1:]; !strings.Contains(text, name) {
				t.Errorf("%d: %s is missing in\n%s", n, name, text)
			}
			time.Sleep(4 * sec)
		}
		resp := r.do("GET", "/kLive/smil:0_cccccccc_all.smil/playlist.m3u8")
		if text := body(t, resp); resp.StatusCode != 503 || resp.Header.Get("Retry-After") == "" || !strings.Contains(text, "store") {
			t.Errorf("an entry that nobody knows: %d\n%s", resp.StatusCode, text)
		}
	})
}

// A store that is slow, but not too slow, is not given up for having been silent once.
func TestSlowStore(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRelay(t)
		defer r.view.Close()
		s := newStationMedia(r)
		var takes atomic.Int64 // ns
		takes.Store(int64(20 * sec))
		r.memory.Before = func(ctx context.Context, op, _ string) error {
			if op == "get" {
				select {
				case <-time.After(time.Duration(takes.Load())):
				case <-ctx.Done():
				}
			}
			return ctx.Err()
		}
		if resp := r.do("GET", "/"+s); resp.StatusCode != 503 {
			t.Errorf("silent: %d", resp.StatusCode)
		}
		takes.Store(0)
		for range 3 {
			takes.Add(int64(800 * time.Millisecond))
			if resp := r.do("GET", "/"+s); resp.StatusCode != 200 {
				t.Errorf("slow: %d\n%s", resp.StatusCode, body(t, resp))
			}
		}
	})
}

// newStationMedia stores a segment whose parts have left the bus, and returns its key.
func newStationMedia(r *relay) string {
	r.t.Helper()
	r.segment()
	b := r.writer.State().Current()
	return playlist.MediaKey(tt.Video, b.ID, b.Items[len(b.Items)-1].Media[0].Name)
}
