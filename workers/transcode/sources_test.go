package transcode

import (
	"bytes"
	"fmt"
	"math"
	"os/exec"
	"slices"
	"testing"
	"time"

	"klive/infra/live"
	"klive/infra/media"
	"klive/infra/media/mp4"
	"klive/infra/media/nal"
)

// transcodeAll lets a worker make all segments of a clip.
func transcodeAll(t *testing.T, c *clip, rungs []live.VideoJob, audio *live.AudioJob) (*rig, []live.Job) {
	t.Helper()
	g := newRig(t, c)
	var jobs []live.Job
	for n := range c.segs {
		jobs = append(jobs, c.job(n, rungs, audio))
		g.put(jobs[n])
	}
	g.work(nil)
	return g, jobs
}

// TestVideoSources makes rungs of each picture codec that a feed may bring, and of pictures that
// are unusual. Each must come out with the source's pictures at their times.
func TestVideoSources(t *testing.T) {
	t.Parallel()
	lavfi := func(source string, args ...string) []string {
		return append([]string{"-f", "lavfi", "-i", source, "-t", "3"}, args...)
	}
	for _, tt := range []struct {
		name, codec string
		args        []string
	}{
		{"HEVC 10 bit", "HEVC", lavfi(testVideo, "-pix_fmt", "yuv420p10le", "-c:v", "libx265", "-preset", "ultrafast", "-tag:v", "hvc1", "-x265-params", "keyint=60:open-gop=0:log-level=none")},
		{"AV1", "AV1", lavfi(testVideo, "-c:v", "libsvtav1", "-preset", "12", "-g", "60", "-svtav1-params", "pred-struct=1")},
		{"VP8", "VP8", lavfi(testVideo, "-c:v", "libvpx", "-deadline", "realtime", "-cpu-used", "8", "-g", "60", "-b:v", "500k")},
		{"VP9", "VP9", lavfi(testVideo, "-c:v", "libvpx-vp9", "-deadline", "realtime", "-cpu-used", "8", "-g", "60", "-b:v", "500k")},
		{"4:4:4", "H264", lavfi(testVideo, "-pix_fmt", "yuv444p", "-c:v", "libx264", "-preset", "ultrafast", "-g", "60")},
		{"10 bit", "H264", lavfi(testVideo, "-pix_fmt", "yuv420p10le", "-c:v", "libx264", "-preset", "ultrafast", "-g", "60")},
		{"odd sides", "H264", lavfi("testsrc=s=321x179:r=30", "-pix_fmt", "yuv444p", "-c:v", "libx264", "-preset", "ultrafast", "-g", "60")},
		{"interlaced", "H264", lavfi("testsrc2=s=320x180:r=60", "-vf", "tinterlace=interleave_top", "-c:v", "libx264", "-preset", "ultrafast", "-flags", "+ilme+ildct", "-g", "60")},
		{"8k", "H264", []string{"-f", "lavfi", "-i", "color=gray:s=7680x4320:r=5", "-t", "0.4", "-c:v", "libx264", "-preset", "ultrafast", "-g", "60"}},
		{"1x1", "VP9", lavfi("color=white:s=2x2:r=30,format=yuv444p,crop=1:1:0:0", "-c:v", "libvpx-vp9", "-deadline", "realtime", "-cpu-used", "8", "-g", "60")},
		{"2x2", "H264", lavfi("color=white:s=2x2:r=30", "-c:v", "libx264", "-preset", "ultrafast", "-g", "60")},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			c := record(t, 2*time.Second, false, tt.args...)
			if got := c.parts[0].Segment.Tracks[0].Params.Codec(); got != tt.codec {
				t.Fatalf("the clip is %s", got)
			}
			rungs := []live.VideoJob{
				c.rung(t, 34, live.VideoRung{Fit: live.FitHeight, Height: 180, Bitrate: 900e3, Profile: "high", Deinterlace: tt.name == "interlaced"}),
				c.rung(t, 33, live.VideoRung{Fit: live.FitWidth, Width: 160, Bitrate: 200e3, Profile: "baseline", SkipFrames: 1}),
				c.rung(t, 35, live.VideoRung{Fit: live.FitHeight, Height: 90, Bitrate: 300e3}),
			}
			g, jobs := transcodeAll(t, c, rungs, nil)
			for _, r := range rungs {
				g.audit(c, jobs, r)
			}
		})
	}
}

