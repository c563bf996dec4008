package rtmp

import (
	"bytes"
	"encoding/binary"
	"errors"
	"io"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"klive/gateway"
	"klive/infra/live"
	"klive/infra/media"
)

func TestPublish(t *testing.T) {
	inBubble(t, nil, func(r *rig) {
		c := r.client()
		c.command(0, "connect", 1, &object{props: []property{
			{"app", testApp}, {"type", "nonprivate"}, {"flashVer", "FMLE/3.0 (compatible; Lavf59)"}, {"tcUrl", "rtmp://h/" + testApp},
			{"fourCcList", []any{"hvc1", "av01", "vp09", "vp08"}}, {"capsEx", 1.0},
		}})
		got := c.commands()
		if len(got) != 1 || got[0].name != "_result" || got[0].tx != 1 {
			t.Fatalf("connect answered with %+v", got)
		}
		props, info := got[0].args[0].(*object), got[0].args[1].(*object)
		if props.get("fmsVer") != serverName || props.get("capabilities") != 31.0 || info.get("code") != "NetConnection.Connect.Success" {
			t.Errorf("connect answered with %+v, %+v", props, info)
		}
		if diff := cmp.Diff([]any{"hvc1", "av01", "vp09"}, props.get("fourCcList")); diff != "" {
			t.Errorf("codecs offered:\n%s", diff)
		}
		c.command(0, "releaseStream", 2, nil, testName)
		c.command(0, "FCPublish", 3, nil, testName)
		c.command(0, "createStream", 4, nil)
		got = c.commands()
		if s := describe(got); s != "_result\n_result\nonFCPublish NetStream.Publish.Start: FCPublish succeeded.\n_result" {
			t.Fatalf("answers:\n%s", s)
		}
		if id, _ := got[3].id(1); id != 1 || got[3].tx != 4 {
			t.Fatalf("createStream answered with %+v", got[3])
		}
		c.command(1, "publish", 5, nil, testName, "live")
		if s := describe(c.commands()); s != "onStatus NetStream.Publish.Start: Publish succeeded." {
			t.Fatalf("publish: %s", s)
		}
		token := testToken
		wantConnect := []gateway.Connect{{Protocol: "rtmp", Peer: "pipe", Params: gateway.Params{Partner: 102, Entry: "0_rkij47dr", Index: live.Primary, Token: &token}}}
		if diff := cmp.Diff(wantConnect, r.gw.connects); diff != "" {
			t.Errorf("connect (-want +got):\n%s", diff)
		}
		wantPublish := []gateway.Publish{{Name: testName, Encoder: "FMLE/3.0 (compatible; Lavf59)", Clock: gateway.SourceClock{Rate: 1000, Bits: 32}}}
		if diff := cmp.Diff(wantPublish, r.gw.publishes); diff != "" {
			t.Errorf("publish (-want +got):\n%s", diff)
		}
		sendMedia(t, c, r.gw.pub(t, 0))
		c.command(0, "FCUnpublish", 6, nil, testName)
		c.command(0, "deleteStream", 7, nil, 1.0)
		if s := describe(c.commands()); s != "onStatus NetStream.Unpublish.Success: The stream has ended." {
			t.Errorf("unpublish: %s", s)
		}
		if n, cause := r.gw.pub(t, 0).state(); n != 1 || cause != nil {
			t.Errorf("publication closed %d times with %v", n, cause)
		}
		c.conn.Close()
	})
}

// sendMedia sends metadata and one frame of each track and checks what arrives.
func sendMedia(t *testing.T, c *testClient, p *fakePublication) {
	t.Helper()
	meta := &object{array: true, props: []property{{"videocodecid", 7.0}, {"audiocodecid", "mp4a"}, {"width", 640.0}}}
	c.send(message{typ: typeDataAMF0, stream: 1, body: appendAMF(nil, "@setDataFrame", "onMetaData", meta)})
	c.send(message{typ: typeVideo, stream: 1, body: sequenceHeader(t)})
	c.send(message{typ: typeAudio, stream: 1, body: []byte{0xaf, 0, 0x12, 0x10}})
	c.send(keyframe(40, 300))
	c.send(message{typ: typeAudio, stream: 1, time: 43, body: []byte{0xaf, 1, 0x21, 0x10}})
	synctest.Wait()
	p.mu.Lock()
	defer p.mu.Unlock()
	if diff := cmp.Diff([]media.Kind{media.Video, media.Audio}, p.kinds); diff != "" {
		t.Errorf("kinds expected:\n%s", diff)
	}
	if len(p.tracks) != 2 || p.tracks[0].Params.Codec() != "H264" || p.tracks[1].ID != media.FirstAudioTrack {
		t.Errorf("tracks: %+v", p.tracks)
	}
	want := []gateway.AccessUnit{
		{Track: media.VideoTrack, Time: 40, Key: true, Payload: keyframe(0, 300).body[5:]},
		{Track: media.FirstAudioTrack, Time: 43, Key: true, Payload: []byte{0x21, 0x10}},
	}
	if diff := cmp.Diff(want, p.units); diff != "" {
		t.Errorf("access units (-want +got):\n%s", diff)
	}
}

