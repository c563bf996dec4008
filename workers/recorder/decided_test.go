package recorder_test

import (
	"context"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"klive/infra/kaltura"
	"klive/infra/live"
	"klive/storage/ledger"
	"klive/workers/recorder"
)

// slowAPI is Kaltura whose calls before an append take their time.
type slowAPI struct {
	*kalturaAPI
	upload, get time.Duration
}

func (s slowAPI) Upload(ctx context.Context, partner int, r kaltura.UploadRequest) (*kaltura.UploadToken, error) {
	time.Sleep(s.upload)
	return s.kalturaAPI.Upload(ctx, partner, r)
}

func (s slowAPI) LiveStreamGet(ctx context.Context, partner int, entry string) (*kaltura.LiveStreamEntry, error) {
	time.Sleep(s.get)
	return s.kalturaAPI.LiveStreamGet(ctx, partner, entry)
}

// slowWrite lets the MP4s whose key ends so take their time.
func slowWrite(s *stream, suffix string, d time.Duration) {
	before := s.store.Before
	s.store.Before = func(ctx context.Context, op, key string) error {
		if op == "put" && strings.HasPrefix(key, "recordings/") && strings.HasSuffix(key, suffix) {
			time.Sleep(d)
		}
		return before(ctx, op, key)
	}
}

// TestSkipHolds has an operator skip a file while something is done with it: it stays skipped, is not appended, and the
// one behind it is.
func TestSkipHolds(t *testing.T) {
	const long = 30 * time.Second
	for _, c := range []struct {
		name string
		do   func(s *stream, api *slowAPI, c *recorder.Config)
	}{
		{"it waits for its turn to be written", func(_ *stream, _ *slowAPI, c *recorder.Config) {
			c.Writing = make(chan struct{}, 1)
			c.Writing <- struct{}{}
			time.AfterFunc(long, func() { <-c.Writing })
		}},
		{"it is written", func(s *stream, _ *slowAPI, _ *recorder.Config) { slowWrite(s, "_0.mp4", long) }},
		{"it is uploaded", func(_ *stream, api *slowAPI, _ *recorder.Config) { api.upload = long }},
		{"the duration before it is asked for", func(_ *stream, api *slowAPI, c *recorder.Config) {
			api.get, c.Options.Strategy, c.Options.Path = long, recorder.ServerFile, "/recordings/{name}"
		}},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s, api := newStream(1, true), slowAPI{kalturaAPI: &kalturaAPI{}}
				for range 10 {
					s.add(100)
				}
				s.end()
				skip, begun, done := assets[0]+".0_0", time.Now(), false
				config := recorder.Config{
					Entry: entry, Owner: "worker", Store: s.store, Recordings: s.store, Timelines: s, Log: testLog(t),
					Guard: func(context.Context) error { return nil }, Live: s.feeds, Options: options(20 * time.Second),
					Owed: &live.Grant{Entry: entry, PartnerID: 102, Record: 1},
					Orders: func() []recorder.Order {
						if done || time.Since(begun) < long/3 {
							return nil
						}
						return []recorder.Order{{Kind: recorder.OrderSkip, File: skip, Done: func() { done = true }}}
					},
				}
				c.do(s, &api, &config)
				config.API = api
				r, err := recorder.New(t.Context(), config)
				if err == nil {
					err = r.Run(t.Context())
				}
				if err != nil {
					t.Fatal(err)
				}
				f := loadLedger(t, s.store).File(skip)
				if !done || f == nil || f.State != ledger.Skipped || !strings.Contains(f.Reason, "operator") {
					t.Errorf("the order was obeyed: %v; the file is %+v", done, f)
				}
				if kept := f.Size > 0; s.has(f.Key(entry)) != kept {
					t.Errorf("its MP4 is there: %v, want %v", !kept, kept)
				}
				if list := api.of(assets[0]); len(list) != 1 || !strings.HasSuffix(list[0].name, ".0_1.mp4") {
					t.Errorf("%d files were appended, want the second alone: %+v", len(list), list)
				}
			})
		})
	}
}

