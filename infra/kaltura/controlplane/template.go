package controlplane

import (
	"slices"
	"strconv"

	"klive/infra/kaltura"
)

// outline writes indented XML.
type outline struct {
	b     []byte
	depth int
}

func (o *outline) indent() {
	for range o.depth {
		o.b = append(o.b, "  "...)
	}
}

func (o *outline) leaf(name, value string) {
	o.indent()
	o.b = append(o.b, "<"+name+">"...)
	o.b = kaltura.AppendXMLText(o.b, value)
	o.b = append(o.b, "</"+name+">\n"...)
}

func (o *outline) node(name string, content func()) {
	o.indent()
	o.b = append(o.b, "<"+name+">\n"...)
	o.depth++
	content()
	o.depth--
	o.indent()
	o.b = append(o.b, "</"+name+">\n"...)
}

// template writes the transcoder's document for the outputs of an entry (contract §3.7).
func (s *Server) template(entry string, outputs []kaltura.LiveParams, enc encoder) []byte {
	o := &outline{b: []byte("<?xml version=\"1.0\"?>\n")}
	o.node("Root", func() {
		o.node("Transcode", func() {
			o.node("Encodes", func() {
				for _, lp := range outputs {
					s.encode(o, entry, lp, enc)
				}
			})
			o.node("Decode", func() {
				o.node("Video", func() { o.leaf("Deinterlace", "false") })
			})
			o.node("StreamNameGroups", func() { s.groups(o, outputs) })
			o.indent()
			o.b = append(o.b, "<Properties/>\n"...)
		})
	})
	return o.b
}

func (s *Server) encode(o *outline, entry string, lp kaltura.LiveParams, enc encoder) {
	o.node("Encode", func() {
		o.leaf("Enable", "true")
		o.leaf("Name", encodeName(lp))
		o.leaf("StreamName", entry+"_"+strconv.Itoa(lp.ID))
		if lp.HasTag("ingest") {
			s.ingest(o, lp, enc)
			return
		}
		o.node("Video", func() { s.video(o, lp, enc) })
		o.node("Audio", func() {
			o.leaf("Codec", "AAC")
			o.leaf("Bitrate", strconv.Itoa(orDefault(lp.AudioBitrate*s.scale(), 96000)))
		})
	})
}

// ingest writes an output that is the encoder's own stream.
func (s *Server) ingest(o *outline, lp kaltura.LiveParams, enc encoder) {
	o.node("Video", func() { o.leaf("Codec", passOrDisable(lp)) })
	o.node("Audio", func() {
		now := s.config.Generation != Generation2015
		if now && enc.AudioCodec == "AAC" {
			o.leaf("Codec", "PassThru")
			return
		}
		bitrate := 96000
		if now {
			bitrate = orDefault(lp.AudioBitrate*1000, bitrate)
		}
		o.leaf("Codec", "AAC")
		o.leaf("Bitrate", strconv.Itoa(bitrate))
	})
}

func (s *Server) video(o *outline, lp kaltura.LiveParams, enc encoder) {
	o.leaf("Transcoder", "default")
	o.leaf("GPUID", "-1")
	o.node("FrameSize", func() { frameSize(o, lp) })
	codec, profile := videoCodec(lp)
	o.leaf("Codec", codec)
	o.leaf("Profile", profile)
	o.leaf("Bitrate", strconv.Itoa(orDefault(lp.VideoBitrate*s.scale(), 240000)))
	o.node("KeyFrameInterval", func() {
		o.leaf("FollowSource", "true")
		o.leaf("Interval", "60")
	})
	if s.config.Generation == Generation2015 {
		return
	}
	extra := extraOf(lp)
	if skip := enc.skipCount(lp, extra); skip > 0 {
		o.node("SkipFrameCount", func() { o.leaf("Value", strconv.Itoa(skip)) })
	}
	if extra.ConstantBitrate {
		o.node("Parameters", func() {
			o.node("Parameter", func() {
				o.leaf("Name", "mainconcept.bit_rate_mode")
				o.leaf("Value", "0")
				o.leaf("Type", "Long")
			})
		})
	}
}

func frameSize(o *outline, lp kaltura.LiveParams) {
	switch {
	case lp.Width == 0 && lp.Height == 0:
		o.leaf("FitMode", "match-source")
	case lp.Height == 0:
		o.leaf("FitMode", "fit-width")
		o.leaf("Width", strconv.Itoa(lp.Width))
	case lp.Width == 0:
		o.leaf("FitMode", "fit-height")
		o.leaf("Height", strconv.Itoa(lp.Height))
	default:
		o.leaf("FitMode", "fit-height")
		o.leaf("Width", strconv.Itoa(lp.Width))
		o.leaf("Height", strconv.Itoa(lp.Height))
	}
}

// videoCodec gives the engine's codec and profile; without size or frame rate nothing
// is encoded.
func videoCodec(lp kaltura.LiveParams) (codec, profile string) {
	codec, profile = passOrDisable(lp), "main"
	if lp.Width == 0 && lp.Height == 0 && lp.FrameRate == 0 {
		return codec, profile
	}
	switch lp.VideoCodec {
	case "h264", "h264b":
		return "H.264", "baseline"
	case "h264m", "h264h":
		return "H.264", "main"
	case "flv", "vp6", "h263":
		return "H.263", "baseline"
	}
	return codec, profile
}

func passOrDisable(lp kaltura.LiveParams) string {
	if lp.HasTag("audio_only") {
		return "Disable"
	}
	return "PassThru"
}

func orDefault(v, other int) int {
	if v == 0 {
		return other
	}
	return v
}

// groups writes the sets that players choose from: only "all" now, one per tag in 2015.
func (s *Server) groups(o *outline, outputs []kaltura.LiveParams) {
	names := []string{"all"}
	if s.config.Generation == Generation2015 {
		names = nil
		for _, lp := range outputs {
			for _, tag := range append(lp.TagList(), "all") {
				if !slices.Contains(names, tag) {
					names = append(names, tag)
				}
			}
		}
	}
	for _, name := range names {
		o.node("StreamNameGroup", func() {
			o.leaf("Name", name)
			o.leaf("StreamName", "${SourceStreamName}_"+name)
			o.node("Members", func() {
				for _, lp := range outputs {
					if name == "all" || lp.HasTag(name) {
						o.node("Member", func() { o.leaf("EncodeName", encodeName(lp)) })
					}
				}
			})
		})
	}
}
