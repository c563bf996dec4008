package node

import (
	"context"
	"errors"
	"net"
	"slices"
	"strings"
	"testing"
	"testing/synctest"

	"klive/infra/bus/bustest"
	"klive/infra/check"
	"klive/infra/config"
)

func TestListenTCPErrors(t *testing.T) {
	l, err := ListenTCP(t.Context(), "rtmp.listen", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	_, port, err := net.SplitHostPort(l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	for address, words := range map[string][]string{
		l.Addr().String():   {"port " + port, "in use", "rtmp.listen", "KLIVE_RTMP_LISTEN"},
		"192.0.2.1:1935":    {"192.0.2.1:1935", "rtmp.listen"}, // TEST-NET: no address of ours
		"127.0.0.1:nosuch!": {"rtmp.listen"},
	} {
		got, err := ListenTCP(t.Context(), "rtmp.listen", address)
		if err == nil {
			got.Close()
			t.Errorf("%s: no error", address)
			continue
		}
		for _, w := range words {
			if !strings.Contains(err.Error(), w) {
				t.Errorf("%s: %q does not say %q", address, err, w)
			}
		}
	}
}

// All listeners open or none, and those that are off are not asked for.
func TestOpenListeners(t *testing.T) {
	c := config.Default()
	c.HTTPS.Listen = ":8443"
	fault := errors.New("taken")
	for _, refuse := range []string{"", "https.listen", "admin.listen"} {
		var asked []string
		var open []*check.PipeListener
		ls, err := openListeners(t.Context(), func(ctx context.Context, key, address string) (net.Listener, error) {
			asked = append(asked, key)
			if key == refuse {
				return nil, fault
			}
			l, err := check.NewPipes().Listen(ctx, key, address)
			open = append(open, l.(*check.PipeListener))
			return l, err
		}, All, c)
		if refuse == "" {
			if want := []string{"rtmp.listen", "http.listen", "https.listen", "admin.listen"}; err != nil || !slices.Equal(asked, want) {
				t.Errorf("asked for %v, want %v; %v", asked, want, err)
			}
			if ls.rtmps != nil || ls.rtmp == nil || ls.admin == nil {
				t.Errorf("got %+v", ls)
			}
			ls.close()
		} else if !errors.Is(err, fault) || ls != (listeners{}) {
			t.Errorf("%s refused: %+v, %v", refuse, ls, err)
		}
		for _, l := range open {
			if !l.Closed() {
				t.Errorf("%s refused: %s is still open", refuse, l.Addr())
			}
		}
	}
}

// What a process holds is told by key, for the doctor.
func TestHolds(t *testing.T) {
	bustest.Prepare(t)
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, nil)
		defer r.close()
		p := r.node.holds()
		if want, _ := r.cfg.Settings.StorageURL(); p.Store != want || want == "" {
			t.Errorf("the store is %q, want %q", p.Store, want)
		}
		for _, key := range []string{"rtmp.listen", "http.listen", "admin.listen"} {
			if p.Listeners[key] == "" {
				t.Errorf("no %s in %v", key, p.Listeners)
			}
		}
		if _, on := p.Listeners["rtmps.listen"]; on {
			t.Errorf("a listener that is off: %v", p.Listeners)
		}
	})
}
