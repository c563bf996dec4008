package transcode

import (
	"context"
	"fmt"
	"os/exec"
	"slices"
	"strconv"
	"strings"
	"time"

	"klive/infra/config"
	"klive/infra/live"
)

// Encoder is one of ffmpeg's H.264 encoders, as data. In its arguments {i} stands for the
// number of the output, and {preset}, {profile}, {level}, {bitrate}, {most}, {buffer} and
// {bframes} for what the rung says.
type Encoder struct {
	// Name is ffmpeg's.
	Name string
	// Tested says that klive's tests run it. The others have been written from their
	// documentation: they need hardware.
	Tested bool
	// Preset is the default one.
	Preset string
	// Device are arguments before the input, Upload the end of each output's filters.
	Device []string
	Upload string
	// Quality are the arguments of a rung with a bitrate to stay below, Constant those of one
	// with a constant bitrate, Video those of both.
	Video, Quality, Constant []string
}

// Encoders are those that klive knows. To add one, add it here.
//
// A rung's bitrate is what it may use. Segments are encoded one by one, so each is given the
// same quality, bounded by the rate, instead of an average that an encoder would have to find
// anew in each of them. Captions are the worker's, since encoders lose those of pictures that are
// left out: where an encoder would add them itself, it is told not to. There is at most one B-frame of delay, and no pyramid: the worker
// gives decode times of its own and counts on that.
func Encoders() []Encoder {
	rate := []string{"-maxrate:v:{i}", "{most}", "-bufsize:v:{i}", "{buffer}"}
	constant := append([]string{"-b:v:{i}", "{bitrate}", "-minrate:v:{i}", "{bitrate}"}, rate...)
	return []Encoder{
		{
			Name: "libx264", Tested: true, Preset: "veryfast", Upload: "format=yuv420p",
			Video: []string{"-preset:v:{i}", "{preset}", "-profile:v:{i}", "{profile}", "-level:v:{i}", "{level}", "-bf:v:{i}", "{bframes}", "-a53cc:v:{i}", "0",
				"-x264-params:v:{i}", "stitchable=1:b-pyramid=none:open-gop=0:scenecut=0:force-cfr=0"},
			Quality: append([]string{"-crf:v:{i}", "23"}, rate...), Constant: constant,
		},
		{
			Name: "h264_nvenc", Preset: "p4", Upload: "format=yuv420p",
			Video: []string{"-preset:v:{i}", "{preset}", "-profile:v:{i}", "{profile}", "-level:v:{i}", "{level}", "-bf:v:{i}", "{bframes}",
				"-a53cc:v:{i}", "0", "-no-scenecut:v:{i}", "1", "-b_ref_mode:v:{i}", "disabled", "-forced-idr:v:{i}", "1"},
			Quality: append([]string{"-rc:v:{i}", "vbr", "-cq:v:{i}", "23", "-b:v:{i}", "0"}, rate...), Constant: append([]string{"-rc:v:{i}", "cbr"}, constant...),
		},
		{
			Name: "h264_vaapi", Device: []string{"-vaapi_device", "/dev/dri/renderD128"}, Upload: "format=nv12,hwupload",
			// Of the messages it may write, all but captions.
			Video:   []string{"-profile:v:{i}", "{profile}", "-level:v:{i}", "{level}", "-bf:v:{i}", "{bframes}", "-sei:v:{i}", "identifier+timing+recovery_point"},
			Quality: append([]string{"-rc_mode:v:{i}", "VBR", "-b:v:{i}", "{bitrate}"}, rate...), Constant: append([]string{"-rc_mode:v:{i}", "CBR"}, constant...),
		},
		{
			Name: "h264_qsv", Preset: "veryfast", Upload: "format=nv12",
			Video: []string{"-preset:v:{i}", "{preset}", "-profile:v:{i}", "{profile}", "-level:v:{i}", "{level}", "-bf:v:{i}", "{bframes}",
				"-b_strategy:v:{i}", "0", "-a53cc:v:{i}", "0", "-forced_idr:v:{i}", "1"},
			Quality: append([]string{"-b:v:{i}", "{bitrate}"}, rate...), Constant: constant,
		},
	}
}

// EncoderNames lists what the key transcode.encoder takes beside "auto".
func EncoderNames() (names []string) {
	for _, e := range Encoders() {
		names = append(names, e.Name)
	}
	return names
}

