package check

import (
	"slices"
	"strconv"
	"strings"
	"time"
)

// What an encoder is when its statement says nothing else: the demo entry's.
func defaultEncoder() EncoderSpec {
	return EncoderSpec{
		FPSNum: 30, FPSDen: 1, GOP: 2 * time.Second, SampleRate: 44100, Channels: 2,
		Suffix: 1, Entry: "0_demolive", Token: "demo1234",
	}
}

func (p *parser) encoder() error {
	e := defaultEncoder()
	var err error
	if e.Name, err = p.take("the encoder's name"); err != nil {
		return err
	}
	if slices.ContainsFunc(p.scenario.Encoders, func(o EncoderSpec) bool { return o.Name == e.Name }) {
		return p.fail("there are two encoders %q", e.Name)
	}
	if e.Protocol, err = p.take("a protocol"); err != nil {
		return err
	}
	if e.Protocol != "rtmp" {
		return p.fail("the protocol is rtmp, not %q", e.Protocol)
	}
	picture, err := p.take("a picture like 1280x720@30")
	if err != nil {
		return err
	}
	if err := p.picture(&e, picture); err != nil {
		return err
	}
	for len(p.words) > 0 {
		option, _ := p.take("")
		key, value, _ := strings.Cut(option, "=")
		set, ok := encoderOptions[key]
		if !ok {
			return p.fail("an encoder has no option %q", key)
		}
		if !set(&e, value) {
			return p.fail("%q is no value for %s=", value, key)
		}
	}
	p.scenario.Encoders = append(p.scenario.Encoders, e)
	return nil
}

// picture reads 1280x720@29.97 or 1280x720@30000/1001.
func (p *parser) picture(e *EncoderSpec, text string) (err error) {
	size, rate, ok := strings.Cut(text, "@")
	if !ok {
		return p.fail("a picture looks like 1280x720@30, not %q", text)
	}
	if e.Width, e.Height, err = p.size(size); err != nil {
		return err
	}
	num, den, fraction := strings.Cut(rate, "/")
	if fraction {
		if !number(&e.FPSNum, num, 1, 240000) || !number(&e.FPSDen, den, 1, 1001) {
			return p.fail("%q is no frame rate", rate)
		}
		return nil
	}
	f, err := strconv.ParseFloat(rate, 64)
	if err != nil || !(f >= 1 && f <= 240) {
		return p.fail("%q is no frame rate: 1 to 240 a second", rate)
	}
	e.FPSNum, e.FPSDen = int(f*1000+0.5), 1000
	if ntsc := float64(int(f+0.5)) * 1000 / 1001; f != float64(int(f)) && f-ntsc < 0.005 && ntsc-f < 0.005 {
		e.FPSNum, e.FPSDen = int(f+0.5)*1000, 1001
	}
	return nil
}

// encoderOptions set an option and report whether the value can be.
var encoderOptions = map[string]func(*EncoderSpec, string) bool{
	"gop":      func(e *EncoderSpec, v string) bool { return length(&e.GOP, v) && e.GOP <= 10*time.Minute },
	"bframes":  func(e *EncoderSpec, v string) bool { return number(&e.BFrames, v, 0, 15) },
	"bitrate":  func(e *EncoderSpec, v string) bool { return bitrate(&e.Bitrate, v) },
	"fps-mode": func(e *EncoderSpec, v string) bool { e.VariableRate = v == "vfr"; return v == "vfr" || v == "cfr" },
	"sets":     func(e *EncoderSpec, v string) bool { e.RepeatSets = v == "repeat"; return v == "repeat" || v == "once" },
	"video":    func(e *EncoderSpec, v string) bool { e.NoVideo = true; return v == "none" },
	"channels": func(e *EncoderSpec, v string) bool { return number(&e.Channels, v, 1, 2) },
	"index":    func(e *EncoderSpec, v string) bool { return number(&e.Index, v, 0, 1) },
	"suffix":   func(e *EncoderSpec, v string) bool { return number(&e.Suffix, v, 1, 9999) },
	"node":     func(e *EncoderSpec, v string) bool { e.Node = v; return v != "" },
	"entry":    func(e *EncoderSpec, v string) bool { e.Entry = v; return v != "" },
	"token":    func(e *EncoderSpec, v string) bool { e.Token = v; return v != "" },
	"audio": func(e *EncoderSpec, v string) bool {
		switch v {
		case "none":
			e.NoAudio = true
		case "late":
			e.AudioLate = true
		default:
			return number(&e.SampleRate, v, 7350, 96000)
		}
		return true
	},
	"start": func(e *EncoderSpec, v string) bool {
		if v == "never" {
			e.StartNever = true
			return true
		}
		return length(&e.Start, v)
	},
	"clock": func(e *EncoderSpec, v string) bool {
		n, err := strconv.ParseUint(v, 10, 32)
		e.Clock = uint32(n)
		return err == nil
	},
}

func number(to *int, text string, low, high int) bool {
	n, err := strconv.Atoi(text)
	*to = n
	return err == nil && n >= low && n <= high
}

func length(to *time.Duration, text string) bool {
	d, err := time.ParseDuration(text)
	*to = d
	return err == nil && d >= 0 && d <= maxRun
}

// bitrate reads 800k or 5M.
func bitrate(to *int, text string) bool {
	factor := 1
	switch {
	case strings.HasSuffix(text, "k"):
		text, factor = strings.TrimSuffix(text, "k"), 1000
	case strings.HasSuffix(text, "M"):
		text, factor = strings.TrimSuffix(text, "M"), 1000_000
	}
	ok := number(to, text, 1, 1000_000_000/factor)
	*to *= factor
	return ok
}
