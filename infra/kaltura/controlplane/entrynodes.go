package controlplane

import (
	"context"
	"slices"
	"strconv"

	"klive/infra/kaltura"
)

// entryNode is the view of one registration that entryServerNode.* has (contract §5.8).
func (s *Server) entryNode(ctx context.Context, doc entryDoc, index int) (kaltura.EntryServerNode, error) {
	n := doc.Nodes[index]
	host, _, err := s.server(ctx, n.Hostname)
	return kaltura.EntryServerNode{
		ID: n.ID, EntryID: doc.Entry.ID, ServerNodeID: host.ID, PartnerID: doc.Entry.PartnerID, CreatedAt: n.Since, UpdatedAt: n.Seen,
		Status: n.Status, ServerType: strconv.Itoa(index), Streams: n.Streams, RecordingInfo: n.Recording, ViewMode: doc.Entry.ViewMode,
	}, err
}

// nodeID draws the number of a registration that has none yet.
func (s *Server) nodeID(ctx context.Context, n *node) error {
	if n.ID != 0 {
		return nil
	}
	id, err := s.state.Next(ctx, nodeIDs)
	n.ID = int64(id)
	return err
}

type entryNodeIDParams struct {
	ID int64 `api:"id"`
}

func (s *Server) entryNodeGet(ctx context.Context, c *call, p entryNodeIDParams) (any, error) {
	doc, index, err := s.findNode(ctx, c, p.ID)
	if err != nil {
		return nil, err
	}
	return s.entryNode(ctx, doc, index)
}

// findNode looks a registration up by its number.
func (s *Server) findNode(ctx context.Context, c *call, id int64) (doc entryDoc, index int, err error) {
	all, err := loadAll[entryDoc](ctx, s.state, everyEntry)
	if err != nil {
		return entryDoc{}, 0, err
	}
	for _, doc := range all {
		if index, ok := doc.nodeWith(id); ok && visible(c, doc) {
			return doc, index, nil
		}
	}
	return entryDoc{}, 0, noEntryNode(id)
}

func (d entryDoc) nodeWith(id int64) (index int, ok bool) {
	for index, n := range d.Nodes {
		if n.ID == id && id != 0 {
			return index, true
		}
	}
	return 0, false
}

func noEntryNode(id int64) error {
	text := strconv.FormatInt(id, 10)
	return fail(kaltura.CodeEntryNodeNotFound, "no entry server node "+text, "ENTRY_ID", text, "SERVER_TYPE", "")
}

type entryNodeListParams struct {
	Filter struct {
		EntryEqual  string `json:"entryIdEqual"`
		EntryIn     string `json:"entryIdIn"`
		TypeEqual   string `json:"serverTypeEqual"`
		TypeIn      string `json:"serverTypeIn"`
		StatusEqual *int   `json:"statusEqual"`
		StatusIn    string `json:"statusIn"`
		CreatedTo   int64  `json:"createdAtLessThanOrEqual"`
		CreatedFrom int64  `json:"createdAtGreaterThanOrEqual"`
	} `api:"filter,optional"`
	Pager pager `api:"pager,optional"`
}

// entryNodeList lists registrations. All but the background jobs must name an entry or a
// server type.
func (s *Server) entryNodeList(ctx context.Context, c *call, p entryNodeListParams) (any, error) {
	f := p.Filter
	if c.ks.PartnerID != kaltura.BatchPartner && f.EntryEqual == "" && f.EntryIn == "" && f.TypeEqual == "" && f.TypeIn == "" {
		return nil, fail("MUST_FILTER_ON_ENTRY_OR_SERVER_TYPE", "name an entry in entryIdEqual or entryIdIn, or a serverTypeEqual")
	}
	all, err := loadAll[entryDoc](ctx, s.state, everyEntry)
	if err != nil {
		return nil, err
	}
	out := []kaltura.EntryServerNode{}
	for _, doc := range all {
		if !visible(c, doc) || !matchText(doc.Entry.ID, f.EntryEqual, f.EntryIn) {
			continue
		}
		for index, n := range doc.Nodes {
			if !matchText(strconv.Itoa(index), f.TypeEqual, f.TypeIn) || !matchPtr(n.Status, f.StatusEqual, f.StatusIn) ||
				f.CreatedTo != 0 && n.Since > f.CreatedTo || n.Since < f.CreatedFrom {
				continue
			}
			v, err := s.entryNode(ctx, doc, index)
			if err != nil {
				return nil, err
			}
			out = append(out, v)
		}
	}
	slices.SortFunc(out, func(a, b kaltura.EntryServerNode) int { return int(a.ID - b.ID) })
	return list("KalturaEntryServerNodeListResponse", out, p.Pager), nil
}

