package rtmp

import (
	"strings"

	"klive/gateway"
)

// target is where an encoder says that it wants to go.
type target struct {
	// app is the application's name, without slashes.
	app string
	// query holds the broadcast parameters; empty when there are none yet.
	query string
}

// readTarget takes a connect's app and tcUrl apart. The query stands behind the app, with
// or without a slash before the '?' (contract rows 9 and 10); encoders that cut it off
// there leave it in the tcUrl.
func readTarget(app, tcURL string) target {
	path, query, found := strings.Cut(app, "?")
	if !found {
		_, query, _ = strings.Cut(tcURL, "?")
	}
	return target{app: strings.Trim(path, "/"), query: query}
}

// splitName takes a publish name apart into the stream's name and the broadcast parameters
// behind it, if any.
func splitName(publish string) (name, query string) {
	name, query, _ = strings.Cut(publish, "?")
	return strings.Trim(name, "/"), query
}

// joinQuery puts the parameters of the publish name behind those of the connect: later ones
// win (contract row 12). What follows the first '/' of either is not part of it (row 11).
func joinQuery(connect, publish string) string {
	connect, _ = cutSlash(connect)
	publish, _ = cutSlash(publish)
	if connect == "" || publish == "" {
		return connect + publish
	}
	return connect + "&" + publish
}

// cutSlash cuts a query at its first '/': what some encoders put behind that is the stream's name.
func cutSlash(query string) (params, hint string) {
	if i := strings.IndexByte(query, '/'); i > 0 {
		return query[:i], query[i+1:]
	}
	return query, ""
}

// noParams is the refusal of a publish whose address has no broadcast parameters at all
// (contract row 17).
func noParams(app string) *gateway.Refusal {
	return &gateway.Refusal{Reason: gateway.ReasonParams, Text: "the address has no broadcast parameters; publish to rtmp://<host>/" + app +
		"/?p=<partner>&e=<entry>&i=0&t=<token>, or put them behind the stream name: <entry>_1?p=<partner>&e=<entry>&i=0&t=<token>"}
}
