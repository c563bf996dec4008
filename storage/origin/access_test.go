package origin_test

import (
	"net/url"
	"strings"
	"testing"
	"time"

	"klive/storage/origin"
	"klive/storage/storagetest"
	tt "klive/storage/timeline/timelinetest"
)

var (
	oldKey = origin.Key{ID: "k1", Secret: "first-secret-of-viewers"}
	newKey = origin.Key{ID: "k2", Secret: "second-secret-of-viewers"}
)

func TestTokens(t *testing.T) {
	s := newStation(t, storagetest.NewMemory(), time.Hour)
	for range 8 {
		s.segment()
	}
	s.origin = origin.New(origin.Config{Timelines: s.view, Store: s.store, Access: origin.Access{Keys: []origin.Key{newKey, oldKey}}})
	later := time.Now().Add(time.Hour)
	good := origin.Sign(newKey, tt.Entry, later)
	media := "/kLive/" + tt.Video + "/" + tt.Broadcast + "/" + first
	forged := good[:len(good)-1] + string("0123456789abcdef"[(strings.IndexByte("0123456789abcdef", good[len(good)-1])+1)%16])
	for _, test := range []struct {
		name, target string
		code         int
		want         string
	}{
		{"none", multi, 403, "needs a token"},
		{"none for media", media, 403, "needs a token"},
		{"none for an entry page", "/live/" + tt.Entry, 403, "needs a token"},
		{"none for SMIL", "/kLive/" + tt.Entry + "_all.smil", 403, "needs a token"},
		{"none for DASH", strings.Replace(multi, "playlist.m3u8", "manifest.mpd", 1), 403, "needs a token"},
		{"policies are free", "/crossdomain.xml", 200, "policy"},
		{"the time is free", "/kLive/time", 200, "T"},
		{"in the path", origin.SignedPath(good, multi), 200, "#EXTM3U"},
		{"in the query for media", media + "?token=" + good, 200, "0123"},
		{"in the query", multi + "?token=" + good, 302, ""},
		{"in both", origin.SignedPath(good, multi) + "?token=" + good, 200, "#EXTM3U"},
		{"for media", origin.SignedPath(good, media), 200, "0123"},
		{"for DVR", origin.SignedPath(good, multi+"?DVR"), 200, "dvr.m3u8"},
		{"for the entry page", origin.SignedPath(good, "/live/"+tt.Entry), 302, ""},
		{"of the old key", origin.SignedPath(origin.Sign(oldKey, tt.Entry, later), multi), 200, "#EXTM3U"},
		{"for all", origin.SignedPath(origin.Sign(newKey, origin.ScopeAll, later), multi), 200, "#EXTM3U"},
		{"of a key that is gone", origin.SignedPath(origin.Sign(origin.Key{ID: "k0", Secret: oldKey.Secret}, tt.Entry, later), multi), 403, "not signed by a key in use"},
		{"of another secret", origin.SignedPath(origin.Sign(origin.Key{ID: "k2", Secret: oldKey.Secret}, tt.Entry, later), multi), 403, "not signed by a key in use"},
		{"expired", origin.SignedPath(origin.Sign(newKey, tt.Entry, time.Now().Add(-time.Second)), multi), 403, "expired"},
		{"another entry's", origin.SignedPath(origin.Sign(newKey, "0_aaaaaaaa", later), multi), 403, "another entry"},
		{"no scope", origin.SignedPath(origin.Sign(newKey, "", later), "/kLive/nothing/v.m3u8"), 403, "another entry"},
		{"forged", origin.SignedPath(forged, multi), 403, "not signed"},
		{"extended", origin.SignedPath(strings.Replace(good, "k2.", "k2.9", 1), multi), 403, "not signed"},
		{"damaged", origin.SignedPath("x", multi), 403, "damaged"},
		{"endless", origin.SignedPath(strings.Repeat("x.", 5000), multi), 403, "damaged"},
		{"escaped", origin.SignedPath(strings.Replace(good, ".", "%2e", 1), multi), 404, "nothing"},
		{"a way out", origin.SignedPath(good, "/../state/"+tt.Entry+"/head.json"), 403, "another entry"},
		{"a way out for all", origin.SignedPath(origin.Sign(newKey, origin.ScopeAll, later), "/kLive/../state/"+tt.Entry+"/head.json"), 404, "nothing"},
	} {
		t.Run(test.name, func(t *testing.T) {
			r := s.do("GET", test.target)
			text := body(t, r)
			if r.StatusCode != test.code || !strings.Contains(text, test.want) {
				t.Errorf("%d %s", r.StatusCode, text)
			}
			if cache := r.Header.Get("Cache-Control"); (r.StatusCode == 403) != (cache == "no-store") && test.target != "/kLive/time" {
				t.Errorf("a %d is cached as %q", r.StatusCode, cache)
			}
			if strings.Contains(text, newKey.Secret) || strings.Contains(text, good) {
				t.Error("the answer tells a token or a secret")
			}
		})
	}
	t.Run("for a CDN", func(t *testing.T) {
		for uri, code := range map[string]int{
			origin.SignedPath(good, multi): 204, multi + "?token=" + good: 204, origin.SignedPath(good, media): 204,
			multi: 403, origin.SignedPath(good, "/kLive/0_aaaaaaaa_32/v.m3u8"): 403, "": 403, "http://x:y/": 403,
			// What the origin itself has no answer for, though the token is good for it.
			origin.SignedPath(good, "/kLive/"+tt.Video+"/../"+tt.Video+"/v.m3u8"):      403,
			origin.SignedPath(good, "/kLive/"+tt.Video+"/../0_aaaaaaaa_32/v.m3u8"):     403,
			origin.SignedPath(good, "/kLive/"+tt.Video+"/%2e%2E/0_aaaaaaaa_32/v.m3u8"): 403,
			origin.SignedPath(good, "/kLive/"+tt.Video+"%2fv.m3u8"):                    403,
			"/" + origin.SignedPath(good, multi):                                       403,
			"/kLive/" + tt.Video + "//v.m3u8?token=" + good:                            403,
			multi + "?tok%65n=" + good:                                                 403,
		} {
			r := s.do("GET", "/kLive/auth", "X-Original-URI", uri)
			if r.StatusCode != code || r.Header.Get("Cache-Control") != "no-store" {
				t.Errorf("%q: %d %v", uri, r.StatusCode, r.Header)
			}
		}
	})
}

