package main

import (
	"fmt"
	"io"
	"net/url"
	"os"
	"strings"

	"klive/infra/config"
	"klive/infra/node"
)

// Where the embedded control plane's first entry is published: parameters and stream name.
const (
	demoEntry = "0_demolive"
	demoQuery = "/?p=102&e=" + demoEntry + "&i=0&t=demo1234"
	demoName  = demoEntry + "_1"
)

// banner prints what to do next. demo says that there is a demo entry to publish to.
func banner(w io.Writer, g *global, c *config.Config, demo bool) error {
	var b strings.Builder
	server := node.IngestURL(c)
	switch {
	case server == "":
		b.WriteString("\nklive is ready, but takes no streams: rtmp.listen and rtmps.listen are both off.\n\n")
	case c.Kaltura.URL != "":
		partner := "<partner>"
		if c.Kaltura.PartnerID > 0 {
			partner = fmt.Sprint(c.Kaltura.PartnerID)
		}
		fmt.Fprintf(&b, "\nklive takes streams for %s.\n\n  server   %s/?p=%s&e=<entry>&i=0&t=<token>\n  key      <entry>_1\n", c.Kaltura.URL, server, partner)
	case !demo:
		fmt.Fprintf(&b, "\nklive is ready.\n\n  %s          shows who may publish\n  %s add NAME      adds a live entry and prints its addresses\n\n",
			g.self("entry list"), g.self("entry"))
	default:
		demoBanner(&b, g, c, server)
	}
	encryptedBanner(&b, c, server)
	if c.Admin.Listen != "" {
		fmt.Fprintf(&b, "  console  http://%s/\n", node.Dialable(c.Admin.Listen))
	}
	b.WriteByte('\n')
	_, err := io.WriteString(w, b.String())
	return err
}

func demoBanner(b *strings.Builder, g *global, c *config.Config, server string) {
	fmt.Fprintf(b, `
klive is ready. Publish to its demo entry:

  OBS      Settings → Stream → Custom
             Server      %[1]s
             Stream Key  %[2]s
  ffmpeg   ffmpeg -re -f lavfi -i testsrc2=size=1280x720:rate=30 -f lavfi -i sine=frequency=440 \
             -c:v libx264 -preset veryfast -pix_fmt yuv420p -g 60 -c:a aac -f flv \
             "%[1]s/%[2]s"
%[4]s  or just  %[3]s

`, server+demoQuery, demoName, g.self("publish"), srtLine(c)+whipLine(c))
	if play := node.PlayURL(c, demoEntry); play != "" {
		fmt.Fprintf(b, "  play     %s\n", play)
	}
}

// encryptedBanner names the encrypted listeners that are on beside the plain ones.
func encryptedBanner(b *strings.Builder, c *config.Config, server string) {
	if c.RTMPS.Listen != "" && !strings.HasPrefix(server, "rtmps:") {
		fmt.Fprintf(b, "  rtmps    rtmps://%s/%s takes the same\n", node.Dialable(c.RTMPS.Listen), c.RTMP.App)
	}
	if c.HTTPS.Listen != "" && c.HTTP.PublicURL == "" && c.HTTP.Listen != "" {
		fmt.Fprintf(b, "  https    https://%s/ plays the same\n", node.Dialable(c.HTTPS.Listen))
	}
}

// whipLine shows the address of WHIP publishers, with what OBS calls the bearer token.
func whipLine(c *config.Config) string {
	if url := demoWHIP(c); url != "" {
		return fmt.Sprintf("  WHIP     \"%s\"  (bearer token: demo1234)\n", strings.TrimSuffix(url, "&t=demo1234"))
	}
	return ""
}

// demoWHIP is the WHIP address of the demo entry on this machine; empty when it is off.
func demoWHIP(c *config.Config) string {
	server := node.WHIPURL(c)
	if server == "" {
		return ""
	}
	return server + demoName + "?p=102&i=0&t=demo1234"
}

// srtLine shows the address of SRT callers.
func srtLine(c *config.Config) string {
	if url := demoSRT(c); url != "" {
		return fmt.Sprintf("  SRT      \"%s\"\n", url)
	}
	return ""
}

// demoSRT is the SRT address of the demo entry on this machine; empty when SRT is off.
func demoSRT(c *config.Config) string {
	server := node.SRTURL(c)
	if server == "" {
		return ""
	}
	return server + "?streamid=" + url.QueryEscape("#!::r="+demoName+",m=publish,u=102,i=0,s=demo1234")
}

// demoPush is the HTTP address of the demo entry on this machine; empty when it is off.
func demoPush(c *config.Config) string {
	server := node.PushURL(c)
	if server == "" {
		return ""
	}
	return server + demoName + "?p=102&i=0&t=demo1234"
}

// self is how another command of this program is called under the same configuration.
func (g *global) self(command string) string {
	text := os.Args[0] + " " + command
	if g.Config != "" {
		text += " -c " + g.Config
	}
	return text
}

// demoURL is the broadcast address of the demo entry: on this machine or, in a deployment whose
// gateways may be on others, under rtmp.publicUrl. It is empty when klive's listeners are off.
func demoURL(c *config.Config) string {
	server := node.LocalIngestURL(c)
	if c.Bus.URL != "" {
		server = node.IngestURL(c)
	}
	if server == "" {
		return ""
	}
	return server + demoQuery + "/" + demoName
}
