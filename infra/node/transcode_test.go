package node

import (
	"encoding/json"
	"net/http"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"klive/infra/admin"
	"klive/infra/bus/bustest"
	"klive/infra/config"
	"klive/infra/live"
)

// TestWhyRungsAreGaps: while the only transcode worker has no ffmpeg, every node says so of that worker, and the gaps of
// the rungs say it too.
func TestWhyRungsAreGaps(t *testing.T) {
	bustest.Prepare(t)
	missing := filepath.Join(t.TempDir(), "ffmpeg")
	synctest.Test(t, func(t *testing.T) {
		d := newDeployment(t)
		d.start("control", Control)
		d.start("gateway", Gateway)
		d.start("worker", LiveWorker)
		_, text := d.ask("control", "admin.listen", http.MethodPost, "/v1/entries", `{"name":"a ladder","token":"vote4me","profile":502}`)
		var made struct{ ID string }
		if err := json.Unmarshal([]byte(text), &made); err != nil || made.ID == "" {
			t.Fatalf("an entry with a ladder: %s", text)
		}
		e, err := d.publishTo("gateway", made.ID, "vote4me")
		if err != nil {
			t.Fatal(err)
		}
		playing := make(chan error, 1)
		go func() { playing <- e.play(time.Hour) }()
		reasons := func() []string {
			t.Helper()
			var list struct{ Streams []admin.Stream }
			d.get("control", "/v1/streams", &list)
			if len(list.Streams) != 1 || len(list.Streams[0].Rungs) == 0 {
				t.Fatalf("streams %+v", list)
			}
			var out []string
			for _, r := range list.Streams[0].Rungs {
				if r.Gaps == 0 {
					t.Errorf("%s is made by nobody and has no gaps", r.Rendition)
				}
				out = append(out, r.Reason)
			}
			return out
		}
		say := func(words ...string) {
			t.Helper()
			for _, why := range reasons() {
				for _, w := range words {
					if !strings.Contains(why, w) {
						t.Errorf("a gap's reason is %q, want %q in it", why, w)
					}
				}
			}
		}
		time.Sleep(30 * time.Second)
		say("no transcode worker is heard", "klive worker --roles transcode")

		w := d.start("transcoder", Transcode, func(c *config.Config) { c.Transcode.FFmpeg = missing })
		time.Sleep(40 * time.Second)
		say(w.process+": ffmpeg is not there (transcode.ffmpeg): ", missing)
		var nodes struct{ Nodes []admin.NodeState }
		d.get("gateway", "/v1/nodes", &nodes)
		for _, n := range nodes.Nodes {
			if (n.Name == w.process) != strings.HasPrefix(n.TranscodeAway, "ffmpeg is not there") {
				t.Errorf("/v1/nodes: %s takes no jobs: %q", n.Name, n.TranscodeAway)
			}
		}
		e.Abort()
		<-playing
	})
}

// TestJobless: what is told of transcode workers is short, names each reason once, and says nothing while all take jobs.
func TestJobless(t *testing.T) {
	worker := func(name, why string) peer {
		return peer{Beat: live.Beat{Name: name, Roles: []string{"transcode"}, Transcode: &live.TranscodeBeat{Away: why}}}
	}
	other := peer{Beat: live.Beat{Name: "gateway-1", Roles: []string{"gateway", "worker"}}}
	before := peer{Beat: live.Beat{Name: "older-1", Roles: []string{"transcode"}}} // of a release that does not say
	for _, c := range []struct {
		name  string
		peers []peer
		want  string
	}{
		{"none", []peer{other}, "no transcode worker is heard; start one (klive worker --roles transcode)"},
		{"all do", []peer{worker("a-1", ""), other}, ""},
		{"an older one does", []peer{before}, ""},
		{"one does not", []peer{other, worker("a-1", "no ffmpeg")}, "a-1: no ffmpeg"},
		{"one of two", []peer{worker("b-1", "no ffmpeg"), worker("a-1", "")}, "b-1: no ffmpeg; others take jobs, see klive_transcode_backlog_seconds"},
		{"two reasons", []peer{worker("a-1", "no ffmpeg"), worker("b-1", "no GPU")}, "b-1: no GPU; a-1: no ffmpeg"},
		{"many", []peer{worker("e-1", "x"), worker("d-1", "x"), worker("c-1", "x"), worker("b-1", "x"), worker("a-1", "x")}, "a-1, b-1, c-1 and 2 more: x"},
	} {
		if got := jobless(c.peers); got != c.want {
			t.Errorf("%s: %q, want %q", c.name, got, c.want)
		}
	}
}
