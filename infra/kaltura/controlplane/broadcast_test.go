package controlplane

import (
	"bytes"
	"context"
	"fmt"
	"log/slog"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"klive/infra/kaltura"
)

func (f *fixture) register(index int, host string, status int) string {
	f.t.Helper()
	return f.form("livestream.registerMediaServer", "format", "1", "entryId", DemoEntry, "hostname", host, "mediaServerIndex", strconv.Itoa(index),
		"applicationName", "kLive", "liveEntryStatus", strconv.Itoa(status))
}

func (f *fixture) unregister(index int, host string) string {
	f.t.Helper()
	return f.form("livestream.unregisterMediaServer", "format", "1", "entryId", DemoEntry, "hostname", host, "mediaServerIndex", strconv.Itoa(index))
}

func (f *fixture) live() string {
	f.t.Helper()
	return f.formAs("", "", "livestream.isLive", "format", "1", "id", DemoEntry, "protocol", "hls")
}

func (f *fixture) stored() entryDoc {
	f.t.Helper()
	doc, err := load[entryDoc](f.t.Context(), f.state, entryKey(DemoEntry))
	if err != nil {
		f.t.Fatal(err)
	}
	return doc
}

// TestBroadcast goes through one broadcast in two phases (contract §9.5, §9.6, §9.13).
func TestBroadcast(t *testing.T) {
	f := start(t)
	has(t, f.form("livestream.authenticate", "format", "1", "entryId", DemoEntry, "token", DemoToken, "hostname", "ms1", "mediaServerIndex", "0", "applicationName", "kLive"),
		`"liveStatus":3`, `{"protocol":"hls","objectType":`)
	if e := f.stored().Entry; e.CurrentBroadcastStartTime == 0 {
		t.Error("authenticate of a primary did not set currentBroadcastStartTime")
	}
	body := f.register(0, "ms1", kaltura.StatusBroadcasting)
	has(t, body, `"liveStatus":2`, `"recordedEntryId":"0_`, `"lastBroadcast":`)
	lacks(t, body, `"firstBroadcast"`)
	if got := f.live(); got != "false" {
		t.Errorf("isLive while broadcasting: %s", got)
	}
	has(t, f.register(0, "ms1", kaltura.StatusPlayable), `"liveStatus":1`, `"firstBroadcast":`,
		`{"protocol":"hls","url":"http://live.example.com:8080/kLive/smil:0_demolive_all.smil/playlist.m3u8?DVR","objectType":"KalturaLiveStreamConfiguration"}`,
		`{"protocol":"mpegdash","url":"http://live.example.com:8080/kLive/smil:0_demolive_all.smil/manifest.mpd?DVR",`)
	if got := f.live(); got != "true" {
		t.Errorf("isLive while playable: %s", got)
	}
	has(t, f.formAs("", "", "livestream.isLive", "id", DemoEntry), "<result>1</result>")
	recorded := f.stored().Entry.RecordedEntryID
	// An encoder that comes back does not take the entry off air.
	has(t, f.form("livestream.authenticate", "format", "1", "entryId", DemoEntry, "token", DemoToken, "hostname", "ms1", "mediaServerIndex", "0"), `"liveStatus":1`)
	has(t, f.register(0, "ms1", kaltura.StatusPlayable), `"recordedEntryId":"`+recorded+`"`)
	// The backup goes its own way; an old host's unregister changes nothing.
	has(t, f.register(1, "ms2", kaltura.StatusPlayable), `"liveStatus":1`)
	has(t, f.unregister(0, "ms0"), `"liveStatus":1`)
	body = f.unregister(1, "ms2")
	has(t, body, `"liveStatus":1`)
	lacks(t, body, "redirectEntryId", "lastBroadcastEndTime")
	has(t, f.unregister(1, "ms2"), `"code":"ENTRY_SERVER_NODE_NOT_FOUND"`, `"args":{"ENTRY_ID":"0_demolive","SERVER_TYPE":"1"}`)
	has(t, f.unregister(0, "ms1"), `"redirectEntryId":"`+recorded+`"`, `"currentBroadcastStartTime":0`, `"lastBroadcastEndTime":`, `"liveStatus":0`)
	if got := f.live(); got != "false" {
		t.Errorf("isLive after unregister: %s", got)
	}
	lacks(t, f.register(0, "ms1", kaltura.StatusPlayable), "redirectEntryId")

	vod, err := load[entryDoc](t.Context(), f.state, entryKey(recorded))
	if err != nil || !vod.Recorded || vod.Entry.RootEntryID != DemoEntry || vod.Entry.SourceType != "36" || vod.Entry.Type != "1" || vod.Entry.Name != "Demonstration" {
		t.Errorf("recorded entry %+v, %v", vod.Entry, err)
	}
	has(t, f.form("livestream.get", "format", "1", "entryId", recorded), `"code":"ENTRY_ID_NOT_FOUND"`)
}

