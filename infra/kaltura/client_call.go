package kaltura

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"mime"
	"net"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"
)

const (
	// maxAnswer bounds an answer after decompression, in bytes.
	maxAnswer = 4 << 20
	// attempts is how often a call is tried when nobody answers.
	attempts = 3
	// firstBackoff doubles with each further attempt; up to half is added at random.
	firstBackoff = 200 * time.Millisecond
)

// answerBounds hold the answers of the API: a page of 500 entries has some 60 000 values.
func answerBounds() Bounds { return Bounds{Depth: 32, Nodes: 500_000} }

// invocation is one call before it becomes a request.
type invocation struct {
	service, action string
	form            url.Values
	// partner is the one acted for; 0 is the client's own.
	partner int
	// repeatable calls may be sent again when it is unknown whether they arrived.
	repeatable bool
	// anonymous calls carry no session.
	anonymous bool
	// hidden are texts that must not stand in errors, such as tokens.
	hidden []string
	// upload is a file that goes with the form; nil for none.
	upload *upload
}

func (v *invocation) name() string {
	if v.action == "" {
		return v.service
	}
	return v.service + "." + v.action
}

// answer is what came back: body and headers of HTTP status 200.
type answer struct {
	header http.Header
	body   []byte
}

// call makes a call that answers in JSON and decodes the result into dst, which may be
// nil. Errors: *APIError, *TransportError, *AnswerError.
func (c *Client) call(ctx context.Context, v invocation, dst any) error {
	n, err := c.callNode(ctx, v)
	if err != nil || dst == nil {
		return err
	}
	if err := n.Decode(dst); err != nil {
		return &AnswerError{Call: v.name(), Status: http.StatusOK, ContentType: "application/json", Reason: err.Error()}
	}
	return nil
}

func (c *Client) callNode(ctx context.Context, v invocation) (n Node, err error) {
	err = c.withSession(ctx, v, func(a answer) error {
		n, err = v.readJSON(a)
		return err
	})
	return n, err
}

// withSession carries out a call and judges the answer with read. A session that the
// API refuses is replaced once.
func (c *Client) withSession(ctx context.Context, v invocation, read func(answer) error) (err error) {
	timeout := c.timeout
	if v.upload != nil {
		timeout = v.upload.timeout
	}
	outer := ctx
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	ctx, span := c.span(ctx, v)
	started := time.Now()
	defer func() { c.observe(span, v, err, time.Since(started)) }()
	try, err := c.breaker.pass(v.name())
	if err != nil {
		return err
	}
	defer func() { c.breaker.done(try, errors.Is(outer.Err(), context.Canceled), err) }()
	refused := ""
	for {
		ks, err := c.ks(refused)
		if err != nil {
			return err
		}
		a, err := c.send(ctx, v, ks)
		if err == nil {
			err = read(a)
		}
		err = v.redact(err, ks, c.secret)
		if IsCode(err, CodeInvalidKS) && refused == "" && !v.anonymous && v.again() {
			if !c.refused.Load() { // else the log has said what is wrong
				c.log.Warn("Kaltura refused the session; it is signed anew", "call", v.name())
			}
			refused = ks
			continue
		}
		return c.judgeSecret(v, err, refused != "")
	}
}

// send posts a call. It repeats it with backoff while nobody answers: repeatable calls
// always, others only when the connection was not even made.
func (c *Client) send(ctx context.Context, v invocation, ks string) (answer, error) {
	backoff := firstBackoff
	for attempt := 1; ; attempt++ {
		a, err := c.post(ctx, v, c.form(v, ks))
		var transport *TransportError
		if !errors.As(err, &transport) || attempt == attempts || ctx.Err() != nil || !v.repeatable && !unsent(err) || !v.again() {
			return a, err
		}
		c.log.Debug("Kaltura does not answer; the call is repeated", "call", v.name(), "attempt", attempt, "err", transport.Err)
		timer := time.NewTimer(backoff + rand.N(backoff/2))
		select {
		case <-timer.C:
		case <-ctx.Done():
			timer.Stop()
			return a, err
		}
		backoff *= 2
	}
}

// again says whether the call can be sent once more: a file that comes from a stream can't
// when some of it has been read.
func (v *invocation) again() bool { return v.upload == nil || v.upload.rewind() }

// unsent says whether a failed call certainly never reached the server.
func unsent(err error) bool {
	var op *net.OpError
	return errors.As(err, &op) && op.Op == "dial"
}

// form is the form of a call (contract §1.3, §1.4).
func (c *Client) form(v invocation, ks string) url.Values {
	form := url.Values{"format": {"1"}, "ignoreNull": {"1"}, "clientTag": {c.clientTag}}
	for name, values := range v.form {
		form[name] = values
	}
	partner := v.partner
	if partner == 0 {
		partner = c.partner
	}
	if !v.anonymous {
		form.Set("ks", ks)
		form.Set("partnerId", strconv.Itoa(partner))
	}
	return form
}

// endpoint is a call's address (contract §1.1). It carries nothing secret.
func (c *Client) endpoint(v invocation) string {
	q := "service=" + url.QueryEscape(v.service)
	if v.action != "" {
		q += "&action=" + url.QueryEscape(v.action)
	}
	return c.base + "/api_v3/index.php?" + q
}

