package controlplane

import (
	"context"
	"net"
	"net/http"
	"strings"
	"time"

	"klive/infra/kaltura"
)

// access says who may call an action.
type access uint8

const (
	// anyone needs no session.
	anyone access = iota
	// anySession needs a session of any type.
	anySession
	// admin needs an administrator's session.
	admin
	// mediaServers is for the media server partner and for partners that may run media
	// servers of their own.
	mediaServers
	// systemServer is for the media server partner alone.
	systemServer
	// batch is for the background jobs' partner alone.
	batch
)

// scope says what the media server partner may do with an action (contract §2.5).
type scope uint8

const (
	// notForServers: the media server partner may not call it.
	notForServers scope = iota
	// ownOnly: it may, for itself.
	ownOnly
	// everyPartner: it may, in the name of any partner.
	everyPartner
	// everyPartnerNow is everyPartner for servers of today and notForServers in 2015.
	everyPartnerNow
)

// action is one row of the table.
type action struct {
	service, name string
	access        access
	scope         scope
	// file marks actions that answer with a file: their errors go into headers.
	file bool
	run  func(s *Server, ctx context.Context, c *call) (any, error)
}

// call is one call of a request on its way.
type call struct {
	// service and action are as the caller spelt them.
	service, action string
	from            origin
	params          kaltura.Node
	files           map[string]*incoming
	// ksText is the session string, ks what it says; nil without session.
	ksText string
	ks     *kaltura.KS
	// partner is the one whose data the call sees; allPartners lifts that.
	partner     int
	allPartners bool
	now         time.Time
	// bound says that the parameters fitted the action.
	bound bool
	// public is how long anybody may keep the answer; 0 is not at all.
	public time.Duration
}

// origin is where a request comes from and where it goes.
type origin struct {
	// address is the caller's IP address, path the request's.
	address, path string
}

func originOf(r *http.Request) origin {
	host, _, err := net.SplitHostPort(r.RemoteAddr)
	if err != nil {
		host = r.RemoteAddr
	}
	return origin{address: host, path: r.URL.Path}
}

// admin says whether an administrator calls.
func (c *call) admin() bool { return c.ks != nil && c.ks.Admin() }

// sees says whether the call may see an entry of the partner.
func (c *call) sees(partner int) bool { return c.allPartners || c.partner == partner }

// file is the answer of a file action.
type file struct {
	contentType  string
	cacheControl string
	data         []byte
}

// on makes a row. The function takes its parameters as a struct; see bind.
func on[P any](service, name string, a access, sc scope, f func(*Server, context.Context, *call, P) (any, error)) action {
	return action{service: service, name: name, access: a, scope: sc,
		run: func(s *Server, ctx context.Context, c *call) (any, error) {
			var p P
			if err := bind(c.params, c.files, &p, s.config.Generation); err != nil {
				return nil, err
			}
			c.bound = true
			return f(s, ctx, c, p)
		}}
}

// asFile marks a row whose answer is a file.
func asFile(a action) action {
	a.file = true
	return a
}