func TestBroadcast2015(t *testing.T) {
	f := start(t, in2015)
	body := f.form("livestream.authenticate", "format", "1", "entryId", DemoEntry, "token", DemoToken, "hostname", "ms1", "mediaServerIndex", "0")
	has(t, body, `"currentBroadcastStartTime":0`)
	has(t, f.form("baseEntry.update", "format", "1", "entryId", DemoEntry, "baseEntry:objectType", "KalturaLiveStreamEntry", "baseEntry:currentBroadcastStartTime", "1425000000.123"),
		`"currentBroadcastStartTime":1425000000.123`)
	has(t, f.form("livestream.registerMediaServer", "format", "1", "entryId", DemoEntry, "hostname", "ms1", "mediaServerIndex", "1"), `"firstBroadcast":`, `"liveStatus":1`)
	if f.stored().Entry.RecordedEntryID != "" {
		t.Error("the backup made a recorded entry")
	}
	has(t, f.register(0, "ms1", 2), `"recordedEntryId":`)
	if got := f.live(); got != "true" {
		t.Errorf("isLive: %s", got)
	}
	// Silently no change: another host.
	has(t, f.unregister(0, "ms9"), `"currentBroadcastStartTime":1425000000.123`)
	has(t, f.unregister(0, "ms1"), `"currentBroadcastStartTime":1425000000.123`)
	has(t, f.unregister(1, "ms1"), `"currentBroadcastStartTime":0`, `"redirectEntryId":"0_`)
	has(t, f.unregister(1, "ms1"), `"id":"0_demolive"`)
	has(t, f.formAs("", "", "livestream.isLive", "format", "1", "id", DemoEntry), `"args":{"PARAM_NAME":"protocol"}`)
}

func TestRecordedEntryPerSession(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := start(t)
		has(t, f.formAs(ks(102, 2), "", "liveStream.update", "format", "1", "entryId", DemoEntry, "liveStreamEntry:recordStatus", "2"), `"recordStatus":2`)
		session := func() string {
			f.register(0, "ms1", kaltura.StatusPlayable)
			id := f.stored().Entry.RecordedEntryID
			f.unregister(0, "ms1")
			return id
		}
		first := session()
		time.Sleep(170 * time.Second)
		if again := session(); again != first {
			t.Errorf("a session within 180 s got another recorded entry")
		}
		time.Sleep(181 * time.Second)
		second := session()
		if second == first {
			t.Errorf("a session after 181 s got the same recorded entry")
		}
		vod, err := load[entryDoc](t.Context(), f.state, entryKey(second))
		if err != nil || vod.Entry.Name != "Demonstration 2" {
			t.Errorf("second recorded entry is named %q, %v", vod.Entry.Name, err)
		}
		f.Close()
	})
}

