package controlplane

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"runtime/debug"
	"strconv"
	"strings"
	"time"

	"klive/infra/bus"
	"klive/infra/kaltura"
)

// result is what one call came to: a value, a file, or an API error.
type result struct {
	value  kaltura.Node
	file   *file
	err    *kaltura.APIError
	action *action
	// ran says that the action's own function was reached.
	ran bool
	// public is how long anybody may keep the answer; 0 is not at all.
	public time.Duration
}

// run carries out one call with its own parameters and files.
func (s *Server) run(ctx context.Context, from origin, params kaltura.Node, files map[string]*incoming) (r result) {
	started := time.Now()
	c := &call{service: text(params, "service"), action: text(params, "action"), from: from, params: params, files: files, now: started}
	a, err := s.find(c)
	r.action = a
	defer func() { r.public = c.public }()
	if err == nil {
		if err = s.authorize(ctx, c, a); err == nil {
			r.value, r.file, r.ran, err = s.invoke(ctx, c, a)
		}
	}
	if err != nil {
		r.err = s.apiError(c, err)
	}
	s.observe(c, r, time.Since(started))
	return r
}

// find looks the action up.
func (s *Server) find(c *call) (*action, error) {
	if c.service == "" {
		return nil, fail("SERVICE_NOT_SPECIFIED", "name a service")
	}
	actions, ok := s.services[strings.ToLower(c.service)]
	if !ok {
		return nil, fail(kaltura.CodeNoService, "this server has no service "+c.service, "SRV_NAME", c.service)
	}
	if c.action == "" {
		return nil, fail("ACTION_NOT_SPECIFIED", "name an action")
	}
	a, ok := actions[strings.ToLower(c.action)]
	if !ok {
		return nil, fail(kaltura.CodeNoAction, "service "+c.service+" has no action "+c.action,
			"ACTION_NAME", c.action, "SERVICE_NAME", c.service)
	}
	return a, nil
}

// invoke runs the row's function. A panic is an internal error of this one call. ran
// is false when the parameters did not fit.
func (s *Server) invoke(ctx context.Context, c *call, a *action) (value kaltura.Node, f *file, ran bool, err error) {
	defer func() {
		if p := recover(); p != nil {
			s.log.Error("control plane call panicked", "service", a.service, "action", a.name, "panic", fmt.Sprint(p), "stack", string(debug.Stack()))
			err = fail(kaltura.CodeInternal, "internal error")
		}
	}()
	out, err := a.run(s, ctx, c)
	if err != nil {
		return kaltura.Node{}, nil, c.bound, err
	}
	if f, ok := out.(*file); ok {
		return kaltura.Node{}, f, true, nil
	}
	return kaltura.ToNode(out), nil, true, nil
}

// apiError gives the error the caller sees. What is no API error is a fault of ours:
// it goes to the log, the caller learns no details.
func (s *Server) apiError(c *call, err error) *kaltura.APIError {
	var e *kaltura.APIError
	if errors.As(err, &e) {
		return e
	}
	level := slog.LevelError
	if errors.Is(err, context.Canceled) {
		level = slog.LevelDebug // the caller has gone
	}
	s.log.Log(context.Background(), level, "control plane call failed", "service", c.service, "action", c.action, "err", err)
	if errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded) || errors.Is(err, bus.ErrClosed) {
		return &kaltura.APIError{Code: kaltura.CodeInternal, Message: "the call did not finish in time"}
	}
	return &kaltura.APIError{Code: kaltura.CodeInternalDatabase, Message: "the state cannot be read or written"}
}

// authorize reads the session and decides whether the call may go on, and for which
// partner (contract §1.4, §2.5).
func (s *Server) authorize(ctx context.Context, c *call, a *action) error {
	if err := s.readSession(ctx, c); err != nil {
		return err
	}
	if err := s.countUse(ctx, c); err != nil {
		return err
	}
	requested, named, err := requestedPartner(c.params)
	if err != nil {
		return err
	}
	// session.start names the partner it asks for in the same parameter; its secret,
	// not a session, proves the right to it.
	if c.ks == nil || a.service == "session" && a.access == anyone {
		c.partner = requested
		switch {
		case a.access == anyone:
			return nil
		case !named:
			return fail(kaltura.CodeMissingKS, "this call needs a session: give ks")
		default:
			return forbidden(c)
		}
	}
	c.partner = c.ks.PartnerID
	if named {
		c.partner = requested
	}
	if !s.permitted(ctx, c, a) {
		return forbidden(c)
	}
	if c.partner != c.ks.PartnerID {
		if err := s.usable(ctx, c.partner); err != nil {
			return err
		}
	}
	return s.mayBroadcast(ctx, c, a)
}

// mayBroadcast refuses the whole service liveStream to partners without that feature. System
// partners have no entries of their own.
func (s *Server) mayBroadcast(ctx context.Context, c *call, a *action) error {
	if a.service != "liveStream" || c.partner < 0 {
		return nil
	}
	p, err := load[Partner](ctx, s.state, partnerKey(c.partner))
	if err == nil && !p.LiveStream {
		return forbidden(c)
	}
	return err
}

