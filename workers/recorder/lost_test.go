package recorder_test

import (
	"context"
	"encoding/binary"
	"fmt"
	"io"
	"log/slog"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"klive/infra/live"
	"klive/storage"
	"klive/storage/ledger"
	"klive/storage/playlist"
	"klive/workers/recorder"
)

// TestLostSegmentsAreCounted records a broadcast of which a nearly full disk took pictures here, sound there, and once
// all: the ledger, the log and the metric say how many items lack something, and the file is not cut for it.
func TestLostSegmentsAreCounted(t *testing.T) {
	for _, c := range []struct {
		name string
		gaps [][]int // of each item: the renditions that lack it
		lost int
	}{
		{"here and there", [][]int{nil, {0}, nil, {1}, nil, {0, 1}, nil}, 3},
		{"sound at the beginning", [][]int{{1}, {1}, nil, nil}, 2},
		{"at the end", [][]int{nil, nil, {0, 1}, {0, 1}}, 2},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s, k := newStream(1, true), &kalturaAPI{}
				r, log, reg := watchedRecorder(t, s, k)
				done := make(chan error, 1)
				go func() { done <- r.Run(t.Context()) }()
				time.Sleep(time.Second)
				for _, gaps := range c.gaps {
					s.add(100, gaps...)
				}
				time.Sleep(time.Second)
				s.end()
				if err := <-done; err != nil {
					t.Fatal(err)
				}
				files := loadLedger(t, s.store).Files
				if len(files) != 1 || files[0].Lost != c.lost || files[0].Audio == "" || files[0].State != ledger.Confirmed {
					t.Errorf("files %+v, want one with its sound that lacks %d", files, c.lost)
				}
				if want := fmt.Sprintf("lost=%d", c.lost); !strings.Contains(log.String(), want) || strings.Count(log.String(), "segments are missing in a recording") != 1 {
					t.Errorf("the log lacks %s, or a warning:\n%s", want, log)
				}
				if n := counter(t, reg, "klive_recording_lost_segments_total"); int(n) != c.lost {
					t.Errorf("the metric counts %v, want %d", n, c.lost)
				}
			})
		})
	}
}

// TestSoundCantBeDescribed takes the sound's initialization section away: the pictures are recorded all the same, and the
// sound is counted as lost.
func TestSoundCantBeDescribed(t *testing.T) {
	for name, spoil := range map[string]func(ctx context.Context, s *stream, key string) error{
		"gone": func(ctx context.Context, s *stream, key string) error { return s.store.Delete(ctx, key) },
		"damaged": func(ctx context.Context, s *stream, key string) error {
			_, err := s.store.Put(ctx, key, [][]byte{[]byte("no MP4")}, storage.PutOptions{})
			return err
		},
		"too large": func(_ context.Context, s *stream, key string) error { return s.swell(key) },
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s, k := newStream(1, true), &kalturaAPI{}
				r, log, reg := watchedRecorder(t, s, k)
				s.add(100)
				s.add(100, 1) // counted when it is planned
				s.add(100)
				s.add(100)
				s.end()
				if err := spoil(t.Context(), s, playlist.InitKey(entry+"_a1", broadcast, 1)); err != nil {
					t.Fatal(err)
				}
				if err := r.Run(t.Context()); err != nil {
					t.Fatal(err)
				}
				everyFrame(t, k, assets[0], 400)
				files := loadLedger(t, s.store).Files
				if len(files) != 1 || files[0].State != ledger.Confirmed || files[0].Lost != 4 {
					t.Errorf("%+v, want one that lacks four", files)
				}
				if n := counter(t, reg, "klive_recording_lost_segments_total"); n != 4 {
					t.Errorf("the metric counts %v, want 4", n)
				}
				if a := k.of(assets[0]); len(a) != 1 || strings.Contains(string(a[0].file), "mp4a") {
					t.Errorf("%d files, or one with a track of sound", len(a))
				}
				if !strings.Contains(log.String(), "level=ERROR") || !strings.Contains(log.String(), "without sound") {
					t.Errorf("the log does not say it:\n%s", log)
				}
			})
		})
	}
}