// args are an output's.
func (e *Encoder) args(i int, v *live.VideoJob, preset string) []string {
	list := append([]string{"-c:v:{i}", e.Name}, e.Video...)
	if v.Constant {
		list = append(list, e.Constant...)
	} else {
		list = append(list, e.Quality...)
	}
	if preset == "" {
		preset = e.Preset
	}
	replace := strings.NewReplacer(
		"{i}", strconv.Itoa(i), "{preset}", preset, "{profile}", v.Profile, "{level}", fmt.Sprintf("%d.%d", v.Level/10, v.Level%10),
		"{bitrate}", strconv.Itoa(v.Bitrate), "{most}", strconv.Itoa(v.Most), "{buffer}", strconv.Itoa(v.Buffer),
		"{bframes}", strconv.Itoa(bframes(v)),
	)
	out := make([]string, len(list))
	for n, a := range list {
		out[n] = replace.Replace(a)
	}
	return out
}

// bframes is how many B-frames follow each other: none in the baseline profile.
func bframes(v *live.VideoJob) int {
	if v.Profile == "baseline" {
		return 0
	}
	return 2
}

// Probed is what a trial of an encoder came to.
type Probed struct {
	Encoder
	// Err is why it does not work here; nil when it does.
	Err error
}

// probeTimeout bounds the trial of one encoder.
const probeTimeout = 10 * time.Second

// Probe tries each encoder with a few frames.
func Probe(ctx context.Context, ffmpeg string) []Probed {
	var out []Probed
	for _, e := range Encoders() {
		out = append(out, Probed{e, e.probe(ctx, ffmpeg)})
	}
	return out
}

func (e *Encoder) probe(ctx context.Context, ffmpeg string) error {
	ctx, cancel := context.WithTimeout(ctx, probeTimeout)
	defer cancel()
	v := live.VideoJob{Profile: "main", Level: 30, Bitrate: 500e3, Most: 500e3, Buffer: 500e3}
	args := append([]string{"-hide_banner", "-nostdin", "-loglevel", "error"}, e.Device...)
	args = append(args, "-f", "lavfi", "-i", "testsrc2=size=320x240:rate=30:duration=0.3", "-vf", e.Upload)
	args = append(append(args, e.args(0, &v, "")...), "-f", "null", "-")
	cmd := exec.CommandContext(ctx, ffmpeg, args...)
	cmd.Env, cmd.WaitDelay = config.ChildEnviron(), killWait
	out, err := cmd.CombinedOutput()
	if err == nil {
		return nil
	}
	if text := lastWords(out); text != "" {
		return fmt.Errorf("%w: %s", err, text)
	}
	return err
}

// Choose returns the encoder of the given name, or for "auto" the first that works of the
// hardware's, then libx264. Errors say what to do.
func Choose(ctx context.Context, ffmpeg, name string) (Encoder, error) {
	list := Encoders()
	known := slices.ContainsFunc(list, func(e Encoder) bool { return e.Name == name })
	if _, err := exec.LookPath(ffmpeg); err != nil && (known || name == "auto") {
		return Encoder{}, fmt.Errorf("ffmpeg is not there (transcode.ffmpeg): %w; install ffmpeg (5.1 or newer) with an H.264 encoder, or set the key to its path", err)
	}
	if name == "auto" {
		for _, e := range append(list[1:len(list):len(list)], list[0]) {
			if e.probe(ctx, ffmpeg) == nil {
				return e, nil
			}
		}
		return Encoder{}, fmt.Errorf("none of ffmpeg's encoders %s works here; install ffmpeg (5.1 or newer) with libx264, or set transcode.ffmpeg to its path", strings.Join(EncoderNames(), ", "))
	}
	for _, e := range list {
		if e.Name != name {
			continue
		}
		if err := e.probe(ctx, ffmpeg); err != nil {
			return e, fmt.Errorf("ffmpeg's encoder %s does not work here: %w; install ffmpeg (5.1 or newer) with it, set transcode.ffmpeg to its path, or choose another with transcode.encoder (klive doctor says which work)", name, err)
		}
		return e, nil
	}
	return Encoder{}, fmt.Errorf("there is no encoder %q; want auto or one of %s", name, strings.Join(EncoderNames(), ", "))
}
