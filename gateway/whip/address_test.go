package whip

import (
	"context"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/pion/stun/v4"
)

// TestPublicAddressBySTUN asks a server that loses the first request.
func TestPublicAddressBySTUN(t *testing.T) {
	server, err := net.ListenUDP("udp4", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)})
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		buf := make([]byte, 1500)
		for n := 0; ; n++ {
			size, from, err := server.ReadFromUDP(buf)
			if err != nil {
				return
			}
			m := &stun.Message{Raw: append([]byte(nil), buf[:size]...)}
			if n == 0 || m.Decode() != nil {
				continue
			}
			answer, err := stun.Build(stun.NewTransactionIDSetter(m.TransactionID), stun.BindingSuccess,
				&stun.XORMappedAddress{IP: net.IPv4(203, 0, 113, 7), Port: from.Port})
			if err == nil {
				_, _ = server.WriteToUDP([]byte("noise"), from)
				_, _ = server.WriteToUDP(answer.Raw, from)
			}
		}
	}()
	defer func() { server.Close(); <-done }()
	list, err := PublicAddresses(t.Context(), AddressSource{STUN: server.LocalAddr().String()})
	if err != nil || len(list) != 1 || list[0].String() != "203.0.113.7" {
		t.Errorf("%v, %v", list, err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	silent, err := net.ListenUDP("udp4", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)})
	if err != nil {
		t.Fatal(err)
	}
	defer silent.Close()
	if list, err := PublicAddresses(ctx, AddressSource{STUN: silent.LocalAddr().String()}); err == nil || !strings.Contains(err.Error(), "does not answer") {
		t.Errorf("a server that says nothing: %v, %v", list, err)
	}
}

// TestPublicAddressOfCloud asks metadata services as each cloud wants to be asked.
func TestPublicAddressOfCloud(t *testing.T) {
	service := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch {
		case r.Method == http.MethodPut && r.URL.Path == "/latest/api/token" && r.Header.Get("X-Aws-Ec2-Metadata-Token-Ttl-Seconds") != "":
			_, _ = w.Write([]byte("the-token"))
		case r.URL.Path == "/latest/meta-data/public-ipv4" && r.Header.Get("X-Aws-Ec2-Metadata-Token") == "the-token",
			strings.HasPrefix(r.URL.Path, "/computeMetadata/") && r.Header.Get("Metadata-Flavor") == "Google":
			_, _ = w.Write([]byte("203.0.113.9\n"))
		case strings.HasPrefix(r.URL.Path, "/metadata/instance/") && r.Header.Get("Metadata") == "true":
			// a host without a public address
		default:
			http.Error(w, "no", http.StatusForbidden)
		}
	}))
	defer service.Close()
	for _, cloud := range []string{"aws", "gcp"} {
		if ip, err := askCloud(t.Context(), service.URL, cloud); err != nil || ip.String() != "203.0.113.9" {
			t.Errorf("%s: %v, %v", cloud, ip, err)
		}
	}
	if ip, err := askCloud(t.Context(), service.URL, "azure"); err == nil || !strings.Contains(err.Error(), "no public address") {
		t.Errorf("none: %v, %v", ip, err)
	}
}

// TestPublicAddressInAnswer offers the public address in the place of the host's own.
func TestPublicAddressInAnswer(t *testing.T) {
	list, err := PublicAddresses(t.Context(), AddressSource{Addresses: []netip.Addr{netip.MustParseAddr("203.0.113.7")}})
	if err != nil {
		t.Fatal(err)
	}
	r := newRig(t, func(c *Config) { c.PublicAddresses, c.Lite = list, true })
	res, answer := r.send("POST", address+"?p=102&t=secret-token", anOffer, "Content-Type", "application/sdp")
	if res.StatusCode != http.StatusCreated || !strings.Contains(answer, " 203.0.113.7 ") || strings.Contains(answer, "typ host\r\n") && strings.Contains(answer, " 127.0.0.1 ") || !strings.Contains(answer, "a=ice-lite") {
		t.Errorf("%s:\n%s", res.Status, answer)
	}
}
