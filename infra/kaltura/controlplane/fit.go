package controlplane

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"klive/infra/kaltura"
	"klive/infra/media"
	"klive/infra/media/mp4"
	"klive/infra/telemetry"
)

// form is how a file's tracks are coded; nil is no such track.
type form struct {
	video media.VideoParams
	audio media.AudioParams
}

func (f form) none() bool { return f.video == nil && f.audio == nil }

// fitting is what the files of a flavor are made to share where they differ: players set a
// decoder up once, and play no more of what is coded otherwise later on. What is encoded becomes
// H.264 of the first pictures' size and AAC of the first sound's rate and channels; what a file lacks of the two is
// black, or silent.
type fitting struct {
	// width and height are the pictures' size, sarX to sarY the shape of a pixel; zero when all
	// pictures go together as they are.
	width, height, sarX, sarY int
	// rate in Hz and channels are the sound's; zero when all sound goes together.
	rate     uint32
	channels int
}

// newFitting finds out what must be shared. Files whose form is not known count for nothing.
func newFitting(forms []form) (x fitting) {
	var first form
	for _, f := range forms {
		if first.video == nil {
			first.video = f.video
		}
		if first.audio == nil {
			first.audio = f.audio
		}
	}
	for _, f := range forms {
		if !f.none() && first.video != nil && (f.video == nil || !samePictures(first.video, f.video) || !carried(f.video)) {
			x.takeSize(first.video)
		}
		if !f.none() && first.audio != nil && (f.audio == nil || !sameSound(first.audio, f.audio)) {
			x.rate, x.channels = first.audio.SampleRate(), min(first.audio.Channels(), maxChannels)
		}
	}
	return x
}

// blackRate is how many pictures a second has where there is sound alone: few, because they are all alike.
const blackRate = 5

// maxChannels is 5.1: the most that ffmpeg's AAC and all players know alike.
const maxChannels = 6

// carried reports whether MPEG-TS, by which files are joined, carries such pictures.
func carried(p media.VideoParams) bool { return p.Codec() == "H264" || p.Codec() == "HEVC" }

func samePictures(a, b media.VideoParams) bool {
	aw, ah := a.Size()
	bw, bh := b.Size()
	return a.Codec() == b.Codec() && aw == bw && ah == bh
}

func sameSound(a, b media.AudioParams) bool {
	// MPEG-TS says nothing more of AAC than this.
	return a.Equal(b) || a.Codec() == "AAC" && b.Codec() == "AAC" &&
		a.SampleRate() == b.SampleRate() && a.Channels() == b.Channels() && a.FrameSamples() == b.FrameSamples()
}

// takeSize takes the size of the pictures and of their pixels.
func (x *fitting) takeSize(p media.VideoParams) {
	w, h := p.Size()
	x.width, x.height, x.sarX, x.sarY = max(2, w&^1), max(2, h&^1), 1, 1
	// What the container says of how pictures are shown does not outlast the joining.
	if p.Posed() == (media.Pose{}) {
		dw, dh := p.DisplaySize()
		x.sarX, x.sarY = dw*h, dh*w
	}
}

// pictures reports whether a file's pictures must be encoded, sound whether its sound must be.
func (x *fitting) pictures(f form) bool {
	if x.width == 0 || f.none() {
		return false
	}
	if f.video == nil {
		return true // black ones
	}
	w, h := f.video.Size()
	return f.video.Codec() != "H264" || w != x.width || h != x.height
}

func (x *fitting) sound(f form) bool {
	if x.rate == 0 || f.none() {
		return false
	}
	return f.audio == nil || f.audio.Codec() != "AAC" || f.audio.SampleRate() != x.rate || f.audio.Channels() != x.channels
}

// of says what of a file is encoded, and how; empty: nothing is.
func (x *fitting) of(f form) string {
	var words []string
	if x.pictures(f) {
		words = append(words, fmt.Sprintf("%dx%d", x.width, x.height))
	}
	if x.sound(f) {
		words = append(words, fmt.Sprintf("%d/%d", x.rate, x.channels))
	}
	return strings.Join(words, " ")
}

// fit has those of a flavor's files encoded that don't go together with the others, and returns all
// as they are joined. A file is encoded once, and once more where one behind it differs in something
// else.
func (s *Server) fit(ctx context.Context, entry *entryDoc, g group, files []recordedSegment) ([]recordedSegment, error) {
	forms := make([]form, len(files))
	for i := range files {
		var err error
		if forms[i], err = s.formOf(ctx, &files[i]); errors.Is(err, mp4.ErrFile) {
			s.log.Warn("a recorded file's header can't be read; it is joined as it is", "vod", g.vod, "flavor", g.params, "file", i+1, "err", err)
		} else if err != nil {
			return nil, err
		}
	}
	x := newFitting(forms)
	files = slices.Clone(files)
	for i := range files {
		f := &files[i]
		if to := x.of(forms[i]); to == f.FitTo { // an empty one is as it is
			continue
		}
		began := time.Now()
		if err := s.fitOne(ctx, entry, f, &x, forms[i]); err != nil {
			return nil, fmt.Errorf("file %d of %d has %s, which does not go together with the others, and could not be encoded anew: %w",
				i+1, len(files), forms[i], err)
		}
		s.log.Info("a recorded file is encoded anew to go together with the others", "vod", g.vod, "flavor", g.params, "file", i+1, "has", forms[i].String(),
			"pictures", x.pictures(forms[i]), "sound", x.sound(forms[i]), "to", f.FitTo, "took", time.Since(began))
	}
	return files, nil
}

