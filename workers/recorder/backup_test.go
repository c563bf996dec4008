package recorder_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"klive/infra/bus"
	"klive/infra/bus/bustest"
	"klive/infra/kaltura"
	"klive/infra/live"
	"klive/infra/media"
	"klive/storage/ledger"
	"klive/workers/recorder"
	"klive/workers/transcode/transcodetest"
)

// backupEncoder publishes a feed of index 1 on a media plane, in parts, with the primary's frames
// in another order of numbers.
type backupEncoder struct {
	t     *testing.T
	ring  *bus.Ring
	grant live.Grant

	mu     sync.Mutex // guards the fields below
	record *live.FeedRecord
	seq    uint64
	number uint64
	at     media.Time
	frame  int
	sound  int64
}

// open begins a feed.
func (e *backupEncoder) open(epoch uint64) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.record = &live.FeedRecord{Feed: live.Feed{FeedID: live.FeedID{Entry: entry, Index: live.Backup, Suffix: 1}, Epoch: epoch}, Grant: e.grant}
	e.seq, e.number = 0, 0
	e.sound = e.at.Ticks(48000)/1024 + 1
}

func (e *backupEncoder) gone() {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.record = nil
}

func (e *backupEncoder) feeds() []live.FeedRecord {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.record == nil {
		return nil
	}
	return []live.FeedRecord{*e.record}
}

// send publishes a segment of four seconds in parts of one. A final one ends the feed.
func (e *backupEncoder) send(final bool) {
	e.t.Helper()
	e.mu.Lock()
	defer e.mu.Unlock()
	e.number++
	const frames = 100
	seg := live.Segment{Start: e.at, Number: e.number, Discontinuity: e.number == 1, Independent: true, Target: 4 * time.Second,
		Tracks: []media.Track{{ID: media.VideoTrack, Params: videoParams(false)}, {ID: media.FirstAudioTrack, Params: audioParams()}}}
	end := e.at.Add(4 * time.Second)
	for n := range 4 {
		p := &live.Part{Feed: e.record.Feed, Segment: seg, Number: n, Last: n == 3, End: end, Final: final && n == 3}
		for i := n * frames / 4; i < (n+1)*frames/4; i++ {
			at := e.at.Add(time.Duration(i) * time.Second / frameRate)
			p.Frames = append(p.Frames, media.Frame{Track: media.VideoTrack, DTS: at, PTS: at, Duration: time.Second / frameRate, Key: i == 0,
				Payload: fmt.Appendf(nil, "backup frame %d;", e.frame)})
			e.frame++
		}
		for until := e.at.Add(time.Duration(n+1) * time.Second); media.TimeFromTicks(e.sound*1024, 48000) < until; e.sound++ {
			at := media.TimeFromTicks(e.sound*1024, 48000)
			p.Frames = append(p.Frames, media.Frame{Track: media.FirstAudioTrack, DTS: at, PTS: at, Duration: media.FromTicks(1024, 48000), Key: true, Payload: fmt.Appendf(nil, "sound %d;", e.sound)})
		}
		e.seq++
		p.Seq = e.seq
		if _, err := e.ring.Publish(e.t.Context(), p.Feed.Subject(), p.ID(), p); err != nil {
			e.t.Error(err)
		}
	}
	e.at = end
}

// index is what was appended to an asset under a server index.
func (k *kalturaAPI) index(asset string, index int) (out []appended) {
	for _, a := range k.of(asset) {
		if a.Index == index {
			out = append(out, a)
		}
	}
	return out
}

