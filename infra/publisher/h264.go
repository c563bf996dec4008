package publisher

import "encoding/binary"

// pictures makes H264 access units that any decoder takes and that cost next to nothing:
// an IDR is a flat grey picture, every other picture repeats what came before.
type pictures struct {
	width, height int
	// num/den is the frame rate; fixed says that every frame lasts 1/rate.
	num, den int
	fixed    bool
	bframes  bool
}

const (
	profileBaseline = 66
	profileMain     = 77
	macroblock      = 16
	levelSize       = 0x10000 // of frame_num and pic_order_cnt_lsb
)

// Slice types that hold for the whole picture (ITU-T H.264 table 7-6).
const (
	sliceP = 5
	sliceB = 6
	sliceI = 7
)

func (p *pictures) macroblocks() (w, h int) {
	return (p.width + macroblock - 1) / macroblock, (p.height + macroblock - 1) / macroblock
}

func (p *pictures) references() uint32 {
	if p.bframes {
		return 2
	}
	return 1
}

// level picks level_idc from the picture's size and rate (ITU-T H.264 table A-1).
func (p *pictures) level() uint32 {
	w, h := p.macroblocks()
	size, rate := w*h, w*h*p.num/p.den
	for _, l := range []struct {
		idc        uint32
		size, rate int
	}{{30, 1620, 40500}, {31, 3600, 108000}, {32, 5120, 216000}, {40, 8192, 245760}, {42, 8704, 522240}, {51, 36864, 983040}} {
		if size <= l.size && rate <= l.rate {
			return l.idc
		}
	}
	return 52
}

func (p *pictures) sps() []byte {
	var w bitWriter
	if p.bframes {
		w.u(8, profileMain)
		w.u(8, 0x40)
	} else {
		w.u(8, profileBaseline)
		w.u(8, 0xc0)
	}
	w.u(8, p.level())
	w.ue(0)  // seq_parameter_set_id
	w.ue(12) // log2_max_frame_num_minus4
	w.ue(0)  // pic_order_cnt_type
	w.ue(12) // log2_max_pic_order_cnt_lsb_minus4
	w.ue(p.references())
	w.u(1, 0) // gaps_in_frame_num_value_allowed_flag
	mbw, mbh := p.macroblocks()
	w.ue(uint32(mbw - 1))
	w.ue(uint32(mbh - 1))
	w.u(1, 1) // frame_mbs_only_flag
	w.u(1, 1) // direct_8x8_inference_flag
	p.cropping(&w, mbw*macroblock-p.width, mbh*macroblock-p.height)
	p.vui(&w)
	w.stop()
	return nalUnit(0x60|nalSPS, w.b)
}

func (p *pictures) cropping(w *bitWriter, right, bottom int) {
	if right == 0 && bottom == 0 {
		w.u(1, 0)
		return
	}
	w.u(1, 1)
	w.ue(0)
	w.ue(uint32(right / 2)) // in units of two luma samples (4:2:0)
	w.ue(0)
	w.ue(uint32(bottom / 2))
}

// vui states the frame rate and how far pictures are reordered (ITU-T H.264 §E.1.1).
func (p *pictures) vui(w *bitWriter) {
	w.u(1, 1)
	w.u(4, 0) // no aspect ratio, overscan, signal type, chroma location
	w.u(1, 1) // timing_info_present_flag
	w.u(32, uint32(p.den))
	w.u(32, uint32(2*p.num))
	if p.fixed {
		w.u(1, 1)
	} else {
		w.u(1, 0)
	}
	w.u(3, 0) // no HRD parameters, no pic_struct
	w.u(1, 1) // bitstream_restriction_flag
	w.u(1, 1)
	w.ue(0)
	w.ue(0)
	w.ue(10)
	w.ue(10)
	if p.bframes {
		w.ue(1) // max_num_reorder_frames
	} else {
		w.ue(0)
	}
	w.ue(p.references()) // max_dec_frame_buffering
}

