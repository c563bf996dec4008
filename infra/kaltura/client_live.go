package kaltura

import (
	"context"
	"encoding/xml"
	"net/http"
	"net/url"
	"strconv"
	"strings"
)

// AuthenticateRequest is an encoder's wish to publish.
type AuthenticateRequest struct {
	EntryID string
	// Token is what the encoder gave; nil sends none, and the API decides.
	Token *string
	// Hostname defaults to the client's; Index is IndexPrimary or IndexBackup.
	Hostname        string
	Index           int
	ApplicationName string
}

// Authenticate asks whether an encoder may publish (contract §3.1). Errors: see call;
// the API's no is an *APIError, Unavailable tells when there was none.
func (c *Client) Authenticate(ctx context.Context, partnerID int, r AuthenticateRequest) (*LiveStreamEntry, error) {
	v := c.server("authenticate", partnerID, r.EntryID, r.Hostname, r.Index, r.ApplicationName)
	if r.Token != nil {
		v.form.Set("token", *r.Token)
		v.hidden = []string{*r.Token}
	}
	return c.entry(ctx, v)
}

// RegisterRequest says that an entry is on air on a media server.
type RegisterRequest struct {
	EntryID string
	// Hostname defaults to the client's.
	Hostname        string
	Index           int
	ApplicationName string
	// LiveEntryStatus is StatusBroadcasting or StatusPlayable; 0 sends none, as servers
	// of 2015 expect.
	LiveEntryStatus int
}

// RegisterMediaServer puts an entry on air or keeps it there (contract §3.2).
func (c *Client) RegisterMediaServer(ctx context.Context, partnerID int, r RegisterRequest) (*LiveStreamEntry, error) {
	v := c.server("registerMediaServer", partnerID, r.EntryID, r.Hostname, r.Index, r.ApplicationName)
	if r.LiveEntryStatus != 0 {
		v.form.Set("liveEntryStatus", strconv.Itoa(r.LiveEntryStatus))
	}
	return c.entry(ctx, v)
}

// UnregisterRequest says that an entry has left a media server.
type UnregisterRequest struct {
	EntryID string
	// Hostname defaults to the client's.
	Hostname string
	Index    int
}

// UnregisterMediaServer takes an entry off air (contract §3.3). The code
// CodeEntryNodeNotFound means that it was off already.
func (c *Client) UnregisterMediaServer(ctx context.Context, partnerID int, r UnregisterRequest) (*LiveStreamEntry, error) {
	return c.entry(ctx, c.server("unregisterMediaServer", partnerID, r.EntryID, r.Hostname, r.Index, ""))
}

// server prepares a call about an entry on a media server. All of them may be repeated:
// they state what is so.
func (c *Client) server(action string, partner int, entry, host string, index int, application string) invocation {
	if host == "" {
		host = c.hostname
	}
	form := url.Values{"entryId": {entry}, "hostname": {host}, "mediaServerIndex": {strconv.Itoa(index)}}
	if application != "" {
		form.Set("applicationName", application)
	}
	return invocation{service: "liveStream", action: action, partner: partner, form: form, repeatable: true}
}

func (c *Client) entry(ctx context.Context, v invocation) (*LiveStreamEntry, error) {
	var e LiveStreamEntry
	if err := c.call(ctx, v, &e); err != nil {
		return nil, err
	}
	if e.ID == "" {
		return nil, &AnswerError{Call: v.name(), Status: http.StatusOK, ContentType: "application/json", Reason: "it is no live entry"}
	}
	return &e, nil
}

// LiveStreamGet reads an entry. For the media server partner, partnerID 0 finds an
// entry of any partner.
func (c *Client) LiveStreamGet(ctx context.Context, partnerID int, entryID string) (*LiveStreamEntry, error) {
	return c.entry(ctx, invocation{service: "liveStream", action: "get", partner: partnerID, form: url.Values{"entryId": {entryID}}, repeatable: true})
}

