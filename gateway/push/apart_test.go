package push

import (
	"bytes"
	"io"
	"net/http"
	"sync"
	"testing"
)

// TestTracksApart sends each track in a long request of its own, as CMAF ingest does, and ends
// them by closing: they are one feed, which Kaltura is asked about once.
func TestTracksApart(t *testing.T) {
	tracks := map[string][]byte{"video.cmfv": fragmented(t, "0:v"), "audio.cmfa": fragmented(t, "0:a:0")}
	r := newRig(t, nil)
	both := make(held)
	end := sync.OnceFunc(func() { close(both) })
	defer end()
	var group sync.WaitGroup
	for name, b := range tracks {
		group.Go(func() {
			body := io.MultiReader(bytes.NewReader(b), both) // none is over before the other has begun
			if code, detail := r.send(http.MethodPost, address+"/Streams("+name+")?p=102&t=secret-token", body); code != 200 {
				t.Errorf("%s: %d %s", name, code, detail)
			}
		})
	}
	r.wait("pictures and sound", func() bool { s := r.stats(); return s.Video == "H264" && s.Audio == "AAC" && s.Frames > 0 })
	end()
	group.Wait()
	if n := r.api.count(); n != 1 {
		t.Errorf("Kaltura was asked %d times", n)
	}
}

// held is the end of a body, which comes when the channel is closed.
type held chan struct{}

func (h held) Read([]byte) (int, error) {
	<-h
	return 0, io.EOF
}
