package whip

import (
	rtp "github.com/pion/rtp/codecs"

	"klive/infra/media"
)

// beginsSequence is the bit of the aggregation header that marks the first packet of a coded
// video sequence (RTP Payload Format For AV1 §4.4).
const beginsSequence = 0x08

// obus puts temporal units of AV1 together.
type obus struct {
	reader rtp.AV1Depacketizer
	buf    []byte
	taken  int  // bytes of the unit's packets: the reader keeps fragments to itself
	some   bool // a packet has come
	opens  bool
	params *media.AV1
}

func (o *obus) reset() {
	o.reader = rtp.AV1Depacketizer{}
	o.buf, o.taken, o.some, o.opens = nil, 0, false, false
}

func (o *obus) entry() bool { return o.opens }

func (o *obus) add(p []byte) error {
	if !o.some {
		o.some, o.opens = true, p[0]&beginsSequence != 0
	}
	if o.taken += len(p); o.taken > maxUnit {
		o.reader = rtp.AV1Depacketizer{}
		return errPacket
	}
	b, err := o.reader.Unmarshal(p)
	if err != nil || len(o.buf)+len(b) > maxUnit {
		return errPacket
	}
	o.buf = append(o.buf, b...)
	return nil
}

func (o *obus) take(uint32) (unit, error) {
	body := o.buf
	o.reset()
	sample, key, sequence, err := media.TrimAV1(body)
	if err != nil {
		return unit{}, errPacket
	}
	u := unit{Key: key}
	if sequence != nil {
		params, err := media.NewAV1Sequence(sequence)
		if err != nil {
			return unit{}, errPacket
		}
		if o.params == nil || !o.params.Equal(params) {
			o.params, u.Params = params, params
		}
	}
	if len(sample) > 0 && o.params != nil {
		u.Payload = sample
	}
	return u, nil
}