// table lists every action the server knows.
func table() []action {
	rows := []action{
		on("session", "start", anyone, ownOnly, (*Server).sessionStart),
		on("session", "end", anySession, ownOnly, (*Server).sessionEnd),
		on("session", "get", anySession, ownOnly, (*Server).sessionGet),

		on("liveStream", "authenticate", mediaServers, everyPartner, (*Server).authenticate),
		on("liveStream", "registerMediaServer", mediaServers, everyPartner, (*Server).registerMediaServer),
		on("liveStream", "unregisterMediaServer", mediaServers, everyPartner, (*Server).unregisterMediaServer),
		on("liveStream", "get", anySession, everyPartner, (*Server).liveStreamGet),
		on("liveStream", "list", anySession, ownOnly, (*Server).liveStreamList),
		on("liveStream", "isLive", anyone, ownOnly, (*Server).liveStreamIsLive),
		on("liveStream", "getDetails", anyone, ownOnly, (*Server).liveStreamGetDetails),
		on("liveStream", "validateRegisteredMediaServers", batch, notForServers, (*Server).validateRegistered),
		on("liveStream", "add", admin, notForServers, (*Server).liveStreamAdd),
		on("liveStream", "update", admin, everyPartner, (*Server).liveStreamUpdate),
		on("liveStream", "delete", admin, notForServers, (*Server).liveStreamDelete),
		on("liveStream", "regenerateStreamToken", admin, notForServers, (*Server).regenerateStreamToken),
		on("baseEntry", "update", admin, everyPartner, (*Server).baseEntryUpdate),

		on("conversionProfile", "get", anySession, everyPartnerNow, (*Server).conversionProfileGet),
		on("conversionProfile", "list", anySession, notForServers, (*Server).conversionProfileList),
		on("conversionProfileAssetParams", "list", anySession, everyPartner, (*Server).profileAssetsList),
		on("flavorAsset", "list", anySession, everyPartner, (*Server).flavorAssetList),
		on("flavorParams", "get", anySession, everyPartner, (*Server).flavorParamsGet),
		on("flavorParams", "list", anySession, everyPartner, (*Server).flavorParamsList),
		on("flavorParams", "getByConversionProfileId", anySession, notForServers, (*Server).flavorParamsByProfile),

		on("uploadToken", "add", anySession, everyPartner, (*Server).uploadTokenAdd),
		on("uploadToken", "upload", anySession, everyPartner, (*Server).uploadTokenUpload),
		on("uploadToken", "get", anySession, ownOnly, (*Server).uploadTokenGet),
		on("uploadToken", "delete", anySession, ownOnly, (*Server).uploadTokenDelete),

		on("mediaServer", "reportStatus", systemServer, ownOnly, (*Server).reportStatus),
		on("mediaServer", "get", systemServer, ownOnly, (*Server).mediaServerGet),
		on("serverNode", "add", mediaServers, everyPartnerNow, (*Server).serverNodeAdd),
		on("serverNode", "get", mediaServers, everyPartnerNow, (*Server).serverNodeGet),
		on("serverNode", "list", mediaServers, everyPartnerNow, (*Server).serverNodeList),
		on("serverNode", "update", mediaServers, ownOnly, (*Server).serverNodeUpdate),
		on("serverNode", "reportStatus", mediaServers, everyPartnerNow, (*Server).serverNodeReport),
		on("entryServerNode", "get", anySession, everyPartnerNow, (*Server).entryNodeGet),
		on("entryServerNode", "list", anySession, everyPartnerNow, (*Server).entryNodeList),
		on("entryServerNode", "update", mediaServers, everyPartnerNow, (*Server).entryNodeUpdate),
		on("entryServerNode", "updateStatus", mediaServers, everyPartnerNow, (*Server).entryNodeUpdateStatus),
		on("entryServerNode", "validateRegisteredEntryServerNode", batch, notForServers, (*Server).entryNodeValidate),
	}
	// The second spelling is the one of old documentation (contract §0).
	for _, service := range []string{"wowza_liveConversionProfile", "wowza_liveStreamConversionProfile"} {
		rows = append(rows, asFile(on(service, "serve", anyone, everyPartnerNow, (*Server).serveTemplate)))
	}
	return append(rows, recordingTable()...)
}

// services indexes the table by lower-case service and action.
func services(rows []action) map[string]map[string]*action {
	out := map[string]map[string]*action{}
	for i := range rows {
		service := strings.ToLower(rows[i].service)
		if out[service] == nil {
			out[service] = map[string]*action{}
		}
		out[service][strings.ToLower(rows[i].name)] = &rows[i]
	}
	return out
}

// fail makes an API error; args are names and values in turn.
func fail(code, message string, args ...string) error {
	e := &kaltura.APIError{Code: code, Message: message}
	for i := 0; i+1 < len(args); i += 2 {
		e.Args = append(e.Args, kaltura.Arg{Name: args[i], Value: args[i+1]})
	}
	return e
}