type entryNodeUpdateParams struct {
	ID   int64        `api:"id"`
	Node kaltura.Node `api:"entryServerNode"`
}

// entryNodeUpdate takes what a live controller says about a registration's streams.
func (s *Server) entryNodeUpdate(ctx context.Context, c *call, p entryNodeUpdateParams) (any, error) {
	if err := concrete(p.Node, "KalturaEntryServerNode", "KalturaLiveEntryServerNode"); err != nil {
		return nil, err
	}
	var given struct {
		Streams   []kaltura.NodeStream    `json:"streams"`
		Recording []kaltura.NodeRecording `json:"recordingInfo"`
	}
	if err := p.Node.Decode(&given); err != nil {
		return nil, decodeFailure(err)
	}
	if len(given.Streams) > maxBitrates || len(given.Recording) > maxBitrates || p.Node.Size() > maxEntryText {
		return nil, fail("PROPERTY_VALIDATION_MAX_LENGTH", "an entry server node holds at most 50 streams, in 16 KiB", "PROP_NAME", "streams")
	}
	return s.changeNode(ctx, c, p.ID, func(_ *entryDoc, n *node) error {
		if _, ok := p.Node.Get("streams"); ok {
			n.Streams = given.Streams
		}
		if _, ok := p.Node.Get("recordingInfo"); ok {
			n.Recording = given.Recording
		}
		return nil
	})
}

type entryNodeStatusParams struct {
	ID     int64      `api:"id"`
	Status nodeStatus `api:"status"`
}

func (s *Server) entryNodeUpdateStatus(ctx context.Context, c *call, p entryNodeStatusParams) (any, error) {
	return s.changeNode(ctx, c, p.ID, func(_ *entryDoc, n *node) error {
		n.Status, n.Seen = int(p.Status), c.now.Unix()
		return nil
	})
}

// changeNode changes one registration.
func (s *Server) changeNode(ctx context.Context, c *call, id int64, f func(*entryDoc, *node) error) (any, error) {
	doc, _, err := s.findNode(ctx, c, id)
	if err != nil {
		return nil, err
	}
	var index int
	doc, err = s.changeEntry(ctx, c, doc.Entry.ID, func(doc *entryDoc) error {
		at, ok := doc.nodeWith(id)
		if !ok {
			return noEntryNode(id)
		}
		index = at
		n := doc.Nodes[at]
		if err := f(doc, &n); err != nil {
			return err
		}
		doc.place(at, n)
		return nil
	})
	if err != nil {
		return nil, err
	}
	return s.entryNode(ctx, doc, index)
}

// entryNodeValidate takes an entry off a media server that has stopped calling (contract §3.5).
func (s *Server) entryNodeValidate(ctx context.Context, c *call, p entryNodeIDParams) (any, error) {
	doc, _, err := s.findNode(ctx, c, p.ID)
	if err != nil {
		return nil, err
	}
	return nil, s.sweepEntry(ctx, doc, c.now.Unix())
}

// validateRegistered does the same for all of an entry's registrations.
func (s *Server) validateRegistered(ctx context.Context, c *call, p entryIDParams) (any, error) {
	doc, err := s.liveEntry(ctx, c, p.EntryID)
	if err != nil {
		return nil, err
	}
	return nil, s.sweepEntry(ctx, doc, c.now.Unix())
}

type detailsParams struct {
	ID string `api:"id"`
}

// liveStreamGetDetails says what an entry does on its media servers (contract §3.4). Who has
// no session may ask for any entry.
func (s *Server) liveStreamGetDetails(ctx context.Context, c *call, p detailsParams) (any, error) {
	c.allPartners = c.allPartners || c.ks == nil
	doc, err := s.liveEntry(ctx, c, p.ID)
	if kaltura.IsCode(err, kaltura.CodeEntryNotFound) {
		return nil, fail("INVALID_ENTRY_ID", "no live entry "+short(p.ID), "ID", short(p.ID))
	} else if err != nil {
		return nil, err
	}
	d := kaltura.LiveStreamDetails{
		PrimaryStreamStatus: doc.Nodes[kaltura.IndexPrimary].Status, SecondaryStreamStatus: doc.Nodes[kaltura.IndexBackup].Status,
		ViewMode: 1, WasBroadcast: doc.Entry.FirstBroadcast != 0, BroadcastStatus: kaltura.BroadcastOffline,
	}
	if doc.Entry.ExplicitLive == 1 {
		d.ViewMode = doc.Entry.ViewMode
	}
	switch {
	case s.isLive(doc) && s.hidden(doc):
		d.BroadcastStatus = kaltura.BroadcastPreview
	case s.isLive(doc):
		d.BroadcastStatus = kaltura.BroadcastLive
	}
	return d, nil
}