// TestAudioSources makes AAC of each sound codec that a feed may bring: frames that abut, with the
// tone of the source at its loudness.
func TestAudioSources(t *testing.T) {
	t.Parallel()
	const tone = "sine=frequency=1000:sample_rate=48000"
	for _, tt := range []struct {
		codec, encoder, source string
		channels               int
		rate                   uint32
	}{
		{"Opus", "libopus", tone, 1, 48000},
		{"MP3", "libmp3lame", "sine=frequency=1000:sample_rate=44100[a];[a]pan=stereo|c0=c0|c1=c0", 2, 44100},
		{"AC-3", "ac3", tone + "[a];[a]pan=stereo|c0=c0|c1=c0", 2, 48000},
		{"AC-3", "ac3", tone + "[a];[a]pan=5.1|FL=c0|FR=c0|FC=c0|BL=c0|BR=c0", 6, 48000},
		{"AAC", "aac", "sine=frequency=1000:sample_rate=22050", 1, 22050},
	} {
		t.Run(fmt.Sprintf("%s of %d channels", tt.codec, tt.channels), func(t *testing.T) {
			t.Parallel()
			c := record(t, 2*time.Second, false, "-f", "lavfi", "-i", testVideo, "-f", "lavfi", "-i", tt.source, "-t", "5",
				"-c:v", "libx264", "-preset", "ultrafast", "-g", "60", "-x264-params", "scenecut=0", "-c:a", tt.encoder, "-b:a", "192k")
			p := c.parts[0].Segment.Tracks[1].Params.(media.AudioParams)
			if p.Codec() != tt.codec || p.Channels() != tt.channels {
				t.Fatalf("the clip has %s with %d channels", p.Codec(), p.Channels())
			}
			audio := &live.AudioJob{Rendition: entry + "_a1", Bitrate: 128e3, SampleRate: tt.rate, Channels: tt.channels}
			g, jobs := transcodeAll(t, c, nil, audio)
			s := mp4.Stream{}
			var end media.Time
			for n := range jobs {
				a := g.result(&jobs[n], audio.Rendition)
				tr, _ := a.Track(media.Audio)
				if out := tr.Params.(media.AudioParams); out.Codec() != "AAC" || out.Channels() != tt.channels || out.SampleRate() != tt.rate {
					t.Fatalf("it became %s with %d channels at %d Hz", out.Codec(), out.Channels(), out.SampleRate())
				}
				frames := a.Frames(tr.ID)
				if n > 0 && frames[0].PTS != end {
					t.Errorf("segment %d begins at %v, the one before ends at %v", n, frames[0].PTS.Std(), end.Std())
				}
				s.Track, s.Frames = tr, append(s.Frames, frames...)
				end = frames[len(frames)-1].End()
			}
			pcm := decode(t, s)
			pcm = pcm[len(pcm)/4 : len(pcm)*3/4]
			loud, crossings := 0.0, 0
			for i := tt.channels; i < len(pcm); i += tt.channels { // the first channel
				loud += float64(pcm[i]) * float64(pcm[i])
				if pcm[i-tt.channels] < 0 != (pcm[i] < 0) {
					crossings++
				}
			}
			n := float64(len(pcm) / tt.channels)
			loud, hz := math.Sqrt(loud/n), float64(crossings)/2*float64(tt.rate)/n
			t.Logf("%.0f Hz, %.4f loud", hz, loud)
			if math.Abs(hz-1000) > 3 || loud < 0.07 || loud > 0.11 { // a sine of an eighth
				t.Errorf("the tone has %.0f Hz and is %.4f loud, want 1000 and 0.0884", hz, loud)
			}
		})
	}
}

