package e2e

import (
	"fmt"
	"net/netip"
	"net/url"
	"os"
	"strings"
	"syscall"
	"testing"
	"time"

	"klive/infra/check/fault"
	"klive/infra/publisher"
)

// callSRT has ffmpeg play a file over SRT in real time.
func callSRT(t testing.TB, p *process, file, streamID, more string) *tooling {
	t.Helper()
	return run(t, ffmpeg(t), "-loglevel", "error", "-nostdin", "-re", "-i", file, "-map", "0", "-c", "copy", "-f", "mpegts",
		"srt://"+p.srt+"?streamid="+url.QueryEscape(streamID)+more)
}

// srtPass is the passphrase of entries that ask for encryption.
const srtPass = "entry-passphrase-77"

// addSecretEntry adds an entry that asks SRT callers for encryption.
func (p *process) addSecretEntry(t testing.TB) entry {
	t.Helper()
	cp := controlPlane{p.client, p.admin}
	var ks string
	cp.api(t, "session", "start", url.Values{"secret": {controlSecret}, "type": {"2"}, "partnerId": {"102"}}, &ks)
	var e entry
	cp.api(t, "liveStream", "add", url.Values{
		"ks": {ks}, "liveStreamEntry:objectType": {"KalturaLiveStreamEntry"}, "liveStreamEntry:name": {"test"}, "sourceType": {"32"},
		"liveStreamEntry:srtPass": {srtPass},
	}, &e)
	return e
}

// TestSRTFrameAudit publishes with ffmpeg and srt-live-transmit, in each form of stream id,
// plain and encrypted: every frame that the encoder sends is in the segments once.
func TestSRTFrameAudit(t *testing.T) {
	beside(t)
	p := start(t, "KLIVE_BROADCAST_RESUME=2s", "KLIVE_SEGMENT_DURATION=1s")
	long := length(60*time.Second, 6*time.Second)
	file, sent := transportFile(t, demoClip(t, publisher.Synthetic{GOP: time.Second, BFrames: 2}), long)
	for _, c := range []struct {
		name, id  string
		encrypted bool
		relayed   bool // by srt-live-transmit
	}{
		{"access control", "#!::r=ENTRY_1,m=publish,u=102,i=0,s=TOKEN", false, false},
		{"Kaltura's", "#:::e=ENTRY,st=0,p=TOKEN", false, false},
		{"plain", "ENTRY_1?p=102&e=ENTRY&i=0&t=TOKEN", false, false},
		{"encrypted", "#!::r=ENTRY_1,m=publish,u=102,i=0,s=TOKEN", true, false},
		{"srt-live-transmit, encrypted", "#:::e=ENTRY,st=0,p=TOKEN", true, true},
	} {
		e := p.addEntries(t, 1)[0]
		if c.encrypted {
			e = p.addSecretEntry(t)
		}
		id := strings.NewReplacer("ENTRY", e.ID, "TOKEN", e.Token).Replace(c.id)
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			var encoder *tooling
			switch {
			case c.relayed:
				encoder = transmit(t, p, file, id)
			case c.encrypted:
				encoder = callSRT(t, p, file, id, "&pbkeylen=32&passphrase="+url.QueryEscape(srtPass))
			default:
				encoder = callSRT(t, p, file, id, "")
			}
			done := make(chan struct{})
			go func() { <-encoder.done; close(done) }()
			follower := follow(t, p, e.ID, done)
			auditWhole(t, c.name, follower.Audit(sent), 30)
		})
	}
}

// transmit has srt-live-transmit send what ffmpeg plays in real time.
func transmit(t testing.TB, p *process, file, streamID string) *tooling {
	t.Helper()
	slt := tool(t, "srt-live-transmit", "apt-get install srt-tools")
	ports := fault.Ports(t, 1)
	relay := run(t, slt, "-q", "-a:no", "udp://"+ports[0], "srt://"+p.srt+"?mode=caller&pbkeylen=16&passphrase="+url.QueryEscape(srtPass)+
		"&streamid="+url.QueryEscape(streamID))
	p.wait(t, 20*time.Second, "srt-live-transmit to listen", func() bool { return bound(t, ports[0]) })
	source := run(t, ffmpeg(t), "-loglevel", "error", "-nostdin", "-re", "-i", file, "-map", "0", "-c", "copy", "-f", "mpegts", "udp://"+ports[0]+"?pkt_size=1316")
	t.Cleanup(relay.kill)
	go func() {
		<-source.done
		time.Sleep(time.Second) // what is on its way
		_ = relay.cmd.Process.Signal(syscall.SIGINT)
	}()
	return relay
}

