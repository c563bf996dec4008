package gateway

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"net"
	"net/http"
	"strconv"
	"time"
)

// Headers of a request between the gateways of one deployment. Those that an encoder sends
// are taken away.
const (
	headerTime      = "Klive-Time"
	headerSignature = "Klive-Signature"
	headerPeer      = "Klive-Peer"
)

// signedFor is how far the clocks of two nodes may be apart, and how long a request may be
// on its way.
const signedFor = 30 * time.Second

// sign makes a request one of the deployment's own: an HMAC-SHA256 over its method, address,
// sender and time under the secret that all nodes share. The body is not covered.
func sign(r *http.Request, secret, peer string, now time.Time) {
	at := strconv.FormatInt(now.UnixMilli(), 10)
	r.Header.Set(headerTime, at)
	r.Header.Set(headerPeer, peer)
	r.Header.Set(headerSignature, signature(secret, r.Method, r.URL.RequestURI(), peer, at))
}

func signature(secret, method, uri, peer, at string) string {
	mac := hmac.New(sha256.New, []byte(secret))
	fmt.Fprintf(mac, "klive internal 1\n%s\n%s\n%s\n%s", method, uri, peer, at)
	return hex.EncodeToString(mac.Sum(nil))
}

var (
	errUnsigned  = errors.New("the request carries no signature of this deployment; cluster.secret has to be the same on every node")
	errSignedOld = errors.New("the request was signed at another time; the nodes' clocks have to agree")
	errNotLocal  = errors.New("without cluster.secret only nodes on this host are answered")
)

// verify checks what sign made. Without a secret it trusts this host alone.
func verify(r *http.Request, secret string, now time.Time) error {
	at := r.Header.Get(headerTime)
	want := signature(secret, r.Method, r.URL.RequestURI(), r.Header.Get(headerPeer), at)
	if !hmac.Equal([]byte(r.Header.Get(headerSignature)), []byte(want)) {
		return errUnsigned
	}
	ms, err := strconv.ParseInt(at, 10, 64)
	if err != nil || now.Sub(time.UnixMilli(ms)).Abs() > signedFor {
		return errSignedOld
	}
	if host, _, err := net.SplitHostPort(r.RemoteAddr); secret == "" && err == nil {
		if ip := net.ParseIP(host); ip == nil || !ip.IsLoopback() {
			return errNotLocal
		}
	}
	return nil
}
