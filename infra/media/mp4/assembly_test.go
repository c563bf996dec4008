package mp4

import (
	"bytes"
	"errors"
	"testing"

	"klive/infra/media"
)

// soundAlone is an assembly of one track.
type soundAlone struct{ track media.Track }

func (s soundAlone) TrackOf(_ string, kind media.Kind) (media.Track, bool) {
	return s.track, kind == media.Audio
}

func (s soundAlone) Frames(id media.TrackID) []*media.Frame {
	if id != s.track.ID {
		return nil
	}
	return audioFrames(0, 20)
}

func (s soundAlone) Number() uint64 { return 7 }

func TestOfAssembly(t *testing.T) {
	a := soundAlone{media.Track{ID: 2, Params: aacParams(t)}}
	got, err := SegmentOf(a, "0_rkij47dr_a2", media.Audio)
	if err != nil {
		t.Fatal(err)
	}
	want, err := Segment(aacParams(t), audioFrames(0, 20), 7)
	if err != nil || !bytes.Equal(join(got), join(want)) {
		t.Errorf("other bytes than Segment's, %v", err)
	}
	init, err := InitOf(a, "0_rkij47dr_a2", media.Audio)
	if err != nil {
		t.Fatal(err)
	}
	if want, err := Init(a.track); err != nil || !bytes.Equal(init, want) {
		t.Errorf("other bytes than Init's, %v", err)
	}
	if _, err := SegmentOf(a, "0_rkij47dr_1", media.Video); !errors.Is(err, ErrNoTrack) {
		t.Errorf("SegmentOf = %v", err)
	}
	if _, err := InitOf(a, "0_rkij47dr_1", media.Video); !errors.Is(err, ErrNoTrack) {
		t.Errorf("InitOf = %v", err)
	}
}
