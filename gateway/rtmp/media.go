package rtmp

import (
	"errors"
	"fmt"

	"klive/gateway"
	"klive/infra/media"
	"klive/infra/media/flv"
)

// maxBad is how many malformed tags in a row end a publication.
const maxBad = 30

// media hands an audio or video message to its publication.
func (c *conn) media(m message) error {
	if len(m.body) == 0 {
		// Some encoders send them to keep the connection alive.
		c.drop(dropEmpty)
		return nil
	}
	st := c.streams[m.stream]
	if st == nil || st.pub == nil {
		c.drop(dropUnpublished)
		return nil
	}
	track := media.VideoTrack
	var unit flv.Unit
	var err error
	if m.typ == typeVideo {
		unit, err = st.video.Parse(m.body, m.time)
	} else {
		track = media.FirstAudioTrack
		unit, err = st.audio.Parse(m.body)
	}
	switch {
	case errors.Is(err, flv.ErrMalformed):
		c.drop(dropMalformed)
		if st.bad++; st.bad < maxBad {
			return nil
		}
		return c.ended(st, &gateway.Refusal{Reason: gateway.ReasonMedia, Text: "the stream can't be read: " + err.Error(), Err: err})
	case err != nil:
		return c.ended(st, &gateway.Refusal{Reason: gateway.ReasonMedia, Text: err.Error()})
	}
	st.bad = 0
	return c.write(st, track, unit, m.time)
}

// write gives a unit to the publication.
func (c *conn) write(st *stream, track media.TrackID, unit flv.Unit, time uint32) error {
	if unit.Params != nil {
		if err := st.pub.SetTrack(media.Track{ID: track, Params: unit.Params}); err != nil {
			return c.failed(st, fmt.Errorf("track %d: %w", track, err))
		}
	}
	if unit.Payload == nil {
		return nil
	}
	err := st.pub.Write(gateway.AccessUnit{
		Track: track, Time: uint64(time), Offset: unit.Offset, Key: unit.Key, Payload: unit.Payload,
	})
	if err != nil {
		return c.failed(st, err)
	}
	return nil
}

// failed ends a publication that has not taken what it was given. When the gateway has
// ended it, its own reason is the better one.
func (c *conn) failed(st *stream, err error) error {
	if st.over() && st.pub.Err() != nil {
		err = st.pub.Err()
	}
	return c.ended(st, err)
}

// data reads what onMetaData says about the tracks to come (FLV annex E.5). Everything else
// in data messages is passed over.
func (c *conn) data(m message) {
	st := c.streams[m.stream]
	if st == nil || st.pub == nil {
		c.drop(dropUnpublished)
		return
	}
	if len(m.body) > maxCommand {
		c.drop(dropMalformed)
		return
	}
	values, err := decodeAMF(m.body, c.cfg.Limits.MaxAMFDepth)
	if err != nil {
		c.drop(dropMalformed)
		return
	}
	if len(values) > 0 && values[0] == "@setDataFrame" {
		values = values[1:]
	}
	if len(values) < 2 || values[0] != "onMetaData" {
		c.drop(dropUnknown)
		return
	}
	meta, ok := values[1].(*object)
	if !ok {
		c.drop(dropMalformed)
		return
	}
	if kinds := announced(meta); len(kinds) > 0 {
		st.pub.Expect(kinds...)
	}
}

// announced returns the kinds of track that metadata speaks of.
func announced(meta *object) []media.Kind {
	var kinds []media.Kind
	if given(meta, "videocodecid") {
		kinds = append(kinds, media.Video)
	}
	if given(meta, "audiocodecid") {
		kinds = append(kinds, media.Audio)
	}
	return kinds
}

// given reports whether a property says something: encoders write 0, false or nothing for
// a track that they don't send.
func given(meta *object, key string) bool {
	switch v := meta.get(key).(type) {
	case float64:
		return v != 0
	case string:
		return v != ""
	case bool:
		return v
	}
	return false
}