// LiveStreamFilter picks entries; zero fields do not count.
type LiveStreamFilter struct {
	IDIn string `json:"idIn,omitzero"`
	Name string `json:"nameLike,omitzero"`
	// IsLive is 1 for entries on air, 0 for the others.
	IsLive  *int   `json:"isLive,omitzero"`
	OrderBy string `json:"orderBy,omitzero"`
}

// KalturaClass implements Classed.
func (LiveStreamFilter) KalturaClass() string { return "KalturaLiveStreamEntryFilter" }

// LiveStreamList reads one page of entries; pages count from 1, pageSize is at most 500.
func (c *Client) LiveStreamList(ctx context.Context, partnerID int, f LiveStreamFilter, pageIndex, pageSize int) (List[LiveStreamEntry], error) {
	form := url.Values{}
	addForm(form, "filter", ToNode(f))
	addPager(form, "", pageIndex, pageSize)
	var l List[LiveStreamEntry]
	err := c.call(ctx, invocation{service: "liveStream", action: "list", partner: partnerID, form: form, repeatable: true}, &l)
	return l, err
}

// IsLive says whether an entry can be watched; protocol is a KalturaPlaybackProtocol
// such as hls.
func (c *Client) IsLive(ctx context.Context, entryID, protocol string) (bool, error) {
	var on bool
	form := url.Values{"id": {entryID}, "protocol": {protocol}}
	err := c.call(ctx, invocation{service: "liveStream", action: "isLive", form: form, repeatable: true, anonymous: true}, &on)
	return on, err
}

// NewEntry is a live entry to be made; zero fields take the server's defaults.
type NewEntry struct {
	Name                string `json:"name,omitzero"`
	Description         string `json:"description,omitzero"`
	ReferenceID         string `json:"referenceId,omitzero"`
	ConversionProfileID int    `json:"conversionProfileId,omitzero"`
	RecordStatus        *int   `json:"recordStatus,omitzero"`
	DVRStatus           *int   `json:"dvrStatus,omitzero"`
	// DVRWindow is in minutes, SegmentDuration in milliseconds.
	DVRWindow       int `json:"dvrWindow,omitzero"`
	SegmentDuration int `json:"segmentDuration,omitzero"`
	// StreamPassword is the token; empty lets the server draw one.
	StreamPassword string `json:"streamPassword,omitzero"`
	// SRTPass is the passphrase of SRT callers; empty means that they don't encrypt.
	SRTPass string `json:"srtPass,omitzero"`
}

// KalturaClass implements Classed.
func (NewEntry) KalturaClass() string { return "KalturaLiveStreamEntry" }

// LiveStreamAdd makes a live entry. It takes an administrator's session of the partner
// itself, so it does not work for the media server partner.
func (c *Client) LiveStreamAdd(ctx context.Context, partnerID int, e NewEntry) (*LiveStreamEntry, error) {
	form := url.Values{"sourceType": {SourceLiveStream}}
	addForm(form, "liveStreamEntry", ToNode(e))
	v := invocation{service: "liveStream", action: "add", partner: partnerID, form: form}
	for _, secret := range []string{e.StreamPassword, e.SRTPass} {
		if secret != "" {
			v.hidden = append(v.hidden, secret)
		}
	}
	return c.entry(ctx, v)
}

// LiveStreamDelete removes a live entry.
func (c *Client) LiveStreamDelete(ctx context.Context, partnerID int, entryID string) error {
	return c.call(ctx, invocation{service: "liveStream", action: "delete", partner: partnerID, form: url.Values{"entryId": {entryID}}}, nil)
}

// SetBroadcastStart sets an entry's currentBroadcastStartTime in seconds since the Unix
// epoch with a fraction (contract §3.11).
func (c *Client) SetBroadcastStart(ctx context.Context, partnerID int, entryID string, seconds float64) error {
	form := url.Values{
		"entryId":                             {entryID},
		"baseEntry:objectType":                {"KalturaLiveStreamEntry"},
		"baseEntry:currentBroadcastStartTime": {strconv.FormatFloat(seconds, 'f', 3, 64)},
	}
	return c.call(ctx, invocation{service: "baseEntry", action: "update", partner: partnerID, form: form, repeatable: true}, nil)
}

