package rtmp

import (
	"bytes"
	"encoding/binary"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

// oddConnects are connect objects that ended a session in go-rtmp: each value type that it
// can't decode, and fields of another type than it expects. raw is what stands behind
// "connect", 1, in the message.
func oddConnects() map[string][]byte {
	with := func(props ...property) []byte {
		return appendAMF(nil, &object{props: append([]property{{"app", testApp}}, props...)})
	}
	deep := &object{}
	for range 14 {
		deep = &object{props: []property{{"x", deep}}}
	}
	return map[string][]byte{
		"undefined":      with(property{"pageUrl", undefined{}}),
		"reference":      with(property{"self", reference(0)}),
		"XML":            with(property{"doc", xmlDocument("<a/>")}),
		"unsupported":    with(property{"x", unsupported{}}),
		"date":           with(property{"now", date{1e12, 60}}),
		"typed object":   with(property{"x", &object{class: "flex.X", props: []property{{"a", 1.0}}}}),
		"typed connect":  appendAMF(nil, &object{class: "Connect", props: []property{{"app", testApp}}}),
		"ECMA connect":   appendAMF(nil, &object{array: true, props: []property{{"app", testApp}}}),
		"long string":    with(property{"swfUrl", strings.Repeat("x", 60_000)}),
		"long form":      append(append([]byte{amfObject, 0, 3, 'a', 'p', 'p', amfLongString, 0, 0, 0, byte(len(testApp))}, testApp...), 0, 0, amfObjectEnd),
		"wrong types":    with(property{"flashVer", 1.0}, property{"tcUrl", []any{}}, property{"fpad", "no"}, property{"capabilities", "15"}, property{"audioCodecs", nil}, property{"objectEncoding", "AMF3"}),
		"AMF3 encoding":  with(property{"objectEncoding", 3.0}),
		"nested":         with(property{"x", deep}),
		"strict array":   with(property{"fourCcList", []any{"hvc1", 1.0, nil, []any{}}}),
		"more arguments": append(with(), appendAMF(nil, "user", 1.0, undefined{})...),
		"keys twice":     appendAMF(nil, &object{props: []property{{"app", "other"}, {"app", testApp}}}),
	}
}

func TestOddConnects(t *testing.T) {
	for name, raw := range oddConnects() {
		t.Run(name, func(t *testing.T) {
			inBubble(t, nil, func(r *rig) {
				c := r.client()
				body := append(appendAMF(nil, "connect", 1.0), raw...)
				c.send(message{typ: typeCommandAMF0, body: body})
				c.command(0, "createStream", 2, nil)
				c.command(1, "publish", 3, nil, testName, "live")
				if s := describe(c.commands()); !strings.HasSuffix(s, "onStatus NetStream.Publish.Start: Publish succeeded.") {
					t.Errorf("answers:\n%s", s)
				}
			})
		})
	}
}

// TestAMF3Commands runs a whole session in the form of encoders that said objectEncoding 3.
func TestAMF3Commands(t *testing.T) {
	inBubble(t, nil, func(r *rig) {
		c := r.client()
		for _, m := range []message{
			commandMessage(0, "connect", 1, &object{props: []property{{"app", testApp}, {"objectEncoding", 3.0}}}),
			commandMessage(0, "createStream", 2, nil),
			commandMessage(1, "publish", 3, nil, testName, "live"),
		} {
			c.send(message{typ: typeCommandAMF3, stream: m.stream, body: append([]byte{0}, m.body...)})
		}
		if s := describe(c.commands()); !strings.HasSuffix(s, "onStatus NetStream.Publish.Start: Publish succeeded.") {
			t.Errorf("answers:\n%s", s)
		}
	})
}

// harmless is what ended a publisher's connection in go-rtmp, or might.
func harmless() map[string][]message {
	data := func(values ...any) []message {
		return []message{{typ: typeDataAMF0, stream: 1, body: appendAMF(nil, values...)}}
	}
	odd := &object{props: []property{{"a", undefined{}}, {"b", reference(1)}, {"c", xmlDocument("x")}, {"d", strings.Repeat("y", 50_000)}, {"e", &object{class: "T"}}}}
	cases := map[string][]message{
		"zero-length audio":         {{typ: typeAudio, stream: 1}},
		"zero-length video":         {{typ: typeVideo, stream: 1, time: 5}},
		"zero-length of every type": nil,
		"AMF3 command":              {{typ: typeCommandAMF3, body: append([]byte{0}, appendAMF(nil, "_checkbw", 0.0, nil)...)}},
		"AMF3 command, empty":       {{typ: typeCommandAMF3}},
		"AMF3 data":                 {{typ: typeDataAMF3, stream: 1, body: []byte{0, 0x0a, 1}}},
		"shared objects":            {{typ: typeSharedAMF0, body: []byte{1, 2}}, {typ: typeSharedAMF3, body: []byte{1, 2}}},
		"unknown types":             {{typ: 0, body: []byte{1}}, {typ: 7, body: []byte{1}}, {typ: 21, body: []byte{1}}, {typ: 255, body: []byte{1}}},
		"unexpected _result":        {commandMessage(0, "_result", 99, nil, nil), commandMessage(0, "_error", 1, nil), commandMessage(1, "onStatus", 0, nil)},
		"unknown commands":          {commandMessage(0, "_checkbw", 0, nil), commandMessage(1, "getStreamLength", 3, nil, "x"), commandMessage(0, "", 0)},
		"second connect":            {commandMessage(0, "connect", 9, &object{props: []property{{"app", "other"}}})},
		"unknown stream id":         {{typ: typeVideo, stream: 77, body: []byte{0x17, 1, 0, 0, 0}}, {typ: typeAudio, stream: 0, body: []byte{0xaf, 1, 1}}},
		"deleteStream unknown":      {commandMessage(0, "deleteStream", 0, nil, 42.0), commandMessage(0, "deleteStream", 0, nil, -1.0), commandMessage(0, "deleteStream", 0, nil, "x"), commandMessage(0, "deleteStream", 0)},
		"closeStream unknown":       {commandMessage(9, "closeStream", 0, nil)},
		"FCUnpublish unknown":       {commandMessage(0, "FCUnpublish", 0, nil, "0_other000_1")},
		"user control events":       {{typ: typeUserControl, body: []byte{0, 31, 0, 0, 0, 1}}, {typ: typeUserControl, body: []byte{0, 3, 0, 0, 0, 1, 0, 0, 1, 0}}, {typ: typeUserControl, body: []byte{0, 6}}},
		"window of zero":            {controlMessage(typeWindowAck, 0), controlMessage(typeWindowAck, 1<<31), controlMessage(typeAck, 7)},
		"peer bandwidth":            {{typ: typeSetPeerBandwidth, body: []byte{0, 0, 0, 0, 9}}},
		"abort of nothing":          {controlMessage(typeAbort, 60)},
		"metadata of odd types":     data("@setDataFrame", "onMetaData", odd),
		"metadata, no object":       data("@setDataFrame", "onMetaData", 1.0),
		"metadata, nothing":         data("@setDataFrame"),
		"text data":                 data("onTextData", odd),
		"data no AMF":               {{typ: typeDataAMF0, stream: 1, body: []byte{0xff, 1, 2}}},
		"data with huge array":      {{typ: typeDataAMF0, stream: 1, body: []byte{amfStrictArray, 0x7f, 0xff, 0xff, 0xff}}},
		"malformed tags":            {{typ: typeVideo, stream: 1, body: []byte{0x17}}, {typ: typeAudio, stream: 1, body: []byte{0xaf, 9}}},
		"aggregate of nothing":      {{typ: typeAggregate, stream: 1}},
	}
	for typ := range 32 {
		if typ != typeSetChunkSize && typ != typeAbort && typ != typeAck && typ != typeWindowAck && typ != typeSetPeerBandwidth && typ != typeUserControl && typ != typeCommandAMF0 {
			cases["zero-length of every type"] = append(cases["zero-length of every type"], message{typ: byte(typ), stream: 1})
		}
	}
	return cases
}

// TestHarmless sends it in the middle of a publish. The stream goes on.
func TestHarmless(t *testing.T) {
	for name, messages := range harmless() {
		t.Run(name, func(t *testing.T) {
			inBubble(t, nil, func(r *rig) {
				c := r.client()
				c.publishing()
				for _, m := range messages {
					c.send(m)
				}
				c.send(keyframe(100, 20))
				if c.left() {
					t.Fatalf("the connection ended:\n%s", r.log)
				}
				if n := r.gw.pub(t, 0).count(); n != 1 {
					t.Errorf("%d units", n)
				}
			})
		})
	}
}

// TestUnreadableIsTold holds that the log says once why a track is missing whose parameters can't be read.
func TestUnreadableIsTold(t *testing.T) {
	inBubble(t, nil, func(r *rig) {
		c := r.client()
		c.publishing()
		for range 3 {
			c.send(message{typ: typeVideo, stream: 1, body: []byte("\x90av01\x81\x00\x00\x00")})
		}
		c.send(keyframe(100, 20))
		if c.left() {
			t.Fatalf("the connection ended:\n%s", r.log)
		}
		if n := strings.Count(r.log.String(), "it has no sequence header"); n != 1 {
			t.Errorf("the log says %d times why:\n%s", n, r.log)
		}
	})
}

func TestAggregate(t *testing.T) {
	tag := func(typ byte, time uint32, body []byte) []byte {
		n := len(body)
		b := []byte{typ, byte(n >> 16), byte(n >> 8), byte(n), byte(time >> 16), byte(time >> 8), byte(time), byte(time >> 24), 0, 0, 0}
		return binary.BigEndian.AppendUint32(append(b, body...), uint32(n+11))
	}
	inBubble(t, nil, func(r *rig) {
		c := r.client()
		c.publishing()
		body := append(tag(typeVideo, 5000, keyframe(0, 9).body), tag(typeAudio, 5010, []byte{0xaf, 0, 0x12, 0x10})...)
		body = append(body, tag(typeAudio, 5020, []byte{0xaf, 1, 7})...)
		c.send(message{typ: typeAggregate, stream: 1, time: 0xfffffff0, body: body[:len(body)-4]})
		synctest.Wait()
		p := r.gw.pub(t, 0)
		if len(p.units) != 2 || p.units[0].Time != 0xfffffff0 || p.units[1].Time != 4 || !bytes.Equal(p.units[1].Payload, []byte{7}) {
			t.Errorf("units: %+v", p.units)
		}
	})
}

func TestPing(t *testing.T) {
	inBubble(t, nil, func(r *rig) {
		c := r.client()
		c.send(message{typ: typeUserControl, body: []byte{0, eventPingRequest, 1, 2, 3, 4}})
		synctest.Wait()
		c.mu.Lock()
		defer c.mu.Unlock()
		if len(c.got) != 1 || !bytes.Equal(c.got[0].body, []byte{0, eventPingResponse, 1, 2, 3, 4}) {
			t.Errorf("answer: %+v", c.got)
		}
	})
}

// deadly is what a peer may send to do harm, with the reason for which it is cut off.
type deadly struct {
	bytes  []byte
	reason string
}

func deadlyBytes() map[string]deadly {
	connect := func(raw ...byte) []byte {
		return appendChunks(nil, 3, message{typ: typeCommandAMF0, body: append(appendAMF(nil, "connect", 1.0), raw...)}, 128)
	}
	var nested []byte
	for range 100_000 {
		nested = append(nested, amfStrictArray, 0, 0, 0, 1)
	}
	many := []byte{}
	for id := range 70 {
		many = append(many, appendChunks(nil, byte(3+id%60), message{typ: typeAck, body: make([]byte, 4)}, 128)...)
		if id >= 60 {
			many = append(many, append([]byte{0, byte(id)}, make([]byte, 11)...)...)
		}
	}
	hold := []byte{}
	for id := range 20 {
		// Begins a message of 8 MB on each of 20 chunk streams and sends a megabyte of it.
		hold = append(hold, byte(3+id), 0, 0, 0, 0x7f, 0xff, 0xff, typeVideo, 1, 0, 0, 0)
		hold = append(hold, make([]byte, 1<<20)...)
	}
	return map[string]deadly{
		"strict array of 2^31":    {connect(amfStrictArray, 0x7f, 0xff, 0xff, 0xff), reasonProtocol},
		"array within connect":    {connect(append([]byte{amfObject, 0, 1, 'x', amfStrictArray}, 0x80, 0, 0, 0, 0, 0, 0, 9)...), reasonProtocol},
		"string beyond the end":   {connect(amfLongString, 0xff, 0xff, 0xff, 0xff, 1), reasonProtocol},
		"AMF nested deeply":       {connect(nested[:500]...), reasonBounds},
		"many values":             {connect(bytes.Repeat([]byte{amfNull}, 5000)...), reasonBounds},
		"long command":            {appendChunks(nil, 3, message{typ: typeCommandAMF0, body: nested}, 128), reasonProtocol},
		"no command object":       {connect(), reasonProtocol},
		"connect with a number":   {connect(appendAMF(nil, 1.0)...), reasonProtocol},
		"command without name":    {appendChunks(nil, 3, message{typ: typeCommandAMF0, body: appendAMF(nil, 1.0)}, 128), reasonProtocol},
		"empty command":           {appendChunks(nil, 3, message{typ: typeCommandAMF0}, 128), reasonProtocol},
		"AMF3 within AMF0":        {connect(0x11, 0x0a, 0x0b, 1), reasonProtocol},
		"publish before connect":  {appendChunks(nil, 3, commandMessage(0, "publish", 1, nil, testName), 128), reasonProtocol},
		"message beyond limit":    {[]byte{3, 0, 0, 0, 0xff, 0xff, 0xff, typeVideo, 1, 0, 0, 0}, reasonBounds},
		"chunk streams":           {many, reasonBounds},
		"memory":                  {append(appendChunks(nil, 2, controlMessage(typeSetChunkSize, 1<<20), 128), hold...), reasonBounds},
		"chunk size 0":            {appendChunks(nil, 2, controlMessage(typeSetChunkSize, 0), 128), reasonProtocol},
		"chunk size 2^31":         {appendChunks(nil, 2, controlMessage(typeSetChunkSize, 1<<31), 128), reasonProtocol},
		"short control message":   {appendChunks(nil, 2, message{typ: typeAbort, body: []byte{1}}, 128), reasonProtocol},
		"continuation of nothing": {[]byte{0xc3, 1, 2, 3}, reasonProtocol},
		"aggregate ends early":    {appendChunks(nil, 3, message{typ: typeAggregate, body: []byte{9, 0, 0, 9}}, 128), reasonProtocol},
		"aggregate in aggregate":  {appendChunks(nil, 3, message{typ: typeAggregate, body: []byte{22, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0}}, 128), reasonProtocol},
	}
}

// TestDeadly sends what must end a connection, with a reason, and no other.
func TestDeadly(t *testing.T) {
	for name, tc := range deadlyBytes() {
		t.Run(name, func(t *testing.T) {
			inBubble(t, nil, func(r *rig) {
				healthy := r.client()
				healthy.publishing()
				c := r.client()
				go func() {
					// It may be cut off in the middle.
					_, _ = c.conn.Write(tc.bytes)
				}()
				time.Sleep(2 * lingerTime)
				if !c.left() {
					t.Fatal("the connection is still open")
				}
				if !strings.Contains(r.log.String(), "reason="+tc.reason) {
					t.Errorf("reason %s is not in the log:\n%s", tc.reason, r.log)
				}
				healthy.send(keyframe(0, 20))
				synctest.Wait()
				if n := r.gw.pub(t, 0).count(); n != 1 {
					t.Errorf("the healthy connection has %d units", n)
				}
			})
		})
	}
}

// TestOtherProtocols sends what is no RTMP at all: the log says what it is, and which port takes it.
func TestOtherProtocols(t *testing.T) {
	for want, greeting := range map[string][]byte{
		"that is HTTP: http:// goes to the port of http.listen":  []byte("GET / HTTP/1.1\r\n\r\n"),
		"version 6, encrypted RTMP (RTMPE), is not taken":        append([]byte{6}, make([]byte, 1536)...),
		"that is TLS: rtmps:// goes to the port of rtmps.listen": {0x16, 3, 1, 2, 0},
		"version 255": {0xff},
	} {
		t.Run(want, func(t *testing.T) {
			inBubble(t, nil, func(r *rig) {
				conn := r.dial()
				go func() { _, _ = conn.Write(greeting) }()
				time.Sleep(2 * lingerTime)
				if log := r.log.String(); !strings.Contains(log, "this port takes RTMP version 3") || !strings.Contains(log, want) {
					t.Errorf("log:\n%s", r.log)
				}
				conn.Close()
			})
		})
	}
}
