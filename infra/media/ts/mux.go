package ts

import (
	"errors"
	"fmt"
	"slices"

	"github.com/bluenviron/mediacommon/v2/pkg/codecs/mpeg4audio"

	"klive/infra/media"
)

// ErrMux is returned for tracks and frames that a transport stream can't hold.
var ErrMux = errors.New("ts: can't be put into a transport stream")

// MuxTrack is a track with its frames in decode order. Payloads are as in [media.Frame].
type MuxTrack struct {
	Params media.Params
	Frames []media.Frame
}

// The layout of the streams that Mux writes.
const (
	muxSpace    = packetSize - 4 // behind a packet's header
	muxPIDPMT   = 0x1000
	muxPIDFirst = 0x100
	// muxAhead is how far the clock (PCR) lies before the frames, which have that long to come.
	muxAhead = Rate * 7 / 10
	// muxMaxADTS is what the 13 bits of a frame's length leave for the frame.
	muxMaxADTS = 1<<13 - 1 - 7
	// muxCycle is how many packets a continuity counter counts. Each PID has a multiple of it in
	// each segment, so that counters go on across segments that are made one by one.
	muxCycle = 16
)

// Mux returns one HLS segment (RFC 8216bis §3.1.1): a transport stream with one program, its
// tables in front and again at intervals, one PES packet a frame, the clock on the first track.
// It is a function of its arguments alone. Times are those of the media, wrapped at 33 bits.
// H264, HEVC and AAC can be carried; errors wrap ErrMux.
func Mux(tracks ...MuxTrack) ([]byte, error) {
	m := muxer{}
	var units []muxUnit
	for i, t := range tracks {
		pid := uint16(muxPIDFirst + i)
		kind, err := muxKind(t.Params)
		if err != nil {
			return nil, err
		}
		m.streams = append(m.streams, muxStream{pid: pid, kind: kind})
		for j := range t.Frames {
			u, err := muxFrame(t.Params, &t.Frames[j])
			if err != nil {
				return nil, err
			}
			u.pid, u.clock = pid, i == 0
			units = append(units, u)
		}
	}
	if len(units) == 0 {
		return nil, fmt.Errorf("%w: there are no frames", ErrMux)
	}
	slices.SortStableFunc(units, func(a, b muxUnit) int { return int(a.dts - b.dts) })
	last := map[uint16]int{}
	size := 2 * muxCycle * packetSize
	for i := range units {
		last[units[i].pid] = i
		size += (len(units[i].data)/muxSpace + 2) * packetSize
	}
	m.out = make([]byte, 0, size+len(tracks)*muxCycle*packetSize)
	tables := 0
	for i := range units {
		for ; tables*len(units) <= i*muxCycle && tables < muxCycle; tables++ {
			m.tables()
		}
		m.unit(&units[i], last[units[i].pid] == i)
	}
	for ; tables < muxCycle; tables++ {
		m.tables()
	}
	return m.out, nil
}

// muxStream is an elementary stream as the program's table lists it.
type muxStream struct {
	pid  uint16
	kind byte // stream_type
}

func muxKind(p media.Params) (byte, error) {
	switch p.(type) {
	case *media.H264:
		return typeH264, nil
	case *media.HEVC:
		return typeHEVC, nil
	case *media.AAC:
		return typeADTS, nil
	}
	return 0, fmt.Errorf("%w: %s", ErrMux, p.Codec())
}

// muxUnit is a frame as it lies in its elementary stream, with its PES header before it.
type muxUnit struct {
	pid   uint16
	dts   int64 // 90 kHz, not wrapped
	key   bool
	clock bool // its track carries the clock
	data  []byte
}

func muxFrame(p media.Params, f *media.Frame) (muxUnit, error) {
	u := muxUnit{dts: f.DTS.Ticks(Rate), key: f.Key}
	pts := f.PTS.Ticks(Rate)
	var err error
	if a, ok := p.(*media.AAC); ok {
		u.data, err = muxADTS(muxPES(nil, 0xc0, pts, pts), a, f.Payload)
		if err == nil {
			n := len(u.data) - 6
			u.data[4], u.data[5] = byte(n>>8), byte(n)
		}
		return u, err
	}
	u.data, err = muxAnnexB(muxPES(make([]byte, 0, len(f.Payload)+256), 0xe0, pts, u.dts), p, f)
	return u, err
}

// muxPES appends a PES header (§2.4.3.6) without a length.
func muxPES(b []byte, stream byte, pts, dts int64) []byte {
	if pts == dts {
		return muxTime(append(b, 0, 0, 1, stream, 0, 0, 0x84, 0x80, 5), 2, pts)
	}
	b = muxTime(append(b, 0, 0, 1, stream, 0, 0, 0x84, 0xc0, 10), 3, pts)
	return muxTime(b, 1, dts)
}

func muxTime(b []byte, prefix byte, t int64) []byte {
	return append(b, prefix<<4|byte(t>>29)&0x0e|1, byte(t>>22), byte(t>>14)|1, byte(t>>7), byte(t<<1)|1)
}

// muxADTS appends a frame with its ADTS header (ISO/IEC 14496-3 §1.A.2.2).
func muxADTS(b []byte, p *media.AAC, raw []byte) ([]byte, error) {
	if len(raw) > muxMaxADTS {
		return nil, fmt.Errorf("%w: an AAC frame of %d bytes", ErrMux, len(raw))
	}
	var asc mpeg4audio.AudioSpecificConfig
	if err := asc.Unmarshal(p.Config); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrMux, err)
	}
	packet := mpeg4audio.ADTSPackets{{Type: asc.Type, SampleRate: asc.SampleRate, ChannelConfig: asc.ChannelConfig, ChannelCount: p.Channels(), AU: raw}}
	adts, err := packet.Marshal()
	if err != nil {
		return nil, fmt.Errorf("%w: AAC frame: %w", ErrMux, err)
	}
	return append(b, adts...), nil
}

// muxAnnexB appends an access unit with start codes: a delimiter first, and before a random
// access point the parameter sets.
func muxAnnexB(b []byte, p media.Params, f *media.Frame) ([]byte, error) {
	add := func(nal []byte) { b = append(append(b, 0, 0, 0, 1), nal...) }
	var sets [][]byte
	switch p := p.(type) {
	case *media.H264:
		add([]byte{9, 0xf0})
		sets = slices.Concat(p.SPS, p.PPS)
	case *media.HEVC:
		add([]byte{35 << 1, 1, 0x50})
		sets = slices.Concat(p.VPS, p.SPS, p.PPS)
	}
	if f.Key {
		for _, s := range sets {
			add(s)
		}
	}
	for data := f.Payload; len(data) > 0; {
		if len(data) < 4 {
			return nil, fmt.Errorf("%w: a cut NAL unit", ErrMux)
		}
		n := int(data[0])<<24 | int(data[1])<<16 | int(data[2])<<8 | int(data[3])
		if n > len(data)-4 {
			return nil, fmt.Errorf("%w: a NAL unit of %d bytes where %d are left", ErrMux, n, len(data)-4)
		}
		add(data[4 : 4+n])
		data = data[4+n:]
	}
	return b, nil
}