// TestRepublish covers the ways in which encoders stop and start again on one connection.
func TestRepublish(t *testing.T) {
	for name, stop := range map[string]func(*testClient){
		"deleteStream": func(c *testClient) {
			c.command(0, "deleteStream", 0, nil, 1.0)
			c.command(0, "createStream", 9, nil)
		},
		"closeStream": func(c *testClient) { c.command(1, "closeStream", 0, nil) },
		"FCUnpublish": func(c *testClient) { c.command(0, "FCUnpublish", 0, nil, testName) },
	} {
		t.Run(name, func(t *testing.T) {
			inBubble(t, nil, func(r *rig) {
				c := r.client()
				c.publishing()
				stop(c)
				c.command(1, "publish", 5, nil, testName, "live")
				c.send(message{typ: typeVideo, stream: 1, body: sequenceHeader(t)})
				c.send(keyframe(0, 10))
				got := describe(c.commands())
				if strings.Count(got, "Publish.Start") != 2 || strings.Count(got, "Unpublish.Success") != 1 {
					t.Errorf("answers:\n%s", got)
				}
				if n, cause := r.gw.pub(t, 0).state(); n != 1 || cause != nil {
					t.Errorf("first publication closed %d times with %v", n, cause)
				}
				if n := r.gw.pub(t, 1).count(); n != 1 {
					t.Errorf("second publication has %d units", n)
				}
				if n := len(r.gw.connects); n != 1 {
					t.Errorf("authenticated %d times", n)
				}
			})
		})
	}
}

// TestEncoderLeaves checks the cause of a publication whose connection breaks.
func TestEncoderLeaves(t *testing.T) {
	inBubble(t, nil, func(r *rig) {
		c := r.client()
		c.publishing()
		c.conn.Close()
		synctest.Wait()
		if n, cause := r.gw.pub(t, 0).state(); n != 1 || !errors.Is(cause, errGone) {
			t.Errorf("closed %d times with %v", n, cause)
		}
	})
}

