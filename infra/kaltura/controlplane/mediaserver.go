package controlplane

import (
	"context"
	"errors"
	"fmt"

	"klive/infra/bus"
	"klive/infra/kaltura"
)

type reportStatusParams struct {
	Hostname string       `api:"hostname"`
	Status   kaltura.Node `api:"mediaServerStatus,optional"`
}

// reportStatus notes that a media server lives; the first report makes it known
// (contract §3.14).
func (s *Server) reportStatus(ctx context.Context, c *call, p reportStatusParams) (any, error) {
	if err := checkHost(p.Hostname); err != nil {
		return nil, err
	}
	now := c.now.Unix()
	for attempt := range maxAttempts {
		if err := pause(ctx, attempt); err != nil {
			return nil, err
		}
		doc, err := change(ctx, s.state, serverKey(p.Hostname), func(n *serverNode) error {
			n.UpdatedAt = now
			return nil
		})
		if err == nil {
			return doc.MediaServer, nil
		}
		if !errors.Is(err, bus.ErrNotFound) {
			return nil, err
		}
		n := serverNode{MediaServer: kaltura.MediaServer{Hostname: p.Hostname}}
		if err := s.createServer(ctx, &n, now); !errors.Is(err, bus.ErrConflict) {
			return n.MediaServer, err
		}
	}
	return nil, fmt.Errorf("media server %s is written by too many at once", short(p.Hostname))
}

type hostnameParams struct {
	Hostname string `api:"hostname"`
}

// mediaServerGet reads a media server's row.
func (s *Server) mediaServerGet(ctx context.Context, _ *call, p hostnameParams) (any, error) {
	n, known, err := s.server(ctx, p.Hostname)
	if err != nil {
		return nil, err
	}
	if !known {
		return nil, noServer(p.Hostname)
	}
	return n.MediaServer, nil
}

// server looks a media server up.
func (s *Server) server(ctx context.Context, host string) (n serverNode, known bool, err error) {
	n, err = load[serverNode](ctx, s.state, serverKey(host))
	if errors.Is(err, bus.ErrNotFound) {
		return serverNode{}, false, nil
	}
	return n, err == nil, err
}

// requireServer refuses unknown media servers where the configuration asks for that.
func (s *Server) requireServer(ctx context.Context, host string) error {
	if !s.config.RequireServerNode || s.config.Generation == Generation2015 {
		return nil
	}
	_, known, err := s.server(ctx, host)
	if err == nil && !known {
		return noServer(host)
	}
	return err
}

func noServer(host string) error {
	return fail(kaltura.CodeServerNodeNotFound, "no media server "+short(host)+" has reported its status", "MEDIA_SERVER_ID", short(host))
}
