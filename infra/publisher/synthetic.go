package publisher

import (
	"errors"
	"fmt"
	"time"

	"klive/infra/media"
)

// Synthetic describes a clip that is made without an encoder. The zero value of a field
// takes the default in brackets.
type Synthetic struct {
	// Width and Height are even numbers of pixels (640×360).
	Width, Height int
	// FPSNum/FPSDen is the frame rate (30/1).
	FPSNum, FPSDen int
	// GOP is the distance of keyframes (2 s); it is rounded to whole frames, at least one.
	GOP time.Duration
	// BFrames is how many pictures between two references are shown before the second (0).
	BFrames int
	// Bitrate is the video's in bit/s, reached by padding (as little as possible).
	Bitrate int
	// VariableRate makes the frames last by turns a half, one and a half, one and one times as
	// long as the frame rate says.
	VariableRate bool
	// RepeatSets puts SPS and PPS into the stream before each keyframe as well.
	RepeatSets bool
	// SampleRate is the AAC track's in Hz (44100), Channels 1 or 2 (2).
	SampleRate uint32
	Channels   int
	// NoVideo and NoAudio leave a track out.
	NoVideo, NoAudio bool
}

// ticksPerFrame makes the unit of synthetic video half a frame, for variable rates.
const ticksPerFrame = 2

// rounds is how many GOPs a clip holds: two, so that adjacent IDR pictures differ in
// idr_pic_id as ITU-T H.264 §7.4.3 demands.
const rounds = 2

// NewSynthetic makes the clip.
func NewSynthetic(s Synthetic) (*Clip, error) {
	s.defaults()
	if err := s.check(); err != nil {
		return nil, err
	}
	c := &Clip{}
	if !s.NoVideo {
		c.Video = s.video()
		if err := c.Video.mark(); err != nil {
			return nil, err
		}
		c.Meta = append(c.Meta, Property{"width", s.Width}, Property{"height", s.Height},
			Property{"framerate", float64(s.FPSNum) / float64(s.FPSDen)}, Property{"videocodecid", 7})
	}
	if !s.NoAudio {
		c.Audio = s.audio()
		if err := c.Audio.mark(); err != nil {
			return nil, err
		}
		c.Meta = append(c.Meta, Property{"audiosamplerate", int(s.SampleRate)}, Property{"audiocodecid", 10})
	}
	return c, nil
}

func (s *Synthetic) defaults() {
	set := func(v *int, d int) {
		if *v == 0 {
			*v = d
		}
	}
	set(&s.Width, 640)
	set(&s.Height, 360)
	set(&s.FPSNum, 30)
	set(&s.FPSDen, 1)
	set(&s.Channels, 2)
	if s.GOP == 0 {
		s.GOP = 2 * time.Second
	}
	if s.SampleRate == 0 {
		s.SampleRate = 44100
	}
}

func (s *Synthetic) check() error {
	switch {
	case s.NoVideo && s.NoAudio:
		return ErrNoTrack
	case s.Width < 16 || s.Height < 16 || s.Width > 8192 || s.Height > 8192 || s.Width%2+s.Height%2 != 0:
		return fmt.Errorf("publisher: a picture of %d×%d can't be made: sides are even, from 16 to 8192", s.Width, s.Height)
	case s.FPSNum < 0 || s.FPSDen < 0 || s.FPSNum/s.FPSDen > 240:
		return errors.New("publisher: the frame rate lies above 0 and is at most 240")
	case s.BFrames < 0 || s.BFrames > 15:
		return errors.New("publisher: 0 to 15 B-frames")
	case s.Channels < 1 || s.Channels > 2:
		return errors.New("publisher: 1 or 2 channels")
	case frequencyIndex(s.SampleRate) < 0:
		return fmt.Errorf("publisher: AAC knows no sample rate of %d Hz", s.SampleRate)
	}
	return nil
}

// frames is the length of a GOP.
func (s *Synthetic) frames() int {
	per := time.Second * time.Duration(s.FPSDen) / time.Duration(s.FPSNum)
	return max(1, int((s.GOP+per/2)/per))
}

func (s *Synthetic) video() *Track {
	p := &pictures{width: s.Width, height: s.Height, num: s.FPSNum, den: s.FPSDen, fixed: !s.VariableRate, bframes: s.BFrames > 0}
	sps, pps := p.sps(), p.pps()
	n := s.frames()
	show := s.showTimes(rounds * n)
	delay := int64(0)
	if s.BFrames > 0 {
		delay = int64(ticksPerFrame * s.FPSDen)
	}
	t := &Track{Kind: media.Video, Config: avcConfig(sps, pps), Rate: uint32(ticksPerFrame * s.FPSNum), Period: show[rounds*n]}
	for round := range rounds {
		for _, pic := range gop(n, s.BFrames, uint32(round)) {
			at := round * n
			var au []byte
			if pic.idr && s.RepeatSets {
				au = appendNAL(appendNAL(au, sps), pps)
			}
			au = appendNAL(au, padding(s.frameBytes(n, pic.idr)))
			au = appendNAL(au, p.picture(pic))
			i := len(t.Samples)
			dts := show[i]
			if delay > 0 && i > 0 {
				dts = show[i-1] + delay
			}
			t.Samples = append(t.Samples, Sample{DTS: dts, PTS: show[at+pic.order] + delay, Key: pic.idr, Payload: au})
		}
	}
	return t
}

// showTimes are the display times of the first count pictures, and of the one behind them.
func (s *Synthetic) showTimes(count int) []int64 {
	pattern := []int64{2, 2, 2, 2} // in halves of a frame
	if s.VariableRate {
		pattern = []int64{1, 3, 2, 2}
	}
	times := make([]int64, count+1)
	for i := range count {
		times[i+1] = times[i] + pattern[i%len(pattern)]*int64(s.FPSDen)
	}
	return times
}

// frameBytes is a picture's share of the bitrate. A keyframe weighs as much as six others.
func (s *Synthetic) frameBytes(frames int, key bool) int {
	const keyWeight = 6
	total := float64(s.Bitrate) / 8 * float64(frames) * float64(s.FPSDen) / float64(s.FPSNum)
	share := total / float64(frames-1+keyWeight)
	if key {
		share *= keyWeight
		w, h := (s.Width+15)/16, (s.Height+15)/16
		share -= float64(w * h)
	}
	return int(share)
}

// gop lists the pictures of a closed GOP in decode order.
func gop(frames, bframes int, id uint32) []picture {
	pics := []picture{{slice: sliceI, idr: true, reference: true, idrID: id}}
	references := 1
	for shown := 0; shown < frames-1; {
		anchor := min(shown+bframes+1, frames-1)
		pics = append(pics, picture{slice: sliceP, reference: true, frameNum: references, order: anchor})
		references++
		for b := shown + 1; b < anchor; b++ {
			pics = append(pics, picture{slice: sliceB, frameNum: references, order: b})
		}
		shown = anchor
	}
	return pics
}
