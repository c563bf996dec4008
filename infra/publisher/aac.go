package publisher

import "klive/infra/media"

// aacSamples is the length of an AAC access unit in samples.
const aacSamples = 1024

// aacRates are the sample rates by sampling frequency index (ISO/IEC 14496-3 table 1.18).
var aacRates = [...]uint32{96000, 88200, 64000, 48000, 44100, 32000, 24000, 22050, 16000, 12000, 11025, 8000, 7350}

func frequencyIndex(rate uint32) int {
	for i, r := range aacRates {
		if r == rate {
			return i
		}
	}
	return -1
}

// audio makes a track of silence: one access unit that repeats.
func (s *Synthetic) audio() *Track {
	var config bitWriter
	config.u(5, 2) // AAC LC
	config.u(4, uint32(frequencyIndex(s.SampleRate)))
	config.u(4, uint32(s.Channels))
	config.u(3, 0) // 1024 samples a frame, no core coder, no extension
	return &Track{
		Kind: media.Audio, Config: config.b, Rate: s.SampleRate, Period: aacSamples,
		Samples: []Sample{{Key: true, Payload: silence(s.Channels)}},
	}
}

// silence is a raw_data_block without spectral data (ISO/IEC 14496-3 §4.4.2.1).
func silence(channels int) []byte {
	var w bitWriter
	if channels == 1 {
		w.u(3, 0) // single channel element
		w.u(4, 0)
	} else {
		w.u(3, 1) // channel pair element
		w.u(4, 0)
		w.u(1, 0) // no common window
	}
	for range channels {
		w.u(8, 0) // global_gain
		w.u(1, 0) // ics_reserved_bit
		w.u(2, 0) // one long window
		w.u(1, 0)
		w.u(6, 0) // max_sfb: no section, no scale factor
		w.u(1, 0) // no prediction
		w.u(3, 0) // no pulse, TNS, gain control
	}
	w.u(3, 7) // end
	w.align()
	return w.b
}
