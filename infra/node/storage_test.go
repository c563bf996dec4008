package node

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"klive/infra/admin"
	"klive/infra/bus/bustest"
	"klive/infra/check/fault"
	"klive/infra/config"
	"klive/infra/telemetry"
	"klive/storage"
)

// The folder of the store goes away while an encoder publishes: viewers see every segment in
// time, operators read what is the case, and everything rests in the folder once it is back.
func TestFolderAway(t *testing.T) {
	bustest.Prepare(t)
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, nil)
		defer r.close()
		e := r.publish()
		go e.play(time.Hour)
		time.Sleep(20 * time.Second)
		const livePlaylist = "/kLive/0_demolive_32/v.m3u8"
		number := func() string {
			t.Helper()
			_, text, ok := strings.Cut(r.get(livePlaylist), "#EXT-X-MEDIA-SEQUENCE:")
			if !ok {
				t.Fatal("no live playlist")
			}
			n, _, _ := strings.Cut(text, "\n")
			return n
		}
		entry := func() admin.LiveEntry {
			t.Helper()
			l, err := overview{r.node}.Live(t.Context())
			if err != nil || len(l) != 1 {
				t.Fatalf("%+v, %v", l, err)
			}
			return l[0]
		}
		folder := filepath.Join(r.cfg.Settings.Data, "store")
		if err := os.Rename(folder, folder+"-away"); err != nil {
			t.Fatal(err)
		}
		before := number()
		time.Sleep(40 * time.Second)
		if after := number(); after == before {
			t.Errorf("the live playlist stands still at %s", after)
		}
		if l := entry(); l.Health != admin.HealthHeld || l.Pending == 0 || l.Lag > 10 || !strings.Contains(l.Text, "the folder of storage.url is not there") {
			t.Errorf("while the folder is away: %+v", l)
		}
		if !strings.Contains(r.log.String(), "the folder of storage.url is not there any more") {
			t.Error("nothing says why")
		}
		if err := os.Rename(folder+"-away", folder); err != nil {
			t.Fatal(err)
		}
		time.Sleep(20 * time.Second)
		if l := entry(); l.Health != admin.HealthLive || l.Pending > 1 {
			t.Errorf("after the folder is back: %+v", l)
		}
		if s := r.node.spool.Stats(); s.Objects != 0 {
			t.Errorf("%+v in the spool", s)
		}
		if text := r.get(mediaPlaylist); strings.Contains(text, "#EXT-X-GAP") || length(t, text) < 60*time.Second {
			t.Errorf("not all is there:\n%s", text)
		}
		r.close()
		e.Abort()
	})
}

// TestRoomInData: what is worked on in the data folder leaves the reserve alone too.
func TestRoomInData(t *testing.T) {
	c := config.Default()
	c.Data = fault.SmallDisk(t, "70m")
	n := &Node{settings: c}
	if err := n.roomInData(4 << 20); err != nil {
		t.Errorf("4 of 6 MiB: %v", err)
	}
	if err := n.roomInData(8 << 20); !errors.Is(err, storage.ErrFull) || !strings.Contains(err.Error(), "8 MiB are wanted, 70 MiB are free, and klive leaves 64 MiB") {
		t.Errorf("8 of 6 MiB: %v", err)
	}
	c.Data += "/nowhere"
	if err := n.roomInData(8 << 20); err != nil {
		t.Errorf("nobody knows: %v", err)
	}
}

// TestRecordingsLeaveTheReserve writes a recording into a folder of its own whose disk comes to its end: what the bus may
// need on that disk stays.
func TestRecordingsLeaveTheReserve(t *testing.T) {
	dir := fault.SmallDisk(t, "70m")
	bustest.Prepare(t)
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, func(c *config.Config) { c.Storage.Recordings.URL = "file://" + dir })
		defer r.close()
		u, err := r.node.recordings.store.Upload(t.Context(), "recordings/a.mp4", storage.PutOptions{})
		if err != nil {
			t.Fatal(err)
		}
		defer u.Abort()
		piece := make([]byte, 256<<10)
		for written := 0; err == nil && written < 80<<20; written += len(piece) {
			_, err = u.Write(piece)
		}
		free, ferr := telemetry.DiskFree(dir)
		if !errors.Is(err, storage.ErrFull) || ferr != nil || free < reserve(r.cfg.Settings) {
			t.Errorf("%v; %d MiB are left, %v", err, free>>20, ferr)
		}
		if text := fmt.Sprint(err); !strings.Contains(text, dir+", the folder of storage.recordings.url") {
			t.Error(text)
		}
	})
}
