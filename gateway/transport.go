package gateway

import (
	"errors"
	"fmt"

	"klive/infra/media"
	"klive/infra/media/nal"
	"klive/infra/media/ts"
)

// TransportClock is how a publish counts time that brings an MPEG transport stream.
func TransportClock() SourceClock { return SourceClock{Rate: ts.Rate, Bits: ts.Bits} }

// Transport feeds a publication with an MPEG transport stream. It is not safe for
// concurrent use.
type Transport struct {
	pub     Publication
	reader  *ts.Reader
	program []ts.Stream
	units   uint64
}

// NewTransport returns a transport stream that goes to a publication whose clock is
// [TransportClock].
func NewTransport(pub Publication) *Transport {
	t := &Transport{pub: pub}
	t.reader = ts.NewReader((*transportSink)(t))
	return t
}

// Write reads on in the stream; the pieces may be of any size. The error is a *Refusal.
func (t *Transport) Write(b []byte) (int, error) {
	n, err := t.reader.Write(b)
	return n, t.refusal(err)
}

// Flush hands on what is complete at the stream's end. whole says that the stream came to its
// own end, so that nothing of it can be missing there.
func (t *Transport) Flush(whole bool) error { return t.refusal(t.reader.Flush(whole)) }

// Stats tell what was read and what was wrong with it.
func (t *Transport) Stats() ts.Stats { return t.reader.Stats() }

// Units is the number of access units that have been handed on.
func (t *Transport) Units() uint64 { return t.units }

// Program lists the streams of the newest program map; nil before the first one.
func (t *Transport) Program() []ts.Stream { return t.program }

func (t *Transport) refusal(err error) error {
	var r *Refusal
	switch {
	case err == nil:
		return nil
	case errors.As(err, &r):
		return r
	case errors.Is(err, ts.ErrFormat), errors.Is(err, ts.ErrCodec), errors.Is(err, nal.ErrNoKeyframes):
		return &Refusal{Reason: ReasonMedia, Text: err.Error()}
	}
	if ended := t.pub.Err(); ended != nil {
		return ended // the gateway's own reason is the better one
	}
	return fmt.Errorf("writing the transport stream: %w", err)
}

// transportSink keeps the reader's callbacks out of Transport's methods.
type transportSink Transport

func (t *transportSink) Program(list []ts.Stream) error {
	t.program = list
	var kinds []media.Kind
	for _, s := range list {
		if s.Kind != 0 {
			kinds = append(kinds, s.Kind)
		}
	}
	t.pub.Expect(kinds...)
	return nil
}

func (t *transportSink) Track(track media.Track, s ts.Stream) error {
	track.Language = media.Language(s.Language)
	return t.pub.SetTrack(track)
}

func (t *transportSink) Data(d ts.Data) error {
	return t.pub.Data(Datum{Format: d.Format, Time: d.Time, Timed: d.Timed, Payload: d.Payload})
}

func (t *transportSink) Unit(u ts.Unit) error {
	t.units++
	return t.pub.Write(AccessUnit{Track: u.Track, Time: u.Time, Offset: u.Offset, Key: u.Key, Payload: u.Payload})
}