// TestSoundRungs encodes a source's sound twice in one job, beside a picture: at another rate, with
// fewer channels, on a grid of its own.
func TestSoundRungs(t *testing.T) {
	t.Parallel()
	c := record(t, 2*time.Second, false, "-f", "lavfi", "-i", testVideo, "-f", "lavfi", "-i", "sine=sample_rate=48000[a];[a]pan=stereo|c0=c0|c1=c0", "-t", "5",
		"-c:v", "libx264", "-preset", "ultrafast", "-g", "60", "-x264-params", "scenecut=0", "-c:a", "libopus", "-b:a", "128k")
	g := newRig(t, c)
	rungs := []live.VideoJob{video(34, 160, 90, 400e3, "main")}
	audio := &live.AudioJob{Rendition: entry + "_a1", Bitrate: 128e3, SampleRate: 48000, Channels: 2}
	radio := live.AudioJob{Rendition: entry + "_50", Bitrate: 32e3, SampleRate: 32000, Channels: 1}
	var jobs []live.Job
	for n := range c.segs {
		j := c.job(n, rungs, audio)
		j.Sounds = []live.AudioJob{radio}
		jobs = append(jobs, j)
		g.put(j)
	}
	g.work(nil)
	g.audit(c, jobs, rungs[0])
	sizes := map[string]int{}
	for _, want := range []live.AudioJob{*audio, radio} {
		var end media.Time
		for n := range jobs {
			a := g.result(&jobs[n], want.Rendition)
			tr, _ := a.Track(media.Audio)
			if p := tr.Params.(media.AudioParams); p.Channels() != want.Channels || p.SampleRate() != want.SampleRate {
				t.Fatalf("%s has %d channels at %d Hz", want.Rendition, p.Channels(), p.SampleRate())
			}
			frames := a.Frames(tr.ID)
			if n > 0 && frames[0].PTS != end {
				t.Errorf("segment %d of %s begins at %v, the one before ends at %v", n, want.Rendition, frames[0].PTS.Std(), end.Std())
			}
			end = frames[len(frames)-1].End()
			for _, f := range frames {
				sizes[want.Rendition] += len(f.Payload)
			}
		}
	}
	if sizes[radio.Rendition]*2 > sizes[audio.Rendition] {
		t.Errorf("bytes by rendition %v", sizes)
	}
}

// TestSilence makes sound for a source that has none: frames that abut, of nothing but zeros.
func TestSilence(t *testing.T) {
	t.Parallel()
	c := record(t, 2*time.Second, false, "-f", "lavfi", "-i", testVideo, "-t", "5", "-c:v", "libx264", "-preset", "ultrafast", "-g", "60", "-x264-params", "scenecut=0")
	audio := &live.AudioJob{Rendition: entry + "_a1", Bitrate: 64e3, SampleRate: 44100, Channels: 2, Silent: true}
	for name, rungs := range map[string][]live.VideoJob{"alone": nil, "beside pictures": {video(34, 160, 90, 400e3, "main")}} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			g, jobs := transcodeAll(t, c, rungs, audio)
			s := mp4.Stream{}
			for n := range jobs {
				a := g.result(&jobs[n], audio.Rendition)
				tr, _ := a.Track(media.Audio)
				frames := a.Frames(tr.ID)
				if n > 0 && frames[0].PTS != s.Frames[len(s.Frames)-1].End() {
					t.Errorf("segment %d begins at %v, the one before ends at %v", n, frames[0].PTS.Std(), s.Frames[len(s.Frames)-1].End().Std())
				}
				s.Track, s.Frames = tr, append(s.Frames, frames...)
			}
			pcm := decode(t, s)
			if len(pcm) < (len(s.Frames)-2)*live.AACFrame*2 || slices.ContainsFunc(pcm, func(v float32) bool { return v != 0 }) {
				t.Errorf("%d samples of %d frames are not all silent", len(pcm), len(s.Frames))
			}
			for _, r := range rungs {
				g.audit(c, jobs, r)
			}
		})
	}
}

