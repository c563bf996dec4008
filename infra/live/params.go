package live

import (
	"errors"
	"fmt"

	"klive/infra/media"
)

// ErrParams is returned for codec parameters that are more than any encoder needs. Each part, and the
// beginning of each recorded file, carries them.
var ErrParams = errors.New("codec parameters that are too large")

const (
	// maxTrackParams bounds the parameters of a track, in bytes; those of usual encoders have fifty.
	maxTrackParams = maxParamBytes
	// maxTrackSets bounds its parameter sets of one kind: an MP4 file can't name more SPS (ISO/IEC
	// 14496-15 §5.3.3.1.2), and parts carry no more than maxParamSets of any.
	maxTrackSets = 31
)

// CheckParams reports codec parameters that parts don't carry. The error wraps ErrParams.
func CheckParams(params media.Params) error {
	size := 0
	var kinds [][][]byte
	switch p := params.(type) {
	case *media.H264:
		kinds = [][][]byte{p.SPS, p.PPS}
	case *media.HEVC:
		kinds = [][][]byte{p.VPS, p.SPS, p.PPS}
	case *media.AV1:
		size = len(p.Config)
	case *media.AAC:
		size = len(p.Config)
	}
	for _, sets := range kinds {
		if len(sets) > maxTrackSets {
			return fmt.Errorf("%w: %s with %d parameter sets of one kind, at most %d are taken", ErrParams, params.Codec(), len(sets), maxTrackSets)
		}
		for _, set := range sets {
			size += len(set)
		}
	}
	if size > maxTrackParams {
		return fmt.Errorf("%w: %s with %d bytes of them, at most %d are taken", ErrParams, params.Codec(), size, maxTrackParams)
	}
	return nil
}
