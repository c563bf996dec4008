package controlplane

import (
	"bytes"
	"cmp"
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"log/slog"
	"math"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"klive/infra/kaltura"
	"klive/infra/media"
)

// said keeps what the server logs.
type said struct {
	mu  sync.Mutex // guards the field below
	buf bytes.Buffer
}

func (s *said) Write(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.buf.Write(p)
}

func (s *said) String() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.buf.String()
}

// with has the server log to s.
func (s *said) with(c *Config) { c.Logger = slog.New(slog.NewTextHandler(s, nil)) }

const (
	stereo = "-ac 2 -ar 48000 -c:a aac"
	avc    = "-c:v libx264 -threads 1 -bf 2 -g 25 -preset ultrafast"
)

// clipOf makes an MP4 of 50 pictures, 25 a second; sound "" is none.
func clipOf(t *testing.T, size, video, sound string) []byte {
	t.Helper()
	ffmpeg, err := exec.LookPath("ffmpeg")
	if err != nil {
		t.Skip("SKIP: no ffmpeg")
	}
	path := filepath.Join(t.TempDir(), "clip.mp4")
	args := "-v error -f lavfi -i testsrc2=size=" + size + ":rate=25:duration=2 "
	if sound != "" {
		args += "-f lavfi -i sine=frequency=440:duration=2 " + sound + " "
	}
	args += video + " -movflags +faststart " + path
	if out, err := exec.Command(ffmpeg, strings.Fields(args)...).CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// appendAll appends files of two seconds and returns where the recorded entry of all lies.
func (r *recordings) appendAll(files ...[]byte) string {
	r.t.Helper()
	for _, f := range files {
		if _, err := r.append(kaltura.AppendRequest{Resource: r.upload(f), Duration: 2}); err != nil {
			r.t.Fatal(err)
		}
	}
	path := filepath.Join(r.t.TempDir(), "vod.mp4")
	if err := os.WriteFile(path, r.vod(len(files)), 0o600); err != nil {
		r.t.Fatal(err)
	}
	return path
}

// probed is what ffprobe says of a file, in lines.
func probed(t *testing.T, path string, args ...string) []string {
	t.Helper()
	out, err := exec.Command("ffprobe", append(append([]string{"-v", "error", "-of", "csv=p=0"}, args...), path)...).CombinedOutput()
	if err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	return strings.Fields(string(out))
}

// loudness decodes a file's sound and returns how loud the middle of each two seconds is.
func loudness(t *testing.T, path string) (level []float64) {
	t.Helper()
	const rate = 8000
	cmd := exec.Command("ffmpeg", "-v", "error", "-i", path, "-map", "0:a:0", "-ac", "1", "-ar", fmt.Sprint(rate), "-f", "s16le", "-")
	var words bytes.Buffer
	cmd.Stderr = &words
	pcm, err := cmd.Output()
	for line := range strings.Lines(words.String()) {
		if !strings.Contains(line, "non monotonically increasing dts") { // frames overlap where clips meet
			t.Errorf("the sound can't be decoded: %s", line)
		}
	}
	if err != nil {
		t.Fatal(err)
	}
	for at := rate / 2; 2*(at+rate) <= len(pcm); at += 2 * rate {
		var sum float64
		for i := at; i < at+rate; i++ {
			v := float64(int16(binary.LittleEndian.Uint16(pcm[2*i:])))
			sum += v * v
		}
		level = append(level, math.Sqrt(sum/rate))
	}
	return level
}

// evenly holds that the pictures of a file are shown 40 ms apart, so many of them.
func evenly(t *testing.T, path string, pictures int) {
	t.Helper()
	var last float64
	lines := probed(t, path, "-select_streams", "v", "-show_entries", "frame=best_effort_timestamp_time")
	for i, line := range lines {
		var at float64
		if _, err := fmt.Sscanf(line, "%f", &at); err != nil {
			t.Fatalf("picture %d: %q", i, line)
		}
		if d := at - last; i > 0 && (d < 0.039 || d > 0.041) {
			t.Errorf("picture %d is shown %v s after the one before", i, d)
		}
		last = at
	}
	if len(lines) != pictures {
		t.Errorf("%d pictures, want %d", len(lines), pictures)
	}
}

// TestFitting holds which files' pictures (p) and sound (s) are encoded anew.
func TestFitting(t *testing.T) {
	aac := func(config string) media.AudioParams {
		b, err := hex.DecodeString(config)
		if err != nil {
			t.Fatal(err)
		}
		p, err := media.NewAAC(b)
		if err != nil {
			t.Fatal(err)
		}
		return p
	}
	two, two44, six, opus := aac("1190"), aac("1210"), aac("11b0"), &media.Opus{ChannelCount: 2}
	vp9, small := &media.VP9{Width: 160, Height: 90}, &media.VP9{Width: 128, Height: 72}
	for _, c := range []struct {
		name  string
		forms []form
		want  string
	}{
		{"one sound", []form{{nil, two}, {nil, aac("119056e500")}}, "- -"},
		{"more channels", []form{{nil, two}, {nil, six}, {nil, two}}, "- s -"},
		{"another rate", []form{{nil, two}, {nil, two44}}, "- s"},
		{"another codec", []form{{nil, two}, {nil, opus}}, "- s"},
		{"another codec first", []form{{nil, opus}, {nil, two}, {nil, opus}}, "s - s"},
		{"no AAC at all", []form{{nil, opus}, {nil, opus}}, "- -"},
		{"what MPEG-TS does not carry", []form{{vp9, nil}, {vp9, nil}}, "p p"},
		{"with sound from the second on", []form{{vp9, nil}, {small, two}}, "ps p"},
		{"sound alone, and pictures", []form{{nil, two}, {vp9, two}, {nil, two}}, "p p p"},
		{"pictures alone, and sound alone", []form{{vp9, nil}, {nil, two}}, "ps p"},
		{"a file that can't be read, and pictures", []form{{}, {vp9, two}}, "- p"},
		{"a file that can't be read", []form{{nil, two}, {}, {nil, six}}, "- - s"},
	} {
		x := newFitting(c.forms)
		var got []string
		for _, f := range c.forms {
			what := ""
			if x.pictures(f) {
				what = "p"
			}
			if x.sound(f) {
				what += "s"
			}
			got = append(got, cmp.Or(what, "-"))
		}
		if strings.Join(got, " ") != c.want {
			t.Errorf("%s: %v, want %s", c.name, got, c.want)
		}
	}
}

// TestSoundThatDiffers appends files whose sound is coded otherwise each time: all of it is heard in
// the recorded entry, in the form of the first, and the pictures are as they were.
func TestSoundThatDiffers(t *testing.T) {
	var log said
	r := startRecordings(t, log.with)
	path := r.appendAll(
		clipOf(t, "160x90", avc, stereo),
		clipOf(t, "160x90", avc, "-ac 6 -ar 44100 -c:a aac"),
		clipOf(t, "160x90", avc, ""),
		clipOf(t, "160x90", avc, "-ac 2 -ar 48000 -c:a ac3"),
	)
	if got := probed(t, path, "-select_streams", "a", "-show_entries", "stream=codec_name,sample_rate,channels"); len(got) != 1 || got[0] != "aac,48000,2" {
		t.Errorf("the sound is %v", got)
	}
	level := loudness(t, path)
	if len(level) != 4 {
		t.Fatalf("the sound has %d parts: %v", len(level), level)
	}
	for i, v := range level {
		if silent := v < 50; silent != (i == 2) {
			t.Errorf("the sound of file %d has a level of %.0f: %.0f", i+1, v, level)
		}
	}
	evenly(t, path, 200)
	if n := strings.Count(log.String(), "is encoded anew"); n != 3 || strings.Contains(log.String(), "pictures=true") {
		t.Errorf("%d files were encoded, or pictures, want the sound of 3:\n%s", n, &log)
	}
}

// TestFirstFileWithoutSound has the sound begin with the second file.
func TestFirstFileWithoutSound(t *testing.T) {
	r := startRecordings(t)
	path := r.appendAll(clipOf(t, "160x90", avc, ""), clipOf(t, "160x90", avc, stereo))
	if level := loudness(t, path); len(level) != 2 || level[0] > 50 || level[1] < 50 {
		t.Errorf("the sound has levels %.0f", level)
	}
	evenly(t, path, 100)
}

// TestSoundAlone appends files of sound alone before and behind one with pictures: the recorded entry has the sound of
// all, and is black where there was nothing else.
func TestSoundAlone(t *testing.T) {
	var log said
	r := startRecordings(t, log.with)
	path := r.appendAll(
		clipOf(t, "160x90", "-vn", stereo),
		clipOf(t, "160x90", avc, stereo),
		clipOf(t, "160x90", "-vn", stereo),
		clipOf(t, "160x90", avc, ""),
	)
	if level := loudness(t, path); len(level) != 4 || min(level[0], level[1], level[2]) < 50 || level[3] > 50 {
		t.Errorf("the sound has levels %.0f", level)
	}
	var at []float64
	for _, line := range probed(t, path, "-select_streams", "v", "-show_entries", "frame=best_effort_timestamp_time,width,height") {
		var v float64
		var w, h int
		if _, err := fmt.Sscanf(strings.TrimRight(line, ","), "%f,%d,%d", &v, &w, &h); err != nil || w != 160 || h != 90 {
			t.Fatalf("a picture is %q, %v", line, err)
		}
		at = append(at, v)
	}
	if want := 100 + 2*2*blackRate; len(at) != want || at[0] > 0.1 {
		t.Fatalf("%d pictures from %v on, want %d", len(at), at[:min(1, len(at))], want)
	}
	for i := range at[1:] {
		if d := at[i+1] - at[i]; d < 0.039 || d > 1.01/blackRate {
			t.Errorf("picture %d is shown %v s after the one before", i+1, d)
		}
	}
	if n := strings.Count(log.String(), "pictures=true"); n != 2 {
		t.Errorf("%d files got black pictures, want 2:\n%s", n, &log)
	}
}

// TestPicturesThatDiffer appends files whose pictures have another size, and another codec: the
// recorded entry has one size and one codec.
func TestPicturesThatDiffer(t *testing.T) {
	var log said
	r := startRecordings(t, log.with)
	path := r.appendAll(
		clipOf(t, "160x90", avc, stereo),
		clipOf(t, "128x96", avc, stereo),
		clipOf(t, "160x90", "-c:v libx265 -preset ultrafast -x265-params log-level=error -tag:v hvc1", stereo),
	)
	if got := probed(t, path, "-select_streams", "v", "-show_entries", "stream=codec_name"); len(got) != 1 || got[0] != "h264" {
		t.Errorf("the pictures are %v", got)
	}
	for i, got := range probed(t, path, "-select_streams", "v", "-show_entries", "frame=width,height") {
		if strings.TrimRight(got, ",") != "160,90" {
			t.Fatalf("picture %d has %s", i, got)
		}
	}
	evenly(t, path, 150)
	if level := loudness(t, path); len(level) != 3 || min(level[0], level[1], level[2]) < 50 {
		t.Errorf("the sound has levels %.0f", level)
	}
	if n := strings.Count(log.String(), "pictures=true"); n != 2 || strings.Contains(log.String(), "sound=true") {
		t.Errorf("%d files' pictures were encoded, or sound, want 2:\n%s", n, &log)
	}
}

// TestEncodedAnewAgain appends a file that differs from the first in its pictures, and one whose sound
// the others lack: the second is encoded once more, and what it was encoded to before goes.
func TestEncodedAnewAgain(t *testing.T) {
	r := startRecordings(t)
	r.appendAll(clipOf(t, "160x90", avc, ""), clipOf(t, "128x96", avc, ""))
	if n := r.files.count(); n != 4 {
		t.Errorf("%d files, want two, what one was encoded to, and the recorded entry's", n)
	}
	if _, err := r.append(kaltura.AppendRequest{Resource: r.upload(clipOf(t, "160x90", avc, stereo)), Duration: 2}); err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(t.TempDir(), "vod.mp4")
	if err := os.WriteFile(path, r.vod(3), 0o600); err != nil {
		t.Fatal(err)
	}
	if level := loudness(t, path); len(level) != 3 || max(level[0], level[1]) > 50 || level[2] < 50 {
		t.Errorf("the sound has levels %.0f", level)
	}
	for i, got := range probed(t, path, "-select_streams", "v", "-show_entries", "frame=width,height") {
		if strings.TrimRight(got, ",") != "160,90" {
			t.Fatalf("picture %d has %s", i, got)
		}
	}
	evenly(t, path, 150)
	if n := r.files.count(); n != 6 {
		t.Errorf("%d files, want three, what two were encoded to, and the recorded entry's", n)
	}
}

// TestEncodingAnewFails has ffmpeg lack an encoder: the log says what and why, what was joined can
// be watched, and all is joined once ffmpeg has it.
func TestEncodingAnewFails(t *testing.T) {
	ffmpeg, err := exec.LookPath("ffmpeg")
	if err != nil {
		t.Skip("SKIP: no ffmpeg")
	}
	dir := t.TempDir()
	path, missing := filepath.Join(dir, "ffmpeg"), filepath.Join(dir, "missing")
	script := "#!/bin/sh\ncase \"$*\" in *\"-c:a aac\"*) if [ -e " + missing + " ]; then echo Unknown encoder aac >&2; exit 1; fi;; esac\nexec " + ffmpeg + " \"$@\"\n"
	if err := os.WriteFile(path, []byte(script), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(missing, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	var log said
	r := startRecordings(t, log.with, func(c *Config) { c.FFmpeg = path })
	first := clipOf(t, "160x90", avc, stereo)
	for _, f := range [][]byte{first, clipOf(t, "160x90", avc, "-ac 1 -ar 44100 -c:a aac")} {
		if _, err := r.append(kaltura.AppendRequest{Resource: r.upload(f), Duration: 2}); err != nil {
			t.Fatal(err)
		}
	}
	for end := time.Now().Add(3 * time.Minute); !strings.Contains(log.String(), "Unknown encoder aac"); {
		if time.Now().After(end) {
			t.Fatal(&log)
		}
		time.Sleep(20 * time.Millisecond)
		r.nudgeJoins()
	}
	if want := "file 2 of 2 has H264 of 160x90 and AAC of 44100 Hz with 1 channel,"; !strings.Contains(log.String(), want) {
		t.Errorf("the log does not say %q:\n%s", want, &log)
	}
	if got := r.vod(1); !bytes.Equal(got, first) {
		t.Errorf("the recorded entry has %d bytes, want the %d of the first file", len(got), len(first))
	}
	if err := os.Remove(missing); err != nil {
		t.Fatal(err)
	}
	r.vod(2)
	if notes, err := r.state.List(t.Context(), everyUnclaimed); err != nil || len(notes) > 0 {
		t.Errorf("files are left that belong to nothing: %v, %v", notes, err)
	}
}

// TestEncodedAnewIsPruned: once the live entry has left a recorded entry behind, neither the files that
// were appended nor what they were encoded to stay.
func TestEncodedAnewIsPruned(t *testing.T) {
	r := startRecordings(t)
	r.appendAll(clipOf(t, "160x90", avc, stereo), clipOf(t, "160x90", avc, ""))
	if n := r.files.count(); n != 4 {
		t.Errorf("%d files, want two, what one was encoded to, and the recorded entry's", n)
	}
	doc, err := change(t.Context(), r.state, entryKey(r.entry.ID), func(d *entryDoc) error { d.Entry.RecordedEntryID = ""; return nil })
	if err != nil {
		t.Fatal(err)
	}
	if err := r.prune(t.Context(), &doc); err != nil {
		t.Fatal(err)
	}
	if n := r.files.count(); n != 1 {
		t.Errorf("%d files are left, want the recorded entry's", n)
	}
}