// bound reports whether somebody has a UDP socket at a loopback address, host:port.
func bound(t testing.TB, address string) bool {
	t.Helper()
	a, err := netip.ParseAddrPort(address)
	if err != nil {
		t.Fatal(err)
	}
	table, err := os.ReadFile("/proc/net/udp")
	if err != nil {
		t.Fatal(err)
	}
	return strings.Contains(string(table), fmt.Sprintf(":%04X 00000000:0000 ", a.Port()))
}

// TestSRTBadNetwork publishes through a network that loses, delays and reorders: with 500 ms
// for repeats no frame is lost at 5 % loss each way, nor by reordering. At 15 % the figures
// are printed.
func TestSRTBadNetwork(t *testing.T) {
	beside(t)
	p := start(t, "KLIVE_BROADCAST_RESUME=2s", "KLIVE_SEGMENT_DURATION=1s")
	long := length(60*time.Second, 8*time.Second)
	file, sent := transportFile(t, demoClip(t, publisher.Synthetic{GOP: time.Second, BFrames: 2, Bitrate: 2_000_000}), long)
	const delay, jitter = 20 * time.Millisecond, 2 * time.Millisecond
	for _, c := range []struct {
		name  string
		w     fault.Weather
		whole bool
	}{
		{"5 % lost", fault.Weather{Loss: 0.05, Delay: delay, Jitter: jitter}, true},
		{"reordered", fault.Weather{Delay: delay, Jitter: jitter, Overtake: 0.1, Late: 15 * time.Millisecond}, true},
		{"15 % lost", fault.Weather{Loss: 0.15, Delay: delay, Jitter: jitter}, false},
	} {
		e := p.addEntries(t, 1)[0]
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			relay := fault.NewDatagramRelay(t, p.srt, c.w, c.w)
			encoder := run(t, ffmpeg(t), "-loglevel", "error", "-nostdin", "-re", "-i", file, "-map", "0", "-c", "copy", "-f", "mpegts",
				"srt://"+relay.Addr()+"?latency=500000&connect_timeout=20000&streamid="+url.QueryEscape("#:::e="+e.ID+",st=0,p="+e.Token))
			done := make(chan struct{})
			go func() { <-encoder.done; close(done) }()
			follower := follow(t, p, e.ID, done)
			passed, lost := relay.Count()
			t.Logf("%d datagrams came through, %d were lost", passed, lost)
			a := follower.Audit(sent)
			if c.whole {
				auditWhole(t, c.name, a, 60)
			} else {
				t.Logf("%s:\n%v", c.name, a)
			}
		})
	}
}

// TestSRTInChromium plays what comes over SRT in a browser.
func TestSRTInChromium(t *testing.T) {
	beside(t)
	p := start(t, shortSegments...)
	run(t, ffmpeg(t), "-loglevel", "error", "-nostdin", "-re", "-f", "lavfi", "-i", "testsrc2=size=640x360:rate=30",
		"-re", "-f", "lavfi", "-i", "sine=frequency=440:sample_rate=44100", "-c:v", "libx264", "-preset", "ultrafast", "-threads", "1",
		"-pix_fmt", "yuv420p", "-g", "60", "-b:v", "1M", "-c:a", "aac", "-b:a", "96k", "-f", "mpegts",
		"srt://"+p.srt+"?streamid="+url.QueryEscape("#!::r=0_demolive_1,m=publish,u=102,i=0,s=demo1234"))
	waitLive(t, p)
	w := watch(t, p, false, length(30*time.Second, 6*time.Second))
	if len(w.Stats.Errors)+len(w.Stats.Fatal) > 0 || w.Stats.Decoded < 100 || w.Stats.Width != 640 {
		t.Errorf("Chromium: %+v", w.Stats)
	}
}