// TestBackupIsRecorded records the backup encoder's own feed under index 1, rungs too, beside the
// recording of what viewers see. The encoder comes back once, and recorders die on the way.
func TestBackupIsRecorded(t *testing.T) {
	bustest.Prepare(t)
	synctest.Test(t, func(t *testing.T) {
		rungs, dismiss := employed(t)
		ring := rungs.Media.(*bus.Ring)
		s, k := newStream(1, true), &kalturaAPI{}
		enc := &backupEncoder{t: t, ring: ring, at: origin, grant: live.Grant{Entry: entry, PartnerID: 102, Record: 1, Ladder: live.Ladder{Rungs: []live.Rung{
			{ParamsID: 0, Name: "source", AssetID: assets[0], Tags: []string{"recording_anchor"}, Video: live.VideoRung{Mode: live.ModePassThrough}},
			{ParamsID: 1, Name: "rung", AssetID: assets[1], Video: live.VideoRung{Mode: live.ModeEncode, Codec: live.CodecH264, Fit: live.FitWidth, Width: 320, Bitrate: 300e3}},
		}}}}
		o := options(20 * time.Second)
		o.Backup, o.Resume, o.Remake = true, 30*time.Second, 10*time.Minute
		most := 0 // objects that rest of the backup's feed at once
		var done chan error
		var kill context.CancelFunc
		start := func() {
			r, err := recorder.New(t.Context(), recorder.Config{
				Entry: entry, Owner: "worker", Store: s.store, Recordings: s.store, Timelines: s, API: k, Media: ring,
				Rungs: rungs, Guard: func(context.Context) error { return nil },
				Live: func() []live.FeedRecord { return append(s.feeds(), enc.feeds()...) }, Log: testLog(t), Options: o,
			})
			if err != nil {
				t.Fatal(err)
			}
			var ctx context.Context
			ctx, kill = context.WithCancel(t.Context())
			done = make(chan error, 1)
			go func() { done <- r.Run(ctx) }()
		}
		start()
		enc.open(5)
		for i := range 20 {
			s.add(100)
			switch {
			case i == 9: // cut off
				enc.gone()
			case i == 12:
				enc.at = s.mediaEnd()
				enc.open(6)
				fallthrough
			case i < 9 || i > 12:
				enc.send(i == 19)
			}
			time.Sleep(4 * time.Second)
			rest, err := s.store.List(t.Context(), "state/backup/", "", 100)
			if err != nil {
				t.Fatal(err)
			}
			most = max(most, len(rest))
			if i%6 == 3 {
				kill()
				<-done
				start()
			}
		}
		enc.gone()
		s.end()
		if err := <-done; err != nil {
			t.Fatal(err)
		}
		dismiss()
		if n := len(k.index(assets[0], 0)); n != 4 {
			t.Errorf("%d files of what viewers see, want 4", n)
		}
		enc.recorded(k)
		if most > 2*12+3 { // a file, what comes while its rung is made again, two inits, the document; of 37
			t.Errorf("%d objects rest at once: what is in files is not removed", most)
		}
		for _, f := range loadLedger(t, s.store).Files {
			if f.Lost > 0 || !f.Settled() {
				t.Errorf("%+v", f)
			}
		}
		left, err := s.store.List(t.Context(), "state/", "", 100)
		if err != nil || len(left) != 1 || !strings.HasPrefix(left[0].Key, "state/ledger/") {
			t.Errorf("%d objects are left: %v, %v", len(left), left, err)
		}
	})
}

// TestStoppedBackupKeepsLittle holds that nothing gathers of a backup's feed that Kaltura takes no
// more of, however long its encoder sends, and that nothing is left when it has gone.
func TestStoppedBackupKeepsLittle(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ring := bus.NewRing(bus.RingConfig{MaxAge: time.Minute})
		t.Cleanup(func() { ring.Close() })
		s, k := newStream(1, true), &kalturaAPI{refuse: func(r kaltura.AppendRequest) error {
			if r.Index == 1 {
				return &kaltura.APIError{Code: kaltura.CodeRecordingFull, Message: "no more"}
			}
			return nil
		}}
		s.end() // the backup alone is on the air
		enc := &backupEncoder{t: t, ring: ring, at: origin, grant: live.Grant{Entry: entry, PartnerID: 102, Record: 1, Ladder: live.Ladder{Rungs: []live.Rung{
			{ParamsID: 0, Name: "source", AssetID: assets[0], Tags: []string{"recording_anchor"}, Video: live.VideoRung{Mode: live.ModePassThrough}},
		}}}}
		o := options(20 * time.Second)
		o.Backup, o.Resume = true, 30*time.Second
		r, err := recorder.New(t.Context(), recorder.Config{
			Entry: entry, Owner: "worker", Store: s.store, Recordings: s.store, Timelines: s, API: k, Media: ring,
			Guard: func(context.Context) error { return nil }, Live: enc.feeds, Log: testLog(t), Options: o,
		})
		if err != nil {
			t.Fatal(err)
		}
		enc.open(5)
		done := make(chan error, 1)
		go func() { done <- r.Run(t.Context()) }()
		stopped, most := 0, 0 // segments since the session was stopped, and objects that rest then
		for i := range 40 {
			enc.send(i == 39)
			time.Sleep(4 * time.Second)
			rest, err := s.store.List(t.Context(), "state/backup/", "", 1000)
			if err != nil {
				t.Fatal(err)
			}
			if slices.ContainsFunc(loadLedger(t, s.store).Sessions, func(s ledger.Session) bool { return s.Index == 1 && s.Stopped != "" }) {
				if stopped++; stopped > 1 {
					most = max(most, len(rest))
				}
			}
		}
		if stopped < 30 {
			t.Fatalf("the session was stopped during %d of 40 segments", stopped)
		}
		if most > 2*2+3 { // two items, two inits, the document
			t.Errorf("%d objects rest of a backup that is not recorded any more", most)
		}
		enc.gone()
		if err := <-done; err != nil {
			t.Fatal(err)
		}
		if left, err := s.store.List(t.Context(), "state/backup/", "", 100); err != nil || len(left) > 0 {
			t.Errorf("%d objects are left: %v, %v", len(left), left, err)
		}
	})
}

