package config

import (
	"cmp"
	"net"
	"slices"
	"strings"
	"time"
)

// minToken is the length below which a token that guards a public listener can be guessed.
const minToken = 16

// check holds the values against each other.
func (l *loader) check() {
	l.checkTLS()
	l.checkListeners()
	l.checkSecrets()
	l.checkViewer()
	l.checkKaltura()
	l.checkRecording()
	l.checkDurations()
	l.checkMemory()
}

// wrong reports a mistake of key, at the place where key was set or else where the first
// of the others was.
func (l *loader) wrong(key string, others []string, format string, args ...any) {
	for _, k := range append([]string{key}, others...) {
		if l.problems.has(k) {
			return // its value is not the one that was meant
		}
	}
	at := l.set[key]
	for _, k := range others {
		if at == (place{}) {
			at = l.set[k]
		}
	}
	l.problems.add(at, key, format, args...)
}

func (l *loader) checkTLS() {
	c := l.config
	switch {
	case c.TLS.SelfSigned && (c.TLS.Cert != "" || c.TLS.Key != ""):
		l.wrong("tls.selfSigned", []string{"tls.cert", "tls.key"}, "is true while tls.cert or tls.key names a certificate; set one or the other")
		return
	case c.TLS.SelfSigned, c.TLS.Cert != "" && c.TLS.Key != "":
		return
	case c.TLS.Cert != "":
		l.wrong("tls.key", []string{"tls.cert"}, "is empty while tls.cert is set; name the file of the private key")
		return
	case c.TLS.Key != "":
		l.wrong("tls.cert", []string{"tls.key"}, "is empty while tls.key is set; name the file of the certificate")
		return
	}
	const text = "needs a certificate; set tls.cert and tls.key, or tls.selfSigned to true, or empty this listener"
	if c.RTMPS.Listen != "" {
		l.wrong("rtmps.listen", []string{"tls.cert"}, text)
	}
	if c.HTTPS.Listen != "" {
		l.wrong("https.listen", []string{"tls.cert"}, text)
	}
}

// checkListeners finds two listeners on one port. Port 0 is any free port.
func (l *loader) checkListeners() {
	c := l.config
	listeners := []struct{ key, addr string }{
		{"rtmp.listen", c.RTMP.Listen}, {"rtmps.listen", c.RTMPS.Listen},
		{"http.listen", c.HTTP.Listen}, {"https.listen", c.HTTPS.Listen},
		{"admin.listen", c.Admin.Listen}, {"internal.listen", c.Internal.Listen}, {"webrtc.listen", c.WebRTC.Listen},
	}
	for i, a := range listeners {
		for _, b := range listeners[:i] {
			if !overlap(a.addr, b.addr) {
				continue
			}
			late, early := a.key, b.key
			if _, ok := l.set[late]; !ok {
				late, early = early, late
			}
			l.wrong(late, []string{early}, "is the port of %s as well; give each its own", early)
		}
	}
	for _, a := range c.SRT.Addresses() { // both over UDP
		if overlap(a, c.WebRTC.Listen) {
			l.wrong("webrtc.listen", []string{"srt.listen"}, "is the port of srt.listen as well; give each its own")
		}
	}
}

func overlap(a, b string) bool {
	hostA, portA, errA := net.SplitHostPort(a)
	hostB, portB, errB := net.SplitHostPort(b)
	if errA != nil || errB != nil || portA != portB || portA == "0" {
		return false
	}
	return hostA == hostB || anyHost(hostA) || anyHost(hostB)
}

func anyHost(host string) bool {
	if host == "" {
		return true
	}
	ip := net.ParseIP(host)
	return ip != nil && ip.IsUnspecified()
}

func (l *loader) checkSecrets() {
	c := l.config
	if a := c.Admin.Listen; a != "" && !loopback(a) && c.Admin.Token == "" {
		l.wrong("admin.token", []string{"admin.listen"},
			"is empty while admin.listen can be reached from other hosts; set a token, or listen on 127.0.0.1")
	}
	if n := len(c.Admin.Token); n > 0 && n < minToken {
		l.wrong("admin.token", nil, "has %d characters; want at least %d", n, minToken)
	}
	if a := c.Internal.Listen; a != "" && !loopback(a) && c.Cluster.Secret == "" {
		l.wrong("cluster.secret", []string{"internal.listen"},
			"is empty while internal.listen can be reached from other hosts; set one secret for all nodes, or listen on 127.0.0.1")
	}
	if n := len(c.Cluster.Secret); n > 0 && n < minToken {
		l.wrong("cluster.secret", nil, "has %d characters; want at least %d", n, minToken)
	}
	if (c.Bus.User == "") != (c.Bus.Password == "") {
		l.wrong("bus.password", []string{"bus.user"}, "and bus.user go together; set both or none")
	}
	if (c.Bus.TLS.Cert == "") != (c.Bus.TLS.Key == "") {
		l.wrong("bus.tls.key", []string{"bus.tls.cert"}, "and bus.tls.cert go together; set both or none")
	}
	if (c.WebRTC.ICEUser == "") != (c.WebRTC.ICEPassword == "") {
		l.wrong("webrtc.icePassword", []string{"webrtc.iceUser"}, "and webrtc.iceUser go together; set both or none")
	}
	if c.WebRTC.ICEUser == "" && slices.ContainsFunc(c.WebRTC.Servers(), func(s string) bool { return strings.HasPrefix(s, "turn") }) {
		l.wrong("webrtc.iceServers", nil, "names a TURN server, and browsers use none without a user: set webrtc.iceUser and webrtc.icePassword")
	}
	if c.Storage.Encryption != "aws:kms" && c.Storage.KMSKey != "" {
		l.wrong("storage.kmsKey", []string{"storage.encryption"}, "is set while storage.encryption is %q; want aws:kms", c.Storage.Encryption)
	}
}