// TestSweeper lets a media server fall silent: the entry is off air after 120 to 150 s.
func TestSweeper(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var out bytes.Buffer
		f := start(t, func(c *Config) { c.Logger = slog.New(slog.NewTextHandler(&out, nil)) })
		f.register(0, "ms1", kaltura.StatusPlayable)
		for range 3 {
			time.Sleep(60 * time.Second)
			f.register(0, "ms1", kaltura.StatusPlayable)
		}
		time.Sleep(119 * time.Second)
		if f.live() != "true" {
			t.Error("off air although the server called 119 s ago")
		}
		time.Sleep(32 * time.Second)
		if f.live() != "false" {
			t.Error("on air although the server has been silent for 151 s")
		}
		doc := f.stored()
		if doc.Nodes[0].Status != kaltura.StatusMarkedForDeletion || doc.Entry.RedirectEntryID == "" || doc.Entry.LastBroadcastEndTime == 0 {
			t.Errorf("after the sweep: %+v, redirect %q", doc.Nodes, doc.Entry.RedirectEntryID)
		}
		// The next call puts it back on air.
		f.register(0, "ms1", kaltura.StatusPlayable)
		if f.live() != "true" {
			t.Error("a new call did not put the entry back on air")
		}
		time.Sleep(time.Hour)
		ended := f.stored().Entry.LastBroadcastEndTime
		f.Close()
		// Eight days of sweeps each half minute would be 23,000.
		rarely := start(t, func(c *Config) {
			c.State, c.Sweep, c.Logger = f.state, time.Hour, slog.New(slog.NewTextHandler(&out, nil))
		})
		time.Sleep(6 * 24 * time.Hour)
		if doc := f.stored(); len(doc.Nodes) != 1 {
			t.Errorf("after 6 days: registrations %+v, want the one that waits for its recording", doc.Nodes)
		}
		time.Sleep(2 * 24 * time.Hour)
		if doc := f.stored(); len(doc.Nodes) != 0 || doc.Entry.LastBroadcastEndTime != ended {
			t.Errorf("after 8 days: registrations %+v, end %d, was %d", doc.Nodes, doc.Entry.LastBroadcastEndTime, ended)
		}
		rarely.Close()
		for what, want := range map[string]int{"media server stopped calling": 2, "the recording did not come": 1} {
			if n := strings.Count(out.String(), what); n != want {
				t.Errorf("%q stands %d times in the log, want %d:\n%s", what, n, want, out.String())
			}
		}
	})
}

// TestEncoderThatOnlyAuthenticates leaves no trace of a broadcast, and no line in the log: no media server has failed.
func TestEncoderThatOnlyAuthenticates(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var out bytes.Buffer
		f := start(t, func(c *Config) { c.Logger = slog.New(slog.NewTextHandler(&out, nil)) })
		f.form("livestream.authenticate", "entryId", DemoEntry, "token", DemoToken, "hostname", "ms1", "mediaServerIndex", "0")
		time.Sleep(151 * time.Second)
		if doc := f.stored(); len(doc.Nodes) != 0 || doc.Entry.CurrentBroadcastStartTime != 0 || doc.Entry.LastBroadcastEndTime != 0 {
			t.Errorf("left behind: %+v, start %v, end %d", doc.Nodes, doc.Entry.CurrentBroadcastStartTime, doc.Entry.LastBroadcastEndTime)
		}
		f.Close()
		if out.Len() > 0 {
			t.Errorf("the log says %s", out.String())
		}
	})
}

