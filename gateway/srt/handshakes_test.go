package srt

import (
	"bytes"
	"net"
	"strings"
	"testing"

	"github.com/datarhei/gosrt/packet"
	"github.com/prometheus/client_golang/prometheus/testutil"
)

// TestDroppedHandshakes: what the library drops by itself is counted, and is one line a minute for each reason.
func TestDroppedHandshakes(t *testing.T) {
	r := newRig(t, "", nil)
	conn, err := net.Dial("udp", r.server.Addrs()[0].String())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	send := func(c packet.CIFHandshake) {
		t.Helper()
		p := packet.NewPacket(conn.RemoteAddr())
		p.Header().IsControlPacket, p.Header().ControlType = true, packet.CTRLTYPE_HANDSHAKE
		c.HandshakeType, c.IsRequest = packet.HSTYPE_CONCLUSION, true
		var b bytes.Buffer
		if err := p.MarshalCIF(&c); err != nil {
			t.Fatal(err)
		}
		if err := p.Marshal(&b); err != nil {
			t.Fatal(err)
		}
		if _, err := conn.Write(b.Bytes()); err != nil {
			t.Fatal(err)
		}
	}
	for i := range 5 {
		send(packet.CIFHandshake{Version: 5, HasSID: true, StreamId: "#!::r=0_rkij47dr_1,s=secret-token," + strings.Repeat("x", 600+8*i)})
		send(packet.CIFHandshake{Version: 5, SynCookie: 1})
	}
	count := func(reason string) int {
		return int(testutil.ToFloat64(r.server.metrics.refused.WithLabelValues(reason)))
	}
	r.wait("all of them", func() bool { return count(reasonStreamID) == 5 && count(reasonHandshake) == 5 })
	lines := func(what string) (warnings, details int) {
		for line := range strings.Lines(r.text()) {
			switch {
			case !strings.Contains(line, what):
			case strings.Contains(line, "level=WARN"):
				warnings++
			case strings.Contains(line, "level=DEBUG"):
				details++
			}
		}
		return warnings, details
	}
	for _, what := range []string{"a stream id is longer than 512 bytes", "invalid SYN cookie"} {
		r.wait("the lines", func() bool { w, d := lines(what); return w+d == 5 })
		if w, _ := lines(what); w != 1 {
			t.Errorf("%q is a warning %d times", what, w)
		}
	}
	if strings.Contains(r.text(), "secret-token") {
		t.Error("the log holds the token")
	}
}
