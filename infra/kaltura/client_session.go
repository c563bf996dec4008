package kaltura

import (
	"fmt"
	"net/http"
	"sync"
	"time"
)

// Session of the client (contract §2.4), and when it is signed anew.
const (
	sessionSeconds = 86400
	renewAfter     = 86000 * time.Second
	sessionUser    = "MediaServer"
	sessionRights  = "disableentitlement"
)

// sessions holds the session that calls are made with. A call keeps the one it has begun with.
type sessions struct {
	mu     sync.Mutex // guards the fields below
	text   string
	signed time.Time
	skew   time.Duration // the API's clock minus this host's, when that is much
}

// clockOff is from where on a difference of clocks is worth a word: answers are seconds old.
const clockOff = time.Minute

// ks returns the session to use. It is signed anew when it is due, and when it is the
// one that the API has just refused; then by the API's clock, as far as that is known.
func (c *Client) ks(refused string) (string, error) {
	s := &c.sessions
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.text != "" && s.text != refused && time.Since(s.signed) < renewAfter {
		return s.text, nil
	}
	now := time.Now()
	text, err := SignV1(c.secret, KS{
		PartnerID: c.partner, Expiry: now.Add(s.skew).Unix() + sessionSeconds, Type: SessionAdmin, UserID: sessionUser, Privileges: sessionRights,
	})
	if err != nil {
		return "", err
	}
	s.text, s.signed = text, now
	return text, nil
}

// judgeClock holds this host's clock against that of an answer's Date header, which tells whole
// seconds. An answer out of a cache tells nothing.
func (c *Client) judgeClock(h http.Header, asked time.Time) {
	theirs, err := http.ParseTime(h.Get("Date"))
	if err != nil || h.Get("Age") != "" {
		return
	}
	now := time.Now()
	skew := theirs.Sub(now)
	if skew < 0 {
		skew = min(0, theirs.Add(time.Second).Sub(asked)) // it may have been written when it was asked
	}
	if skew.Abs() < clockOff {
		skew = 0
	}
	s := &c.sessions
	s.mu.Lock()
	was := s.skew
	s.skew = skew
	s.mu.Unlock()
	switch {
	case skew != 0 && (skew-was).Abs() >= clockOff:
		c.log.Error(clockWords(skew)+"; set the clock (NTP)", "ours", now.UTC(), "theirs", theirs)
	case skew == 0 && was != 0:
		c.log.Info("this host's clock and Kaltura's agree again")
	}
}

// clockWords says how the clocks differ, or nothing when they don't.
func clockWords(skew time.Duration) string {
	switch {
	case skew > 0:
		return fmt.Sprintf("this host's clock is %v behind that of Kaltura's API", skew.Round(time.Minute))
	case skew < 0:
		return fmt.Sprintf("this host's clock is %v ahead of that of Kaltura's API", -skew.Round(time.Minute))
	}
	return ""
}

// judgeSecret tells the operator when Kaltura refuses a session that was signed only now: that
// is for no session to mend. The logger keeps the line from coming too often. It returns the
// call's error, with a word on the clocks when they may be why.
func (c *Client) judgeSecret(v invocation, err error, anew bool) error {
	switch {
	case v.anonymous:
	case anew && IsCode(err, CodeInvalidKS):
		c.refused.Store(true)
		c.sessions.mu.Lock()
		clock := clockWords(c.sessions.skew)
		c.sessions.mu.Unlock()
		cause := "kaltura.partnerId or kaltura.secret is wrong"
		if clock != "" {
			cause = clock + ", or " + cause
			err = fmt.Errorf("%w; %s", err, clock)
		}
		c.log.Error("Kaltura refuses sessions that were just signed: "+cause+"; no stream is let in or registered until that is right", "error", err)
	case err == nil:
		c.refused.Store(false)
	}
	return err
}