func (l *loader) checkKaltura() {
	c := l.config
	switch {
	case c.Kaltura.URL != "" && c.Kaltura.Secret == "":
		l.wrong("kaltura.secret", []string{"kaltura.url"}, "is empty while kaltura.url is set; want the partner's admin secret")
	case c.Kaltura.URL == "" && !c.Control.Enabled:
		l.wrong("kaltura.url", []string{"control.enabled"},
			"is empty and control.enabled is false, so nobody says who may publish; set one of them")
	}
}

// checkRecording finds files that nobody could fetch.
func (l *loader) checkRecording() {
	c := l.config
	if !c.Recording.Enabled || c.Recording.Strategy != "url" {
		return
	}
	if c.Recording.Address == "" && !strings.HasPrefix(cmp.Or(c.Storage.Recordings.URL, c.Storage.URL), "s3:") {
		l.wrong("recording.address", []string{"recording.strategy"},
			"is empty while recording.strategy is url and the recordings are in a folder, which gives no addresses; set it to where a web server shows the folder, such as https://files.example.com/{key}, or recording.strategy to uploadToken")
	}
	if c.Kaltura.URL == "" && c.Control.Enabled && !c.Control.AcceptURLResource {
		l.wrong("control.acceptUrlResource", []string{"recording.strategy"},
			"is false while recording.strategy is url, so the control plane inside klive would refuse each file; set it to true, or recording.strategy to uploadToken")
	}
}

func (l *loader) checkDurations() {
	c := l.config
	if c.Part.Duration > c.Segment.Duration {
		l.wrong("part.duration", []string{"segment.duration"}, "%v is longer than segment.duration %v", c.Part.Duration, c.Segment.Duration)
	}
	if c.Failover.After < 2*c.Part.Duration {
		l.wrong("failover.after", []string{"part.duration"}, "%v is less than two parts; want at least %v", c.Failover.After, 2*c.Part.Duration)
	}
	if c.Kaltura.KeepAliveJitter > c.Kaltura.KeepAlive/2 {
		l.wrong("kaltura.keepAliveJitter", []string{"kaltura.keepAlive"}, "%v is more than half of kaltura.keepAlive; want at most %v", c.Kaltura.KeepAliveJitter, c.Kaltura.KeepAlive/2)
	}
	if c.Worker.StealAfter < 3*c.Worker.Beat {
		l.wrong("worker.stealAfter", []string{"worker.beat"}, "%v is less than three beats, so one that gets lost could cost a worker its entries; want at least %v", c.Worker.StealAfter, 3*c.Worker.Beat)
	}
	if c.Storage.Deadline < c.Storage.Timeout {
		l.wrong("storage.deadline", []string{"storage.timeout"}, "%v is less than storage.timeout %v", c.Storage.Deadline, c.Storage.Timeout)
	}
	window := time.Duration(c.HLS.Window+1) * c.Segment.Duration
	if c.Bus.Retention.Age < window {
		l.wrong("bus.retention.age", []string{"hls.window", "segment.duration"},
			"%v does not hold the live window and one segment; want at least %v", c.Bus.Retention.Age, window)
	}
	if c.DVR.MaxWindow < window {
		l.wrong("dvr.maxWindow", []string{"hls.window", "segment.duration"},
			"%v is less than the live window and one segment; want at least %v", c.DVR.MaxWindow, window)
	}
}

func (l *loader) checkMemory() {
	c := l.config
	if c.Bus.Retention.Total < c.Bus.Retention.Bytes {
		l.wrong("bus.retention.total", []string{"bus.retention.bytes"}, "%v is less than bus.retention.bytes %v", c.Bus.Retention.Total, c.Bus.Retention.Bytes)
	}
	if c.Bus.Retention.Total >= c.Bus.MaxMemory {
		l.wrong("bus.maxMemory", []string{"bus.retention.total"}, "%v does not hold bus.retention.total %v and what else the bus keeps in memory; want more", c.Bus.MaxMemory, c.Bus.Retention.Total)
	}
	if c.RTMP.MaxMemory < c.RTMP.MaxMessage {
		l.wrong("rtmp.maxMemory", []string{"rtmp.maxMessage"}, "%v is less than rtmp.maxMessage %v", c.RTMP.MaxMemory, c.RTMP.MaxMessage)
	}
}
