package rtmp

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"testing/synctest"

	"klive/gateway"
	"klive/infra/media"
)

// multi is a multitrack message (Enhanced RTMP v2) of one track.
func multi(typ uint8, time uint32, id byte, head byte, packet byte, codec string, data ...byte) message {
	return message{typ: typ, stream: 1, time: time, body: append(append([]byte{head, packet}, codec...), append([]byte{id}, data...)...)}
}

// TestTracksOfOneStream publishes three tracks of sound and two of pictures over one stream: sound in the
// same publication, with languages, the second picture as the stream's next bitrate.
func TestTracksOfOneStream(t *testing.T) {
	inBubble(t, nil, func(r *rig) {
		c := r.client()
		c.publishing()
		meta := &object{array: true, props: []property{
			{"videocodecid", 7.0}, {"audiocodecid", "mp4a"}, {"language", "eng"},
			{"audioTrackIdInfoMap", &object{props: []property{
				{"1", &object{props: []property{{"language", "heb"}}}}, {"2", &object{}}, {"0", &object{}}, {"noise", &object{}}, {"300", &object{}},
			}}},
		}}
		c.send(message{typ: typeDataAMF0, stream: 1, body: appendAMF(nil, "@setDataFrame", "onMetaData", meta)})
		config := sequenceHeader(t)[5:]
		c.send(message{typ: typeVideo, stream: 1, body: sequenceHeader(t)})
		c.send(multi(typeVideo, 0, 1, 0x96, 0x00, "avc1", config...))
		c.send(message{typ: typeAudio, stream: 1, body: []byte{0xaf, 0, 0x12, 0x10}})
		c.send(multi(typeAudio, 0, 1, 0x95, 0x00, "mp4a", 0x12, 0x10))
		c.send(multi(typeAudio, 0, 2, 0x95, 0x00, "fLaC", 1)) // nothing is known of it: it is left out
		c.send(keyframe(40, 300))
		c.send(multi(typeVideo, 40, 1, 0x96, 0x03, "avc1", keyframe(0, 100).body[5:]...))
		c.send(message{typ: typeAudio, stream: 1, time: 43, body: []byte{0xaf, 1, 0x21, 0x10}})
		c.send(multi(typeAudio, 43, 1, 0x95, 0x01, "mp4a", 0x21, 0x11))
		c.send(multi(typeAudio, 43, 9, 0x95, 0x01, "mp4a", 0x21, 0x11)) // one too many
		synctest.Wait()
		first, second := r.gw.pub(t, 0), r.gw.pub(t, 1)
		if r.gw.publishes[0].Name != testName || r.gw.publishes[1].Name != "0_rkij47dr_2" {
			t.Errorf("published %+v", r.gw.publishes)
		}
		first.mu.Lock()
		if !slices.Equal(first.kinds, []media.Kind{media.Video, media.Audio, media.Audio, media.Audio}) {
			t.Errorf("expected %v", first.kinds)
		}
		var got []string
		for _, tr := range first.tracks {
			got = append(got, fmt.Sprintf("%d %s %s", tr.ID, tr.Params.Codec(), tr.Language))
		}
		if want := "0 H264 ,1 AAC en,2 AAC he"; strings.Join(got, ",") != want {
			t.Errorf("tracks %q, want %q", got, want)
		}
		got = nil
		for _, u := range first.units {
			got = append(got, fmt.Sprintf("%d@%d", u.Track, u.Time))
		}
		first.mu.Unlock()
		if want := "0@40,1@43,2@43"; strings.Join(got, ",") != want {
			t.Errorf("units %q, want %q", got, want)
		}
		second.mu.Lock()
		if len(second.units) != 1 || !second.units[0].Key || second.units[0].Time != 40 || len(second.tracks) != 1 {
			t.Errorf("the second picture: %d tracks, %d units", len(second.tracks), len(second.units))
		}
		second.mu.Unlock()
		// A language that comes late names the track anew.
		c.send(message{typ: typeDataAMF0, stream: 1, body: appendAMF(nil, "onMetaData", &object{props: []property{{"language", "fra"}}})})
		synctest.Wait()
		first.mu.Lock()
		if last := first.tracks[len(first.tracks)-1]; last.ID != 1 || last.Language != "fr" {
			t.Errorf("named anew: %+v", last)
		}
		first.mu.Unlock()
		c.command(1, "closeStream", 0, nil)
		synctest.Wait()
		for i := range 2 {
			if n, cause := r.gw.pub(t, i).state(); n != 1 || cause != nil {
				t.Errorf("publication %d closed %d times with %v", i, n, cause)
			}
		}
		c.conn.Close()
	})
}

// TestSecondPictureRefused: when nobody takes the second picture, the first goes on.
func TestSecondPictureRefused(t *testing.T) {
	inBubble(t, nil, func(r *rig) {
		c := r.client()
		c.publishing()
		r.gw.publishErr = func(p gateway.Publish) error {
			return &gateway.Refusal{Reason: gateway.ReasonParams, Text: "the conversion profile has no stream with suffix 2"}
		}
		c.send(message{typ: typeVideo, stream: 1, body: sequenceHeader(t)})
		for range 3 {
			c.send(multi(typeVideo, 0, 1, 0x96, 0x00, "avc1", sequenceHeader(t)[5:]...))
		}
		c.send(multi(typeVideo, 0, 77, 0x96, 0x00, "avc1", sequenceHeader(t)[5:]...))
		c.send(keyframe(40, 300))
		synctest.Wait()
		if p := r.gw.pub(t, 0); p.count() != 1 {
			t.Errorf("%d units of the first picture", p.count())
		}
		if n := strings.Count(r.log.String(), "a video track is left out"); n != 1 || !strings.Contains(r.log.String(), "no stream with suffix 2") {
			t.Errorf("the log says %d times what is left out:\n%s", n, r.log)
		}
		c.conn.Close()
	})
}
