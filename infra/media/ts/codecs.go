package ts

import (
	"fmt"

	"klive/infra/media"
)

// Stream types (ISO/IEC 13818-1 table 2-34; ATSC A/53; SCTE 35).
const (
	typeMPEG1Audio = 0x03
	typeMPEG2Audio = 0x04
	typePrivate    = 0x06
	typeADTS       = 0x0f
	typeLATM       = 0x11
	typeMetadata   = 0x15
	typeH264       = 0x1b
	typeHEVC       = 0x24
	typeAC3        = 0x81
	typeSCTE35     = 0x86
	typeEAC3       = 0x87
)

// Descriptor tags (§2.6; ETSI EN 300 468 §6.1).
const (
	tagRegistration = 0x05
	tagLanguage     = 0x0a
	tagAC3          = 0x6a
	tagEAC3         = 0x7a
	tagExtension    = 0x7f
	extensionOpus   = 0x80
)

// Names of the codecs that are read.
const (
	nameH264 = "H264"
	nameHEVC = "HEVC"
	nameAAC  = "AAC"
	nameLATM = "AAC in LATM"
	nameMP3  = "MPEG audio"
	nameAC3  = "AC-3"
	nameOpus = "Opus"
)

// codecOf names what a stream carries; its kind is 0 when it can't be used.
func codecOf(typ uint8, descriptors []byte) (string, media.Kind) {
	switch typ {
	case typeH264:
		return nameH264, media.Video
	case typeHEVC:
		return nameHEVC, media.Video
	case typeADTS:
		return nameAAC, media.Audio
	case typeLATM:
		return nameLATM, media.Audio
	case typeMPEG1Audio, typeMPEG2Audio:
		return nameMP3, media.Audio
	case typeAC3:
		return nameAC3, media.Audio
	case typePrivate:
		return privateCodec(descriptors)
	case typeEAC3:
		return "E-AC-3", 0
	case typeSCTE35:
		return "SCTE-35", 0
	case typeMetadata:
		return "timed metadata", 0
	case 0x01, 0x02:
		return "MPEG-2 video", 0
	case 0x10:
		return "MPEG-4 part 2 video", 0
	case 0x33:
		return "VVC", 0
	case 0xea:
		return "VC-1", 0
	}
	return fmt.Sprintf("stream type %#02x", typ), 0
}

// privateCodec names a stream that only its descriptors tell of.
func privateCodec(d []byte) (string, media.Kind) {
	registered := string(descriptor(d, tagRegistration))
	if len(registered) > 4 {
		registered = registered[:4]
	}
	switch {
	case registered == "Opus":
		if n := opusChannels(d); n < 1 || n > 2 {
			return fmt.Sprintf("Opus with %d channels", n), 0
		}
		return nameOpus, media.Audio
	case registered == "HEVC":
		return nameHEVC, media.Video
	case registered == "AC-3", descriptor(d, tagAC3) != nil:
		return nameAC3, media.Audio
	case registered == "EAC3", descriptor(d, tagEAC3) != nil:
		return "E-AC-3", 0
	}
	return "private data", 0
}

// opusChannels reads the channel configuration (ETSI TS "Opus in MPEG-2 TS", table 5-3);
// without it the stream is stereo.
func opusChannels(d []byte) int {
	e := descriptor(d, tagExtension)
	switch {
	case len(e) < 2 || e[0] != extensionOpus || e[1] == 0: // 0 is dual mono
		return 2
	case e[1] <= 8:
		return int(e[1])
	}
	return 0
}

// descriptor returns the body of the first descriptor with a tag, or nil.
func descriptor(d []byte, tag byte) []byte {
	for len(d) >= 2 {
		n := int(d[1])
		if n > len(d)-2 {
			return nil
		}
		if d[0] == tag {
			return d[2 : 2+n : 2+n]
		}
		d = d[2+n:]
	}
	return nil
}