func (p *pictures) pps() []byte {
	var w bitWriter
	w.ue(0)   // pic_parameter_set_id
	w.ue(0)   // seq_parameter_set_id
	w.u(2, 0) // CAVLC, no field order
	w.ue(0)   // one slice group
	w.ue(0)   // one reference in list 0
	w.ue(0)   // and in list 1
	w.u(3, 0) // no weighting
	w.se(0)
	w.se(0)
	w.se(0)
	w.u(3, 0b100) // deblocking_filter_control_present_flag
	w.stop()
	return nalUnit(0x60|nalPPS, w.b)
}

// picture is one slice of a whole picture (ITU-T H.264 §7.3.3).
type picture struct {
	slice     uint32
	idr       bool
	reference bool
	frameNum  int
	order     int // display position since the IDR
	idrID     uint32
}

func (p *pictures) picture(pic picture) []byte {
	var w bitWriter
	w.ue(0) // first_mb_in_slice
	w.ue(pic.slice)
	w.ue(0)
	w.u(16, uint32(pic.frameNum%levelSize))
	if pic.idr {
		w.ue(pic.idrID)
	}
	w.u(16, uint32(2*pic.order%levelSize))
	switch pic.slice {
	case sliceB:
		w.u(1, 1) // direct_spatial_mv_pred_flag
		w.u(3, 0) // default reference count and lists
	case sliceP:
		w.u(2, 0)
	}
	switch {
	case pic.idr:
		w.u(2, 0)
	case pic.reference:
		w.u(1, 0) // sliding window
	}
	w.se(0) // slice_qp_delta
	w.ue(1) // no deblocking
	mbw, mbh := p.macroblocks()
	if pic.slice == sliceI {
		for range mbw * mbh {
			// Intra 16x16 with DC prediction, no residual: mb_type 3, chroma mode 0, QP delta 0,
			// no coefficients.
			w.u(8, 0b00100_1_1_1)
		}
	} else {
		w.ue(uint32(mbw * mbh)) // mb_skip_run
	}
	w.stop()
	header := byte(nalSlice)
	if pic.reference {
		header |= 0x40
	}
	if pic.idr {
		header = 0x60 | nalIDR
	}
	return nalUnit(header, w.b)
}

// paddingID is the UUID of the SEI messages that only take room.
var paddingID = [16]byte{'k', 'l', 'i', 'v', 'e', 0x96, 'p', 0x4d, 'a', 0xa1, 'd', 'd', 0xc7, 'i', 'n', 'g'}

// padding returns an SEI NAL unit of about size bytes, and nil when that is too few.
func padding(size int) []byte {
	body := size - nalLengthBytes - len(paddingID) - 4 - size/256
	if body <= 0 {
		return nil
	}
	nal := []byte{nalSEI, seiUserData}
	n := len(paddingID) + body
	for ; n >= 255; n -= 255 {
		nal = append(nal, 255)
	}
	nal = append(append(nal, byte(n)), paddingID[:]...)
	noise := uint32(size)
	for range body {
		noise = noise*1664525 + 1013904223
		nal = append(nal, byte(noise>>24)|1) // never zero: no emulation prevention
	}
	return append(nal, rbspStop)
}

func appendNAL(au, nal []byte) []byte {
	if nal == nil {
		return au
	}
	au = binary.BigEndian.AppendUint32(au, uint32(len(nal)))
	return append(au, nal...)
}

// avcConfig is the AVCDecoderConfigurationRecord (ISO/IEC 14496-15 §5.3.3.1) of one SPS and PPS.
func avcConfig(sps, pps []byte) []byte {
	b := []byte{1, sps[1], sps[2], sps[3], 0xff, 0xe1}
	b = append(binary.BigEndian.AppendUint16(b, uint16(len(sps))), sps...)
	b = append(b, 1)
	return append(binary.BigEndian.AppendUint16(b, uint16(len(pps))), pps...)
}