// String describes a form in words.
func (f form) String() string {
	var words []string
	if f.video != nil {
		w, h := f.video.Size()
		words = append(words, fmt.Sprintf("%s of %dx%d", f.video.Codec(), w, h))
	} else {
		words = append(words, "no pictures")
	}
	if f.audio != nil {
		words = append(words, fmt.Sprintf("%s of %d Hz with %s", f.audio.Codec(), f.audio.SampleRate(), telemetry.Count(f.audio.Channels(), "channel", "channels")))
	} else {
		words = append(words, "no sound")
	}
	return strings.Join(words, " and ")
}

// formOf reads how a file is coded. The error wraps [mp4.ErrFile] when it can't be known.
func (s *Server) formOf(ctx context.Context, f *recordedSegment) (x form, err error) {
	if s.config.Recorded == nil {
		return x, nil // the join says so
	}
	body := &chunkReader{ctx: ctx, files: s.config.Recorded, chunks: f.Chunks}
	defer body.Close()
	tracks, err := mp4.ReadTracks(body)
	for _, p := range tracks {
		switch p := p.(type) {
		case media.VideoParams:
			if x.video == nil {
				x.video = p
			}
		case media.AudioParams:
			if x.audio == nil {
				x.audio = p
			}
		}
	}
	return x, err
}

// fitOne encodes what of a file must be, and keeps the outcome beside it.
func (s *Server) fitOne(ctx context.Context, entry *entryDoc, f *recordedSegment, x *fitting, has form) error {
	dir, err := s.workFolder(sizeOf(f.Chunks)) // what comes of it is about as large
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	w, err := os.Create(filepath.Join(dir, "fit.ts"))
	if err != nil {
		return err
	}
	defer w.Close()
	body := &chunkReader{ctx: ctx, files: s.config.Recorded, chunks: f.Chunks}
	defer body.Close()
	if err := s.ffmpeg(ctx, patient, body, w, x.args(has, f.Second)...); err != nil {
		return err
	}
	if _, err := w.Seek(0, 0); err != nil {
		return err
	}
	made := &incoming{}
	defer func() { s.drop(ctx, map[string]*incoming{"": made}) }() // unless it is claimed
	if err := s.storeFile(ctx, made, w, func() {}); err != nil {
		return err
	}
	fit, to := []chunk{{made.key, made.size}}, x.of(has)
	named := false
	_, err = change(ctx, s.state, entryKey(entry.Entry.ID), func(doc *entryDoc) error {
		named = doc.setFit(f, fit, to)
		if !named {
			return errKeep
		}
		return nil
	})
	if err != nil {
		return err
	}
	if !named {
		return errors.New("the file is not the entry's any more")
	}
	s.claimed(ctx, made)
	s.removeChunks(ctx, f.Fit)
	f.Fit, f.FitTo = fit, to
	return nil
}

// setFit notes what a file was encoded to; false when the entry does not have the file.
func (d *entryDoc) setFit(f *recordedSegment, fit []chunk, to string) bool {
	if d.Recording == nil {
		return false
	}
	segments := slices.Clone(d.Recording.Segments)
	i := slices.IndexFunc(segments, func(g recordedSegment) bool {
		return g.Params == f.Params && g.Index == kaltura.IndexPrimary && slices.Equal(g.Chunks, f.Chunks)
	})
	if i < 0 {
		return false
	}
	segments[i].Fit, segments[i].FitTo = fit, to
	d.Recording = &recording{Segments: segments}
	return true
}

// args are ffmpeg's: from a file to an MPEG-TS on the same time line, tsStart later.
func (x *fitting) args(has form, seconds float64) []string {
	args := []string{"-copyts", "-i", "pipe:0"}
	pictures, sound := "0:v:0?", "0:a:0?"
	switch { // a file has one of them at least
	case has.video == nil && x.pictures(has): // black
		pictures = "1:v"
		args = append(args, "-f", "lavfi", "-i", fmt.Sprintf("color=c=black:s=%dx%d:r=%d:d=%.6f", x.width, x.height, blackRate, max(seconds, 0.1)))
	case has.audio == nil && x.sound(has): // silence
		sound = "1:a"
		args = append(args, "-f", "lavfi", "-i", fmt.Sprintf("anullsrc=r=%d:cl=mono:d=%.6f", x.rate, max(seconds, 0.1)))
	}
	args = append(args, "-map", pictures, "-map", sound, "-c", "copy")
	if x.pictures(has) {
		dw, dh := x.width, x.height
		if x.sarX != x.sarY {
			dw = max(2, 2*(x.width*x.sarX/x.sarY/2))
		}
		args = append(args, "-c:v", "libx264", "-preset", "veryfast", "-crf", "21", "-bf", "0", "-g", "60", "-pix_fmt", "yuv420p",
			"-fps_mode", "passthrough", "-enc_time_base:v", "1:90000", "-vf",
			fmt.Sprintf(`scale=w=2*round(min(%[1]d\,%[2]d*dar)/2):h=2*round(min(%[2]d\,%[1]d/dar)/2),setsar=1,pad=%[1]d:%[2]d:(ow-iw)/2:(oh-ih)/2,scale=%[3]d:%[4]d,setsar=%[5]d/%[6]d`,
				dw, dh, x.width, x.height, x.sarX, x.sarY))
	}
	if x.sound(has) {
		// The frame that an encoder begins with lies before the sound, where that of the file
		// before is.
		args = append(args, "-c:a", "aac", "-ar", strconv.Itoa(int(x.rate)), "-ac", strconv.Itoa(x.channels), "-b:a", strconv.Itoa(64_000*x.channels),
			"-af", "aresample=async=1", "-bsf:a", "noise=drop=not(n)")
	}
	return append(args, "-muxdelay", "0", "-muxpreload", "0", "-output_ts_offset", strconv.FormatFloat(tsStart, 'f', 6, 64), "-f", "mpegts", "pipe:1")
}