// readSession checks the ks parameter, if there is one.
func (s *Server) readSession(ctx context.Context, c *call) error {
	c.ksText = text(c.params, "ks")
	if c.ksText == "" {
		return nil
	}
	ks, err := s.parseKS(ctx, c.ksText)
	if errors.Is(err, kaltura.ErrKSFormat) || errors.Is(err, kaltura.ErrKSSignature) {
		return badSession(c.ksText, "unreadable")
	} else if err != nil {
		return err
	}
	if ks.Expired(c.now) {
		return badSession("EXPIRED", "EXPIRED")
	}
	if _, err := s.state.Get(ctx, logoutKey(c.ksText)); err == nil {
		return badSession("LOGOUT", "LOGOUT")
	} else if !errors.Is(err, bus.ErrNotFound) {
		return err
	}
	if reason := restricted(ks, c.from); reason != "" {
		return badSession(reason, reason)
	}
	c.ks = &ks
	return s.usable(ctx, ks.PartnerID)
}

// restricted names what a session's privileges say against a request from there
// (contract §2.3); empty is nothing.
func restricted(ks kaltura.KS, from origin) string {
	if ip, ok := ks.Privilege("iprestrict"); ok && ip != from.address {
		return "EXCEEDED_RESTRICTED_IP"
	}
	uris, ok := ks.Privilege("urirestrict")
	if !ok {
		return ""
	}
	for uri := range strings.SplitSeq(uris, "|") {
		prefix, open := strings.CutSuffix(uri, "*")
		if from.path == uri || open && strings.HasPrefix(from.path, prefix) {
			return ""
		}
	}
	return "EXCEEDED_RESTRICTED_URI"
}

func badSession(id, reason string) error {
	return fail(kaltura.CodeInvalidKS, "session rejected ("+reason+")", "KSID", id, "ERR_CODE", "-1", "ERR_DESC", "INVALID_STR")
}

// parseKS checks a session string against the secrets of the partner it names.
func (s *Server) parseKS(ctx context.Context, text string) (kaltura.KS, error) {
	var stateErr error
	ks, err := kaltura.ParseKS(text, func(partner int) []string {
		p, err := load[Partner](ctx, s.state, partnerKey(partner))
		if err != nil {
			if !errors.Is(err, bus.ErrNotFound) {
				stateErr = err
			}
			return nil
		}
		return []string{p.AdminSecret}
	})
	if stateErr != nil {
		return kaltura.KS{}, stateErr
	}
	return ks, err
}

// usable refuses partners that are unknown, deleted or blocked.
func (s *Server) usable(ctx context.Context, partner int) error {
	p, err := load[Partner](ctx, s.state, partnerKey(partner))
	if err != nil && !errors.Is(err, bus.ErrNotFound) {
		return err
	}
	if err != nil || p.blocked() {
		return fail(kaltura.CodeContentBlocked, "partner "+strconv.Itoa(partner)+" is blocked or unknown")
	}
	return nil
}

// permitted applies the row's access and scope to the session.
func (s *Server) permitted(ctx context.Context, c *call, a *action) bool {
	own := c.partner == c.ks.PartnerID
	switch c.ks.PartnerID {
	case kaltura.MediaServerPartner:
		return s.serverPermitted(c, a, own)
	case kaltura.BatchPartner:
		c.allPartners = own
		return c.ks.Admin() && (a.access == batch || a.access == anySession || a.access == anyone)
	}
	if !own {
		return false
	}
	switch a.access {
	case anyone, anySession:
		return true
	case admin:
		return c.ks.Admin()
	case mediaServers:
		p, err := load[Partner](ctx, s.state, partnerKey(c.ks.PartnerID))
		return err == nil && p.MediaServer && c.ks.Admin()
	default:
		return false
	}
}

func (s *Server) serverPermitted(c *call, a *action, own bool) bool {
	now := s.config.Generation != Generation2015
	// Servers of today let media servers look an entry up without knowing its partner.
	if own && now && a.service == "liveStream" && (a.name == "get" || a.name == "list") {
		c.allPartners = true
	}
	if a.access != anySession && a.access != anyone && !c.ks.Admin() {
		return false
	}
	switch a.scope {
	case everyPartner:
		return true
	case everyPartnerNow:
		return now
	case ownOnly:
		return own || a.access == anyone
	default:
		return false
	}
}

func forbidden(c *call) error {
	name := c.service + "->" + c.action
	return fail(kaltura.CodeForbidden, "this session may not call "+name+" for the requested partner", "SERVICE", name)
}

// requestedPartner reads p or partnerId; p wins.
func requestedPartner(params kaltura.Node) (id int, named bool, err error) {
	for _, name := range []string{"p", "partnerId"} {
		v := strings.TrimSpace(text(params, name))
		if v == "" {
			continue
		}
		id, err := strconv.Atoi(v)
		if err != nil {
			return 0, false, fail("INVALID_PARTNER_ID", "the partner must be a number", "PID", v)
		}
		return id, true, nil
	}
	return 0, false, nil
}

// text returns a scalar parameter's text, or "".
func text(params kaltura.Node, name string) string {
	v, ok := params.Get(name)
	if !ok || !v.Scalar() {
		return ""
	}
	return v.Text
}
