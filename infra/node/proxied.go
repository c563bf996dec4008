package node

import (
	"net/http"
	"net/netip"
	"slices"
	"strings"
)

// maxHops bounds how many addresses of X-Forwarded-For are looked at.
const maxHops = 16

// proxied has requests that come through a trusted proxy count as the client's own, as the log
// and limits want them. Every proxy adds whom it heard to X-Forwarded-For, at the end; what stands
// before the first address that is no trusted proxy's is the client's word and not believed.
func proxied(trusted []netip.Prefix, next http.Handler) http.Handler {
	if len(trusted) == 0 {
		return next
	}
	believed := func(a netip.Addr) bool {
		return slices.ContainsFunc(trusted, func(p netip.Prefix) bool { return p.Contains(a) })
	}
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		from, err := netip.ParseAddrPort(r.RemoteAddr)
		if err != nil || !believed(from.Addr().Unmap()) {
			next.ServeHTTP(w, r)
			return
		}
		hops := strings.Split(strings.Join(r.Header.Values("X-Forwarded-For"), ","), ",")
		hops = hops[max(0, len(hops)-maxHops):]
		for _, hop := range slices.Backward(hops) {
			a, err := hopAddress(hop)
			if err != nil {
				break
			}
			from = a
			if !believed(a.Addr()) {
				break
			}
		}
		r = r.WithContext(r.Context())
		r.RemoteAddr = from.String()
		next.ServeHTTP(w, r)
	})
}

// hopAddress reads an address of X-Forwarded-For, with a port or without one; that is then 0.
func hopAddress(text string) (netip.AddrPort, error) {
	text = strings.TrimSpace(text)
	if a, err := netip.ParseAddr(text); err == nil {
		return netip.AddrPortFrom(a.Unmap(), 0), nil
	}
	a, err := netip.ParseAddrPort(text)
	return netip.AddrPortFrom(a.Addr().Unmap(), a.Port()), err
}
