package rtmp

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"log/slog"
	"math/big"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"klive/gateway"
	"klive/infra/media"
)

// realServer serves on loopback TCP until the test ends.
func realServer(t *testing.T, cfg Config) (*lockedBuffer, *fakeGateway) {
	t.Helper()
	log, gw := &lockedBuffer{}, &fakeGateway{}
	cfg.Gateway, cfg.Logger = gw, slog.New(slog.NewTextHandler(log, nil))
	s, err := NewServer(cfg)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	served := make(chan error, 1)
	go func() { served <- s.Serve(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := <-served; !errors.Is(err, context.Canceled) {
			t.Errorf("Serve = %v", err)
		}
		if err := s.Close(); err != nil {
			t.Error(err)
		}
		if strings.Contains(log.String(), testToken) {
			t.Errorf("a token is in the log:\n%s", log)
		}
	})
	return log, gw
}

func listen(t *testing.T) net.Listener {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	return l
}

// runFFmpeg publishes two seconds of a test picture with a tone.
func runFFmpeg(t *testing.T, args ...string) (string, error) {
	t.Helper()
	path, err := exec.LookPath("ffmpeg")
	if err != nil {
		t.Skip("SKIP: no ffmpeg; apt-get install ffmpeg")
	}
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	head := []string{"-hide_banner", "-loglevel", "warning", "-f", "lavfi", "-i", "testsrc2=size=320x180:rate=30:duration=2",
		"-f", "lavfi", "-i", "sine=sample_rate=44100:duration=2", "-c:v", "libx264", "-preset", "ultrafast", "-bf", "2", "-g", "30",
		"-x264-params", "aud=1", "-c:a", "aac", "-f", "flv"}
	out, err := exec.CommandContext(ctx, path, append(head, args...)...).CombinedOutput()
	return string(out), err
}

// TestFFmpeg publishes with a real encoder in each of the address's forms.
func TestFFmpeg(t *testing.T) {
	for name, args := range map[string]func(host string) []string{
		"query and name":    func(h string) []string { return []string{"rtmp://" + h + "/kLive/?" + testQuery + "/" + testName} },
		"no slash":          func(h string) []string { return []string{"rtmp://" + h + "/kLive?" + testQuery + "/" + testName} },
		"query on the name": func(h string) []string { return []string{"rtmp://" + h + "/kLive/" + testName + "?" + testQuery} },
		"app and playpath": func(h string) []string {
			return []string{"-rtmp_app", testApp, "-rtmp_playpath", testName, "rtmp://" + h}
		},
	} {
		t.Run(name, func(t *testing.T) {
			l := listen(t)
			reg := prometheus.NewRegistry()
			log, gw := realServer(t, Config{Listener: l, Registerer: reg})
			if out, err := runFFmpeg(t, args(l.Addr().String())...); err != nil {
				t.Fatalf("%v\n%s\nserver's log:\n%s", err, out, log)
			}
			p := gw.pub(t, 0)
			if n, cause := waitClosed(t, p); n != 1 || cause != nil {
				t.Errorf("closed %d times with %v", n, cause)
			}
			checkFFmpeg(t, gw, p)
			if got := counter(t, reg, "klive_rtmp_received_bytes_total"); got < 10_000 {
				t.Errorf("%v bytes received by the metric", got)
			}
			if got := counter(t, reg, "klive_rtmp_accepted_total"); got != 1 {
				t.Errorf("%v connections taken by the metric", got)
			}
		})
	}
}

// counter returns a counter's first value.
func counter(t *testing.T, reg *prometheus.Registry, name string) float64 {
	t.Helper()
	families, err := reg.Gather()
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range families {
		if f.GetName() == name {
			return f.GetMetric()[0].GetCounter().GetValue()
		}
	}
	t.Fatalf("no metric %s", name)
	return 0
}

// waitClosed waits for the end of a publication: ffmpeg does not wait for ours.
func waitClosed(t *testing.T, p *fakePublication) (int, error) {
	t.Helper()
	for deadline := time.Now().Add(time.Minute); time.Now().Before(deadline); time.Sleep(5 * time.Millisecond) {
		if n, cause := p.state(); n > 0 {
			return n, cause
		}
	}
	t.Fatal("the publication is still open")
	return 0, nil
}

func checkFFmpeg(t *testing.T, gw *fakeGateway, p *fakePublication) {
	t.Helper()
	p.mu.Lock()
	defer p.mu.Unlock()
	if gw.publishes[0].Name != testName || !strings.Contains(gw.publishes[0].Encoder, "Lavf") {
		t.Errorf("publish: %+v", gw.publishes[0])
	}
	if len(p.tracks) != 2 || len(p.kinds) != 2 {
		t.Fatalf("tracks %+v, announced %v", p.tracks, p.kinds)
	}
	if w, h := p.tracks[0].Params.(media.VideoParams).Size(); w != 320 || h != 180 {
		t.Errorf("picture of %dx%d", w, h)
	}
	var frames, keys, audio int
	last := map[media.TrackID]int64{0: -1, 1: -1}
	for _, u := range p.units {
		if int64(u.Time) <= last[u.Track] {
			t.Fatalf("track %d: time %d after %d", u.Track, u.Time, last[u.Track])
		}
		last[u.Track] = int64(u.Time)
		if u.Track != media.VideoTrack {
			audio++
			continue
		}
		frames++
		if u.Key {
			keys++
		}
		if nal := u.Payload[4] & 0x1f; nal == 9 || nal == 7 {
			t.Fatalf("frame %d begins with NAL unit type %d", frames, nal)
		}
	}
	if frames != 60 || keys != 2 || audio < 86 || audio > 89 {
		t.Errorf("%d frames, %d keyframes, %d audio frames", frames, keys, audio)
	}
}

