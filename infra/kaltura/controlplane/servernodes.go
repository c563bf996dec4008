package controlplane

import (
	"cmp"
	"context"
	"errors"
	"slices"
	"strconv"
	"strings"

	"klive/infra/bus"
	"klive/infra/kaltura"
)

// A media server is one document. Its row for mediaServer.* and its node for serverNode.*
// are two views of it (contract §3.14).

// node makes the view of today's servers.
func (n serverNode) node() kaltura.ServerNode {
	v := n.Node
	v.ID, v.HostName, v.DC, v.CreatedAt, v.UpdatedAt, v.Environment = n.ID, n.Hostname, n.DC, n.CreatedAt, n.UpdatedAt, n.Environment
	v.Status = cmp.Or(v.Status, kaltura.NodeActive)
	v.Type = cmp.Or(v.Type, kaltura.WowzaNodeType)
	v.PartnerID = cmp.Or(v.PartnerID, kaltura.MediaServerPartner)
	return v
}

// owned says whether the caller manages the node: media servers' own partner manages all.
func (n serverNode) owned(c *call) bool {
	return c.ks.PartnerID == kaltura.MediaServerPartner || n.node().PartnerID == c.partner
}

// concrete holds an abstract parameter to its concrete class (contract §1.3): a class that
// is unknown there leaves the declared one.
func concrete(given kaltura.Node, declared string, classes ...string) error {
	for _, class := range classes {
		if strings.EqualFold(given.Class, class) {
			return nil
		}
	}
	return fail("OBJECT_TYPE_ABSTRACT", "objectType must be one of "+strings.Join(classes, ", "), "OBJ_TYPE", declared)
}

type serverNodeAddParams struct {
	Node kaltura.Node `api:"serverNode"`
}

func (s *Server) serverNodeAdd(ctx context.Context, c *call, p serverNodeAddParams) (any, error) {
	if err := concrete(p.Node, "KalturaServerNode", kaltura.WowzaNode); err != nil {
		return nil, err
	}
	n := serverNode{}
	if err := n.apply(p.Node); err != nil {
		return nil, err
	}
	if host, ok := p.Node.Get("hostName"); !ok || host.Text == "" {
		return nil, fail("PROPERTY_VALIDATION_CANNOT_BE_NULL", "a server node needs a hostName", "PROP_NAME", "hostName")
	}
	n.Hostname = text(p.Node, "hostName")
	n.Node.Status, n.Node.PartnerID = kaltura.NodeNotRegistered, c.partner
	err := s.createServer(ctx, &n, c.now.Unix())
	if errors.Is(err, bus.ErrConflict) {
		return nil, fail("HOST_NAME_ALREADY_EXISTS", "there is a server node "+short(n.Hostname), "HOST_NAME", short(n.Hostname))
	}
	return n.node(), err
}

// createServer writes a new media server under a new number.
func (s *Server) createServer(ctx context.Context, n *serverNode, now int64) error {
	if err := checkHost(n.Hostname); err != nil {
		return err
	}
	id, err := s.state.Next(ctx, serverIDs)
	if err != nil {
		return err
	}
	n.ID, n.CreatedAt, n.UpdatedAt = int(id), now, now
	return create(ctx, s.state, serverKey(n.Hostname), n)
}

// apply sets the properties that callers may set.
func (n *serverNode) apply(given kaltura.Node) error {
	picked := kaltura.Node{Kind: kaltura.KindObject}
	for _, m := range given.Members {
		switch m.Name {
		case "name", "systemName", "description", "tags", "parentId", "environment", "config", "applicationName", "appPrefix", "transcoder", "GPUID":
			if len(m.Value.Text) > maxEntryText {
				return fail("PROPERTY_VALIDATION_MAX_LENGTH", "property "+m.Name+" is too long", "PROP_NAME", m.Name)
			}
			picked.Members = append(picked.Members, m)
		}
	}
	if err := picked.Decode(&n.Node); err != nil {
		return decodeFailure(err)
	}
	if e := n.Node.Environment; e != "" {
		n.Environment = e
	}
	return nil
}

type serverNodeIDParams struct {
	ID int `api:"serverNodeId"`
}

func (s *Server) serverNodeGet(ctx context.Context, c *call, p serverNodeIDParams) (any, error) {
	n, err := s.serverByID(ctx, c, p.ID)
	return n.node(), err
}

