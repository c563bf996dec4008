package node

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"time"

	"klive/gateway"
	"klive/gateway/push"
	"klive/gateway/whip"
	"klive/infra/live"
)

// maxKick bounds the body of a kick.
const maxKick = 4 << 10

// startInternal makes the way by which requests about a feed reach the gateway that holds
// it, and answers other gateways' on the internal listener.
func (n *Node) startInternal(context.Context) error {
	c := gateway.ForwarderConfig{Feeds: n.feeds, Claims: n.claims, Address: n.address, Secret: n.settings.Cluster.Secret.Reveal(), Log: n.log, Dial: n.cfg.DialInternal,
		MaxRequests: n.settings.Push.MaxRequests, Registerer: n.cfg.Registry}
	if n.gateway != nil {
		c.Local = n.feedHandler()
	}
	n.forwarder = gateway.NewForwarder(c)
	n.onClose(func(context.Context) { n.forwarder.Close() })
	if err := n.startPush(); err != nil {
		return err
	}
	if err := n.startWHIP(); err != nil {
		return err
	}
	if n.listeners.internal != nil {
		s := n.serve("internal.listen", n.listeners.internal, n.forwarder.Receive(), 0, 0) // bodies last as broadcasts do
		n.onClose(func(ctx context.Context) { shutdown(ctx, s) })
	}
	return nil
}

// startPush makes the handler of publishers over HTTP.
func (n *Node) startPush() (err error) {
	c := n.settings.Push
	if n.gateway == nil || !c.Enabled {
		return nil
	}
	n.push, err = push.New(push.Config{
		Sections: n.sections,
		Gateway:  door{n}, Elsewhere: n.forwarder, Partner: n.partnerOf,
		MaxRequests: c.MaxRequests, Admission: c.PublishTimeout, Publish: c.PublishTimeout, Idle: c.IdleTimeout, Turn: n.settings.Gateway.Takeover + time.Second,
		Logger: n.log, Registerer: n.cfg.Registry,
	})
	return err
}

// feedHandler answers what is asked of the feeds that this process holds.
func (n *Node) feedHandler() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("POST /v1/feeds/{id}/kick", func(w http.ResponseWriter, r *http.Request) {
		id, ok := feedOf(w, r)
		if !ok {
			return
		}
		reason, err := kickReason(http.MaxBytesReader(w, r.Body, maxKick))
		if err != nil {
			gateway.Problem(w, http.StatusBadRequest, err.Error())
			return
		}
		if !n.gateway.KickFeed(id, reason) {
			gateway.Problem(w, http.StatusNotFound, fmt.Sprintf("stream %s (%s) is not on the air", id.StreamName(), id.Index))
			return
		}
		n.log.Info("an operator ended a stream", "feed", id, "reason", reason, "peer", r.RemoteAddr)
		w.Header().Set("Content-Type", "application/json")
		_ = json.NewEncoder(w).Encode(map[string]string{"kicked": id.String()})
	})
	if n.takesWHIP() {
		mux.HandleFunc(whip.Prefix, n.serveWHIP)
	}
	if n.settings.Push.Enabled {
		mux.HandleFunc(push.Prefix, n.servePush) // forwarded by a gateway that does not hold the feed
	}
	return mux
}

// kickReason reads the body of a kick: none, or an object that may say why.
func kickReason(body io.Reader) (string, error) {
	var ask struct {
		Reason string `json:"reason"`
	}
	text, err := io.ReadAll(body)
	if err == nil && len(bytes.TrimSpace(text)) > 0 {
		err = json.Unmarshal(text, &ask)
	}
	if err != nil {
		return "", fmt.Errorf(`the stream goes on: the body can't be read (%w); send none, or {"reason": "…"} of at most %d bytes`, err, maxKick)
	}
	if ask.Reason == "" {
		return "ended by an operator", nil
	}
	return ask.Reason, nil
}

// serveFeeds answers what operators ask of a feed, wherever it is connected.
func (n *Node) serveFeeds(w http.ResponseWriter, r *http.Request) {
	if !n.assembled.Load() {
		answerHealth(w, n.Ready(r.Context()))
		return
	}
	if id, ok := feedOf(w, r); ok {
		n.forwarder.Forward(w, r, id)
	}
}

// feedOf is the feed in a request's path, or the answer to one that names none.
func feedOf(w http.ResponseWriter, r *http.Request) (live.FeedID, bool) {
	id, err := live.ParseFeedID(r.PathValue("id"))
	if err != nil {
		gateway.Problem(w, http.StatusBadRequest, err.Error())
	}
	return id, err == nil
}
