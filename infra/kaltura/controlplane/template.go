package controlplane

import (
	"cmp"
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

func (o *outline) empty(name string) {
	o.indent()
	o.b = append(o.b, "<"+name+"/>\n"...)
}

// template is the transcoder's document for one published stream (contract §3.7).
type template struct {
	s     *Server
	entry string
	enc   encoder
	// host is what is known of the media server; a zero one has the defaults.
	host kaltura.ServerNode
	// sourceRate is in frames per second; 0 is unknown.
	sourceRate float64
}

// now says that the document is one of today's servers.
func (t template) now() bool { return t.s.config.Generation != Generation2015 }

// gpu says that the media server asked for hardware.
func (t template) gpu() bool { return t.now() && t.enc.GPU == "true" }

// write makes the document for the outputs of an entry.
func (t template) write(outputs []kaltura.LiveParams) []byte {
	o := &outline{b: []byte("<?xml version=\"1.0\"?>\n")}
	o.node("Root", func() {
		o.node("Transcode", func() {
			o.node("Encodes", func() {
				for _, lp := range outputs {
					t.encode(o, lp)
				}
			})
			o.node("Decode", func() {
				o.node("Video", func() {
					o.leaf("Deinterlace", "false")
					if t.gpu() {
						o.leaf("Implementation", "NVCUVID")
					}
				})
			})
			if t.gpu() {
				o.node("Scale", func() {
					o.leaf("Implementation", "CUDA")
					o.empty("Parameters")
					o.empty("Properties")
				})
			}
			o.node("StreamNameGroups", func() { t.groups(o, outputs) })
			t.properties(o)
		})
	})
	return o.b
}

// properties tells the source's frame rate, where it is known.
func (t template) properties(o *outline) {
	if !t.now() || t.sourceRate == 0 {
		o.empty("Properties")
		return
	}
	o.node("Properties", func() {
		o.node("Property", func() {
			o.leaf("Name", "sourceStreamFrameRate")
			o.leaf("Value", strconv.FormatFloat(t.sourceRate, 'f', -1, 64))
			o.leaf("Type", "Double")
		})
	})
}

func (t template) encode(o *outline, lp kaltura.LiveParams) {
	o.node("Encode", func() {
		o.leaf("Enable", "true")
		o.leaf("Name", lp.OutputName())
		o.leaf("StreamName", t.entry+"_"+strconv.Itoa(lp.ID))
		if lp.HasTag("ingest") {
			t.ingest(o, lp)
			return
		}
		o.node("Video", func() { t.video(o, lp) })
		o.node("Audio", func() {
			o.leaf("Codec", "AAC")
			o.leaf("Bitrate", strconv.Itoa(cmp.Or(lp.AudioBitrate*t.s.scale(), 96000)))
		})
	})
}

// ingest writes an output that is the encoder's own stream.
func (t template) ingest(o *outline, lp kaltura.LiveParams) {
	o.node("Video", func() { o.leaf("Codec", passOrDisable(lp)) })
	o.node("Audio", func() {
		if t.now() && t.enc.AudioCodec == "AAC" {
			o.leaf("Codec", "PassThru")
			return
		}
		bitrate := 96000
		if t.now() {
			bitrate = cmp.Or(lp.AudioBitrate*1000, bitrate)
		}
		o.leaf("Codec", "AAC")
		o.leaf("Bitrate", strconv.Itoa(bitrate))
	})
}

func (t template) video(o *outline, lp kaltura.LiveParams) {
	o.leaf("Transcoder", cmp.Or(t.host.Transcoder, "default"))
	if t.gpu() {
		o.leaf("Implementation", "NVENC")
	}
	gpu := -1
	if t.host.GPUID != nil {
		gpu = *t.host.GPUID
	}
	o.leaf("GPUID", strconv.Itoa(gpu))
	o.node("FrameSize", func() { frameSize(o, lp) })
	codec, profile := videoCodec(lp)
	o.leaf("Codec", codec)
	o.leaf("Profile", profile)
	o.leaf("Bitrate", strconv.Itoa(cmp.Or(lp.VideoBitrate*t.s.scale(), 240000)))
	o.node("KeyFrameInterval", func() {
		o.leaf("FollowSource", "true")
		o.leaf("Interval", "60")
	})
	if !t.now() {
		return
	}
	extra := lp.Extra()
	if skip := t.enc.skipCount(lp, extra); skip > 0 {
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

// groups writes the sets that players choose from: only "all" now, one per tag in 2015.
func (t template) groups(o *outline, outputs []kaltura.LiveParams) {
	names := []string{"all"}
	if !t.now() {
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
						o.node("Member", func() { o.leaf("EncodeName", lp.OutputName()) })
					}
				}
			})
		})
	}
}