// TestQueryNames holds that names in a query count as they are written, as a CDN sees them.
func TestQueryNames(t *testing.T) {
	s := newStation(t, storagetest.NewMemory(), time.Hour)
	for range 8 {
		s.segment()
	}
	plain, dvr := body(t, s.do("GET", multi)), body(t, s.do("GET", multi+"?DVR"))
	none := s.do("GET", multi+"?flavorIds=99")
	if plain == dvr || none.StatusCode != 404 {
		t.Fatalf("the same with and without ?DVR: %s\nflavor 99: %d", plain, none.StatusCode)
	}
	for query, want := range map[string]string{
		"?%44VR": plain, "?dvr": plain, "?a=DVR": plain, "?a;DVR": plain, "?a&DVR": dvr, "?DVR=": dvr, "?DVR=1": dvr, "?DVR=0": plain, "?DVR=false": plain, "?DVR=0&DVR": plain, "?DVR&DVR=0": dvr, "?DVR=%30": dvr, "?DVR=%zz": dvr,
		"?flavor%49ds=99": plain, "?FLAVORIDS=99": plain, "?flavorIds&flavorIds=99": plain, "?flavorIds=%33%32": body(t, s.do("GET", multi+"?flavorIds=32")),
	} {
		if got := body(t, s.do("GET", multi+query)); got != want {
			t.Errorf("%s:\n%s", query, got)
		}
	}
}