// TestAddresses holds contract rows 9 to 12, 14 to 17 and 23 to 25.
func TestAddresses(t *testing.T) {
	for name, tc := range map[string]struct {
		app, tcURL, publish string
		// params and stream are what the gateway hears, or refused what the encoder does.
		params, stream, refused string
	}{
		"query":                    {app: testApp, publish: testName, params: "p=102&e=0_rkij47dr&i=0&t=***", stream: testName},
		"no slash":                 {app: "kLive?" + testQuery, publish: testName, params: "p=102&e=0_rkij47dr&i=0&t=***", stream: testName},
		"any order, backup":        {app: "kLive/?t=s3cr3t&i=1&e=0_rkij47dr&p=7", publish: testName, params: "p=7&e=0_rkij47dr&i=1&t=***", stream: testName},
		"query in tcUrl only":      {app: "kLive", tcURL: "rtmp://h/" + testApp, publish: testName, params: "p=102&e=0_rkij47dr&i=0&t=***", stream: testName},
		"name behind the query":    {app: testApp + "/" + testName, publish: "", params: "p=102&e=0_rkij47dr&i=0&t=***", stream: testName},
		"both names":               {app: testApp + "/0_other000_2", publish: testName, params: "p=102&e=0_rkij47dr&i=0&t=***", stream: testName},
		"bare entry id":            {app: testApp, publish: "0_rkij47dr", params: "p=102&e=0_rkij47dr&i=0&t=***", stream: "0_rkij47dr"},
		"query on the name":        {app: "kLive", publish: testName + "?" + testQuery, params: "p=102&e=0_rkij47dr&i=0&t=***", stream: testName},
		"token on the name":        {app: "kLive/?p=102&e=0_rkij47dr&i=0", publish: testName + "?t=s3cr3t", params: "p=102&e=0_rkij47dr&i=0&t=***", stream: testName},
		"no token":                 {app: "kLive/?p=102&e=0_rkij47dr&i=0", publish: testName, params: "p=102&e=0_rkij47dr&i=0", stream: testName},
		"slashes":                  {app: "/kLive/", publish: "/" + testName + "?" + testQuery, params: "p=102&e=0_rkij47dr&i=0&t=***", stream: testName},
		"nothing":                  {app: "kLive", publish: testName, refused: "onStatus " + codeRejected + ": the address has no broadcast parameters"},
		"no partner":               {app: "kLive/?e=0_rkij47dr&i=0&t=s3cr3t", refused: "_error " + codeConnectRejected + ": unable to authenticate [e=0_rkij47dr&i=0&t=***]: the address lacks p="},
		"no entry":                 {app: "kLive/?p=102&i=0&t=s3cr3t", refused: "_error " + codeConnectRejected + ": unable to authenticate [p=102&i=0&t=***]: the address lacks e="},
		"no index":                 {app: "kLive/?p=102&e=0_rkij47dr&t=s3cr3t", refused: "_error " + codeConnectRejected + ": unable to authenticate [p=102&e=0_rkij47dr&t=***]: the address lacks i="},
		"partner no number":        {app: "kLive/?p=x&e=0_rkij47dr&i=0&t=s3cr3t", refused: "_error " + codeConnectRejected + ": unable to authenticate [p=x&e=0_rkij47dr&i=0&t=***]: p= must be"},
		"index 2":                  {app: "kLive/?p=102&e=0_rkij47dr&i=2&t=s3cr3t", refused: "_error " + codeConnectRejected + ": unable to authenticate [p=102&e=0_rkij47dr&i=2&t=***]: i= must be"},
		"other application":        {app: "live/?" + testQuery, refused: "_error " + codeConnectRejected + ": there is no application [live] here"},
		"no application":           {app: "", refused: "_error " + codeConnectRejected + ": there is no application [] here"},
		"no name":                  {app: testApp, publish: "", refused: "onStatus " + codeBadName + ": the stream has no name"},
		"incomplete, on the name":  {app: "kLive", publish: testName + "?p=102&t=s3cr3t", refused: "onStatus " + codeRejected + ": unable to authenticate [p=102&t=***]: the address lacks e="},
		"incomplete, then token":   {app: "kLive/?p=102&i=0", publish: testName + "?e=0_rkij47dr&t=s3cr3t", refused: "_error " + codeConnectRejected + ": unable to authenticate [p=102&i=0]: the address lacks e="},
		"longer than any can be":   {app: "kLive/?p=1&x=" + strings.Repeat("x", 4000), refused: "_error " + codeConnectRejected + ": the address is longer than"},
		"control bytes in the app": {app: "k\x00\nL", refused: "_error " + codeConnectRejected + ": there is no application [k..L] here"},
	} {
		t.Run(name, func(t *testing.T) {
			inBubble(t, nil, func(r *rig) {
				c := r.client()
				c.command(0, "connect", 1, &object{props: []property{{"app", tc.app}, {"tcUrl", tc.tcURL}}})
				got := c.commands()
				if describe(got[:1]) == "_result NetConnection.Connect.Success: Connection succeeded." {
					c.command(0, "createStream", 2, nil)
					c.command(1, "publish", 3, nil, tc.publish, "live")
					got = c.commands()[1:]
				}
				if tc.refused != "" {
					if s := describe(got); !strings.HasPrefix(s, tc.refused) {
						t.Errorf("answer %q, want %q", s, tc.refused)
					}
					if !strings.Contains(r.log.String(), "refused") || !strings.Contains(r.log.String(), "peer=pipe") {
						t.Errorf("log:\n%s", r.log)
					}
					time.Sleep(2 * lingerTime)
					if !c.left() {
						t.Error("the connection is still open")
					}
					return
				}
				if len(r.gw.connects) != 1 || r.gw.connects[0].Params.String() != tc.params {
					t.Errorf("connects: %+v", r.gw.connects)
				}
				if len(r.gw.publishes) != 1 || r.gw.publishes[0].Name != tc.stream {
					t.Errorf("publishes: %+v", r.gw.publishes)
				}
			})
		})
	}
}

