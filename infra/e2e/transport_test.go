package e2e

import (
	"bytes"
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"github.com/bluenviron/mediacommon/v2/pkg/codecs/mpeg4audio"
	"github.com/bluenviron/mediacommon/v2/pkg/formats/mpegts"
	"github.com/bluenviron/mediacommon/v2/pkg/formats/mpegts/codecs"

	"klive/infra/check"
	"klive/infra/media"
	"klive/infra/media/nal"
	"klive/infra/publisher"
)

// transportFile writes so much of a clip, marks included, into an MPEG-TS file with an
// independent writer, and returns what an encoder that plays it sends.
func transportFile(t testing.TB, clip *publisher.Clip, long time.Duration) (path string, sent []check.Sent) {
	t.Helper()
	params, _, err := nal.NewParser(false).Config(clip.Video.Config)
	if err != nil {
		t.Fatal(err)
	}
	sets := params.(*media.H264)
	var config mpeg4audio.AudioSpecificConfig
	if err := config.Unmarshal(clip.Audio.Config); err != nil {
		t.Fatal(err)
	}
	path = filepath.Join(t.TempDir(), "clip.ts")
	f, err := os.Create(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	video, audio := &mpegts.Track{Codec: &codecs.H264{}}, &mpegts.Track{Codec: &codecs.MPEG4Audio{Config: config}}
	w := &mpegts.Writer{W: f, Tracks: []*mpegts.Track{video, audio}}
	if err := w.Initialize(); err != nil {
		t.Fatal(err)
	}
	cursor, err := clip.Cursor()
	if err != nil {
		t.Fatal(err)
	}
	for {
		u := cursor.Next()
		if u.DTS >= long {
			return path, sent
		}
		const ahead = time.Second // times must not be negative
		pts, dts := media.ToTicks(u.PTS+ahead, 90000), media.ToTicks(u.DTS+ahead, 90000)
		if u.Kind == media.Audio {
			err = w.WriteMPEG4Audio(audio, pts, [][]byte{u.Payload()})
		} else {
			units := splitUnits(u.Payload())
			if u.Key {
				units = append([][]byte{sets.SPS[0], sets.PPS[0]}, units...)
			}
			err = w.WriteH264(video, pts, dts, units)
		}
		if err != nil {
			t.Fatal(err)
		}
		sent = append(sent, check.Sent{Kind: u.Kind, Number: u.Number, DTS: u.DTS, PTS: u.PTS})
	}
}

// splitUnits takes NAL units with four-byte lengths apart.
func splitUnits(b []byte) (out [][]byte) {
	for len(b) > 4 {
		n := int(b[0])<<24 | int(b[1])<<16 | int(b[2])<<8 | int(b[3])
		out, b = append(out, b[4:4+n]), b[4+n:]
	}
	return out
}

// tooling is an ffmpeg or another program that publishes.
type tooling struct {
	cmd  *exec.Cmd
	says bytes.Buffer // valid after done
	done chan struct{}
	err  error // set before done is closed
}

// run starts a program; it ends with the test.
func run(t testing.TB, name string, args ...string) *tooling {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	p := &tooling{cmd: exec.CommandContext(ctx, name, args...), done: make(chan struct{})}
	p.cmd.Cancel = func() error { return p.cmd.Process.Signal(syscall.SIGINT) }
	p.cmd.WaitDelay = 5 * time.Second
	p.cmd.Stdout, p.cmd.Stderr = &p.says, &p.says
	if err := p.cmd.Start(); err != nil {
		cancel()
		t.Fatal(err)
	}
	go func() {
		defer close(p.done)
		p.err = p.cmd.Wait()
	}()
	t.Cleanup(func() {
		cancel()
		<-p.done
		if t.Failed() {
			t.Logf("%s said: %s", filepath.Base(name), p.says.Bytes())
		}
	})
	return p
}

// kill ends the program as a crash would.
func (p *tooling) kill() {
	_ = p.cmd.Process.Kill()
	<-p.done
}

// finished waits for a program to end by itself.
func (p *tooling) finished(t testing.TB, patience time.Duration) error {
	t.Helper()
	select {
	case <-p.done:
		return p.err
	case <-time.After(patience):
		t.Fatalf("%s did not end within %v", p.cmd.Path, patience)
		return nil
	}
}

// auditWhole holds every unit that was sent to be there once, in order; a tail may be
// missing where a protocol drops what is on its way when the encoder leaves.
func auditWhole(t testing.TB, what string, a check.Audit, tail int) {
	t.Helper()
	t.Logf("%s:\n%v", what, a)
	for _, tr := range []check.TrackAudit{a.Video, a.Audio} {
		if tr.Sent == 0 || tr.Tail > tail || len(tr.Lost)+len(tr.Doubled)+len(tr.Disordered)+tr.Unknown > 0 {
			t.Errorf("%s: not each frame once, in order: %+v", what, tr)
		}
	}
	if a.Audio.JoinGap != 0 {
		t.Errorf("%s: audio has a gap or overlap of %d samples", what, a.Audio.JoinGap)
	}
	if a.MaxOffset() > time.Millisecond {
		t.Errorf("%s: video moved against audio by %v", what, a.Offsets)
	}
}
