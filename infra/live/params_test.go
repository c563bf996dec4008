package live

import (
	"bytes"
	"errors"
	"slices"
	"strings"
	"testing"

	"klive/infra/media"
)

// TestParamsAreBounded: whatever is taken has a wire form that can be read back.
func TestParamsAreBounded(t *testing.T) {
	sps, pps := unhex("674d401eeca05017fcb808800001f480007530078b16cb"), unhex("68ebe3cb20")
	h264 := func(sets int, padding int) media.Params {
		p, err := media.NewH264([][]byte{sps}, slices.Repeat([][]byte{append(bytes.Clone(pps), make([]byte, padding)...)}, sets))
		if err != nil {
			t.Fatal(err)
		}
		return p
	}
	aac := func(padding int) media.Params {
		p, err := media.NewAAC(append(unhex("1210"), make([]byte, padding)...))
		if err != nil {
			t.Fatal(err)
		}
		return p
	}
	for _, c := range []struct {
		name   string
		params media.Params
		says   string // empty: it is taken
	}{
		{"usual", h264(1, 0), ""},
		{"as many sets as may be", h264(31, 0), ""},
		{"one more", h264(32, 0), "32 parameter sets"},
		{"large", h264(4, 10_000), ""},
		{"too large together", h264(31, 10_000), "bytes"},
		{"sound", aac(0), ""},
		{"too much of sound", aac(1 << 20), "1048578 bytes"},
	} {
		err := CheckParams(c.params)
		if c.says != "" {
			if !errors.Is(err, ErrParams) || !strings.Contains(err.Error(), c.says) {
				t.Errorf("%s: %v, want ErrParams with %q", c.name, err, c.says)
			}
			continue
		}
		if err != nil {
			t.Errorf("%s: %v", c.name, err)
		}
		p := &Part{Feed: Feed{FeedID: FeedID{Entry: "0_demolive", Suffix: 1}, Epoch: 1}, Segment: Segment{Tracks: []media.Track{{Params: c.params}}}}
		b, err := p.AppendBinary(nil)
		if err == nil {
			_, err = UnmarshalPart(b)
		}
		if err != nil {
			t.Errorf("%s has no wire form: %v", c.name, err)
		}
	}
}