// TestRefusals holds contract rows 18, 26 to 28 and 30 as far as the wire goes.
func TestRefusals(t *testing.T) {
	inBubble(t, nil, func(r *rig) {
		r.gw.connectErr = func(gateway.Connect) error {
			return &gateway.Refusal{Reason: gateway.ReasonAuth, Text: "the token is wrong", Err: errors.New("LIVE_STREAM_INVALID_TOKEN")}
		}
		c := r.client()
		c.command(0, "connect", 7, &object{props: []property{{"app", testApp}}})
		got := c.commands()
		if s := describe(got); s != "_error NetConnection.Connect.Rejected: the token is wrong" || got[0].tx != 7 {
			t.Errorf("answer %q, transaction %v", s, got[0].tx)
		}
		if info := got[0].args[1].(*object); info.get("level") != "error" {
			t.Errorf("info: %+v", info)
		}
		time.Sleep(2 * lingerTime)
		if !c.left() {
			t.Error("the connection is still open")
		}
		for _, want := range []string{"entry=0_rkij47dr", "peer=pipe", "reason=auth", "LIVE_STREAM_INVALID_TOKEN"} {
			if !strings.Contains(r.log.String(), want) {
				t.Errorf("no %s in the log:\n%s", want, r.log)
			}
		}
	})
	for reason, code := range map[gateway.Reason]string{
		gateway.ReasonParams: codeBadName, gateway.ReasonBusy: codeBadName, gateway.ReasonLimit: codeRejected,
	} {
		inBubble(t, nil, func(r *rig) {
			r.gw.publishErr = func(p gateway.Publish) error {
				if p.Name == testName {
					return nil
				}
				return &gateway.Refusal{Reason: reason, Text: "not like this"}
			}
			c := r.client()
			c.command(0, "connect", 1, &object{props: []property{{"app", testApp}}})
			c.command(0, "createStream", 2, nil)
			c.command(0, "createStream", 3, nil)
			c.command(1, "publish", 0, nil, testName, "live")
			c.commands()
			// A refusal beside a stream that is on the air leaves that one alone (row 29).
			c.command(2, "publish", 0, nil, "0_other000_1", "live")
			if s := describe(c.commands()); s != "onStatus "+code+": not like this" {
				t.Errorf("answer %q", s)
			}
			c.send(message{typ: typeVideo, stream: 1, body: sequenceHeader(t)})
			c.send(keyframe(0, 10))
			synctest.Wait()
			if n := r.gw.pub(t, 0).count(); n != 1 {
				t.Errorf("%d units on the stream beside it", n)
			}
			// Without one the connection ends.
			c.command(0, "deleteStream", 0, nil, 1.0)
			c.commands()
			c.command(2, "publish", 0, nil, "0_other000_1", "live")
			time.Sleep(2 * lingerTime)
			if !c.left() {
				t.Error("the connection is still open")
			}
		})
	}
}

func TestGatewayEndsPublication(t *testing.T) {
	for _, tc := range []struct {
		err  error
		want string
	}{
		{&gateway.Refusal{Reason: gateway.ReasonKicked, Text: "an operator ended the stream"}, codeRejected + ": an operator ended the stream"},
		{&gateway.Refusal{Reason: gateway.ReasonTakenOver, Text: "another encoder took over"}, codeRejected + ": another encoder took over"},
		{&gateway.Refusal{Reason: gateway.ReasonShutdown, Text: "this server is going down"}, codeUnpublished + ": this server is going down"},
		{errors.New("secret inner fault"), codeRejected + ": this server can't take the stream now; try again"},
	} {
		inBubble(t, nil, func(r *rig) {
			c := r.client()
			c.publishing()
			c.commands()
			// Half a message is under way: waking the reader must not lose it.
			whole := appendChunks(nil, 4, keyframe(10, 100), c.size)
			c.write(whole[:40])
			r.gw.pub(t, 0).end(tc.err)
			if s := describe(c.commands()); s != "onStatus "+tc.want {
				t.Errorf("answer %q, want %q", s, tc.want)
			}
			if n, cause := r.gw.pub(t, 0).state(); n != 1 || cause != tc.err {
				t.Errorf("closed %d times with %v", n, cause)
			}
			time.Sleep(2 * lingerTime)
			if !c.left() {
				t.Error("the connection is still open")
			}
		})
	}
}