// SessionRequest asks the API to sign a session.
type SessionRequest struct {
	PartnerID  int
	Secret     string
	UserID     string
	Type       int
	Seconds    int
	Privileges string
}

// SessionStart asks the API for a session (contract §2.1).
func (c *Client) SessionStart(ctx context.Context, r SessionRequest) (string, error) {
	form := url.Values{
		"secret": {r.Secret}, "userId": {r.UserID}, "type": {strconv.Itoa(r.Type)}, "partnerId": {strconv.Itoa(r.PartnerID)},
		"privileges": {r.Privileges},
	}
	if r.Seconds > 0 {
		form.Set("expiry", strconv.Itoa(r.Seconds))
	}
	var ks string
	err := c.call(ctx, invocation{service: "session", action: "start", form: form, repeatable: true, anonymous: true, hidden: []string{r.Secret}}, &ks)
	return ks, err
}

// Template reads the transcoder's document for a published stream (contract §3.7). It
// is never taken from a cache. The API's errors come as *APIError although the answer
// has an empty body.
func (c *Client) Template(ctx context.Context, partnerID int, streamName, hostname string) ([]byte, error) {
	v := invocation{service: "wowza_liveConversionProfile", action: "serve", partner: partnerID, repeatable: true,
		form: url.Values{"streamName": {streamName}}}
	if hostname != "" {
		v.form.Set("hostname", hostname)
	}
	body, err := c.template(ctx, v)
	if IsCode(err, CodeForbidden) && c.Impersonates() {
		// Servers of 2015 let media servers read templates by address, not by session.
		v.anonymous = true
		return c.template(ctx, v)
	}
	return body, err
}

func (c *Client) template(ctx context.Context, v invocation) (body []byte, err error) {
	err = c.withSession(ctx, v, func(a answer) error {
		body, err = v.readTemplate(a)
		return err
	})
	return body, err
}

func (v *invocation) readTemplate(a answer) ([]byte, error) {
	if err := headerError(a); err != nil {
		return nil, err
	}
	trimmed := strings.TrimSpace(string(a.body))
	if strings.HasPrefix(trimmed, "{") {
		_, err := v.readJSON(a)
		if err != nil {
			return nil, err
		}
	}
	if e := xmlError(a.body); e != nil {
		return nil, e
	}
	if e := codeInHeader(a); e != nil {
		return nil, e
	}
	if !strings.HasPrefix(trimmed, "<") {
		return nil, &AnswerError{Call: v.name(), Status: http.StatusOK, ContentType: a.header.Get("Content-Type"), Reason: "it is no template"}
	}
	return a.body, nil
}

// headerError reads the error of a file action: an empty body beside X-Kaltura headers
// (contract §1.7).
func headerError(a answer) error {
	if e := codeInHeader(a); e != nil && len(a.body) == 0 {
		return e
	}
	return nil
}

// codeInHeader reads the X-Kaltura headers of an error; nil when they tell of none.
func codeInHeader(a answer) *APIError {
	code, ok := strings.CutPrefix(a.header.Get("X-Kaltura"), "error-")
	if !ok {
		return nil
	}
	_, message, _ := strings.Cut(a.header.Get("X-Kaltura-App"), " - ")
	return &APIError{Code: strings.TrimSpace(code), Message: message}
}

// xmlError reads the error of an XML answer; nil when the document is something else.
func xmlError(body []byte) *APIError {
	var doc struct {
		XMLName xml.Name
		Error   *struct {
			Code    string `xml:"code"`
			Message string `xml:"message"`
			Args    []struct {
				Name  string `xml:"name"`
				Value string `xml:"value"`
			} `xml:"args>item"`
		} `xml:"result>error"`
	}
	if len(body) > maxTemplate || xml.Unmarshal(body, &doc) != nil || doc.XMLName.Local != "xml" || doc.Error == nil || doc.Error.Code == "" {
		return nil
	}
	e := &APIError{Code: doc.Error.Code, Message: doc.Error.Message}
	for _, a := range doc.Error.Args {
		e.Args = append(e.Args, Arg{a.Name, a.Value})
	}
	return e
}
