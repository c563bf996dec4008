package transcode

import (
	"fmt"
	"strconv"
	"strings"

	"klive/infra/live"
	"klive/infra/media"
)

// pad is how many seconds before a job's segment its own clock begins: more than is decoded
// ahead of it. ffmpeg gets small times, so nothing in it wraps or loses digits; base is a whole
// second, so every rate's ticks stay exact.
const pad = 120

// base is the instant that times on the pipes are counted from.
func base(j *live.Job) media.Time { return media.Time((int64(j.Start)/1e9 - pad) * 1e9) }

// command builds ffmpeg's arguments: a fixed list, nothing of it from outside but numbers and
// the words that [live.UnmarshalJob] lets pass.
type command struct {
	job     *live.Job
	encoder *Encoder
	preset  string
	threads int
	// trim is when the segment's first picture is shown, when the input has some before it; else 0.
	trim media.Time
	// pose is how the container says that the pictures are shown.
	pose media.Pose
}

// audioWarmUp is how many AAC frames are encoded before the segment's first, so that the
// encoder stands where the one of the segment before stood; audioBehind is what a frame's
// window and the encoder's look-ahead take behind the last.
const (
	audioWarmUp = 4
	audioBehind = 3
)

func (c *command) args() []string {
	threads := strconv.Itoa(c.threads)
	args := append([]string{"-hide_banner", "-nostdin", "-loglevel", "error", "-protocol_whitelist", "pipe", "-filter_complex_threads", "1"}, c.encoder.Device...)
	args = append(args, "-copyts")
	if len(c.job.Video) > 0 || c.job.Listens() { // silence alone is made of nothing
		args = append(args, "-noautorotate", "-threads", threads, "-f", "mp4", "-i", "pipe:0")
	}
	args = append(args, "-filter_complex", c.filters())
	for i := range c.job.Video {
		v := &c.job.Video[i]
		args = append(args, "-map", fmt.Sprintf("[v%d]", i))
		args = append(args, c.encoder.args(i, v, c.preset)...)
		interval := "9999"
		if v.KeyInterval > 0 {
			interval = strconv.Itoa(v.KeyInterval)
		}
		args = append(args, fmt.Sprintf("-g:v:%d", i), interval, fmt.Sprintf("-keyint_min:v:%d", i), "1")
	}
	if len(c.job.Video) > 0 {
		args = append(args, "-threads:v", threads, "-fps_mode", "passthrough", "-enc_time_base:v", "1:90000")
	}
	for i, a := range c.job.Heard() {
		args = append(args, "-map", fmt.Sprintf("[a%d]", i), fmt.Sprintf("-c:a:%d", i), "aac", fmt.Sprintf("-profile:a:%d", i), "aac_low",
			fmt.Sprintf("-b:a:%d", i), strconv.Itoa(a.Bitrate))
	}
	return append(args, "-map_metadata", "-1", "-f", "mp4", "-movflags", "empty_moov+default_base_moof+frag_discont", "-frag_duration", "200000",
		"-use_editlist", "0", "-video_track_timescale", "90000", "-avoid_negative_ts", "disabled", "-flush_packets", "1", "pipe:1")
}

// filters is the graph from the decoded tracks to the outputs.
func (c *command) filters() string {
	var chains []string
	if n := len(c.job.Video); n > 0 {
		in := "[0:v]"
		if c.trim != 0 {
			in += fmt.Sprintf(`select=gte(pts\,%d),`, c.trim.Ticks(videoRate)-base(c.job).Ticks(videoRate))
		}
		split := in + c.upright() + fmt.Sprintf("split=%d", n)
		for i := range n {
			split += fmt.Sprintf("[s%d]", i)
		}
		chains = append(chains, split)
		for i := range c.job.Video {
			chains = append(chains, c.picture(i))
		}
	}
	heard := c.job.Heard()
	if n := len(heard); n > 1 && c.job.Listens() {
		split := fmt.Sprintf("[0:a]asplit=%d", n)
		for i := range n {
			split += fmt.Sprintf("[h%d]", i)
		}
		chains = append(chains, split)
	}
	for i := range heard {
		a, in := &heard[i], "[0:a]"
		if len(heard) > 1 {
			in = fmt.Sprintf("[h%d]", i)
		}
		first, last, _, _ := a.Grid(c.job.Start, c.job.End)
		begin := (first-audioWarmUp)*live.AACFrame - base(c.job).Ticks(a.SampleRate)
		end := (last+1+audioBehind)*live.AACFrame - base(c.job).Ticks(a.SampleRate)
		if a.Silent {
			chains = append(chains, fmt.Sprintf("anullsrc=r=%d:cl=%s:n=%d,asetpts=N+%d,aformat=sample_fmts=fltp,atrim=end_pts=%d[a%d]",
				a.SampleRate, layout(a.Channels), live.AACFrame, begin, end, i))
			continue
		}
		// first_pts counts in samples of what goes in, so the rate is changed before.
		chains = append(chains, fmt.Sprintf("%[1]saresample=%[2]d,aresample=%[2]d:async=1:first_pts=%[3]d,aformat=sample_fmts=fltp:channel_layouts=%[4]s,apad,atrim=end_pts=%[5]d[a%[6]d]",
			in, a.SampleRate, begin, layout(a.Channels), end, i))
	}
	return strings.Join(chains, ";")
}

// upright are the filters that bring pictures into the pose in which they are shown. Pixels stay as
// they are: each output's scaling makes them square.
func (c *command) upright() string {
	f := [4]string{"", "transpose=clock,", "hflip,vflip,", "transpose=cclock,"}[c.pose.Turns&3]
	if c.pose.ParX > 0 {
		f = fmt.Sprintf("setsar=%d/%d,", c.pose.ParX, c.pose.ParY) + f
	}
	return f
}

// picture is one output's chain.
func (c *command) picture(i int) string {
	v := &c.job.Video[i]
	var f []string
	if v.Deinterlace {
		f = append(f, "yadif")
	}
	if v.Skip > 0 {
		f = append(f, fmt.Sprintf(`select=not(mod(n\,%d))`, v.Skip+1))
	}
	size := fmt.Sprintf("%d:%d", v.Width, v.Height)
	switch v.Fit {
	case live.FitLetterbox:
		f = append(f, within("min", v)+":flags=bicubic", "setsar=1", "pad="+size+":(ow-iw)/2:(oh-ih)/2")
	case live.FitCrop:
		f = append(f, within("max", v)+":flags=bicubic", "setsar=1", "crop="+size)
	default:
		f = append(f, "scale="+size+":flags=bicubic")
	}
	f = append(f, "setsar=1", c.encoder.Upload)
	return fmt.Sprintf("[s%d]%s[v%d]", i, strings.Join(f, ","), i)
}

// within scales a picture to the largest size inside an output's (min), or to the smallest around
// it (max), with even sides and square pixels.
func within(least string, v *live.VideoJob) string {
	return fmt.Sprintf(`scale=w=2*round(%[1]s(%[2]d\,%[3]d*dar)/2):h=2*round(%[1]s(%[3]d\,%[2]d/dar)/2)`, least, v.Width, v.Height)
}

// layout is ffmpeg's name for so many channels.
func layout(channels int) string {
	names := []string{"mono", "stereo", "2.1", "4.0", "5.0", "5.1", "6.1", "7.1"}
	return names[min(max(channels, 1), len(names))-1]
}
