package node

import (
	"context"
	"fmt"
	"os"
	"strconv"
	"strings"

	"klive/infra/config"
)

// receiveLimit is where Linux says how large a receive buffer it grants at most, in bytes (socket(7)).
const receiveLimit = "/proc/sys/net/core/rmem_max"

// CheckDatagrams compares the receive buffers that SRT and WebRTC are to have with what the system
// grants. What a burst brings beyond a buffer is lost, and lossless streams become lossy ones on a
// busy host. found says that all is well, advice what to do otherwise; both are empty where neither
// protocol is on, or the system doesn't tell.
func CheckDatagrams(c *config.Config) (found, advice string) { return checkDatagrams(c, receiveLimit) }

// tellOfDatagrams says so at the start. It is no warning: a few streams do with less.
func (n *Node) tellOfDatagrams(context.Context) error {
	if _, advice := CheckDatagrams(n.settings); advice != "" && n.datagrams && n.roles.Has(Gateway) {
		n.log.Info(advice)
	}
	return nil
}

func checkDatagrams(c *config.Config, limit string) (found, advice string) {
	key, want := "", config.Size(0)
	if len(c.SRT.Addresses()) > 0 {
		key, want = "srt.buffer", c.SRT.Buffer
	}
	if c.WHIP.Enabled && c.WebRTC.Listen != "" && c.WebRTC.Buffer > want {
		key, want = "webrtc.buffer", c.WebRTC.Buffer
	}
	text, err := os.ReadFile(limit)
	if key == "" || err != nil {
		return "", ""
	}
	most, err := strconv.ParseInt(strings.TrimSpace(string(text)), 10, 64)
	if err != nil {
		return "", ""
	}
	if granted := config.Size(most); granted < want {
		return "", fmt.Sprintf("this host grants receive buffers of %v and %s is %v, so bursts of many streams get lost: sysctl -w net.core.rmem_max=%d, on a container's host", granted, key, want, want)
	}
	return fmt.Sprintf("receive buffers of %v are granted", want), ""
}
