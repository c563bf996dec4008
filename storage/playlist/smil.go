package playlist

import (
	"encoding/xml"
	"fmt"
	"strings"

	"klive/infra/media"
	"klive/storage/timeline"
)

// SMIL returns the document that lists the selected video renditions, or those of audio when
// there is no video, with their rates in bit/s (contract §6.11). It covers the renditions of
// all the entry's encoders. It is empty while nothing of the selection can be played.
func SMIL(b *timeline.Broadcast, sel Selection) string {
	list := selected(b, sel, media.Video)
	if len(list) == 0 && !hasVideo(b) {
		list = selected(b, sel, media.Audio)
	}
	if len(list) == 0 {
		return ""
	}
	var w strings.Builder
	w.WriteString(xml.Header + "<smil>\n  <head/>\n  <body>\n    <switch>\n")
	for _, d := range list {
		peak, _ := rates(d)
		fmt.Fprintf(&w, `      <%s src="mp4:%s" system-bitrate="%d"`, d.Kind, xmlText(d.Name), steady(peak))
		if d.Width > 0 && d.Height > 0 {
			fmt.Fprintf(&w, ` width="%d" height="%d"`, d.Width, d.Height)
		}
		fmt.Fprintf(&w, ">\n        <param name=\"%sCodecId\" value=\"%s\" valuetype=\"data\"/>\n      </%s>\n", d.Kind, xmlText(d.Codecs), d.Kind)
	}
	w.WriteString("    </switch>\n  </body>\n</smil>\n")
	return w.String()
}

// xmlText escapes text for an attribute's value.
func xmlText(s string) string {
	var w strings.Builder
	xml.EscapeText(&w, []byte(s)) // a strings.Builder takes everything
	return w.String()
}
