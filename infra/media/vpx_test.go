package media

import "testing"

// TestVPX reads the keyframes that libvpx makes of 320x180 pictures.
func TestVPX(t *testing.T) {
	p8, err := NewVP8(unhex(t, "1062009d012a4001b40000"))
	if err != nil || p8.Width != 320 || p8.Height != 180 || p8.CodecString() != "vp08.00.10.08" {
		t.Errorf("%+v, %v", p8, err)
	}
	p9, err := NewVP9(unhex(t, "824983420013f00b360438241c18"))
	if err != nil || p9.Width != 320 || p9.Height != 180 || p9.Depth != 8 || p9.Chroma != 1 || p9.CodecString() != "vp09.00.11.08" {
		t.Errorf("%+v, %v", p9, err)
	}
	for _, bad := range []string{"", "1162009d012a4001b40000", "1062009d012a00000000", "1062009d01"} {
		if p, err := NewVP8(unhex(t, bad)); err == nil {
			t.Errorf("%s is taken for %+v", bad, p)
		}
	}
	for _, bad := range []string{"", "8649834200", "824983", "02498342"} {
		if p, err := NewVP9(unhex(t, bad)); err == nil {
			t.Errorf("%s is taken for %+v", bad, p)
		}
	}
}

// TestPose holds how big pictures are shown.
func TestPose(t *testing.T) {
	hevc, err := NewHEVC([][]byte{unhex(t, hevcVPS)}, [][]byte{unhex(t, hevcSPS)}, [][]byte{unhex(t, hevcPPS)})
	if err != nil {
		t.Fatal(err)
	}
	h264, err := NewH264([][]byte{unhex(t, "6742c01eda02d049b0e1000003000100000300320f162ea0")}, [][]byte{unhex(t, h264PPS)}) // 720x576, 4:3
	if err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		params        Params
		pose          Pose
		width, height int
	}{
		{hevc, Pose{}, 640, 360},
		{hevc, NewPose(1, 0, 0), 360, 640},
		{hevc, NewPose(2, 4, 3), 853, 360},
		{h264, Pose{}, 960, 576},
		{h264, NewPose(3, 0, 0), 576, 960},
		{h264, NewPose(0, 16, 11), 1047, 576}, // the container's word is the later one
		{h264, NewPose(0, 9, 1), 960, 576},    // odd: not stated
		{&VP8{Width: 320, Height: 180}, NewPose(1, 2, 1), 180, 640},
		{&VP9{Width: 320, Height: 180}, NewPose(5, 1, 1), 180, 320},
	} {
		posed := WithPose(tt.params, tt.pose).(VideoParams)
		if w, h := posed.DisplaySize(); w != tt.width || h != tt.height || posed.Posed() != tt.pose {
			t.Errorf("%s in %+v is %dx%d, want %dx%d", posed.Codec(), tt.pose, w, h, tt.width, tt.height)
		}
		if posed.Equal(tt.params) != (tt.pose == Pose{}) {
			t.Errorf("%s in %+v: equal %v", posed.Codec(), tt.pose, posed.Equal(tt.params))
		}
	}
	aac, err := NewAAC(unhex(t, "1210"))
	if err != nil || WithPose(aac, NewPose(1, 0, 0)) != Params(aac) {
		t.Errorf("sound is turned; %v", err)
	}
}
