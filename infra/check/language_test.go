package check

import (
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

const sampleScenario = `
# An encoder whose clock wraps while it is away.
set broadcast.resume 20s
encoder A rtmp 1280x720@29.97 gop=500ms bframes=2 audio=48000 bitrate=5M fps-mode=vfr sets=repeat
encoder B rtmp 640x360@30000/1001 index=1 suffix=2 audio=late start=3s clock=4294967000 token=x
at 40s wrap A
at 12s drop A 4s # comes back
at 12.5s drop B
at 20s jump A -10s
at 30s size A 1920x1080
at 31s join B audio
at 32s delay A audio 300ms
run 2m
expect playlist continuous
expect frames lost 0
expect segments >= 10
expect longest segment <= 4.1s
expect refusal "no such entry"
`

func TestParseScenario(t *testing.T) {
	s, err := ParseScenario(sampleScenario)
	if err != nil {
		t.Fatal(err)
	}
	a, b := defaultEncoder(), defaultEncoder()
	a.Name, a.Protocol, a.Width, a.Height, a.FPSNum, a.FPSDen = "A", "rtmp", 1280, 720, 30000, 1001
	a.GOP, a.BFrames, a.SampleRate, a.Bitrate, a.VariableRate, a.RepeatSets = 500*time.Millisecond, 2, 48000, 5_000_000, true, true
	b.Name, b.Protocol, b.Width, b.Height, b.FPSNum, b.FPSDen = "B", "rtmp", 640, 360, 30000, 1001
	b.Index, b.Suffix, b.AudioLate, b.Start, b.Clock, b.Token = 1, 2, true, 3*time.Second, 4294967000, "x"
	want := &Scenario{
		Settings: []Setting{{"broadcast.resume", "20s"}},
		Encoders: []EncoderSpec{a, b},
		Events: []Event{
			{At: 12 * time.Second, Encoder: "A", Verb: "drop", For: 4 * time.Second},
			{At: 12500 * time.Millisecond, Encoder: "B", Verb: "drop"},
			{At: 20 * time.Second, Encoder: "A", Verb: "jump", For: -10 * time.Second},
			{At: 30 * time.Second, Encoder: "A", Verb: "size", Width: 1920, Height: 1080},
			{At: 31 * time.Second, Encoder: "B", Verb: "join", Track: "audio"},
			{At: 32 * time.Second, Encoder: "A", Verb: "delay", Track: "audio", For: 300 * time.Millisecond},
			{At: 40 * time.Second, Encoder: "A", Verb: "wrap"},
		},
		Run: 2 * time.Minute,
		Expects: []Expect{
			{14, "playlist continuous", "=", ""},
			{15, "frames lost", "=", "0"},
			{16, "segments", ">=", "10"},
			{17, "longest segment", "<=", "4.1s"},
			{18, "refusal", "=", "no such entry"},
		},
	}
	if diff := cmp.Diff(want, s); diff != "" {
		t.Error(diff)
	}
}

const sampleNodes = `
node C control,origin
node G1 gateway
node G2 gateway,worker start=20s
encoder A rtmp 640x360@30
encoder B rtmp 640x360@30 node=G2
at 40s kill G1
at 41s end G2
at 60s away api 10m
at 50s refuse api registerMediaServer SERVICE_FORBIDDEN
run 2m
`

func TestParseNodes(t *testing.T) {
	s, err := ParseScenario(sampleNodes)
	if err != nil {
		t.Fatal(err)
	}
	nodes := []NodeSpec{
		{Name: "C", Roles: []string{"control", "origin"}}, {Name: "G1", Roles: []string{"gateway"}},
		{Name: "G2", Roles: []string{"gateway", "worker"}, Start: 20 * time.Second},
	}
	events := []Event{
		{At: 40 * time.Second, Verb: "kill", Node: "G1"}, {At: 41 * time.Second, Verb: "end", Node: "G2"},
		{At: 50 * time.Second, Verb: "refuse", Action: "registerMediaServer", Code: "SERVICE_FORBIDDEN"},
		{At: 60 * time.Second, Verb: "away", For: 10 * time.Minute},
	}
	if d := cmp.Diff(nodes, s.Nodes) + cmp.Diff(events, s.Events); d != "" {
		t.Error(d)
	}
	if s.Encoders[0].Node != "G1" || s.Encoders[1].Node != "G2" {
		t.Errorf("encoders connect to %s and %s", s.Encoders[0].Node, s.Encoders[1].Node)
	}
}

func TestScenarioErrorsNameThePlace(t *testing.T) {
	const head = "encoder A rtmp 640x360@30\nrun 1s\n"
	for _, c := range []struct {
		text         string
		line, column int
		says         string
	}{
		{"", 0, 1, "run statement"},
		{"run 1s", 1, 1, "encoder is missing"},
		{"  fly away", 1, 3, "begins with"},
		{"encoder A rtmp", 1, 15, "picture"},
		{"encoder A srt 1x1@1", 1, 11, "protocol"},
		{"encoder A rtmp 640@30", 1, 16, "size"},
		{"encoder A rtmp 640x360@0", 1, 16, "frame rate"},
		{"encoder A rtmp 640x360@30 gop=fast", 1, 27, "gop="},
		{"encoder A rtmp 640x360@30 colour=red", 1, 27, "no option"},
		{head + "encoder A rtmp 640x360@30", 3, 9, "two encoders"},
		{head + "at 3 drop A", 3, 4, "duration"},
		{head + "at 3s dance A", 3, 7, "dance"},
		{head + "at 3s drop B", 3, 12, "no encoder"},
		{head + "at 3s gap A", 3, 12, "missing"},
		{head + "at 3s gap A -4s", 3, 13, "below 0"},
		{head + "at 3s join A smell", 3, 14, "audio or video"},
		{head + "at 3s size A big", 3, 14, "size"},
		{head + "at 3s stop A now", 3, 14, "too much"},
		{head + "run 3s", 3, 1, "one run"},
		{head + "set a", 3, 6, "value"},
		{head + "expect joy", 3, 8, "nothing is known"},
		{head + "expect segments many", 3, 17, "value"},
		{head + "expect segments", 3, 16, "missing"},
		{"node W", 1, 7, "roles"},
		{"node W cook", 1, 8, "cook"},
		{"node W worker end=3s", 1, 15, "start="},
		{"node W worker\nnode W worker", 2, 6, "two nodes"},
		{head + "at 3s kill W", 3, 12, "no node"},
		{head + "at 3s away bus 3s", 3, 12, "api"},
		{head + "at 3s refuse api get no", 3, 22, "error code"},
		{head + "at 3s refuse api ../get NO", 3, 18, "action"},
		{head + "node W worker", 3, 1, "no gateway"},
		{head + "node G gateway", 3, 1, "no node is a worker"},
		{"encoder A rtmp 640x360@30 node=G\nrun 1s", 2, 1, "no gateway"},
		{strings.Repeat("#", maxScenario+1), 1, 1, "64 KB"},
	} {
		_, err := ParseScenario(c.text)
		e, ok := errors.AsType[*SyntaxError](err)
		if !ok {
			t.Errorf("%.60q gives %v", c.text, err)
			continue
		}
		if e.Line != c.line || e.Column != c.column || !strings.Contains(e.Text, c.says) {
			t.Errorf("%.60q gives %v; want %d:%d %s", c.text, e, c.line, c.column, c.says)
		}
	}
}

func FuzzScenario(f *testing.F) {
	f.Add(sampleScenario)
	f.Add(sampleNodes)
	f.Add("encoder A rtmp 640x360@1e309\nat \"3s drop A\nrun 1s")
	f.Fuzz(func(t *testing.T, text string) {
		s, err := ParseScenario(text)
		if err == nil && (s.Run <= 0 || len(s.Encoders) == 0) {
			t.Error("an incomplete scenario was taken")
		}
	})
}