// swell makes an initialization section larger than any is read.
func (s *stream) swell(key string) error {
	body, _, err := s.store.Get(context.Background(), key, nil)
	if err != nil {
		return err
	}
	defer body.Close()
	init, err := io.ReadAll(body)
	if err != nil {
		return err
	}
	const room = 2 << 20
	free := append(binary.BigEndian.AppendUint32(nil, room), "free"...)
	s.put(key, [][]byte{init, free, make([]byte, room-8)})
	return nil
}

// TestPicturesCantBeDescribed has the pictures' initialization section be larger than any is read: the file waits for an
// operator, with the reason, and its media stay.
func TestPicturesCantBeDescribed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, k := newStream(1, true), &kalturaAPI{}
		r, log, _ := watchedRecorder(t, s, k)
		s.add(100)
		s.end()
		if err := s.swell(playlist.InitKey(entry+"_0", broadcast, 1)); err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Hour)
		defer cancel()
		if err := r.Run(ctx); err != nil || ctx.Err() != nil {
			t.Errorf("the recorder ended with %v, %v", err, ctx.Err())
		}
		f := loadLedger(t, s.store).File(assets[0] + ".0_0")
		if f == nil || f.State != ledger.Parked || !strings.Contains(f.Reason, "initialization section is too large") {
			t.Fatalf("the file is %+v\n%s", f, log)
		}
		if _, kept, err := (recorder.Floors{Store: s.store, Timelines: s}).Floor(t.Context(), entry); !kept || err != nil {
			t.Errorf("its media may go: %v", err)
		}
	})
}

// counter is the value of a counter without labels.
func counter(t *testing.T, reg *prometheus.Registry, name string) float64 {
	t.Helper()
	families, err := reg.Gather()
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range families {
		if f.GetName() == name {
			return f.Metric[0].GetCounter().GetValue()
		}
	}
	t.Fatalf("there is no %s", name)
	return 0
}

// TestGapsBeforeARecordingAreTold: what can be in no file is in the log, with how much it is, once.
func TestGapsBeforeARecordingAreTold(t *testing.T) {
	for name, c := range map[string]struct {
		gaps  [][]int
		files int
	}{
		"at the beginning": {[][]int{{0, 1}, {0}, nil, nil}, 1},
		"all of it":        {[][]int{{0, 1}, {0, 1}}, 0},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s, k := newStream(1, true), &kalturaAPI{}
				r, log, _ := watchedRecorder(t, s, k)
				for _, gaps := range c.gaps {
					s.add(100, gaps...)
				}
				s.end()
				if err := r.Run(t.Context()); err != nil {
					t.Fatal(err)
				}
				if n := len(loadLedger(t, s.store).Files); n != c.files {
					t.Errorf("%d files, want %d", n, c.files)
				}
				if n := strings.Count(log.String(), "before a recording could begin"); n != 1 || !strings.Contains(log.String(), "segments=2") {
					t.Errorf("told %d times:\n%s", n, log)
				}
			})
		})
	}
}

// watchedRecorder is a recorder with what it logs and counts.
func watchedRecorder(t *testing.T, s *stream, k *kalturaAPI) (*recorder.Recorder, *strings.Builder, *prometheus.Registry) {
	t.Helper()
	log, reg := &strings.Builder{}, prometheus.NewRegistry()
	r, err := recorder.New(t.Context(), recorder.Config{
		Entry: entry, Owner: "worker", Store: s.store, Recordings: s.store, Timelines: s, API: k, Log: slog.New(slog.NewTextHandler(log, nil)),
		Guard: func(context.Context) error { return nil }, Live: s.feeds, Options: options(time.Minute), Metrics: recorder.NewMetrics(reg),
		Owed: &live.Grant{Entry: entry, PartnerID: 102, Record: 1},
	})
	if err != nil {
		t.Fatal(err)
	}
	return r, log, reg
}
