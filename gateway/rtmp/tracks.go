package rtmp

import (
	"errors"
	"strconv"

	"klive/gateway"
	"klive/infra/live"
	"klive/infra/media"
	"klive/infra/media/flv"
)

// maxAudio bounds the tracks of sound of one stream.
const maxAudio = 8

// maxVideo bounds its pictures: each is a publication.
const maxVideo = 8

// audioTrack is one track of sound.
type audioTrack struct {
	flv.AudioParser
	params   media.Params // as announced last; nil before that
	language string
	told     bool // that it can't be used
}

// videoTrack is a video track beyond the first, published as the stream whose suffix is its number
// more: what another bitrate of the entry would be.
type videoTrack struct {
	parser flv.VideoParser
	pub    gateway.Publication // nil when it is left out
}

func (v *videoTrack) end(cause error) {
	if v.pub != nil {
		v.pub.Close(cause)
		v.pub = nil
	}
}

// another takes a tag of a video track beyond the first. Whatever is wrong with it, the first one
// goes on.
func (c *conn) another(st *stream, m message, id byte, body []byte) {
	if st.more == nil {
		st.more = map[byte]*videoTrack{}
	}
	v := st.more[id]
	if v == nil {
		if id >= maxVideo {
			c.drop(dropTrack)
			return
		}
		v = &videoTrack{}
		var err error
		if v.pub, err = c.publishTrack(st, id); err != nil {
			v.pub = nil
			c.leaveOut(st, id, err)
		}
		st.more[id] = v
	}
	if v.pub == nil {
		c.drop(dropTrack)
		return
	}
	unit, err := v.parser.Parse(body, m.time)
	if errors.Is(err, flv.ErrMalformed) {
		c.drop(dropMalformed)
		return
	}
	if err == nil && unit.Params != nil {
		err = v.pub.SetTrack(media.Track{ID: media.VideoTrack, Params: unit.Params})
	}
	if err == nil && unit.Payload != nil {
		err = v.pub.Write(gateway.AccessUnit{Time: uint64(m.time), Offset: unit.Offset, Key: unit.Key, Payload: unit.Payload})
	}
	if err != nil {
		if ended := v.pub.Err(); ended != nil {
			err = ended
		}
		c.leaveOut(st, id, err)
		v.end(err)
	}
}

// publishTrack puts a video track on the air.
func (c *conn) publishTrack(st *stream, id byte) (gateway.Publication, error) {
	entry, suffix, err := live.ParseStreamName(st.name)
	if err != nil {
		return nil, err
	}
	c.engine.rest()
	return c.cfg.Gateway.Publish(c.ctx, st.permit, gateway.Publish{
		Name: entry + "_" + strconv.Itoa(suffix+int(id)), Encoder: c.client.encoder, Clock: gateway.SourceClock{Rate: 1000, Bits: 32},
	})
}

func (c *conn) leaveOut(st *stream, id byte, err error) {
	c.log.Warn("a video track is left out", "entry", c.client.entry, "stream", gateway.Printable(st.name, 64), "track", id, "reason", asRefusal(err).Text)
}

// more returns the numbers from 1 on that a map of tracks in the metadata names (Enhanced RTMP v2
// "Enhancing onMetaData"), with what it says of each.
func more(meta *object, key string) map[byte]*object {
	list, ok := meta.get(key).(*object)
	if !ok {
		return nil
	}
	out := map[byte]*object{}
	for _, p := range list.props {
		if id, err := strconv.ParseUint(p.key, 10, 8); err == nil && id > 0 && id < maxAudio {
			if o, ok := p.value.(*object); ok {
				out[byte(id)] = o
			}
		}
	}
	return out
}

// speak takes the languages over that the metadata name: "language" at its top is that of the
// first track of sound, those in the map of tracks are the others'. The specification leaves the
// names of properties open; this is the one that other containers have.
func (c *conn) speak(st *stream, meta *object) error {
	say := func(id byte, o *object) error {
		tag, _ := o.get("language").(string)
		a := &st.audio[id]
		if tag = media.Language(tag); tag == "" || tag == a.language {
			return nil
		}
		if a.language = tag; a.params == nil {
			return nil
		}
		if err := st.pub.SetTrack(media.Track{ID: media.FirstAudioTrack + media.TrackID(id), Params: a.params, Language: tag}); err != nil {
			return c.failed(st, err)
		}
		return nil
	}
	if err := say(0, meta); err != nil {
		return err
	}
	for id, o := range more(meta, "audioTrackIdInfoMap") {
		if err := say(id, o); err != nil || st.pub == nil {
			return err
		}
	}
	return nil
}
