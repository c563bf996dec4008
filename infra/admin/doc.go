// Package admin is klive's operators' listener: the console page at /, its JSON API under
// /v1, metrics, readiness, profiles, and the control plane's /api_v3 where there is one.
// With a token set, the token guards everything but /api_v3 (its own sessions guard that)
// and /readyz. Without one the listener is meant for this host alone and refuses requests
// that name another, so that no web page can reach it by renaming an address.
package admin