// TestWakeLosesNothing ends one of two publications in the middle of a message of the other.
func TestWakeLosesNothing(t *testing.T) {
	inBubble(t, nil, func(r *rig) {
		c := r.client()
		c.publishing()
		c.command(0, "createStream", 2, nil)
		c.command(2, "publish", 0, nil, "0_rkij47dr_2", "live")
		whole := appendChunks(nil, 4, keyframe(10, 1000), c.size)
		c.write(whole[:300])
		synctest.Wait()
		r.gw.pub(t, 1).end(&gateway.Refusal{Reason: gateway.ReasonKicked, Text: "ended"})
		synctest.Wait()
		c.write(whole[300:])
		c.send(keyframe(20, 10))
		synctest.Wait()
		p := r.gw.pub(t, 0)
		if n := p.count(); n != 2 || !bytes.Equal(p.units[0].Payload, keyframe(10, 1000).body[5:]) {
			t.Errorf("%d units arrived", n)
		}
	})
}

func TestUnusableMedia(t *testing.T) {
	for name, tc := range map[string]struct {
		messages []message
		want     string
	}{
		"MP3":          {[]message{{typ: typeAudio, stream: 1, body: []byte{0x2f, 1, 2}}}, "audio codec MP3; send AAC"},
		"VP6":          {[]message{{typ: typeVideo, stream: 1, body: []byte{0x14, 1, 2}}}, "video codec VP6; send H.264 or HEVC"},
		"no keyframes": {[]message{recovery(0), recovery(2000), recovery(4000)}, "the stream has no IDR keyframes"},
		"rubbish":      {repeat(message{typ: typeVideo, stream: 1, body: []byte{0x17, 1, 0, 0, 0, 9, 9}}, maxBad), "the stream can't be read"},
	} {
		t.Run(name, func(t *testing.T) {
			inBubble(t, nil, func(r *rig) {
				c := r.client()
				c.publishing()
				c.commands()
				for _, m := range tc.messages {
					c.send(m)
				}
				got := describe(c.commands())
				if !strings.HasPrefix(got, "onStatus "+codeRejected) || !strings.Contains(got, tc.want) {
					t.Errorf("answer %q", got)
				}
				var refusal *gateway.Refusal
				if n, cause := r.gw.pub(t, 0).state(); n != 1 || !errors.As(cause, &refusal) || refusal.Reason != gateway.ReasonMedia {
					t.Errorf("closed %d times with %v", n, cause)
				}
			})
		})
	}
}

func recovery(time uint32) message {
	return message{typ: typeVideo, stream: 1, time: time, body: []byte{0x17, 1, 0, 0, 0, 0, 0, 0, 5, 6, 6, 1, 0xc4, 0x80, 0, 0, 0, 2, 0x41, 1}}
}

func repeat(m message, n int) []message {
	var list []message
	for range n {
		list = append(list, m)
	}
	return list
}

func TestPlayRefused(t *testing.T) {
	inBubble(t, nil, func(r *rig) {
		c := r.client()
		c.command(0, "connect", 1, &object{props: []property{{"app", "kLive"}}})
		c.command(0, "createStream", 2, nil)
		c.commands()
		c.command(1, "play", 3, nil, testName)
		if s := describe(c.commands()); !strings.HasPrefix(s, "onStatus "+codePlayFailed+": this port takes publishers only") {
			t.Errorf("answer %q", s)
		}
	})
}

func TestConnectionLimit(t *testing.T) {
	inBubble(t, func(c *Config) { c.Limits.MaxConnections = 2 }, func(r *rig) {
		a, b := r.client(), r.client()
		for range 50 {
			if _, err := r.dial().Read(make([]byte, 1)); err != io.EOF {
				t.Fatalf("third connection: %v", err)
			}
		}
		if n := strings.Count(r.log.String(), "reason=connections"); n != 1 {
			t.Errorf("%d log lines for 50 connections in one instant:\n%s", n, r.log)
		}
		a.conn.Close()
		synctest.Wait()
		r.client().publishing()
		b.publishing()
		synctest.Wait()
		r.gw.pub(t, 1)
	})
}

