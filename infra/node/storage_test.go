package node

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"klive/infra/admin"
	"klive/infra/bus/bustest"
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
