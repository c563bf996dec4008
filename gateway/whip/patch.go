package whip

import (
	"context"
	"errors"
	"io"
	"net/http"
	"strings"

	"github.com/pion/webrtc/v4"
)

var errNoSection = errors.New("whip: the answer has no media section")

// patch takes candidates, or an ICE restart (RFC 9725 §4.3). The first are for the ICE session
// whose entity tag the request names; a restart ends that one, so it names none.
func (s *Server) patch(w http.ResponseWriter, r *http.Request, one *session) error {
	match := strings.TrimSpace(r.Header.Get("If-Match"))
	if match == "" {
		return refuseWith(http.StatusPreconditionRequired, `the request lacks If-Match: send the session's ETag with candidates, "*" with an ICE restart`)
	}
	body, err := s.readBody(w, r, fragmentType)
	if err != nil {
		return err
	}
	f, err := readFragment(body)
	if err != nil {
		return err
	}
	one.patching.Lock()
	defer one.patching.Unlock()
	if match != "*" && match != one.etag() {
		return refuseWith(http.StatusPreconditionFailed, "the ETag is that of an ICE session that is over; restart ICE, or send the newest one")
	}
	if ufrag, pwd := credentials(one.pc.RemoteDescription().SDP); f.ufrag == ufrag && f.pwd == pwd {
		if err := one.trickle(f); err != nil {
			return err
		}
		s.count(r, http.StatusNoContent)
		w.WriteHeader(http.StatusNoContent)
		return nil
	} else if match != "*" {
		return refuseWith(http.StatusPreconditionFailed, "the fragment is of another ICE session than the ETag's; an ICE restart comes with If-Match: *")
	}
	ctx, cancel := context.WithTimeout(r.Context(), s.cfg.Admission)
	defer cancel()
	answer, err := one.restart(ctx, f)
	if err != nil {
		return err
	}
	h := w.Header()
	h.Set("Content-Type", fragmentType)
	h.Set("Cache-Control", "no-store")
	h.Set("ETag", one.etag())
	s.linkServers(h, true)
	s.count(r, http.StatusOK)
	w.WriteHeader(http.StatusOK)
	_, _ = io.WriteString(w, answer)
	return nil
}

// trickle adds candidates of the peer.
func (s *session) trickle(f *fragment) error {
	if s.candidates += len(f.candidates); s.candidates > maxCandidates {
		return refuseWith(http.StatusTooManyRequests, "the session has more than %d candidates", maxCandidates)
	}
	for _, c := range f.candidates {
		mid := c.mid
		init := webrtc.ICECandidateInit{Candidate: c.value, UsernameFragment: &f.ufrag}
		if mid != "" {
			init.SDPMid = &mid
		} else {
			init.SDPMLineIndex = new(uint16)
		}
		if err := s.pc.AddICECandidate(init); err != nil {
			return refuse("a candidate can't be used: %.200s", err.Error())
		}
	}
	return nil
}

// restart begins a new ICE session over the same connection: its media go on meanwhile as long
// as the old way works.
func (s *session) restart(ctx context.Context, f *fragment) (string, error) {
	text, err := renew(s.offer.text, f)
	if err != nil {
		return "", err
	}
	if err := s.pc.SetRemoteDescription(webrtc.SessionDescription{Type: webrtc.SDPTypeOffer, SDP: text}); err != nil {
		return "", refuse("the ICE restart can't be used: %.200s", err.Error())
	}
	answer, err := s.answer(ctx)
	if err != nil {
		return "", err
	}
	s.offer.text, s.candidates = text, len(f.candidates)
	s.setTag(newTag())
	s.log.Info("the encoder has restarted ICE")
	return fragmentOf(answer)
}

func (s *session) etag() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.tag
}

func (s *session) setTag(tag string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.tag = tag
}