// TestScannersAreToldOnce: what speaks something else than RTMP, again and again, is one warning a minute.
func TestScannersAreToldOnce(t *testing.T) {
	inBubble(t, nil, func(r *rig) {
		scan := func() {
			conn := r.dial()
			defer conn.Close()
			if _, err := conn.Write([]byte("G")); err != nil {
				t.Fatal(err)
			}
			time.Sleep(2 * lingerTime)
		}
		const warning = `level=WARN msg="RTMP connection closed"`
		for range 10 {
			scan()
		}
		if n := strings.Count(r.log.String(), warning); n != 1 {
			t.Errorf("%d warnings of 10 connections:\n%s", n, r.log)
		}
		time.Sleep(time.Minute)
		scan()
		if !strings.Contains(r.log.String(), "repeats=9") {
			t.Errorf("the log does not say how often:\n%s", r.log)
		}
	})
}

func TestFaultCostsOneConnection(t *testing.T) {
	inBubble(t, nil, func(r *rig) {
		healthy := r.client()
		healthy.publishing()
		synctest.Wait()
		r.gw.onWrite = func(u gateway.AccessUnit) error {
			if u.Time == 666 {
				panic("fault")
			}
			return nil
		}
		c := r.client()
		c.publishing()
		c.send(keyframe(666, 10))
		time.Sleep(2 * lingerTime)
		if !c.left() {
			t.Error("the connection with the fault is still open")
		}
		if n, cause := r.gw.pub(t, 1).state(); n != 1 || !errors.Is(cause, errFault) {
			t.Errorf("closed %d times with %v", n, cause)
		}
		healthy.send(keyframe(0, 10))
		synctest.Wait()
		if n := r.gw.pub(t, 0).count(); n != 1 {
			t.Errorf("the healthy connection has %d units", n)
		}
	})
}

func TestCloseTellsEncoders(t *testing.T) {
	inBubble(t, nil, func(r *rig) {
		c := r.client()
		c.publishing()
		idle := r.client()
		c.commands()
		if err := r.server.Close(); err != nil {
			t.Fatal(err)
		}
		if s := describe(c.commands()); s != "onStatus "+codeUnpublished+": "+errShutdown.Error() {
			t.Errorf("answer %q", s)
		}
		var refusal *gateway.Refusal
		if n, cause := r.gw.pub(t, 0).state(); n != 1 || !errors.As(cause, &refusal) || refusal.Reason != gateway.ReasonShutdown {
			t.Errorf("closed %d times with %v", n, cause)
		}
		if !c.left() || !idle.left() {
			t.Error("a connection is still open")
		}
	})
}

func TestDrainAsksToReconnect(t *testing.T) {
	inBubble(t, nil, func(r *rig) {
		able, plain := r.client(), r.client()
		able.command(0, "connect", 1, &object{props: []property{{"app", testApp}, {"capsEx", 1.0}}})
		plain.publishing()
		able.commands()
		plain.commands()
		r.server.Drain()
		r.server.Drain()
		if s := describe(able.commands()); s != "onStatus NetConnection.Connect.ReconnectRequest: "+errShutdown.Error() {
			t.Errorf("answer %q", s)
		}
		if s := describe(plain.commands()); s != "" || plain.left() {
			t.Errorf("an encoder that can't reconnect was told %q", s)
		}
		r.server.Undrain()
		later := r.client()
		later.command(0, "connect", 1, &object{props: []property{{"app", testApp}, {"capsEx", 1.0}}})
		later.commands()
		synctest.Wait()
		if s := describe(later.commands()); s != "" {
			t.Errorf("an encoder that came after the drain was taken back was told %q", s)
		}
		r.server.Drain()
		if s := describe(later.commands()); !strings.Contains(s, "ReconnectRequest") {
			t.Errorf("the second drain tells it %q", s)
		}
		if s := describe(able.commands()); s != "" {
			t.Errorf("who was asked before is told %q", s)
		}
	})
}

func TestAcknowledges(t *testing.T) {
	inBubble(t, nil, func(r *rig) {
		c := r.client()
		c.publishing()
		c.send(controlMessage(typeSetChunkSize, 1<<20))
		c.size = 1 << 20
		c.send(controlMessage(typeWindowAck, 1))
		for i := range 8 {
			c.send(keyframe(uint32(i), 50_000))
		}
		synctest.Wait()
		var acks []uint32
		c.mu.Lock()
		defer c.mu.Unlock()
		for _, m := range c.got {
			if m.typ == typeAck {
				acks = append(acks, binary.BigEndian.Uint32(m.body))
			}
		}
		if len(acks) != 8 || acks[7] < 400_000 || acks[7] > 402_000 {
			t.Errorf("acknowledged %v after 8 times 50 kB", acks)
		}
	})
}