func (c *Client) post(ctx context.Context, v invocation, form url.Values) (answer, error) {
	req, err := v.request(ctx, c.endpoint(v), form)
	if err != nil {
		return answer{}, err
	}
	req.Header.Set("Accept", "application/json, text/xml")
	req.Header.Set("Cache-Control", "no-cache")
	req.Header.Set("User-Agent", c.clientTag)
	asked := time.Now()
	res, err := c.http.Do(req)
	if err != nil && v.upload.failed() != nil {
		return answer{}, v.upload.failed()
	}
	if err != nil {
		return answer{}, &TransportError{Call: v.name(), Err: cause(ctx, err)}
	}
	defer res.Body.Close()
	c.judgeClock(res.Header, asked)
	bad := func(format string, args ...any) error {
		return &AnswerError{Call: v.name(), Status: res.StatusCode, ContentType: bounded(res.Header.Get("Content-Type"), 100), Reason: fmt.Sprintf(format, args...)}
	}
	switch {
	case res.StatusCode >= 300 && res.StatusCode < 400:
		return answer{}, bad("it redirects to %s, which is not followed, because the call carries a session: set kaltura.url to where the API itself answers", place(res))
	case res.StatusCode != http.StatusOK:
		return answer{}, bad("the API always answers with status 200")
	}
	data, err := io.ReadAll(io.LimitReader(res.Body, maxAnswer+1))
	switch {
	case err != nil:
		return answer{}, &TransportError{Call: v.name(), Err: fmt.Errorf("the answer broke off: %w", cause(ctx, err))}
	case len(data) > maxAnswer:
		return answer{}, bad("it is larger than %d bytes", maxAnswer)
	}
	return answer{header: res.Header, body: data}, nil
}

// request is the HTTP request of a call.
func (v *invocation) request(ctx context.Context, endpoint string, form url.Values) (*http.Request, error) {
	if v.upload != nil {
		return v.upload.request(ctx, endpoint, form)
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, endpoint, strings.NewReader(form.Encode()))
	if err == nil {
		req.Header.Set("Content-Type", "application/x-www-form-urlencoded; charset=UTF-8")
	}
	return req, err
}

// place is where an answer redirects to, without what may be secret of it.
func place(res *http.Response) string {
	to, err := res.Location()
	if err != nil {
		return "nowhere"
	}
	return bounded(to.Scheme+"://"+to.Host+to.EscapedPath(), 200)
}

// cause takes the address out of an HTTP client's error and names our own deadline.
func cause(ctx context.Context, err error) error {
	var u *url.Error
	if errors.As(err, &u) {
		err = u.Err
	}
	if errors.Is(ctx.Err(), context.DeadlineExceeded) {
		return fmt.Errorf("not in the time that kaltura.timeout gives: %w", context.DeadlineExceeded)
	}
	return err
}

// readJSON reads the value of a JSON answer, or the error it holds.
func (v *invocation) readJSON(a answer) (Node, error) {
	bad := func(reason string) error {
		return &AnswerError{Call: v.name(), Status: http.StatusOK, ContentType: a.header.Get("Content-Type"), Reason: reason}
	}
	if err := headerError(a); err != nil {
		return Node{}, err
	}
	kind, _, _ := mime.ParseMediaType(a.header.Get("Content-Type"))
	trimmed := strings.TrimSpace(string(a.body))
	switch {
	case trimmed == "":
		return Node{}, bad("it is empty")
	case strings.HasPrefix(trimmed, "<"):
		if e := xmlError(a.body); e != nil {
			return Node{}, e
		}
		return Node{}, bad("it is a web page or XML document where JSON was asked for")
	case kind == "text/html" && !strings.HasPrefix(trimmed, "{"):
		return Node{}, bad("it is a web page")
	}
	n, err := ParseJSON(a.body, answerBounds())
	if errors.Is(err, ErrTooComplex) {
		return Node{}, bad("it has too many values")
	}
	if err != nil {
		return Node{}, bad("it is no complete JSON document")
	}
	if e := apiErrorOf(n); e != nil {
		return Node{}, e
	}
	return n, nil
}

// redact takes secrets out of an API error's text, and the session out of its arguments.
func (v *invocation) redact(err error, secrets ...string) error {
	var e *APIError
	if !errors.As(err, &e) {
		return err
	}
	clean := *e
	clean.Args = nil
	hide := func(text string) string {
		for _, s := range append(secrets, v.hidden...) {
			if len(s) >= 4 {
				text = strings.ReplaceAll(text, s, "…")
			}
		}
		return bounded(text, 300)
	}
	clean.Code, clean.Message = bounded(e.Code, 100), hide(e.Message)
	for _, a := range e.Args {
		clean.Args = append(clean.Args, Arg{bounded(a.Name, 100), hide(a.Value)})
	}
	return &clean
}

// bounded keeps a foreign text printable and short.
func bounded(text string, limit int) string {
	text = strings.Map(func(r rune) rune {
		if r < 0x20 || r == 0x7f {
			return ' '
		}
		return r
	}, strings.ToValidUTF8(text, "?"))
	if r := []rune(text); len(r) > limit {
		return string(r[:limit]) + "…"
	}
	return text
}