// TestRecordingIsWaitedFor lets encoders in, which don't broadcast, while an entry waits for its
// recording: it waits on, for as long as it would have, or until the recording is there.
func TestRecordingIsWaitedFor(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := start(t)
		primary := func() node { return f.stored().Nodes[kaltura.IndexPrimary] }
		authenticate := func(host string) {
			f.form("livestream.authenticate", "entryId", DemoEntry, "token", DemoToken, "hostname", host, "mediaServerIndex", "0")
		}
		f.register(0, "ms1", kaltura.StatusPlayable)
		f.unregister(0, "ms1")
		before := primary()
		if !before.marked() {
			t.Fatalf("after the broadcast: %+v", before)
		}
		again := func(what string) {
			t.Helper()
			if got := primary(); !got.marked() || got.Seen != before.Seen || got.Hostname != "ms1" || got.ID != before.ID || got.Waiting != nil {
				t.Errorf("%s: %+v, want %+v", what, got, before)
			}
			if e := f.stored().Entry; e.CurrentBroadcastStartTime != 0 || e.RedirectEntryID == "" {
				t.Errorf("%s: start %v, redirect %q", what, e.CurrentBroadcastStartTime, e.RedirectEntryID)
			}
		}
		authenticate("ms1")
		time.Sleep(time.Minute)
		authenticate("ms2")
		if n := primary(); n.Status != kaltura.StatusAuthenticated || n.Hostname != "ms2" {
			t.Errorf("an encoder was let in: %+v", n)
		}
		time.Sleep(151 * time.Second)
		again("it did not send")
		authenticate("ms1")
		f.unregister(0, "ms1")
		again("it was unregistered before it sent")

		// One that broadcasts waits for a recording of its own.
		authenticate("ms1")
		f.register(0, "ms1", kaltura.StatusPlayable)
		if n := primary(); n.Waiting != nil {
			t.Errorf("on the air: %+v", n)
		}
		time.Sleep(time.Second)
		f.unregister(0, "ms1")
		if n := primary(); !n.marked() || n.Seen <= before.Seen {
			t.Errorf("after the second broadcast: %+v", n)
		}
		f.register(1, "ms3", kaltura.StatusBroadcasting)
		has(t, f.formAs(ks(102, 2), "", "baseEntry.update", "format", "1", "entryId", DemoEntry,
			"baseEntry:objectType", "KalturaLiveStreamEntry", "baseEntry:currentBroadcastStartTime", "1425000000"), `"currentBroadcastStartTime":1425000000`)
		if _, err := change(t.Context(), f.state, entryKey(f.stored().Entry.RecordedEntryID), func(d *entryDoc) error {
			d.Entry.Status = kaltura.EntryStatusReady
			return nil
		}); err != nil {
			t.Fatal(err)
		}
		time.Sleep(31 * time.Second)
		doc := f.stored()
		if _, waits := doc.Nodes[kaltura.IndexPrimary]; waits || len(doc.Nodes) != 1 || doc.Entry.CurrentBroadcastStartTime == 0 {
			t.Errorf("the recording is there: %+v, start %v", doc.Nodes, doc.Entry.CurrentBroadcastStartTime)
		}
		f.Close()
	})
}

// TestWaitingRegistrationsDontPileUp: callers may change a registration's status themselves, over and over.
func TestWaitingRegistrationsDontPileUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := start(t)
		f.register(0, "ms1", kaltura.StatusPlayable)
		f.unregister(0, "ms1")
		for range 3 {
			f.form("livestream.authenticate", "entryId", DemoEntry, "token", DemoToken, "hostname", "ms1", "mediaServerIndex", "0")
			n := f.stored().Nodes[kaltura.IndexPrimary]
			if n.Waiting == nil || !n.Waiting.marked() || n.Waiting.Waiting != nil {
				t.Fatalf("an encoder was let in: %+v, %+v", n, n.Waiting)
			}
			f.form("entryServerNode.updateStatus", "id", strconv.FormatInt(n.ID, 10), "status", strconv.Itoa(kaltura.StatusMarkedForDeletion))
		}
		f.Close()
	})
}

func TestSweeper2015LeavesRedirectAlone(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := start(t, in2015)
		f.register(0, "ms1", kaltura.StatusPlayable)
		time.Sleep(151 * time.Second)
		if doc := f.stored(); len(doc.Nodes) != 0 || doc.Entry.RedirectEntryID != "" {
			t.Errorf("after the sweep: %+v, redirect %q", doc.Nodes, doc.Entry.RedirectEntryID)
		}
		f.Close()
	})
}