// TestRedirectIsPrivate holds that nobody is sent on with another viewer's token.
func TestRedirectIsPrivate(t *testing.T) {
	s := newStation(t, storagetest.NewMemory(), time.Hour)
	s.segment()
	r := s.do("GET", "/live/"+tt.Entry+"?token=x&DVR")
	if at := r.Header.Get("Location"); r.StatusCode != 302 || !strings.HasSuffix(at, "?token=x&DVR") || !strings.HasPrefix(r.Header.Get("Cache-Control"), "private") {
		t.Errorf("%d %v", r.StatusCode, r.Header)
	}
}

// TestTokenInQuery holds that an address with its token in the query leads to one that plays, and
// that no cache keeps what holds a token.
func TestTokenInQuery(t *testing.T) {
	s := newStation(t, storagetest.NewMemory(), time.Hour)
	for range 8 {
		s.segment()
	}
	s.origin = origin.New(origin.Config{Timelines: s.view, Store: s.store, Access: origin.Access{Keys: []origin.Key{newKey}}})
	good := origin.Sign(newKey, tt.Entry, time.Now().Add(time.Hour))
	media := "/kLive/" + tt.Video + "/v.m3u8"
	for target, want := range map[string]string{
		multi + "?token=" + good:                               origin.SignedPath(good, multi),
		multi + "?x=1&DVR&token=" + good:                       origin.SignedPath(good, multi) + "?x=1&DVR",
		media + "?DVR=0&token=" + good:                         origin.SignedPath(good, media) + "?DVR=0",
		"/kLive/" + tt.Entry + "_all.smil?token=" + good:       origin.SignedPath(good, "/kLive/"+tt.Entry+"_all.smil"),
		"/live/" + tt.Entry + "?flavorIds=32,33&token=" + good: origin.SignedPath(good, "/live/"+tt.Entry) + "?flavorIds=32,33",
	} {
		r := s.do("GET", target)
		base, _ := url.Parse(target)
		to, err := base.Parse(r.Header.Get("Location"))
		if err != nil || r.StatusCode != 302 || to.RequestURI() != want {
			t.Errorf("%s: %d, to %v (%v), want %s", target, r.StatusCode, to, err, want)
			continue
		}
		if cache := r.Header.Get("Cache-Control"); cache != "private, no-store" {
			t.Errorf("%s: a redirect that holds a token is cached as %q", target, cache)
		}
		for range 3 { // /live/ leads on
			if r = s.do("GET", to.RequestURI()); r.StatusCode == 302 {
				to, _ = to.Parse(r.Header.Get("Location"))
			}
		}
		if r.StatusCode != 200 {
			t.Errorf("%s leads to %s: %d", target, to, r.StatusCode)
		}
	}
	if r := s.do("GET", "/live/"+tt.Entry+"?token=x"); r.StatusCode != 403 {
		t.Errorf("a token that opens nothing: %d", r.StatusCode)
	}
}

func TestShield(t *testing.T) {
	s := newStation(t, storagetest.NewMemory(), time.Hour)
	s.segment()
	s.origin = origin.New(origin.Config{Timelines: s.view, Store: s.store, Access: origin.Access{ShieldHeader: "X-Shield", ShieldSecrets: []string{"new-secret-of-cdn", "old-secret-of-cdn"}}})
	for secret, code := range map[string]int{"new-secret-of-cdn": 200, "old-secret-of-cdn": 200, "": 403, "other": 403} {
		if r := s.do("GET", multi, "X-Shield", secret); r.StatusCode != code || code == 403 && r.Header.Get("Cache-Control") != "no-store" {
			t.Errorf("%q: %d %v", secret, r.StatusCode, r.Header)
		}
	}
	if r := s.do("GET", multi); r.StatusCode != 403 {
		t.Errorf("without the header: %d", r.StatusCode)
	}
}
