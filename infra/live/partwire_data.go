package live

import (
	"encoding/binary"
	"slices"
	"time"

	"klive/infra/media"
)

// version is the lowest that holds the part: what says nothing new can be read by the release
// before this one.
func (p *Part) version() byte {
	news := slices.ContainsFunc(p.Segment.Tracks, func(t media.Track) bool {
		v, ok := t.Params.(media.VideoParams)
		return t.Language != "" || ok && v.Posed() != (media.Pose{})
	})
	if news || len(p.Data) > 0 {
		return partVersion2
	}
	return partVersion
}

func (p *Part) appendData(b []byte) []byte {
	b = binary.AppendUvarint(b, uint64(len(p.Data)))
	for _, d := range p.Data {
		b = append(b, byte(d.Format))
		b = binary.AppendVarint(b, int64(d.Time-p.Segment.Start))
		b = appendBytes(b, d.Payload)
	}
	return b
}

// language reads a tag: letters, digits and hyphens.
func (r *partReader) language() string {
	b := r.bytes(maxLanguage)
	for _, c := range b {
		if c != '-' && (c < '0' || c > '9') && (c|0x20 < 'a' || c|0x20 > 'z') {
			r.fail("language %q", b)
			return ""
		}
	}
	return string(b)
}

func (r *partReader) data(start media.Time) (list []media.Data) {
	for range r.uintUpTo(MaxPartData, "number of data") {
		d := media.Data{Format: media.DataFormat(r.byte()), Time: start.Add(time.Duration(r.int())), Payload: r.bytes(media.MaxData)}
		if d.Format != media.SCTE35 && d.Format != media.ID3 {
			r.fail("data of unknown format %d", d.Format)
		}
		if r.err != nil {
			return nil
		}
		list = append(list, d)
	}
	return list
}
