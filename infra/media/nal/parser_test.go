package nal

import (
	"encoding/binary"
	"encoding/hex"
	"errors"
	"testing"
)

func unit(t testing.TB, texts ...string) []byte {
	t.Helper()
	var out []byte
	for _, s := range texts {
		b, err := hex.DecodeString(s)
		if err != nil {
			t.Fatal(err)
		}
		out = append(binary.BigEndian.AppendUint32(out, uint32(len(b))), b...)
	}
	return out
}

const (
	sps    = "674d401eeca05017fcb808800001f480007530078b16cb"
	pps    = "68ebe3cb20"
	aud    = "09f0"
	filler = "0cffff80"
	idr    = "6588840a"
	slice  = "419a0102"
	// point is an SEI with a recovery point.
	point = "06060180"
)

// TestInBand reads a stream whose parameter sets come with its pictures alone.
func TestInBand(t *testing.T) {
	p := NewParser(false)
	if u, err := p.Unit(unit(t, aud, slice), 0, false); err != nil || u.Payload != nil {
		t.Errorf("a picture before the parameters: %+v %v", u, err)
	}
	u, err := p.Unit(unit(t, aud, sps, pps, idr, filler), 40, false)
	if err != nil || u.Params == nil || u.Params.Codec() != "H264" || !u.Key || string(u.Payload) != string(unit(t, idr)) {
		t.Errorf("the first keyframe: %+v %v", u, err)
	}
	if u, err = p.Unit(unit(t, aud, sps, pps, idr), 80, false); err != nil || u.Params != nil || !u.Key {
		t.Errorf("the next one, with the same parameters: %+v %v", u, err)
	}
	if u, err = p.Unit(unit(t, aud, slice), 120, false); err != nil || u.Key || string(u.Payload) != string(unit(t, slice)) {
		t.Errorf("a picture: %+v %v", u, err)
	}
	if _, err = p.Unit([]byte{0, 0, 1, 0, 0x65}, 160, false); !errors.Is(err, ErrMalformed) {
		t.Errorf("a unit of 256 bytes in one: %v", err)
	}
}

// TestRecoveryPoints finds a stream that has no keyframes.
func TestRecoveryPoints(t *testing.T) {
	p := NewParser(false)
	var err error
	for i := 0; i < 10 && err == nil; i++ {
		_, err = p.Unit(unit(t, sps, pps, point, slice), uint32(i*2000), false)
	}
	if !errors.Is(err, ErrNoKeyframes) {
		t.Errorf("a stream of recovery points alone: %v", err)
	}
}
