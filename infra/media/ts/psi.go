package ts

import (
	"encoding/binary"
	"errors"
	"fmt"
	"slices"
	"strings"

	"klive/infra/media"
)

// Bounds of what tables may say.
const (
	maxSection = 1024 // bytes (ISO/IEC 13818-1 §2.4.4.3, §2.4.4.8)
	maxStreams = 64   // of a program map
	maxAudio   = 8    // audio tracks that are used
)

// sections puts the sections of one table together from packets.
type sections struct {
	last  int8 // continuity counter; negative before the first packet
	buf   []byte
	begun bool
	// private sections are longer and always in force.
	private bool
}

// add takes a packet and calls read for each whole section.
func (s *sections) add(r *Reader, h *header, read func(*Reader, []byte) error) error {
	if len(h.payload) == 0 {
		return nil
	}
	if s.last == h.counter && !h.break_ {
		return nil // sent twice
	}
	if h.damaged || s.last >= 0 && !h.break_ && h.counter != (s.last+1)&0x0f {
		r.stats.Continuity++
		s.begun = false
	}
	s.last = h.counter
	if h.damaged {
		return nil
	}
	b := h.payload
	if h.start {
		n := int(b[0])
		if n >= len(b) {
			r.stats.Malformed++
			s.begun = false
			return nil
		}
		if s.begun {
			s.buf = append(s.buf, b[1:1+n]...)
			if err := s.take(r, read); err != nil {
				return err
			}
		}
		s.buf, s.begun, b = s.buf[:0], true, b[1+n:]
	}
	if !s.begun {
		return nil
	}
	s.buf = append(s.buf, b...)
	return s.take(r, read)
}

// take reads the whole sections in the buffer.
func (s *sections) take(r *Reader, read func(*Reader, []byte) error) error {
	for len(s.buf) >= 3 {
		if s.buf[0] == 0xff { // stuffing to the packet's end
			s.begun = false
			return nil
		}
		size := 3 + int(binary.BigEndian.Uint16(s.buf[1:])&0x0fff)
		most := maxSection
		if s.private {
			most = maxPrivate
		}
		if size > most || size < 12 {
			r.stats.Malformed++
			s.begun = false
			return nil
		}
		if len(s.buf) < size {
			return nil
		}
		section := s.buf[:size]
		if checksum(section) != 0 {
			r.stats.Malformed++
		} else if s.private || section[5]&1 != 0 { // in force now
			if err := read(r, section); err != nil {
				return err
			}
		}
		s.buf = slices.Delete(s.buf, 0, size)
	}
	return nil
}

// readPAT finds the program: the one that is followed already, or else the first.
func (r *Reader) readPAT(b []byte) error {
	if b[0] != 0 {
		return nil
	}
	found := false
	var program, pid uint16
	for list := b[8 : len(b)-4]; len(list) >= 4; list = list[4:] {
		n, p := binary.BigEndian.Uint16(list), binary.BigEndian.Uint16(list[2:])&0x1fff
		if n != 0 && (!found || n == r.program) {
			found, program, pid = true, n, p
		}
	}
	if !found || pid == r.pmtPID && program == r.program {
		return nil
	}
	r.program, r.pmtPID, r.pmt = program, pid, sections{last: -1}
	return nil
}

// readPMT takes a program map over (§2.4.4.8).
func (r *Reader) readPMT(b []byte) error {
	sum := binary.BigEndian.Uint32(b[len(b)-4:])
	if b[0] != 2 || binary.BigEndian.Uint16(b[3:]) != r.program || sum == r.programSum && len(r.streams) > 0 {
		return nil
	}
	list, body, err := readStreams(b)
	if err != nil {
		r.stats.Malformed++
		return nil
	}
	r.programSum, r.clockPID = sum, binary.BigEndian.Uint16(b[8:])&0x1fff
	if err := r.follow(list, body); err != nil {
		return err
	}
	r.followData(list)
	all := make([]Stream, len(list))
	used := false
	for i := range list {
		if e := r.byPID[list[i].PID]; e != nil {
			list[i].Kind, list[i].Track = e.info.Kind, e.info.Track
			used = true
		} else {
			list[i].Kind = 0
		}
		all[i] = list[i]
	}
	if !used {
		return fmt.Errorf("%w: the program carries %s; send H.264 or HEVC with AAC, MP3, AC-3 or Opus", ErrCodec, names(all))
	}
	return r.sink.Program(all)
}