func TestLimitsOfPartners(t *testing.T) {
	ctx := t.Context()
	f := start(t)
	session := ks(103, 2)
	add := func(profile string) string {
		ids, err := f.profileIDs(ctx, 103)
		if err != nil {
			t.Fatal(err)
		}
		body := f.formAs(session, "", "liveStream.add", "format", "1", "liveStreamEntry:name", "x", "liveStreamEntry:streamPassword", "tok",
			"liveStreamEntry:conversionProfileId", strconv.Itoa(ids[profile]))
		_, rest, _ := strings.Cut(body, `"id":"`)
		id, _, _ := strings.Cut(rest, `"`)
		return id
	}
	auth := func(entry string) string {
		return f.formAs(ks(-5, 2), "103", "liveStream.authenticate", "format", "1", "entryId", entry, "token", "tok", "hostname", "ms1", "mediaServerIndex", "0")
	}
	first, second, transcoded := add("Passthrough"), add("Passthrough"), add("Cloud transcode")
	has(t, auth(first), `"id":"`+first+`"`)
	has(t, auth(first), `"id":"`+first+`"`) // itself does not count twice
	has(t, auth(second), `"code":"LIVE_STREAM_EXCEEDED_MAX_PASSTHRU"`, `"args":{"ENTRY_ID":"`+second+`"}`)
	has(t, auth(transcoded), `"code":"LIVE_STREAM_EXCEEDED_MAX_TRANSCODED"`)
	if _, err := change(ctx, f.state, partnerKey(103), func(p *Partner) error {
		p.MaxInputs, p.MaxTranscoded, p.LiveTranscode = 2, 1, true
		return nil
	}); err != nil {
		t.Fatal(err)
	}
	has(t, auth(second), `"id":"`+second+`"`)
	has(t, auth(transcoded), `"id":"`+transcoded+`"`)

	if _, err := change(ctx, f.state, partnerKey(103), func(p *Partner) error { p.LiveStream = false; return nil }); err != nil {
		t.Fatal(err)
	}
	has(t, auth(first), `"code":"SERVICE_FORBIDDEN"`)
	for _, action := range []string{"registerMediaServer", "unregisterMediaServer", "get", "update"} {
		has(t, f.formAs(ks(-5, 2), "103", "liveStream."+action, "format", "1", "entryId", first, "hostname", "ms1", "mediaServerIndex", "0"), `"code":"SERVICE_FORBIDDEN"`)
	}
	has(t, f.formAs(session, "", "liveStream.add", "format", "1", "liveStreamEntry:name", "x"), `"code":"SERVICE_FORBIDDEN"`)
}

func TestExceeded(t *testing.T) {
	for _, c := range []struct {
		g                                 Generation
		passes, codes, inputs, transcoded int
		want                              string
	}{
		{GenerationNow, 3, 0, 3, 0, ""},
		{GenerationNow, 4, 0, 3, 0, kaltura.CodeExceededPassThrough},
		{GenerationNow, 9, 1, 3, 0, kaltura.CodeExceededTranscoded},
		{GenerationNow, 99, 99, Unlimited, Unlimited, ""},
		{GenerationNow, 99, 2, Unlimited, 1, kaltura.CodeExceededTranscoded},
		{Generation2015, 3, 1, 2, 2, ""},
		{Generation2015, 4, 1, 2, 2, kaltura.CodeExceededPassThrough},
		{Generation2015, 1, 3, 2, 2, kaltura.CodeExceededTranscoded},
		{Generation2015, 99, 1, Unlimited, 2, ""},
	} {
		err := exceeded(c.g, "0_x", c.passes, c.codes, c.inputs, c.transcoded)
		if got := err == nil; got != (c.want == "") || err != nil && !kaltura.IsCode(err, c.want) {
			t.Errorf("%+v: got %v", c, err)
		}
	}
}

