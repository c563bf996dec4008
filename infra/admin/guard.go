package admin

import (
	"crypto/hmac"
	"crypto/sha256"
	"crypto/subtle"
	_ "embed"
	"encoding/hex"
	"net"
	"net/http"
	"strings"
)

const (
	loginPath  = "/login"
	cookieName = "klive_admin"
	// maxLogin bounds the body of a login.
	maxLogin = 4 << 10
)

//go:embed login.html
var loginPage []byte

//go:embed login.css
var loginStyle []byte

// guard lets in who knows the token: by "Authorization: Bearer", or by the cookie that
// the login page or "?token=" gave. The cookie holds a hash, so it does not give the token away.
type guard struct {
	token  string
	cookie string
}

func newGuard(token string) *guard {
	mac := hmac.New(sha256.New, []byte(token))
	mac.Write([]byte("klive console cookie 1"))
	return &guard{token: token, cookie: hex.EncodeToString(mac.Sum(nil))}
}

func (g *guard) wrap(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch {
		case g.token == "":
			if !localHost(r.Host) {
				problem(w, http.StatusForbidden, "this listener has no token and answers to its own host's name only; "+
					"ask for localhost or 127.0.0.1, or set admin.token")
				return
			}
			next.ServeHTTP(w, r)
		case g.known(r):
			next.ServeHTTP(w, r)
		case r.Method == http.MethodGet && g.matches(r.URL.Query().Get("token")):
			g.enter(w, r, withoutToken(r))
		default:
			g.refuse(w, r)
		}
	})
}

func (g *guard) known(r *http.Request) bool {
	if bearer, ok := strings.CutPrefix(r.Header.Get("Authorization"), "Bearer "); ok {
		return g.matches(bearer)
	}
	c, err := r.Cookie(cookieName)
	return err == nil && same(c.Value, g.cookie)
}

func (g *guard) matches(token string) bool { return token != "" && same(token, g.token) }

// same compares without telling by its time how much of a agrees with b.
func same(a, b string) bool {
	x, y := sha256.Sum256([]byte(a)), sha256.Sum256([]byte(b))
	return subtle.ConstantTimeCompare(x[:], y[:]) == 1
}

// style serves the login page's looks, which strangers may see.
func (g *guard) style(w http.ResponseWriter, _ *http.Request) {
	w.Header().Set("Content-Type", "text/css; charset=utf-8")
	_, _ = w.Write(loginStyle)
}

// login is the form's target.
func (g *guard) login(w http.ResponseWriter, r *http.Request) {
	secureHeaders(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		r.Body = http.MaxBytesReader(w, r.Body, maxLogin)
		if g.token != "" && !g.matches(r.PostFormValue("token")) {
			w.Header().Set("Content-Type", "text/html; charset=utf-8")
			w.Header().Set("Cache-Control", "no-store")
			w.WriteHeader(http.StatusUnauthorized)
			_, _ = w.Write([]byte(strings.Replace(string(loginPage), "<!--wrong-->", `<p role="alert">That is not the token.</p>`, 1)))
			return
		}
		g.enter(w, r, "/")
	})).ServeHTTP(w, r)
}

// enter gives the cookie and sends the browser on.
func (g *guard) enter(w http.ResponseWriter, r *http.Request, to string) {
	http.SetCookie(w, &http.Cookie{
		Name: cookieName, Value: g.cookie, Path: "/",
		HttpOnly: true, Secure: r.TLS != nil, SameSite: http.SameSiteStrictMode,
	})
	w.Header().Set("Cache-Control", "no-store")
	http.Redirect(w, r, to, http.StatusSeeOther)
}

// withoutToken is the request's own path, so that the token leaves the address bar.
func withoutToken(r *http.Request) string {
	q := r.URL.Query()
	q.Del("token")
	to := "/" + strings.TrimLeft(r.URL.EscapedPath(), "/\\")
	if len(q) > 0 {
		to += "?" + q.Encode()
	}
	return to
}

func (g *guard) refuse(w http.ResponseWriter, r *http.Request) {
	if strings.Contains(r.Header.Get("Accept"), "text/html") {
		w.Header().Set("Content-Type", "text/html; charset=utf-8")
		w.Header().Set("Cache-Control", "no-store")
		w.WriteHeader(http.StatusUnauthorized)
		_, _ = w.Write(loginPage)
		return
	}
	w.Header().Set("WWW-Authenticate", `Bearer realm="klive"`)
	problem(w, http.StatusUnauthorized, "send the admin token: Authorization: Bearer <admin.token>")
}

// localHost reports whether a Host header names this host itself.
func localHost(host string) bool {
	if name, _, err := net.SplitHostPort(host); err == nil {
		host = name
	}
	host = strings.Trim(host, "[]")
	if host == "localhost" || strings.HasSuffix(host, ".localhost") {
		return true
	}
	ip := net.ParseIP(host)
	return ip != nil && ip.IsLoopback()
}
