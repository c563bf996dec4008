package bus

import (
	"context"
	"crypto/rand"
	"crypto/subtle"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
)

const (
	// houseUser is how a node of a cluster calls itself to itself.
	houseUser = "klive-house"

	// peerReplaced is how long a node is away, while all that the routes name are there, before
	// it is taken for one that another has replaced.
	peerReplaced = 20 * time.Second
	// missingSettled is how long the number of connected nodes must stay before the log tells.
	missingSettled = 5 * time.Second
)

// gate lets clients in: all, or those who know the node's password; and the node itself, as the
// user of the cluster's own account, who alone may remove a node from it.
type gate struct {
	user, password string
	secret         string // of houseUser
	account        func() *server.Account
}

var _ server.Authentication = (*gate)(nil)

func newGate(user, password string) *gate {
	return &gate{user: user, password: password, secret: rand.Text()}
}

// Check implements [server.Authentication].
func (g *gate) Check(c server.ClientAuthentication) bool {
	o := c.GetOpts()
	if o.Username == houseUser && same(o.Password, g.secret) {
		c.RegisterUser(&server.User{Username: houseUser, Account: g.account()})
		return true
	}
	return g.user == "" || same(o.Username, g.user) && same(o.Password, g.password)
}

func same(a, b string) bool { return subtle.ConstantTimeCompare([]byte(a), []byte(b)) == 1 }

// connect makes a connection to the node from within, as clients have one.
func (s *Server) connect(ctx context.Context, c *ServerConfig) (*Control, error) {
	options := []nats.Option{nats.InProcessServer(s.server)}
	if c.User != "" {
		options = append(options, nats.UserInfo(c.User, c.Password))
	}
	return dialIn(ctx, controlSetup{name: c.Name, url: nats.DefaultURL, replicas: 1, beat: remoteBeat, log: c.Logger, options: options})
}

// peers removes nodes that others have replaced. A node that comes back under another name is a
// new one, and the old one counts on: after a few of them most of the nodes are dead ones, and
// the cluster has no leader ever again.
func (t *tender) peers(ctx context.Context) {
	s := t.server
	connected := s.connected()
	info, err := s.server.Jsz(nil)
	if err != nil || info.Meta == nil || len(s.routes) < 2 || len(connected) != len(s.routes) || info.Meta.Size <= len(s.routes)+1 {
		clear(t.gone) // it may yet come back
		return
	}
	now := time.Now()
	for _, p := range info.Meta.Replicas {
		since, away := t.gone[p.Peer]
		switch {
		case connected[p.Name]:
			delete(t.gone, p.Peer)
		case !away:
			t.gone[p.Peer] = now
		case now.Sub(since) >= peerReplaced:
			delete(t.gone, p.Peer)
			if err := s.removePeer(ctx, p.Peer); err != nil {
				s.log.Warn("bus: a node that another has replaced could not be removed from the cluster; it is tried again", "node", p.Name, "error", err)
				return
			}
			s.log.Warn("bus: a node that bus.cluster.routes does not name any more is removed from the cluster: another has taken its place",
				"node", p.Name, "away", now.Sub(since).Round(time.Second))
			return // one at a time
		}
	}
}

// removePeer has the cluster forget a node. What it held goes to others.
func (s *Server) removePeer(ctx context.Context, peer string) error {
	nc, err := nats.Connect(nats.DefaultURL, nats.InProcessServer(s.server), nats.UserInfo(houseUser, s.gate.secret), nats.Timeout(connectTimeout))
	if err != nil {
		return err
	}
	defer nc.Close()
	ask, err := json.Marshal(server.JSApiMetaServerRemoveRequest{Peer: peer})
	if err != nil {
		return err
	}
	ctx, cancel := bounded(ctx)
	defer cancel()
	m, err := nc.RequestWithContext(ctx, server.JSApiRemoveServer, ask)
	if err != nil {
		return err
	}
	var answer server.JSApiMetaServerRemoveResponse
	if err := json.Unmarshal(m.Data, &answer); err != nil {
		return err
	}
	if answer.Error != nil {
		return errors.New(answer.Error.Description)
	}
	return nil
}

// connected are the names of the nodes that this one is connected to.
func (s *Server) connected() map[string]bool {
	names := map[string]bool{}
	if info, err := s.server.Routez(nil); err == nil {
		for _, r := range info.Routes { // several for each node
			names[r.RemoteName] = true
		}
	}
	return names
}

// watchMissing keeps what Missing tells, and has the log tell when it changes. It is called once
// a second: names are looked up when the number of nodes has changed alone.
func (s *Server) watchMissing() {
	now, count := time.Now(), len(s.connected())
	s.mu.Lock()
	if changed := count != s.count; changed {
		s.count, s.counted, s.told = count, now, false
	}
	look := !s.told && now.Sub(s.counted) >= missingSettled
	was := s.lacks
	s.mu.Unlock()
	if !look {
		return
	}
	var lacks []string
	if count < len(s.routes) {
		lacks = s.missing()
	}
	s.mu.Lock()
	s.lacks, s.told = lacks, true
	s.mu.Unlock()
	switch {
	case len(lacks) > 0 && !slices.Equal(lacks, was):
		s.log.Warn("bus: other nodes are missing", "missing", strings.Join(lacks, ", "), "connected", count, "of", len(s.routes))
	case len(lacks) == 0 && len(was) > 0:
		s.log.Info("bus: all other nodes are connected", "connected", count)
	}
}

// Missing says which of the other nodes have not been connected for a few seconds; empty when
// all are. A node that is ready can do without, until one more is lost.
func (s *Server) Missing() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.lacks) == 0 {
		return ""
	}
	return fmt.Sprintf("not connected: %s (%d of the %d other nodes in bus.cluster.routes)", strings.Join(s.lacks, ", "), len(s.lacks), len(s.routes))
}
