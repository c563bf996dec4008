package playlist

import (
	"fmt"
	"slices"
	"strings"

	"klive/storage/timeline"
)

// captionGroup is the group of the captions that lie in the pictures.
const captionGroup = "cc"

// captionsOf are the caption services of all the renditions.
func captionsOf(list []*timeline.Rendition) (services []string) {
	for _, d := range list {
		for _, s := range d.Captions {
			if !slices.Contains(services, s) {
				services = append(services, s)
			}
		}
	}
	return services
}

// writeCaptions declares captions (RFC 8216bis §4.4.6.1). Their language is not known.
func writeCaptions(w *strings.Builder, services []string) {
	for _, s := range services {
		fmt.Fprintf(w, "#EXT-X-MEDIA:TYPE=CLOSED-CAPTIONS,GROUP-ID=%s,NAME=%s,DEFAULT=NO,AUTOSELECT=YES,INSTREAM-ID=%s\n", quote(captionGroup), quote(captionName(s)), quote(s))
	}
}

// captionName is what a menu shows.
func captionName(service string) string {
	if n, ok := strings.CutPrefix(service, "SERVICE"); ok {
		return "Captions " + n
	}
	return service
}

// writeAccessibility declares captions in a DASH adaptation set (ANSI/SCTE 214-1 §7.2).
func writeAccessibility(w *strings.Builder, services []string) {
	var line21, services708 []string
	for _, s := range services {
		if n, ok := strings.CutPrefix(s, "SERVICE"); ok {
			services708 = append(services708, n+"=lang:und")
		} else {
			line21 = append(line21, s+"=und")
		}
	}
	for _, d := range []struct {
		scheme string
		list   []string
	}{{"urn:scte:dash:cc:cea-608:2015", line21}, {"urn:scte:dash:cc:cea-708:2015", services708}} {
		if len(d.list) > 0 {
			fmt.Fprintf(w, "      <Accessibility schemeIdUri=\"%s\" value=\"%s\"/>\n", d.scheme, strings.Join(d.list, ";"))
		}
	}
}