// deaf is a media plane that nothing can be followed on.
type deaf struct{ bus.Media }

func (deaf) Follow(context.Context, string, uint64) (bus.Follower, error) {
	return nil, errors.New("no route")
}

// TestBackupThatWasNeverHeard ends, though the feed could not be followed while it was there.
func TestBackupThatWasNeverHeard(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newStream(1, true)
		s.end()
		enc := &backupEncoder{t: t, at: origin, grant: live.Grant{Entry: entry, PartnerID: 102, Record: 1}}
		o := options(20 * time.Second)
		o.Backup = true
		r, err := recorder.New(t.Context(), recorder.Config{
			Entry: entry, Owner: "worker", Store: s.store, Recordings: s.store, Timelines: s, API: &kalturaAPI{}, Media: deaf{},
			Guard: func(context.Context) error { return nil }, Live: enc.feeds, Log: testLog(t), Options: o,
		})
		if err != nil {
			t.Fatal(err)
		}
		enc.open(5)
		ctx, cancel := context.WithTimeout(t.Context(), time.Hour)
		defer cancel()
		done := make(chan error, 1)
		go func() { done <- r.Run(ctx) }()
		time.Sleep(time.Second)
		enc.gone()
		if err := <-done; err != nil || ctx.Err() != nil {
			t.Errorf("the recorder waits for a feed that is gone: %v, %v", err, ctx.Err())
		}
	})
}

// mediaEnd is where the stream's media end.
func (s *stream) mediaEnd() media.Time {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.at
}

// recorded holds that each frame that was sent is in the files of both assets under index 1, once.
func (e *backupEncoder) recorded(k *kalturaAPI) {
	e.t.Helper()
	for _, a := range assets[:2] {
		list := k.index(a, 1)
		var got []int
		var length float64
		for n, f := range list {
			if want := fmt.Sprintf("%s.%s.1_%d.mp4", entry, a, n); f.name != want || f.Last != (n == len(list)-1) {
				e.t.Errorf("append %d is of %s, last %v", n, f.name, f.Last)
			}
			got, length = append(got, frames(f.file)...), length+f.Duration
		}
		if len(got) != e.frame || !slices.IsSorted(got) || length != float64(e.frame)/frameRate {
			e.t.Errorf("%s: %d frames in %d files of %v s, want %d", a, len(got), len(list), length, e.frame)
		}
	}
}

// employed is a way to a transcode worker, which works until dismiss is called.
func employed(t *testing.T) (rungs *recorder.Rungs, dismiss func()) {
	t.Helper()
	c := bustest.Start(t)
	jobs, err := c.Queue(t.Context(), bus.QueueConfig{Name: live.JobsQueue})
	if err != nil {
		t.Fatal(err)
	}
	ends, err := c.Log(t.Context(), bus.LogConfig{Name: live.RungsLog, MaxPerSubject: 1})
	if err != nil {
		t.Fatal(err)
	}
	ring := bus.NewRing(bus.RingConfig{MaxAge: time.Minute})
	t.Cleanup(func() { ring.Close() })
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan struct{})
	go func() {
		defer close(done)
		_ = (&transcodetest.Worker{Jobs: jobs, Ends: ends, Media: ring}).Run(ctx)
	}()
	return &recorder.Rungs{Jobs: jobs, Ends: ends, Media: ring}, func() { cancel(); <-done }
}