// gray decodes the first picture of a rendition.
func gray(t *testing.T, g *rig, j *live.Job, v *live.VideoJob) []byte {
	t.Helper()
	a := g.result(j, v.Rendition)
	tr, _ := a.Track(media.Video)
	frames := a.Frames(tr.ID)
	file, err := mp4.File([]mp4.Stream{{Track: tr, Frames: frames}}, frames[0].DTS/1e9*1e9)
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(t.Context(), needFFmpeg(t), "-nostdin", "-hide_banner", "-loglevel", "error", "-f", "mp4", "-i", "pipe:0",
		"-frames:v", "1", "-f", "rawvideo", "-pix_fmt", "gray", "pipe:1")
	cmd.Stdin = bytes.NewReader(bytes.Join(file, nil))
	out, err := cmd.Output()
	if err != nil {
		t.Fatal(err)
	}
	if len(out) != v.Width*v.Height {
		t.Fatalf("a picture of %d pixels, want %dx%d", len(out), v.Width, v.Height)
	}
	return out
}

// TestPoses makes rungs of pictures that are shown turned, or with pixels that are not square. The
// source is black with a white upper left quarter, or all white.
func TestPoses(t *testing.T) {
	t.Parallel()
	const quarter = "color=black:s=160x120:r=30,drawbox=w=80:h=60:color=white:t=fill"
	x264 := []string{"-c:v", "libx264", "-preset", "ultrafast", "-g", "60"}
	x265 := []string{"-c:v", "libx265", "-preset", "ultrafast", "-tag:v", "hvc1", "-x265-params", "keyint=60:open-gop=0:log-level=none"}
	height := live.VideoRung{Fit: live.FitHeight, Height: 90}
	for _, tt := range []struct {
		name          string
		source        string
		encoder       []string
		pose          media.Pose
		rung          live.VideoRung
		width, height int
		white         [4]bool // upper left, upper right, lower left, lower right
	}{
		{"as it is", quarter, x264, media.Pose{}, height, 120, 90, [4]bool{true, false, false, false}},
		{"a quarter turn", quarter, x264, media.NewPose(1, 0, 0), height, 68, 90, [4]bool{false, true, false, false}},
		{"half a turn", quarter, x264, media.NewPose(2, 0, 0), height, 120, 90, [4]bool{false, false, false, true}},
		{"three quarters", quarter, x264, media.NewPose(3, 0, 0), height, 68, 90, [4]bool{false, false, true, false}},
		{"turned, source's size", quarter, x264, media.NewPose(1, 0, 0), live.VideoRung{}, 120, 160, [4]bool{false, true, false, false}},
		{"turned HEVC", quarter, x265, media.NewPose(1, 0, 0), height, 68, 90, [4]bool{false, true, false, false}},
		{"wide pixels", quarter + ",setsar=4/3", x264, media.Pose{}, height, 160, 90, [4]bool{true, false, false, false}},
		{"wide pixels of HEVC", quarter + ",setsar=4/3", x265, media.Pose{}, height, 160, 90, [4]bool{true, false, false, false}},
		{"wide pixels by the container", quarter, x264, media.NewPose(0, 4, 3), height, 160, 90, [4]bool{true, false, false, false}},
		{"wide pixels and turned", quarter + ",setsar=4/3", x264, media.NewPose(1, 0, 0), height, 50, 90, [4]bool{false, true, false, false}},
		{"wide pixels fill a letterbox", "color=white:s=160x120:r=30,setsar=4/3", x264, media.Pose{},
			live.VideoRung{Fit: live.FitLetterbox, Width: 160, Height: 90}, 160, 90, [4]bool{true, true, true, true}},
		{"wide pixels fill a crop", quarter + ",setsar=4/3", x264, media.Pose{},
			live.VideoRung{Fit: live.FitCrop, Width: 96, Height: 54}, 96, 54, [4]bool{true, false, false, false}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			c := record(t, 2*time.Second, false, append([]string{"-f", "lavfi", "-i", tt.source, "-t", "0.5"}, tt.encoder...)...)
			c.pose(tt.pose)
			v := c.rung(t, 34, tt.rung)
			if v.Width != tt.width || v.Height != tt.height {
				t.Fatalf("the rung is %dx%d, want %dx%d", v.Width, v.Height, tt.width, tt.height)
			}
			g, jobs := transcodeAll(t, c, []live.VideoJob{v}, nil)
			pixels := gray(t, g, &jobs[0], &v)
			var got [4]bool
			for q := range got { // a pixel near each corner
				x, y := 2+(v.Width-5)*(q%2), 2+(v.Height-5)*(q/2)
				got[q] = pixels[y*v.Width+x] > 128
			}
			if got != tt.white {
				t.Errorf("white corners %v, want %v", got, tt.white)
			}
		})
	}
}

