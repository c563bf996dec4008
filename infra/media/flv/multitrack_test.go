package flv

import (
	"errors"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// TestTracks takes packets of several tracks apart, and makes tags of one track of them.
func TestTracks(t *testing.T) {
	for _, c := range []struct {
		what  string
		video bool
		body  []byte
		want  []TrackTag
	}{
		{"one track", true, []byte{0x96, 0x03, 'a', 'v', 'c', '1', 2, 7, 8}, []TrackTag{{2, []byte{0x93, 'a', 'v', 'c', '1', 7, 8}}}},
		{"behind ModEx", true, []byte{0x97, 0, 1, 0x06, 0x01, 'h', 'v', 'c', '1', 0, 9}, []TrackTag{{0, []byte{0x91, 'h', 'v', 'c', '1', 9}}}},
		{"ModEx alone", true, []byte{0x97, 0, 1, 0x03, 'a', 'v', 'c', '1', 9}, []TrackTag{{0, []byte{0x97, 0, 1, 0x03, 'a', 'v', 'c', '1', 9}}}},
		{"many tracks", false, []byte{0x95, 0x11, 'm', 'p', '4', 'a', 0, 0, 0, 1, 5, 3, 0, 0, 2, 6, 7},
			[]TrackTag{{0, []byte{0x91, 'm', 'p', '4', 'a', 5}}, {3, []byte{0x91, 'm', 'p', '4', 'a', 6, 7}}}},
		{"many codecs", false, []byte{0x95, 0x20, 'm', 'p', '4', 'a', 0, 0, 0, 1, 5, 'O', 'p', 'u', 's', 1, 0, 0, 0},
			[]TrackTag{{0, []byte{0x90, 'm', 'p', '4', 'a', 5}}, {1, []byte{0x90, 'O', 'p', 'u', 's'}}}},
	} {
		got, err := Tracks(c.body, c.video)
		if diff := cmp.Diff(c.want, got); diff != "" || err != nil || !Multitrack(c.body, c.video) {
			t.Errorf("%s: %v\n%s", c.what, err, diff)
		}
	}
	for what, body := range map[string][]byte{
		"plain": {0x17, 1, 0, 0, 0}, "Enhanced": {0x91, 'a', 'v', 'c', '1'}, "nothing": {}, "metadata": {0x94},
	} {
		if Multitrack(body, true) {
			t.Errorf("%s is no packet of several tracks", what)
		}
	}
	if Multitrack([]byte{0xaf, 1, 0x21}, false) || Multitrack([]byte{0x96, 0}, false) {
		t.Error("AAC in its old form, or a picture, is no packet of several tracks of sound")
	}
	many := []byte{0x95, 0x11, 'm', 'p', '4', 'a'}
	for range maxTrackTags + 1 {
		many = append(many, 0, 0, 0, 0)
	}
	for what, body := range map[string][]byte{
		"nested": {0x96, 0x06}, "ModEx within": {0x96, 0x07, 'a', 'v', 'c', '1', 0}, "unknown shape": {0x96, 0x31, 'a', 'v', 'c', '1', 0},
		"ends": {0x96}, "codec ends": {0x96, 0x01, 'a', 'v'}, "no track": {0x96, 0x01, 'a', 'v', 'c', '1'},
		"size ends": {0x96, 0x11, 'a', 'v', 'c', '1', 0, 0, 1}, "size too large": {0x96, 0x10, 'a', 'v', 'c', '1', 0, 0, 1, 0},
		"ModEx ends": {0x97, 0xff, 0},
	} {
		if tags, err := Tracks(body, true); !errors.Is(err, ErrMalformed) || tags != nil {
			t.Errorf("%s: %v, %v", what, tags, err)
		}
	}
	if _, err := Tracks(many, false); !errors.Is(err, ErrMalformed) {
		t.Errorf("too many tracks: %v", err)
	}
}
