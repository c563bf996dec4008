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
	video := m.typ == typeVideo
	if !flv.Multitrack(m.body, video) {
		return c.tag(st, m, 0, m.body)
	}
	tags, err := flv.Tracks(m.body, video)
	if err != nil {
		return c.unreadable(st, err)
	}
	for _, t := range tags {
		if err := c.tag(st, m, t.ID, t.Body); err != nil || st.pub == nil {
			return err
		}
	}
	return nil
}

// tag hands the tag of one track to its publication.
func (c *conn) tag(st *stream, m message, id byte, body []byte) error {
	switch {
	case m.typ == typeVideo && id > 0:
		c.another(st, m, id, body)
		return nil
	case id >= maxAudio:
		c.drop(dropTrack)
		return nil
	}
	track := media.Track{ID: media.VideoTrack}
	var unit flv.Unit
	var err error
	if m.typ == typeVideo {
		unit, err = st.video.Parse(body, m.time)
	} else {
		a := &st.audio[id]
		track.ID, track.Language = media.FirstAudioTrack+media.TrackID(id), a.language
		if unit, err = a.Parse(body); unit.Params != nil {
			a.params = unit.Params
		}
	}
	switch {
	case errors.Is(err, flv.ErrMalformed):
		return c.unreadable(st, err)
	case err != nil && id > 0: // the first track goes on without it
		c.drop(dropTrack)
		if a := &st.audio[id]; !a.told {
			a.told = true
			c.log.Warn("a track of sound can't be used and is left out", "entry", c.client.entry, "stream", gateway.Printable(st.name, 64), "track", id, "reason", err)
		}
		return nil
	case err != nil:
		return c.ended(st, &gateway.Refusal{Reason: gateway.ReasonMedia, Text: err.Error()})
	}
	st.bad = 0
	return c.write(st, track, unit, m.time)
}

// unreadable counts malformed tags; too many in a row end the publication. The first one is told: after a codec's
// parameters that can't be read the track is missing, and nothing else says why.
func (c *conn) unreadable(st *stream, err error) error {
	c.drop(dropMalformed)
	if !st.told {
		st.told = true
		c.log.Warn("a message of the encoder's can't be read and is left out", "entry", c.client.entry, "stream", gateway.Printable(st.name, 64), "error", err)
	}
	if st.bad++; st.bad < maxBad {
		return nil
	}
	return c.ended(st, &gateway.Refusal{Reason: gateway.ReasonMedia, Text: "the stream can't be read: " + err.Error(), Err: err})
}

// write gives a unit to the publication.
func (c *conn) write(st *stream, track media.Track, unit flv.Unit, time uint32) error {
	if track.Params = unit.Params; track.Params != nil {
		if err := st.pub.SetTrack(track); err != nil {
			return c.failed(st, fmt.Errorf("track %d: %w", track.ID, err))
		}
	}
	if unit.Payload == nil {
		return nil
	}
	err := st.pub.Write(gateway.AccessUnit{
		Track: track.ID, Time: uint64(time), Offset: unit.Offset, Key: unit.Key, Payload: unit.Payload,
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
func (c *conn) data(m message) error {
	st := c.streams[m.stream]
	if st == nil || st.pub == nil {
		c.drop(dropUnpublished)
		return nil
	}
	meta := c.metadata(m)
	if meta == nil {
		return nil
	}
	if kinds := announced(meta); len(kinds) > 0 {
		st.pub.Expect(kinds...)
	}
	return c.speak(st, meta)
}

// metadata returns the object of an onMetaData message; nil when it is none, or can't be read.
func (c *conn) metadata(m message) *object {
	if len(m.body) > maxCommand {
		c.drop(dropMalformed)
		return nil
	}
	values, err := decodeAMF(m.body, c.cfg.Limits.MaxAMFDepth)
	if err != nil {
		c.drop(dropMalformed)
		return nil
	}
	if len(values) > 0 && values[0] == "@setDataFrame" {
		values = values[1:]
	}
	if len(values) < 2 || values[0] != "onMetaData" {
		c.drop(dropUnknown)
		return nil
	}
	meta, ok := values[1].(*object)
	if !ok {
		c.drop(dropMalformed)
		return nil
	}
	return meta
}

// announced returns the kinds of the tracks that metadata speaks of.
func announced(meta *object) []media.Kind {
	var kinds []media.Kind
	if given(meta, "videocodecid") {
		kinds = append(kinds, media.Video)
	}
	if given(meta, "audiocodecid") {
		kinds = append(kinds, media.Audio)
	}
	for range more(meta, "audioTrackIdInfoMap") {
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