// TestFFmpegRefused checks that a refusal reaches a real encoder.
func TestFFmpegRefused(t *testing.T) {
	l := listen(t)
	log, gw := realServer(t, Config{Listener: l})
	gw.mu.Lock()
	gw.publishErr = func(gateway.Publish) error {
		return &gateway.Refusal{Reason: gateway.ReasonBusy, Text: "stream 0_rkij47dr_1 is on the air already"}
	}
	gw.mu.Unlock()
	out, err := runFFmpeg(t, "rtmp://"+l.Addr().String()+"/kLive/?"+testQuery+"/"+testName)
	if err == nil || !strings.Contains(out, "stream 0_rkij47dr_1 is on the air already") {
		t.Errorf("ffmpeg: %v\n%s\nserver's log:\n%s", err, out, log)
	}
	gw.mu.Lock()
	gw.connectErr = func(gateway.Connect) error {
		return &gateway.Refusal{Reason: gateway.ReasonAuth, Text: "the token is wrong"}
	}
	gw.mu.Unlock()
	out, err = runFFmpeg(t, "rtmp://"+l.Addr().String()+"/kLive/?"+testQuery+"/"+testName)
	if err == nil || !strings.Contains(out, "the token is wrong") {
		t.Errorf("ffmpeg: %v\n%s\nserver's log:\n%s", err, out, log)
	}
}

// writePair makes a self-signed certificate for localhost and writes it with its key.
func writePair(t *testing.T, cert, key, name string) *x509.CertPool {
	t.Helper()
	private, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(time.Now().UnixNano()), Subject: pkix.Name{CommonName: name}, DNSNames: []string{"localhost"},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour), IsCA: true, BasicConstraintsValid: true,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &private.PublicKey, private)
	if err != nil {
		t.Fatal(err)
	}
	pk, err := x509.MarshalPKCS8PrivateKey(private)
	if err != nil {
		t.Fatal(err)
	}
	certPEM := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})
	for path, b := range map[string][]byte{cert: certPEM, key: pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: pk})} {
		if err := os.WriteFile(path, b, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	pool := x509.NewCertPool()
	pool.AppendCertsFromPEM(certPEM)
	return pool
}

// TestRTMPS publishes over TLS, before and after the certificate's files are replaced.
func TestRTMPS(t *testing.T) {
	dir := t.TempDir()
	cert, key := filepath.Join(dir, "cert.pem"), filepath.Join(dir, "key.pem")
	pool := writePair(t, cert, key, "first")
	files, err := gateway.NewCertFile(cert, key, nil)
	if err != nil {
		t.Fatal(err)
	}
	l := listen(t)
	_, gw := realServer(t, Config{TLSListener: l, TLS: &tls.Config{GetCertificate: files.GetCertificate}})
	publish := func(pool *x509.CertPool) (*testClient, string) {
		t.Helper()
		conn, err := tls.Dial("tcp", l.Addr().String(), &tls.Config{RootCAs: pool, ServerName: "localhost"})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { conn.Close() })
		c := newTestClient(t, conn)
		c.publishing()
		c.send(keyframe(0, 50_000))
		c.command(0, "deleteStream", 9, nil, 1.0)
		return c, conn.ConnectionState().PeerCertificates[0].Subject.CommonName
	}
	c, name := publish(pool)
	p := waitPub(t, gw, 0)
	if n, cause := waitClosed(t, p); n != 1 || cause != nil || p.count() != 1 || name != "first" {
		t.Errorf("certificate %s, %d units, closed %d times with %v", name, p.count(), n, cause)
	}
	if gw.connects[0].Protocol != "rtmps" {
		t.Errorf("protocol %s", gw.connects[0].Protocol)
	}
	pool = writePair(t, cert, key, "second")
	// The files are looked at once a second, by the wall clock: TLS runs over real sockets.
	time.Sleep(1100 * time.Millisecond)
	if _, name := publish(pool); name != "second" {
		t.Errorf("certificate after the change: %s", name)
	}
	// The first connection has lived on.
	c.command(0, "createStream", 10, nil)
	c.command(1, "publish", 11, nil, testName, "live")
	waitPub(t, gw, 2)
	// Something else on the port is turned away.
	plain, err := net.Dial("tcp", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer plain.Close()
	if _, err := plain.Write(append([]byte{3}, make([]byte, 1536)...)); err != nil {
		t.Fatal(err)
	}
	var got bytes.Buffer
	if _, err := got.ReadFrom(plain); got.Len() > 100 {
		t.Errorf("plain RTMP was answered with %d bytes, %v", got.Len(), err)
	}
}

func waitPub(t *testing.T, gw *fakeGateway, i int) *fakePublication {
	t.Helper()
	for deadline := time.Now().Add(time.Minute); time.Now().Before(deadline); time.Sleep(5 * time.Millisecond) {
		gw.mu.Lock()
		n := len(gw.pubs)
		gw.mu.Unlock()
		if n > i {
			break
		}
	}
	return gw.pub(t, i)
}
