package rtmp

import "slices"

// Bits of capsEx (Enhanced RTMP v2, "CapsExMask").
const (
	capReconnect  = 1
	capMultitrack = 2
	capModEx      = 4
)

// codecForward is the bit of a codec's info map that says that the server passes it on
// (Enhanced RTMP v2, "FourCcInfoMask").
const codecForward = 4

// enhancedCaps is what the answer to a connect says to a client that speaks Enhanced RTMP:
// the codecs that it may send beyond H.264 and AAC in their old form.
func enhancedCaps(connect *object) []property {
	list, hasList := connect.get("fourCcList").([]any)
	_, hasVideo := connect.get("videoFourCcInfoMap").(*object)
	_, hasAudio := connect.get("audioFourCcInfoMap").(*object)
	_, hasCaps := connect.get("capsEx").(float64)
	if !hasList && !hasVideo && !hasAudio && !hasCaps {
		return nil
	}
	video, audio := []string{"avc1", "hvc1", "av01", "vp09"}, []string{"mp4a", "Opus", ".mp3", "ac-3"}
	var both []any
	for _, cc := range slices.Concat(video, audio) {
		if !hasList || slices.Contains(list, any(cc)) || slices.Contains(list, any("*")) {
			both = append(both, cc)
		}
	}
	return []property{
		{"fourCcList", both},
		{"videoFourCcInfoMap", infoMap(video)},
		{"audioFourCcInfoMap", infoMap(audio)},
		{"capsEx", float64(capReconnect | capMultitrack | capModEx)},
	}
}

func infoMap(codecs []string) *object {
	o := &object{}
	for _, cc := range codecs {
		o.props = append(o.props, property{cc, float64(codecForward)})
	}
	return o
}
