package nal

import (
	"slices"
	"testing"
)

// captionUnit is an access unit with one SEI message that holds the triplets of cc_data.
func captionUnit(hevc bool, triplets ...[3]byte) []byte {
	body := []byte{0xb5, 0, 0x31, 'G', 'A', '9', '4', 3, 0xc0 | byte(len(triplets)), 0xff}
	for _, t := range triplets {
		body = append(body, t[:]...)
	}
	body = append(body, 0xff)
	unit := []byte{6}
	if hevc {
		unit = []byte{39 << 1, 1}
	}
	unit = append(append(unit, 4, byte(len(body))), body...)
	unit = append(unit, 0x80)
	out := append([]byte{0, 0, 0, byte(len(unit))}, unit...)
	return append(out, 0, 0, 0, 2, 0x65, 0x88)
}

func TestCaptions(t *testing.T) {
	stuffing := [3]byte{0xfc, 0x80, 0x80}
	for _, c := range []struct {
		what     string
		triplets [][3]byte
		want     []string
	}{
		{"stuffing", [][3]byte{stuffing, {0xfa, 0, 0}}, nil},
		{"text without a command", [][3]byte{{0xfc, 0xc8, 0x45}}, nil},
		{"CC1 pop-on", [][3]byte{{0xfc, 0x94, 0x20}}, []string{"CC1"}},
		{"CC2 roll-up", [][3]byte{{0xfc, 0x1c, 0x25}}, []string{"CC2"}},
		{"CC3 paint-on", [][3]byte{stuffing, {0xfd, 0x15, 0x29}}, []string{"CC3"}},
		{"CC4", [][3]byte{{0xfd, 0x9d, 0x26}}, []string{"CC4"}},
		{"not valid", [][3]byte{{0xf8, 0x94, 0x20}}, nil},
		{"text service", [][3]byte{{0xfc, 0x94, 0x2a}}, nil},
		{"service 1", [][3]byte{stuffing, {0xff, 0x02, 0x22}, {0xfe, 'H', 'i'}}, []string{"SERVICE1"}},
		{"services 1, 2 and 9", [][3]byte{{0xff, 0x05, 0x21}, {0xfe, 'H', 0x41}, {0xfe, 'I', 0xe1}, {0xfe, 9, 'J'}, {0xfe, 0, 0}}, []string{"SERVICE1", "SERVICE2", "SERVICE9"}},
		{"an empty block", [][3]byte{{0xff, 0x01, 0x20}}, nil},
		{"a packet that ends early", [][3]byte{{0xff, 0x3f, 0xe4}}, nil},
		{"608 and 708", [][3]byte{{0xfc, 0x94, 0x20}, {0xff, 0x02, 0x22}, {0xfe, 'H', 'i'}}, []string{"CC1", "SERVICE1"}},
	} {
		for _, hevc := range []bool{false, true} {
			var got Captions
			got.Look(captionUnit(hevc, c.triplets...), hevc)
			got.Look(captionUnit(hevc, c.triplets...), hevc)
			if !slices.Equal(got, c.want) {
				t.Errorf("%s (HEVC %v): %v, want %v", c.what, hevc, got, c.want)
			}
			var other Captions
			if other.Look(captionUnit(hevc, c.triplets...), !hevc); len(other) > 0 {
				t.Errorf("%s: %v in units of the other codec", c.what, other)
			}
		}
	}
}

// FuzzCaptions: whatever the units hold, the services are those that there can be.
func FuzzCaptions(f *testing.F) {
	f.Add(captionUnit(false, [3]byte{0xfc, 0x94, 0x20}, [3]byte{0xff, 0x05, 0x21}, [3]byte{0xfe, 'H', 0xe1}, [3]byte{0xfe, 9, 'J'}), false)
	f.Add(captionUnit(true, [3]byte{0xfd, 0x15, 0x29}), true)
	f.Fuzz(func(t *testing.T, b []byte, hevc bool) {
		var c Captions
		c.Look(b, hevc)
		if len(c) > 4+63 {
			t.Fatalf("%d services", len(c))
		}
		for i, s := range c {
			if s == "" || slices.Contains(c[:i], s) {
				t.Fatalf("services %v", c)
			}
		}
	})
}