func TestAlreadyBroadcasting(t *testing.T) {
	ctx := t.Context()
	f := start(t)
	for host, env := range map[string]string{"ms1": "east", "ms2": "east", "ms3": "west"} {
		n := serverNode{MediaServer: kaltura.MediaServer{Hostname: host}, Environment: env}
		if err := create(ctx, f.state, serverKey(host), n); err != nil {
			t.Fatal(err)
		}
	}
	f.register(0, "ms1", kaltura.StatusPlayable)
	auth := func(host, index string) string {
		return f.form("liveStream.authenticate", "format", "1", "entryId", DemoEntry, "token", DemoToken, "hostname", host, "mediaServerIndex", index)
	}
	has(t, auth("ms3", "0"), `"code":"LIVE_STREAM_ALREADY_BROADCASTING"`, `"args":{"ENTRY_ID":"0_demolive","MEDIA_SERVER":"ms1"}`)
	has(t, auth("ms3", "1"), `"id":"0_demolive"`)
	has(t, auth("ms2", "0"), `"id":"0_demolive"`)

	var asked []string
	old := start(t, in2015, func(c *Config) {
		c.ProbeLive = func(_ context.Context, url string) bool { asked = append(asked, url); return true }
	})
	old.register(0, "ms1", 1)
	has(t, old.form("liveStream.authenticate", "format", "1", "entryId", DemoEntry, "token", DemoToken), `"code":"LIVE_STREAM_ALREADY_BROADCASTING"`)
	if want := []string{"http://live.example.com:8080/kLive/smil:0_demolive_all.smil/playlist.m3u8"}; !slices.Equal(asked, want) {
		t.Errorf("asked %q, want %q", asked, want)
	}
}

func TestRequireServerNode(t *testing.T) {
	f := start(t, func(c *Config) { c.RequireServerNode = true })
	has(t, f.register(0, "ms9.example.com", 1), `"code":"MEDIA_SERVER_NOT_FOUND"`, `"args":{"MEDIA_SERVER_ID":"ms9.example.com"}`)
	has(t, f.unregister(0, "ms9.example.com"), `"code":"SERVER_NODE_NOT_FOUND"`, `"args":{"HOST_NAME":"ms9.example.com"}`)
	report := func(session, partner string) string {
		return f.formAs(session, partner, "mediaserver.reportStatus", "hostname", "ms9.example.com", "mediaServerStatus:objectType", "KalturaMediaServerStatus", "ignoreNull", "1")
	}
	has(t, report(ks(102, 2), "102"), `<code>SERVICE_FORBIDDEN</code>`, `<name>SERVICE</name><value>mediaserver-&gt;reportStatus</value>`)
	body := report(ks(-5, 2), "-5")
	has(t, body, `<result><objectType>KalturaMediaServer</objectType><id>1</id><dc>0</dc><hostname>ms9.example.com</hostname><createdAt>`)
	has(t, report(ks(-5, 2), "-5"), `<id>1</id>`)
	has(t, f.register(0, "ms9.example.com", 1), `"id":"0_demolive"`)
	has(t, f.formAs(ks(-5, 2), "-5", "mediaserver.get", "format", "1", "hostname", "ms8"), `"code":"MEDIA_SERVER_NOT_FOUND"`)
}

// TestConcurrentCalls has many media servers call about one entry at once: each index
// keeps its last state, and one recorded entry is made.
func TestConcurrentCalls(t *testing.T) {
	f := start(t)
	var wg sync.WaitGroup
	for i := range 16 {
		wg.Go(func() {
			for range 5 {
				if body := f.register(i%2, "ms"+strconv.Itoa(i%2), 1); !strings.HasPrefix(body, `{"id":"0_demolive"`) {
					t.Errorf("register: %s", body)
				}
				f.live()
			}
		})
	}
	wg.Wait()
	doc := f.stored()
	if len(doc.Nodes) != 2 || doc.Sessions != 1 {
		t.Errorf("nodes %v, sessions %d", doc.Nodes, doc.Sessions)
	}
	all, err := loadAll[entryDoc](t.Context(), f.state, everyEntry)
	if err != nil {
		t.Fatal(err)
	}
	if len(all) != 2 {
		t.Errorf("%d entries stored, want the live and the recorded one: %v", len(all), fmt.Sprint(f.state.values))
	}
}
