package whip

import (
	"slices"
	"strings"
	"testing"
)

// TestAnswerHasUDPFirst holds that an answer's candidates of UDP come before those of TCP, however they were found.
func TestAnswerHasUDPFirst(t *testing.T) {
	const section = "m=video 9 UDP/TLS/RTP/SAVPF 106\r\na=mid:1\r\n" +
		"a=candidate:1 1 tcp 1671430143 127.0.0.1 8189 typ host tcptype passive\r\na=candidate:1 2 tcp 1671430143 127.0.0.1 8189 typ host tcptype passive\r\n" +
		"a=candidate:9\r\na=candidate:2 1 udp 2130706431 127.0.0.1 8189 typ host\r\na=candidate:2 2 udp 2130706431 127.0.0.1 8189 typ host\r\n" +
		"a=end-of-candidates\r\n"
	text, err := (&offer{}).answer("v=0\r\no=- 1 1 IN IP4 0.0.0.0\r\ns=-\r\nt=0 0\r\n" + section)
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for line := range strings.SplitSeq(text, "\r\n") {
		if c, ok := strings.CutPrefix(line, "a=candidate:"); ok {
			got = append(got, strings.Join(strings.Fields(c + " - -")[:3], " "))
		}
	}
	if want := []string{"2 1 udp", "2 2 udp", "1 1 tcp", "1 2 tcp", "9 - -"}; !slices.Equal(got, want) || !strings.HasSuffix(text, "a=end-of-candidates\r\n") {
		t.Errorf("the answer is\n%s\nwhose candidates are %q, want %q", text, got, want)
	}
}