func names(list []Stream) string {
	var out []string
	for _, s := range list {
		if len(out) < 8 {
			out = append(out, s.Codec)
		}
	}
	if len(out) == 0 {
		return "no streams"
	}
	return strings.Join(out, ", ")
}

var errMap = errors.New("ts: malformed program map")

// readStreams lists the streams of a program map, with their descriptors.
func readStreams(b []byte) (list []Stream, descriptors [][]byte, err error) {
	if len(b) < 16 {
		return nil, nil, errMap
	}
	skip := int(binary.BigEndian.Uint16(b[10:]) & 0x0fff)
	body := b[12 : len(b)-4]
	if skip > len(body) {
		return nil, nil, errMap
	}
	for body = body[skip:]; len(body) > 0; {
		if len(body) < 5 || len(list) == maxStreams {
			return nil, nil, errMap
		}
		n := int(binary.BigEndian.Uint16(body[3:]) & 0x0fff)
		if n > len(body)-5 {
			return nil, nil, errMap
		}
		s := Stream{Type: body[0], PID: binary.BigEndian.Uint16(body[1:]) & 0x1fff}
		d := body[5 : 5+n]
		s.Codec, s.Kind = codecOf(s.Type, d)
		if lang := descriptor(d, tagLanguage); len(lang) >= 3 {
			s.Language = language(lang[:3])
		}
		list, descriptors = append(list, s), append(descriptors, d)
		body = body[5+n:]
	}
	return list, descriptors, nil
}

// language keeps what is a code and no noise.
func language(b []byte) string {
	for _, c := range b {
		if c|0x20 < 'a' || c|0x20 > 'z' {
			return ""
		}
	}
	return strings.ToLower(string(b))
}

// follow makes the streams of a program map those that are read. A stream that goes on under
// its PID keeps its track; a new one takes the first track of its kind that is free.
func (r *Reader) follow(list []Stream, descriptors [][]byte) error {
	var next []*elementary
	taken := map[media.TrackID]bool{}
	for i := range list {
		if e := r.byPID[list[i].PID]; e != nil && e.info.Type == list[i].Type && e.info.Codec == list[i].Codec {
			e.info.Language = list[i].Language
			next = append(next, e)
			taken[e.info.Track] = true
		}
	}
	for _, e := range r.streams {
		if !slices.Contains(next, e) {
			if err := e.finish(r); err != nil {
				return err
			}
		}
	}
	for i := range list {
		if slices.ContainsFunc(next, func(e *elementary) bool { return e.info.PID == list[i].PID }) {
			continue
		}
		id, ok := free(list[i].Kind, taken)
		if !ok {
			continue
		}
		list[i].Track, taken[id] = id, true
		next = append(next, newElementary(list[i], descriptors[i]))
	}
	r.streams = next
	clear(r.byPID)
	for _, e := range next {
		r.byPID[e.info.PID] = e
	}
	return nil
}

func free(k media.Kind, taken map[media.TrackID]bool) (media.TrackID, bool) {
	switch k {
	case media.Video:
		return media.VideoTrack, !taken[media.VideoTrack]
	case media.Audio:
		for id := media.FirstAudioTrack; id < media.FirstAudioTrack+maxAudio; id++ {
			if !taken[id] {
				return id, true
			}
		}
	}
	return 0, false
}

// checksum is the CRC-32 of sections (annex A), which is 0 over one with its own.
func checksum(b []byte) uint32 {
	crc := ^uint32(0)
	for _, v := range b {
		crc ^= uint32(v) << 24
		for range 8 {
			if crc&(1<<31) != 0 {
				crc = crc<<1 ^ 0x04c11db7
			} else {
				crc <<= 1
			}
		}
	}
	return crc
}