// TestStoppedRecordingStays: Kaltura takes no more of a broadcast while another of its files is written. That is not appended.
func TestStoppedRecordingStays(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, k := newStream(2, false), &kalturaAPI{}
		k.refuse = func(r kaltura.AppendRequest) error {
			if r.AssetID == assets[0] {
				return &kaltura.APIError{Code: kaltura.CodeRecordingFull, Message: "no more"}
			}
			return nil
		}
		slowWrite(s, assets[1]+".0_0.mp4", time.Minute)
		r := newRecorder(t, s, s.store, k, options(4*time.Second))
		ended := make(chan error, 1)
		go func() { ended <- r.Run(t.Context()) }()
		s.add(100)
		s.add(100)
		time.Sleep(2 * time.Minute)
		s.end()
		if err := <-ended; err != nil {
			t.Fatal(err)
		}
		for _, f := range loadLedger(t, s.store).Files {
			if f.State != ledger.Skipped || !strings.Contains(f.Reason, kaltura.CodeRecordingFull) {
				t.Errorf("%+v", f)
			}
		}
		if list := k.of(assets[1]); len(list) > 0 {
			t.Errorf("%d files were appended behind the end", len(list))
		}
	})
}

// TestRefusedWhileItEnds has a recorder asked to end while Kaltura answers that its session has run out: the file goes back
// to those of which it is known that Kaltura does not have them, so that no operator is asked for it.
func TestRefusedWhileItEnds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, k := newStream(1, false), &kalturaAPI{}
		ctx, end := context.WithCancel(t.Context())
		defer end()
		k.refuse = func(kaltura.AppendRequest) error {
			end()
			return &kaltura.APIError{Code: kaltura.CodeInvalidKS, Message: "expired"}
		}
		o := options(time.Hour)
		o.Strategy, o.Path = recorder.ServerFile, "/recordings/{name}"
		r := newRecorder(t, s, s.store, k, o)
		ended := make(chan error, 1)
		go func() { ended <- r.Run(ctx) }()
		s.add(100)
		time.Sleep(time.Second)
		s.end()
		if err := <-ended; err != nil {
			t.Fatal(err)
		}
		f := loadLedger(t, s.store).Due(assets[0] + ".0")
		if f == nil || f.State != ledger.Uploaded || f.Attempts != 0 {
			t.Errorf("the file is %+v", f)
		}
	})
}

// has reports whether the store has an object.
func (s *stream) has(key string) bool {
	body, _, err := s.store.Get(context.Background(), key, nil)
	if err == nil {
		body.Close()
	}
	return err == nil
}

// TestMP4OfAnUnwrittenFileGoes: a recorder died between the writing of an MP4 and the ledger, and an operator skipped the
// file then. The next recorder removes the MP4, and that of no other file.
func TestMP4OfAnUnwrittenFileGoes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, k := newStream(1, false), &kalturaAPI{}
		for range 5 {
			s.add(100)
		}
		s.end()
		b, err := ledger.Open(t.Context(), s.store, entry, "worker")
		if err != nil {
			t.Fatal(err)
		}
		plan := func(l *ledger.Ledger, seq uint64, size int64) *ledger.File {
			f := l.Plan(ledger.File{Asset: assets[0], Partner: 102, Broadcast: broadcast, Rendition: entry + "_0", FirstSeq: seq, LastSeq: seq,
				Start: origin, Duration: 4 * time.Second}, time.Now())
			f.State, f.Size = ledger.Skipped, size
			s.put(f.Key(entry), [][]byte{[]byte("an MP4")})
			return f
		}
		var unwritten, written string
		err = b.Change(t.Context(), func(l *ledger.Ledger) error {
			unwritten, written = plan(l, 1, 0).Key(entry), plan(l, 2, 6).Key(entry)
			return nil
		})
		if err == nil {
			err = newRecorder(t, s, s.store, k, options(time.Minute)).Run(t.Context())
		}
		if err != nil {
			t.Fatal(err)
		}
		if s.has(unwritten) {
			t.Error("the MP4 of a file that was skipped before it was written stays")
		}
		if !s.has(written) {
			t.Error("that of one that was skipped later is gone")
		}
	})
}
