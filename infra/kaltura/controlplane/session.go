package controlplane

import (
	"context"
	"crypto/rand"
	"crypto/subtle"
	"encoding/hex"
	"errors"
	"strconv"
	"time"

	"klive/infra/bus"
	"klive/infra/kaltura"
)

// day is the longest session of partners that set no other, in seconds.
const day = 86400

type sessionStartParams struct {
	Secret     string      `api:"secret"`
	UserID     string      `api:"userId,optional"`
	Type       sessionType `api:"type,default=0"`
	Expiry     int64       `api:"expiry,default=86400"`
	Privileges string      `api:"privileges,optional"`
}

// sessionStart signs a session for who knows the partner's secret (contract §2.1).
func (s *Server) sessionStart(ctx context.Context, c *call, p sessionStartParams) (any, error) {
	// p is the short name of partnerId and wins.
	partner := c.partner
	refused := fail("START_SESSION_ERROR", "no session: the partner or its secret is wrong", "PID", strconv.Itoa(partner))
	doc, err := load[Partner](ctx, s.state, partnerKey(partner))
	if errors.Is(err, bus.ErrNotFound) {
		return nil, refused
	} else if err != nil {
		return nil, err
	}
	isAdmin := same(p.Secret, doc.AdminSecret)
	isUser := doc.UserSecret != "" && same(p.Secret, doc.UserSecret)
	if doc.blocked() || !isAdmin && (p.Type >= 1 || !isUser) {
		return nil, refused
	}
	ks, err := sign(doc, kaltura.KS{UserID: p.UserID, Type: int(p.Type), Privileges: p.Privileges}, p.Expiry, c.now)
	if err != nil {
		return nil, err
	}
	return ks, nil
}

// same compares secrets in constant time.
func same(a, b string) bool {
	return subtle.ConstantTimeCompare([]byte(a), []byte(b)) == 1
}

func sign(p Partner, k kaltura.KS, seconds int64, now time.Time) (string, error) {
	longest := p.MaxSession
	if longest <= 0 {
		longest = day
	}
	if seconds <= 0 || seconds > longest {
		seconds = longest
	}
	k.PartnerID, k.Expiry = p.ID, now.Unix()+seconds
	return kaltura.SignV2(p.AdminSecret, k)
}

// SignKS signs a session of a partner without showing its secret to anybody. Only
// UserID, Type and Privileges of k count. A lifetime of 0 or beyond what the partner
// allows is a day. Errors: bus.ErrNotFound for an unknown partner.
func (s *Server) SignKS(ctx context.Context, partner int, k kaltura.KS, lifetime time.Duration) (string, error) {
	doc, err := load[Partner](ctx, s.state, partnerKey(partner))
	if err != nil {
		return "", err
	}
	return sign(doc, kaltura.KS{UserID: k.UserID, Type: k.Type, Privileges: k.Privileges}, int64(lifetime/time.Second), time.Now())
}

// AdminSecret returns a partner's secret, for the clients that live in the same
// process. Errors: bus.ErrNotFound for an unknown partner.
func (s *Server) AdminSecret(ctx context.Context, partner int) (string, error) {
	doc, err := load[Partner](ctx, s.state, partnerKey(partner))
	return doc.AdminSecret, err
}

type noParams struct{}

// logout is the document that ends a session before its time.
type logout struct {
	// At is when, in seconds since the Unix epoch.
	At int64 `json:"at"`
}

// sessionEnd ends the caller's session. The note of it lives as long as the session
// would have.
func (s *Server) sessionEnd(ctx context.Context, c *call, _ noParams) (any, error) {
	now := c.now.Unix()
	left := min(c.ks.Expiry-now, 10*365*day)
	err := createFor(ctx, s.state, logoutKey(c.ksText), logout{At: now}, time.Duration(left+1)*time.Second)
	if errors.Is(err, bus.ErrConflict) {
		err = nil
	}
	return nil, err
}

// uses is the document of a session that may make only so many calls.
type uses struct {
	Count int `json:"count"`
	// Until is when the session ends, in seconds since the Unix epoch.
	Until int64 `json:"until"`
}

// countUse counts the calls of sessions whose privileges limit them (actionslimit).
func (s *Server) countUse(ctx context.Context, c *call) error {
	if c.ks == nil {
		return nil
	}
	text, limited := c.ks.Privilege("actionslimit")
	if !limited {
		return nil
	}
	limit, err := strconv.Atoi(text)
	if err != nil {
		limit = 0
	}
	key := usesKey(c.ksText)
	if err := create(ctx, s.state, key, uses{Until: c.ks.Expiry}); err != nil && !errors.Is(err, bus.ErrConflict) {
		return err
	}
	_, err = change(ctx, s.state, key, func(u *uses) error {
		if u.Count >= limit {
			return badSession("EXCEEDED_ACTIONS_LIMIT", "EXCEEDED_ACTIONS_LIMIT")
		}
		u.Count++
		return nil
	})
	return err
}

// sweepUses removes the counts of sessions that are over.
func (s *Server) sweepUses(ctx context.Context, now int64) error {
	all, err := s.state.List(ctx, everyUses)
	failures := []error{err}
	for _, kv := range all {
		u, err := decodeDocument[uses](kv.Key, kv.Value)
		if err == nil && u.Until <= now {
			err = s.state.Delete(ctx, kv.Key, kv.Revision)
		}
		if !errors.Is(err, bus.ErrConflict) {
			failures = append(failures, err)
		}
	}
	return errors.Join(failures...)
}

type sessionGetParams struct {
	Session string `api:"session,optional"`
}

// sessionGet says what a session string holds: the caller's, or another of its partner.
func (s *Server) sessionGet(ctx context.Context, c *call, p sessionGetParams) (any, error) {
	ks, text := *c.ks, c.ksText
	if p.Session != "" {
		var err error
		ks, err = s.parseKS(ctx, p.Session)
		if errors.Is(err, kaltura.ErrKSFormat) || errors.Is(err, kaltura.ErrKSSignature) || err == nil && ks.PartnerID != c.ks.PartnerID {
			return nil, badSession(p.Session, "unreadable")
		} else if err != nil {
			return nil, err
		}
		text = p.Session
	}
	return kaltura.SessionInfo{KS: text, SessionType: ks.Type, PartnerID: ks.PartnerID, UserID: ks.UserID, Expiry: ks.Expiry, Privileges: ks.Privileges}, nil
}

// randomHex draws n bytes and writes them in hexadecimal.
func randomHex(n int) string {
	b := make([]byte, n)
	// crypto/rand.Read never fails.
	_, _ = rand.Read(b)
	return hex.EncodeToString(b)
}

// idLetters are the characters of entry and asset ids.
const idLetters = "0123456789abcdefghijklmnopqrstuvwxyz"

// newID draws an id of the form 0_xxxxxxxx.
func newID() string {
	b := make([]byte, 8)
	_, _ = rand.Read(b)
	for i := range b {
		// 256 is no multiple of 36: the slight bias does not matter in an id.
		b[i] = idLetters[int(b[i])%len(idLetters)]
	}
	return "0_" + string(b)
}