// TestCaptions gives each picture of a source caption data of its own, and holds that a rung has
// all of it, in order: one with all pictures, and one that leaves out two of three.
func TestCaptions(t *testing.T) {
	t.Parallel()
	for _, codec := range [][]string{
		{"-c:v", "libx264", "-preset", "superfast", "-g", "60", "-bf", "2", "-x264-params", "scenecut=0"},
		{"-c:v", "libx265", "-preset", "ultrafast", "-tag:v", "hvc1", "-x265-params", "keyint=60:open-gop=0:log-level=none:bframes=2"},
	} {
		t.Run(codec[1], func(t *testing.T) {
			t.Parallel()
			c := record(t, 2*time.Second, false, append([]string{"-f", "lavfi", "-i", testVideo, "-t", "4"}, codec...)...)
			at := map[media.Time][]byte{}
			n := 0
			for _, p := range c.parts {
				for i := range p.Frames {
					f := &p.Frames[i]
					at[f.PTS] = []byte{0xfc, 0x80 | byte(1+n%120), 0x80 | byte(1+n/120), 0xff, byte(n), byte(n >> 8)}
					f.Payload = withCaptions(p.Segment.Tracks[0].Params, f.Payload, at[f.PTS])
					n++
				}
			}
			rungs := []live.VideoJob{video(34, 160, 90, 400e3, "main"), video(33, 128, 72, 200e3, "main")}
			rungs[1].Skip = 2
			g, jobs := transcodeAll(t, c, rungs, nil)
			for _, r := range rungs {
				for k := range jobs {
					a := g.result(&jobs[k], r.Rendition)
					tr, _ := a.Track(media.Video)
					frames := slices.Clone(a.Frames(tr.ID))
					slices.SortFunc(frames, func(a, b *media.Frame) int { return int(a.PTS - b.PTS) })
					var got, want []byte
					for _, f := range frames {
						got = append(got, nal.CaptionData(tr.Params, f.Payload)...)
					}
					for _, pts := range c.shown(k) {
						want = append(want, at[pts]...)
					}
					if !bytes.Equal(got, want) {
						t.Errorf("segment %d of %s has %d bytes of captions, the source %d", k, r.Rendition, len(got), len(want))
					}
				}
			}
		})
	}
}

// withCaptions writes captions into an access unit as an encoder of its codec does.
func withCaptions(p media.Params, au, cc []byte) []byte {
	out := nal.WithCaptions(au, cc)
	if _, ok := p.(*media.HEVC); !ok {
		return out
	}
	// The same message with the header of H.265's prefix SEI unit, which is a byte longer.
	n := len(out) - len(au)
	unit := append([]byte{0, 0, 0, byte(n - 4 + 1), 39 << 1, 1}, out[5:n]...)
	return append(unit, au...)
}
