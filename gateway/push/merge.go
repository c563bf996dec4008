package push

import (
	"math"
	"slices"
	"sync"
	"time"

	"klive/gateway"
	"klive/infra/media"
	"klive/infra/media/mp4"
)

// movieClock is the clock of fragmented MP4: all tracks' times in units of 100 ns, which
// every usual rate's ticks survive.
var movieClock = gateway.SourceClock{Rate: movieRate, Bits: 64}

const (
	movieRate = 10_000_000
	// settle is how long the first access units wait for other tracks to appear.
	settle = 4 * time.Second
	// patience is how long a track without access units holds the others up.
	patience = 12 * time.Second
	// maxQueued bounds the bytes that wait.
	maxQueued = 96 << 20
	unitCost  = 256
	// maxBack is how far before the newest unit of its track one may be to count as sent
	// again; one that is earlier comes from an encoder that began anew.
	maxBack = 60 * movieRate
)

// merger puts the access units of tracks that come in requests of their own into the order of
// their decode times, as the gateway wants them.
type merger struct {
	pub     gateway.Publication
	metrics *metrics

	// mu guards the fields below, and the tracks.
	mu      sync.Mutex
	tracks  []*mergeTrack
	first   time.Time // when the first unit came
	started bool
	bytes   int
	over    bool
}

// mergeTrack is one track of the feed.
type mergeTrack struct {
	m        *merger
	id       media.TrackID
	kind     media.Kind
	language string

	queue  []mergeUnit
	heard  time.Time
	newest int64
	known  bool // newest means something
	ended  bool
}

type mergeUnit struct {
	at     int64
	offset int32
	params media.Params
	key    bool
	data   []byte
}

func newMerger(pub gateway.Publication, m *metrics) *merger { return &merger{pub: pub, metrics: m} }

// track gives out the feed's next track of a kind and, for sound, a language; nil when there are enough.
func (m *merger) track(kind media.Kind, language string) *mergeTrack {
	m.mu.Lock()
	defer m.mu.Unlock()
	t := &mergeTrack{m: m, kind: kind, language: language, heard: time.Now()}
	if kind == media.Audio {
		t.id = media.FirstAudioTrack
	}
	for _, o := range m.tracks {
		switch {
		case o.kind == kind && kind == media.Video:
			return nil
		case o.kind == kind:
			t.id++
		}
	}
	if len(m.tracks) >= maxTracks {
		return nil
	}
	m.tracks = append(m.tracks, t)
	kinds := make([]media.Kind, len(m.tracks))
	for i, o := range m.tracks {
		kinds[i] = o.kind
	}
	m.pub.Expect(kinds...)
	return t
}

// restart lets a track begin anew.
func (t *mergeTrack) restart(language string) {
	t.m.mu.Lock()
	defer t.m.mu.Unlock()
	t.known, t.ended, t.language = false, false, language
}

func (t *mergeTrack) finish() {
	t.m.mu.Lock()
	defer t.m.mu.Unlock()
	t.ended = true
}

// finished reports whether all tracks have ended.
func (m *merger) finished() bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	return len(m.tracks) > 0 && !slices.ContainsFunc(m.tracks, func(t *mergeTrack) bool { return !t.ended })
}

// add takes the units of one fragment and hands on what is ripe.
func (m *merger) add(mv *movie, units []mp4.MovieUnit) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.over {
		return errEnded
	}
	now := time.Now()
	if m.first.IsZero() {
		m.first = now
	}
	for i := range units {
		u := &units[i]
		t := mv.tracks[u.Track.ID]
		if t == nil {
			continue
		}
		t.heard, t.ended = now, false
		at := media.ToTicks(media.FromTicks(u.DTS, u.Track.Timescale), movieRate)
		if t.known && at <= t.newest && t.newest-at < maxBack {
			if u.Params != nil {
				u.Track.Again(u.Params)
			}
			m.metrics.dropped.WithLabelValues("frame").Inc()
			continue
		}
		t.newest, t.known = at, true
		offset := media.ToTicks(media.FromTicks(u.Offset, u.Track.Timescale), movieRate)
		if offset > math.MaxInt32 || offset < math.MinInt32 {
			offset = 0
		}
		t.queue = append(t.queue, mergeUnit{at: at, offset: int32(offset), params: u.Params, key: u.Key, data: u.Payload})
		m.bytes += len(u.Payload) + unitCost
	}
	return m.release(now, false)
}

// flush hands on everything.
func (m *merger) flush() error {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.over = true
	return m.release(time.Now(), true)
}

// release hands on the units that nothing can come before.
func (m *merger) release(now time.Time, all bool) error {
	if !m.started && !all {
		if !m.complete() && now.Sub(m.first) < settle && m.bytes < maxQueued {
			return nil
		}
		m.started = true
	}
	for {
		t := m.next()
		if t == nil || !all && m.bytes < maxQueued && m.waits(now) {
			return nil
		}
		u := t.queue[0]
		t.queue[0] = mergeUnit{}
		t.queue = t.queue[1:]
		m.bytes -= len(u.data) + unitCost
		if err := m.write(t, &u); err != nil {
			return err
		}
	}
}

// complete reports whether there are pictures and sound.
func (m *merger) complete() bool {
	var kinds [3]bool
	for _, t := range m.tracks {
		kinds[t.kind] = true
	}
	return kinds[media.Video] && kinds[media.Audio]
}

// next is the track whose first unit comes before all others'.
func (m *merger) next() *mergeTrack {
	var best *mergeTrack
	for _, t := range m.tracks {
		if len(t.queue) > 0 && (best == nil || t.queue[0].at < best.queue[0].at) {
			best = t
		}
	}
	return best
}

// waits reports whether a track may still send what comes before the others' units.
func (m *merger) waits(now time.Time) bool {
	for _, t := range m.tracks {
		if len(t.queue) == 0 && !t.ended && now.Sub(t.heard) < patience {
			return true
		}
	}
	return false
}

func (m *merger) write(t *mergeTrack, u *mergeUnit) error {
	if u.params != nil {
		if err := m.pub.SetTrack(media.Track{ID: t.id, Params: u.params, Language: t.language}); err != nil {
			return err
		}
	}
	if len(u.data) == 0 {
		return nil
	}
	return m.pub.Write(gateway.AccessUnit{Track: t.id, Time: uint64(u.at), Offset: u.offset, Key: u.key, Payload: u.data})
}