// serverByID finds a media server that the caller manages.
func (s *Server) serverByID(ctx context.Context, c *call, id int) (serverNode, error) {
	all, err := loadAll[serverNode](ctx, s.state, everyServer)
	if err != nil {
		return serverNode{}, err
	}
	at := slices.IndexFunc(all, func(n serverNode) bool { return n.ID == id && n.owned(c) })
	if at < 0 {
		return serverNode{}, fail(kaltura.CodeNodeNotFound, "no server node "+strconv.Itoa(id), "SERVER_NODE_ID", strconv.Itoa(id))
	}
	return all[at], nil
}

type serverNodeListParams struct {
	Filter struct {
		IDEqual     int    `json:"idEqual"`
		IDIn        string `json:"idIn"`
		NameEqual   string `json:"nameEqual"`
		HostLike    string `json:"hostNameLike"`
		TagsLike    string `json:"tagsLike"`
		StatusEqual int    `json:"statusEqual"`
		StatusIn    string `json:"statusIn"`
		Environment string `json:"environmentEqual"`
	} `api:"filter,optional"`
	Pager pager `api:"pager,optional"`
}

func (s *Server) serverNodeList(ctx context.Context, c *call, p serverNodeListParams) (any, error) {
	all, err := loadAll[serverNode](ctx, s.state, everyServer)
	if err != nil {
		return nil, err
	}
	f, out := p.Filter, []kaltura.ServerNode{}
	for _, n := range all {
		v := n.node()
		if n.owned(c) && matchInt(v.ID, f.IDEqual, f.IDIn) && matchText(v.Name, f.NameEqual, "") && like(v.HostName, f.HostLike) &&
			like(v.Tags, f.TagsLike) && matchInt(v.Status, f.StatusEqual, f.StatusIn) && matchText(v.Environment, f.Environment, "") {
			out = append(out, v)
		}
	}
	slices.SortFunc(out, func(a, b kaltura.ServerNode) int { return a.ID - b.ID })
	return list("KalturaServerNodeListResponse", out, p.Pager), nil
}

// like says whether text holds a part, in any case.
func like(text, part string) bool {
	return strings.Contains(strings.ToLower(text), strings.ToLower(part))
}

type serverNodeUpdateParams struct {
	ID   int          `api:"serverNodeId"`
	Node kaltura.Node `api:"serverNode"`
}

func (s *Server) serverNodeUpdate(ctx context.Context, c *call, p serverNodeUpdateParams) (any, error) {
	if err := concrete(p.Node, "KalturaServerNode", kaltura.WowzaNode); err != nil {
		return nil, err
	}
	n, err := s.serverByID(ctx, c, p.ID)
	if err != nil {
		return nil, err
	}
	n, err = change(ctx, s.state, serverKey(n.Hostname), func(n *serverNode) error {
		n.UpdatedAt = c.now.Unix()
		return n.apply(p.Node)
	})
	return n.node(), err
}

type serverNodeReportParams struct {
	HostName string           `api:"hostName"`
	Node     kaltura.Node     `api:"serverNode,optional"`
	Status   serverNodeStatus `api:"serverNodeStatus,default=1"`
}

// serverNodeReport notes that a media server lives. An unknown one is added, disabled,
// when the call describes it (contract §3.14).
func (s *Server) serverNodeReport(ctx context.Context, c *call, p serverNodeReportParams) (any, error) {
	described := p.Node.Kind == kaltura.KindObject
	if described {
		if err := concrete(p.Node, "KalturaServerNode", kaltura.WowzaNode); err != nil {
			return nil, err
		}
	}
	beat := func(n *serverNode) error {
		n.Node.HeartbeatTime, n.Node.Status = c.now.Unix(), int(p.Status)
		if p.Status == kaltura.NodeNotOperational {
			n.Node.Status = kaltura.NodeActive
		}
		return nil
	}
	notFound := fail(kaltura.CodeNodeNotFound, "no server node "+short(p.HostName), "HOST_NAME", short(p.HostName))
	n, err := change(ctx, s.state, serverKey(p.HostName), func(n *serverNode) error {
		if !n.owned(c) {
			return notFound
		}
		return beat(n)
	})
	if !errors.Is(err, bus.ErrNotFound) {
		return n.node(), err
	}
	if !described {
		return nil, notFound
	}
	n = serverNode{MediaServer: kaltura.MediaServer{Hostname: p.HostName}}
	if err := n.apply(p.Node); err != nil {
		return nil, err
	}
	n.Node.HeartbeatTime, n.Node.Status, n.Node.PartnerID = c.now.Unix(), kaltura.NodeDisabled, c.partner
	if err := s.createServer(ctx, &n, c.now.Unix()); err != nil && !errors.Is(err, bus.ErrConflict) {
		return nil, err
	}
	return n.node(), nil
}
